"""Adaptive fits to many maps of a small sky."""

from dataclasses import replace

import numpy as np
import pytest

from gcesbi import GaussianField, Harmonics, InputError, PointSources, Simulator, SkyModel, Smooth
from gcesbi.baselines import AdaptiveFits, Fixed, fit_adaptive_maps

DOTS = PointSources(name="dots", template="nfw", populations=[{"xi": (-12.5, -12), "flux": (0, 1e-8)}])
LAWS = (GaussianField(sigma=0.2, length=8.0), Harmonics(sigma=0.2, l_max=3, per_energy=True))


def mixed():
    """Two maps under one field, and an isotropic template."""
    maps = {"gas1": "inverse-compton", "gas2": "pion-decay"}
    gas = [Smooth(name=name, template=each, norm=(0, 40), nuisances=LAWS[:1]) for name, each in maps.items()]
    flat = Smooth(name="flat", template="isotropic", norm=(5, 10))
    return SkyModel([*gas, flat, DOTS], region={"nside": 16}, energy_edges=[2, 20])


def sky(laws=LAWS, gamma=None, sigma=None):
    laws = laws if sigma is None else (GaussianField(sigma=sigma, length=8.0),)
    flat = Smooth(name="flat", template="isotropic", norm=(5, 10))
    shape = {"formula": "nfw", "gamma": gamma} if gamma else "inverse-compton"
    gas = Smooth(name="gas", template=shape, norm=(30, 40), nuisances=laws)
    return SkyModel([gas, flat, DOTS], region={"nside": 16}, energy_edges="2:20:2")


@pytest.fixture(scope="module")
def model():
    return sky()


@pytest.fixture(scope="module")
def drawn(model):
    return Simulator(model).sample(6, seed=1)


@pytest.fixture(scope="module")
def fits(model, drawn):
    return fit_adaptive_maps(drawn.counts, model)


def test_each_map_has_the_maximum_of_its_own(model, drawn, fits):
    assert fits.converged.all()
    assert fits.names == model.names
    problem = replace(fits.problem, counts=np.asarray(drawn.counts[2], dtype=np.int64))
    own = problem.marginalise(problem.maximise())
    np.testing.assert_allclose(fits.norms[2].T.ravel(), own.norms, rtol=0.01, atol=0.1)
    np.testing.assert_allclose(fits.logs[2], fits.problem.logs(own.latent), atol=0.02)
    assert fits.errors.shape == (6, 3, 2)
    np.testing.assert_allclose(fits.errors[2].T.ravel() ** 2, np.diag(fits.problem.covariance(own)), rtol=0.05)


def test_quantiles_hold_best_fluxes(fits):
    low, high = fits.flux_quantiles([0.001, 0.999], n=500)
    assert np.all((low[:, :2] < fits.flux[:, :2]) & (fits.flux[:, :2] < high[:, :2]))


def test_workers_change_nothing(model, drawn, fits):
    two = fit_adaptive_maps(drawn.counts[:2], model, workers=2)
    one = fit_adaptive_maps(drawn.counts[:2], model)
    np.testing.assert_array_equal(two.norms, one.norms)
    np.testing.assert_allclose(two.norms, fits.norms[:2], rtol=0.02, atol=0.1)


def test_amplitudes_and_norms_may_be_told(model, drawn):
    still = fit_adaptive_maps(
        drawn.counts[:1], model, {"dots": Fixed(0.0)}, {"gas_field_sigma": 0.0, "gas_harmonics_sigma": 0.0}
    )
    assert not still.logs.any()
    assert not still.norms[:, 2].any()


def test_maps_of_a_mixture_share_a_field_and_a_flat_prior():
    model = mixed()
    counts = Simulator(model).sample(1, seed=3).counts
    fits = fit_adaptive_maps(counts, model, mixtures=[("gas1", "gas2")])
    alone = fit_adaptive_maps(counts, model)
    assert fits.problem.n_latent == alone.problem.n_latent // 2
    drawn = fits.samples(0, 4000)["flux"][:, :2].sum(axis=1)
    plain = AdaptiveFits(model, fits.problem, fits.optima, fits.logs).samples(0, 4000)["flux"][:, :2].sum(axis=1)
    # a prior in 1 / F shifts a narrow posterior down by its variance over F
    assert plain.mean() - drawn.mean() == pytest.approx(plain.var() / plain.mean(), abs=0.1 * plain.std())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"amplitudes": {"gas_sigma": 0.1}}, "amplitudes: must be among gas_field_sigma"),
        ({"amplitudes": {"gas_field_sigma": -0.1}}, "amplitudes: gas_field_sigma must be finite and not negative"),
        ({"priors": {"dust": Fixed(1.0)}}, "priors: templates are gas, flat, dots, got 'dust'"),
        ({"mixtures": [("gas", "dust")]}, "mixtures: must be of gas, flat, dots, each once, got 'dust'"),
        ({"mixtures": [("gas", "flat")]}, "mixtures: all of gas, flat must have log-fields, or none"),
        ({"counts": np.zeros((1, 2, 3), dtype=int)}, r"counts: must have shape \(n, 2, "),
        ({"model": sky(laws=())}, "model: no template has a log-field"),
        ({"model": sky(gamma=(1.0, 1.2))}, "model: templates must not float, got gas_gamma"),
    ],
)
def test_what_cannot_be_fitted_is_refused(model, drawn, told, message):
    with pytest.raises(InputError, match=message):
        fit_adaptive_maps(**{"counts": drawn.counts[:1], "model": model, **told})
