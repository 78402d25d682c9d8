"""Poisson fits of models whose templates have log-fields, and may float besides."""

import numpy as np
import pytest

from gcesbi import GaussianField, Harmonics, InputError, PointSources, Simulator, SkyModel, Smooth
from gcesbi.baselines import Fixed, NormPrior, PoissonFit, goodness_of_fit
from gcesbi.baselines.poisson.spectral_fit import SpectralFit
from gcesbi.sky.observation import Observation

DOTS = PointSources(name="dots", template="nfw", populations=[{"xi": (-12.5, -12), "flux": (0, 1e-8)}])
FIELD = GaussianField(sigma=0.2, length=8.0)
OWN = Harmonics(sigma=0.2, l_max=3, per_energy=True)


def sky(*laws, gamma=None, edges="2:20:2"):
    flat = Smooth(name="flat", template="isotropic", norm=(5, 10))
    shape = {"formula": "nfw", "gamma": gamma} if gamma else "inverse-compton"
    gas = Smooth(name="gas", template=shape, norm=(30, 40), nuisances=laws)
    return SkyModel([gas, flat, DOTS], region={"nside": 16}, energy_edges=edges)


def observe(model, seed=1):
    counts = Simulator(model).sample(1, seed=seed).counts[0].astype(np.int64)
    return Observation(counts, model.exposure, model.energy_edges, model.region)


@pytest.fixture(scope="module")
def model():
    return sky(FIELD, OWN)


@pytest.fixture(scope="module")
def result(model):
    return PoissonFit(model, observe(model)).run()


def test_the_fit_follows_the_field(model, result):
    assert result.converged
    assert result.norms.shape == result.errors.shape == (3, 2)
    assert result.covariance.shape == (2, 3, 3)
    fields = result.log_fields.best["gas"]
    assert fields.shape == model.templates.shape[1:]
    plain = PoissonFit(sky(edges="2:20:2"), result.fit.observation).run()
    assert result.log_likelihood > plain.log_likelihood + 20
    np.testing.assert_allclose(result.mean.sum(), result.observed.sum(), rtol=1e-3)
    light = result.templates[0] / model.exposure
    np.testing.assert_allclose(light.sum(axis=1), model.flux_per_norm[0], rtol=1e-9)


def test_intervals_and_draws_agree_with_errors(result):
    for ends, best in zip(result.intervals(0.6827)[0], result.norms[0], strict=True):
        assert ends[0] < best < ends[1]
    drop = result.profile("gas", result.intervals(0.6827)[0, 1], energy=1) - result.optima[0].log_profile
    np.testing.assert_allclose(drop, -0.5, atol=1e-3)
    drawn = result.posterior().sample(4000)
    norms = result.log_fields.marginal.norms.reshape(2, 3)[:, 0]
    flux = float(norms @ result.flux_per_norm[0])
    assert abs(drawn["flux"][:, 0].mean() - flux) < drawn["flux"][:, 0].std()
    assert drawn["spectrum_fraction"].shape == (4000, 3, 2)
    means = result.log_fields.sample_means(200)
    assert means.shape == (200, *result.mean.shape)
    spread = means.std(axis=0) / result.mean
    assert np.all((spread > 0.01) & (spread < 0.5))
    assert np.mean(np.abs(means.mean(axis=0) / result.mean - 1)) < 0.3 * spread.mean()


def test_statistics_and_profiles_hold_the_norm_of_the_right_bin(result):
    best = result.profile("gas", [result.norms[0, 1]], energy=1)
    assert best[0] == pytest.approx(result.optima[0].log_profile, abs=1e-6)
    assert np.all(np.isfinite(result.test_statistics[1:]))
    assert result.test_statistic("flat") > 0
    assert np.all(result.upper_limits(0.95)[2] > result.norms[2])
    assert result.log_fields.log_evidence < result.log_likelihood


def test_without_amplitude_it_is_the_plain_fit(model, result):
    held = {"gas_field_sigma": 0.0, "gas_harmonics_sigma": 0.0}
    still = PoissonFit(model, result.fit.observation, amplitudes=held).run()
    plain = PoissonFit(sky(), result.fit.observation).run()
    np.testing.assert_allclose(still.norms, plain.norms, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(still.covariance, plain.covariance, rtol=1e-4)
    assert still.amplitudes == held


def test_amplitudes_with_a_prior_are_found():
    model = sky(GaussianField(sigma=(0.0, 1.0), length=8.0), edges=[2, 20])
    loud, quiet = sky(GaussianField(sigma=0.4, length=8.0), edges=[2, 20]), sky(edges=[2, 20])
    for true, made in ((0.4, loud), (0.0, quiet)):
        found = PoissonFit(model, observe(made)).run().amplitudes["gas_field_sigma"]
        assert found == pytest.approx(true, abs=0.1)


def test_templates_that_float_are_fitted_along():
    model = sky(FIELD, gamma=(0.8, 1.4), edges=[2, 20])
    told = {"gas_norm": 35.0, "flat_norm": 7.0, "gas_gamma": 1.1, "dots_xi": -12.2, "dots_a": 0.0, "dots_flux": 5e-9}
    theta = np.array([told.get(name, 0.5) for name in model.prior().names])
    result = PoissonFit(model, Simulator(model).observe(theta, seed=2)[0]).run()
    low, high = result.shape_interval("gas_gamma", 0.999)
    assert low < 1.1 < high
    assert np.isfinite(result.errors).all()
    held = PoissonFit(model, result.fit.observation, shapes=result.shapes).run()
    assert held.log_likelihood == pytest.approx(result.log_likelihood, abs=1e-4)
    free, fixed = (each.posterior().sample(2000)["flux"][:, 0].std() for each in (result, held))
    assert free > 0.99 * fixed


def test_the_slope_by_shapes_is_that_of_the_maximum():
    model = sky(FIELD, gamma=(0.8, 1.4), edges=[2, 20])
    fit = PoissonFit(model, observe(model))
    likelihood = fit.sky.likelihood(fit.likelihood.problems)
    point = likelihood.at(np.array([1.03]))
    ends = [likelihood.at(np.array([1.03 + step]), point).objective for step in (-1e-3, 1e-3)]
    assert point.slopes[0] == pytest.approx((ends[1] - ends[0]) / 2e-3, rel=1e-3, abs=1e-2)


def test_it_is_judged_by_maps_of_its_own(result):
    judged = goodness_of_fit(result, n_simulated=10)
    assert judged.p_value > 0.01
    assert judged.refit().norms.shape == result.norms.shape


def test_norms_may_have_priors(model, result):
    priors = {"flat": Fixed(0.4), "dots": NormPrior(mean=0.3, sigma=0.05)}
    told = PoissonFit(model, result.fit.observation, priors).run()
    np.testing.assert_array_equal(told.norms[1], 0.4)
    assert np.all(told.errors[1] == 0)
    assert np.all(told.errors[2] < 0.051)


def test_what_cannot_be_asked_is_refused(model, result):
    with pytest.raises(InputError, match="amplitudes: must be among gas_field_sigma"):
        PoissonFit(model, result.fit.observation, amplitudes={"gas": 1.0})
    with pytest.raises(InputError, match=r"model: log-fields have too many coefficients for emcee"):
        result.sample_posterior()
    with pytest.raises(InputError, match="model: log-fields are not fitted here"):
        SpectralFit(result.fit)
    with pytest.raises(InputError, match="model: no template has a log-field"):
        PoissonFit(sky(), result.fit.observation).run().log_fields  # noqa: B018
