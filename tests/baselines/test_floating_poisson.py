"""Poisson fits of models whose templates float, and of stated spectra, against brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln

from gcesbi import Formula, Mixture, Observation, PointSources, SkyModel, Smooth
from gcesbi.baselines import NormPrior, PoissonFit, SpectralFit
from gcesbi.baselines.floating import floating_templates
from gcesbi.errors import InputError

FAINT = {"xi": (-13.0, -12.0), "flux": (0.0, 2e-7)}
REGION = {"nside": 16, "radius": 20}


def sky(n_energy=1, template=None, **more):
    """Gas of fixed shape, and a halo whose slope floats."""
    return SkyModel(
        [
            Smooth(name="gas", template="pion-decay", norm=(1.0, 4.0), spectrum="power-law"),
            PointSources(
                name="halo", template=template or Formula(formula="nfw", gamma=(0.9, 1.4)), populations=[FAINT]
            ),
        ],
        region=REGION,
        energy_edges=np.geomspace(2, 20, n_energy + 1),
        **more,
    )


def observe(model, shapes, norms=(8.0, 6.0), seed=1):
    """A Poisson map of the templates at some shapes, norms (n_template,) shared out evenly over energy bins."""
    mean = np.einsum("t,tep->ep", np.asarray(norms), model.at(**shapes).templates) / model.n_energy
    counts = np.random.default_rng(seed).poisson(mean)
    return Observation(counts, model.exposure, model.energy_edges, model.region)


@pytest.fixture(scope="module")
def one_bin():
    model = sky()
    return model, observe(model, {"halo_gamma": 1.15})


@pytest.fixture(scope="module")
def many_shapes():
    """Two templates with shapes, one of them smooth, in two energy bins."""
    model = SkyModel(
        [
            Smooth(name="gas", template=Mixture(mixture=("pion-decay", "inverse-compton", "bubbles")), norm=(1.0, 4.0)),
            PointSources(
                name="halo",
                template=Mixture(mixture=(Formula(formula="nfw", gamma=(0.9, 1.4)), Formula(formula="disk"))),
                populations=[FAINT],
            ),
        ],
        region=REGION,
        energy_edges=[2, 5, 20],
    )
    shapes = {"gas_weight1": 0.4, "gas_weight2": 0.6, "halo_weight": 0.7, "halo_gamma": 1.2}
    return model, observe(model, shapes, norms=(20.0, 12.0)), shapes


def brute(model, observation, shapes):
    """ln L of a model that does not float."""
    return PoissonFit(model.at(**shapes), observation).run().log_likelihood


def test_templates_are_those_of_the_model_at_the_same_shapes(many_shapes):
    model, _, shapes = many_shapes
    floating = floating_templates(model)
    assert [(each.row, each.of_flux) for each in floating] == [(0, False), (1, True)]
    off_nodes = {name: 0.31 + 0.6 * (name == "halo_gamma") for name in shapes}
    for other in (shapes | {"halo_gamma": 1.2031}, off_nodes):
        expected = model.at(**other).templates
        for each in floating:
            np.testing.assert_allclose(each.at(other), expected[each.row], rtol=1e-12)
            for name, slope in zip(each.names, each.slopes(other), strict=True):
                high, low = (each.at(other | {name: other[name] + h}) for h in (1e-6, -1e-6))
                np.testing.assert_allclose(slope, (high - low) / 2e-6, rtol=1e-6, atol=1e-7 * np.abs(slope).max())


def test_joint_maximum_and_interval_are_those_of_a_scan(one_bin):
    model, observation = one_bin
    found = PoissonFit(model, observation).run()
    gammas = np.linspace(0.9, 1.4, 251)
    scan = np.array([brute(model, observation, {"halo_gamma": gamma}) for gamma in gammas])
    assert found.log_likelihood >= scan.max() - 1e-6
    assert found.log_likelihood == pytest.approx(scan.max(), abs=0.01)
    assert found.shapes["halo_gamma"] == pytest.approx(gammas[scan.argmax()], abs=0.002)
    np.testing.assert_allclose(found.shape_profile("halo_gamma", gammas[::25]), scan[::25], atol=1e-8)
    inside = gammas[scan > found.log_likelihood - 0.5]
    np.testing.assert_allclose(found.shape_interval("halo_gamma"), inside[[0, -1]], atol=0.0025)
    assert found.log_likelihood == pytest.approx(brute(model, observation, found.shapes), abs=1e-8)
    np.testing.assert_allclose(found.templates, model.at(**found.shapes).templates, rtol=1e-12)
    np.testing.assert_allclose(found.flux_per_norm, model.at(**found.shapes).flux_per_norm, rtol=1e-12)
    low, high = found.shape_interval("halo_gamma")
    assert np.sqrt(found.shape_covariance[0, 0]) == pytest.approx((high - low) / 2, rel=0.1)


def test_bins_share_the_shapes_and_norms_count_their_errors(many_shapes):
    """Maximum over four shapes by another optimiser; errors of norms by the curvature of the whole likelihood."""
    model, observation, truth = many_shapes
    found = PoissonFit(model, observation).run()
    assert set(found.shapes) == set(truth)

    def negative(values):
        if np.any(values < 0) or np.any(values[:3] > 1) or not 0.9 <= values[3] <= 1.4:
            return 1e9
        shapes = dict(zip(truth, values, strict=True))
        return -fixed(shapes)

    def fixed(shapes):
        return PoissonFit(model, observation, shapes=shapes).run().log_likelihood

    other = minimize(negative, list(truth.values()), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-5})
    assert found.log_likelihood == pytest.approx(-other.fun, abs=0.02)
    assert found.log_likelihood >= fixed(truth)
    held = PoissonFit(model, observation, shapes=found.shapes).run()
    assert held.log_likelihood == pytest.approx(found.log_likelihood, abs=1e-8)
    assert np.all(found.errors >= held.errors * (1 - 1e-9))
    assert found.errors[1].max() > 1.05 * held.errors[1].max()
    some = PoissonFit(model, observation, shapes={"halo_gamma": 1.0}).run()
    assert some.shapes["halo_gamma"] == 1.0
    assert some.log_likelihood == pytest.approx(found.shape_profile("halo_gamma", [1.0])[0], abs=0.02)


def test_errors_of_norms_are_those_of_the_profile(one_bin):
    model, observation = one_bin
    found = PoissonFit(model, observation).run()
    best, error = found.norms[1], found.errors[1]
    drop = []
    for value in (best - error, best + error):
        held = PoissonFit(model, observation, priors={"halo": NormPrior(mean=value, sigma=1e-6)}).run()
        drop.append(found.log_likelihood - held.log_likelihood)
    assert np.mean(drop) == pytest.approx(0.5, rel=0.1)


def test_statistic_fits_other_shapes_anew(many_shapes):
    model, observation, _ = many_shapes
    found = PoissonFit(model, observation).run()
    without = PoissonFit(model, observation, priors={"halo": NormPrior(high=1e-9)}).run()
    expected = 2 * (found.log_likelihood - without.log_likelihood)
    assert found.test_statistic("halo") == pytest.approx(expected, abs=0.1)
    assert found.test_statistic("halo") < found.test_statistics[1].sum() + 1e-6


def test_profile_of_a_known_slope_covers_as_often_as_it_says():
    """120 Poisson maps of slope 1.12; 68.27 % within three Monte Carlo errors (k = 3)."""
    model, n = sky(), 120
    first = observe(model, {"halo_gamma": 1.12}, seed=0)
    inside = 0
    for seed in range(n):
        seen = observe(model, {"halo_gamma": 1.12}, seed=seed) if seed else first
        low, high = PoissonFit(model, seen).run().shape_interval("halo_gamma")
        inside += low <= 1.12 <= high
    assert abs(inside / n - 0.6827) < 3 * np.sqrt(0.6827 * 0.3173 / n)


def test_guards(one_bin):
    model, observation = one_bin
    with pytest.raises(InputError, match="shapes: must be among halo_gamma, got 'gamma'"):
        PoissonFit(model, observation, shapes={"gamma": 1.0})
    with pytest.raises(InputError, match=r"halo_gamma must lie within its prior's range, 0.9 to 1.4, got 2"):
        PoissonFit(model, observation, shapes={"halo_gamma": 2.0})
    with pytest.raises(InputError, match="shape: none was fitted"):
        PoissonFit(model, observation, shapes={"halo_gamma": 1.0}).run().shape_interval("halo_gamma")
    found = PoissonFit(model, observation).run()
    with pytest.raises(InputError, match="parameter: must be one of halo_gamma, got 'gas'"):
        found.shape_interval("gas")
    with pytest.raises(InputError, match=r"halo_gamma must lie within 0.9 to 1.4, got \[2.0\]"):
        found.shape_profile("halo_gamma", [2.0])
    with pytest.raises(InputError, match="need two energy bins"):
        SpectralFit(PoissonFit(model, observation))


# -- spectra ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spectra():
    """Two power laws and a floating slope in four bins: model, map, norms and indices."""
    stated = sky(4).composition.change("halo", spectrum={"family": "log-parabola", "curvature": 0.3})
    model = SkyModel.build(stated)
    theta = model.prior().draw(1, np.random.default_rng(2))[0]
    at = model.prior().names.index
    truth = {"gas_norm": 30.0, "gas_spectrum_index": 2.4, "halo_spectrum_index": 1.9, "halo_gamma": 1.1}
    for name, value in truth.items():
        theta[at(name)] = value
    emission = model.emission(theta[None])
    halo = 1e-7 * emission.spectra[0, 1] / model.at(halo_gamma=1.1).flux_per_norm[1]
    norms = np.stack([emission.norms[0, 0], halo])
    mean = np.einsum("te,tep->ep", norms, model.at(halo_gamma=1.1).templates)
    counts = np.random.default_rng(3).poisson(mean)
    return model, Observation(counts, model.exposure, model.energy_edges, model.region), truth, norms


def test_spectra_that_were_drawn_are_found(spectra):
    model, observation, truth, norms = spectra
    found = SpectralFit(PoissonFit(model, observation)).run()
    assert set(found.parameters) == {"halo_gamma", "gas_spectrum_index", "halo_spectrum_index"}
    errors = dict(zip(("gas", "halo", *found.parameters), found.errors, strict=True))
    for name, value in found.parameters.items():
        assert abs(value - truth[name]) < 4 * errors[name]
        low, high = found.interval(name)
        assert (high - low) / 2 == pytest.approx(errors[name], rel=0.15)
    assert np.all(np.abs(found.spectrum - norms) < 5 * found.flux_errors / found.free.flux_per_norm)
    assert np.all(found.flux_errors < 1.1 * found.free.errors * found.free.flux_per_norm)
    assert 1e-4 < found.p_value < 1
    assert found.test_statistic > 0


def test_likelihood_of_spectra_is_that_of_the_models_emission(spectra):
    """Its value by the simulator's own mean, its slopes by differences; no better point nearby."""
    model, observation, _, _ = spectra
    fit = SpectralFit(PoissonFit(model, observation))
    found = fit.run()
    names, theta = model.prior().names, model.prior().draw(1, np.random.default_rng(1))[0]
    for name, value in ({"gas_norm": found.norms[0]} | found.parameters).items():
        theta[names.index(name)] = value
    gas = model.emission(theta[None]).norms[0, 0]
    np.testing.assert_allclose(found.spectrum[0], gas, rtol=1e-9)
    mean = np.einsum("te,tep->ep", found.spectrum, model.at(halo_gamma=found.parameters["halo_gamma"]).templates)
    k = observation.counts
    assert found.log_likelihood == pytest.approx(float(np.sum(k * np.log(mean) - mean - gammaln(k + 1))), abs=1e-6)
    likelihood = fit.likelihood
    values = found.joint.values + np.array([0.0031, 0.05, -0.05])
    slopes = likelihood.at(values).slopes
    for i in range(3):
        h = 1e-5 * np.eye(3)[i]
        rise = likelihood.at(values + h).objective - likelihood.at(values - h).objective
        assert slopes[i] == pytest.approx(rise / 2e-5, rel=1e-4, abs=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(30):
        nearby = found.joint.values + 0.02 * rng.standard_normal(3)
        assert likelihood.at(nearby).log_likelihood < found.log_likelihood + 1e-3


def test_spectra_need_plain_fits(spectra):
    model, observation, _, _ = spectra
    fit = PoissonFit(model, observation, priors={"gas": NormPrior(high=5.0)})
    with pytest.raises(InputError, match="fit: must be without priors"):
        SpectralFit(fit)
    held = SpectralFit(replace(fit, priors={}, shapes={"halo_gamma": 1.1}))
    assert [each.name for each in held.outer] == ["gas_spectrum_index", "halo_spectrum_index"]
