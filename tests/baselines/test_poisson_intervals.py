from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.stats import chi2

from gcesbi.baselines import Fixed, NormPrior, PoissonFit, poisson_log_likelihood
from gcesbi.baselines.poisson.optimum import maximise
from gcesbi.errors import InputError
from gcesbi.physics.spectra import e2dnde

from .conftest import SmallModel, observe


def scan(result, name, energy=0):
    """ln L over one norm, all others maximised by L-BFGS-B: the brute-force profile."""
    counts, templates = result.observed[energy], result.templates[:, energy]
    row = result.names.index(name)
    others = np.delete(templates, row, axis=0)
    start = np.maximum(np.delete(result.spectrum[:, energy], row), 0.1)

    def profile(value):
        def loss(norms):
            mean = value * templates[row] + norms @ others
            return mean.sum() - counts @ np.log(mean), others @ (1 - counts / mean)

        options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000}
        bounds = [(1e-10, None)] * len(others)
        found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
        return poisson_log_likelihood(counts, value * templates[row] + found.x @ others)

    return profile


@pytest.mark.parametrize(("norm", "seed"), [(1.0, 1), (0.05, 2), (20.0, 3)])
def test_interval_ends_and_limits_are_those_of_a_scan(norm, seed):
    model = SmallModel.build()
    result = PoissonFit(model, observe(model, seed=seed, norm=norm)).run()
    ends, limits = result.intervals(0.9), result.upper_limits(0.95)
    for t, name in enumerate(result.names):
        profile = scan(result, name)
        for where, drop in ((ends[t, 1], chi2.ppf(0.9, 1) / 2), (limits[t], 2.705543454095404 / 2)):
            exact = brentq(
                lambda x, p=profile, d=drop: p(x) - result.log_likelihood + d,
                result.norms[t] + 1e-6,
                3 * where + 1,
                xtol=1e-7,
            )
            assert where == pytest.approx(exact, rel=2e-4)
        lowest = profile(1e-9) - result.log_likelihood + chi2.ppf(0.9, 1) / 2
        if lowest > 0:
            assert ends[t, 0] == 0.0
        else:
            assert profile(ends[t, 0]) - result.log_likelihood == pytest.approx(-chi2.ppf(0.9, 1) / 2, abs=1e-4)


def test_profile_is_that_of_fits_with_the_norm_fixed():
    model = SmallModel.build(n_energy=2)
    observation = observe(model, seed=4)
    result = PoissonFit(model, observation).run()
    values = [0.0, 3.0, 9.0]
    found = result.profile("gce", values, energy=1)
    for value, each in zip(values, found, strict=True):
        bounds = np.tile([0.0, np.inf], (4, 1))
        bounds[2] = value
        fixed = maximise(observation.counts[1], model.templates[:, 1], bounds)
        assert each == pytest.approx(fixed.log_likelihood, abs=1e-8)
    with pytest.raises(InputError, match="values: must be a vector of numbers >= 0"):
        result.profile("gce", [-1.0])


def test_one_template_has_a_closed_form():
    """N counts, mean A S: ln L drops by N ln(A/Â) - (A - Â) S; with N = 0 the limit is 1.353 / S."""
    model = SmallModel.build(names=("iso",))
    size = model.templates.sum()
    empty = PoissonFit(model, observe(model, np.zeros(model.exposure.shape, dtype=int))).run()
    assert empty.upper_limits(0.95)[0] == pytest.approx(2.705543454095404 / 2 / size, rel=1e-8)
    np.testing.assert_allclose(empty.intervals(0.6827)[0], [0.0, chi2.ppf(0.6827, 1) / 2 / size], rtol=1e-8)
    counts = np.zeros(model.exposure.shape, dtype=int)
    counts[0, :3] = 1
    three = PoissonFit(model, observe(model, counts)).run()
    for end in three.intervals(0.6827)[0] * size:
        assert 3 * np.log(end / 3) - (end - 3) == pytest.approx(-chi2.ppf(0.6827, 1) / 2, abs=1e-8)
    low, high = three.intervals()[0]
    assert high - three.norms[0] > three.norms[0] - low  # asymmetric


def test_intervals_end_at_bounds():
    model = SmallModel.build()
    observation = observe(model, seed=5)
    free = PoissonFit(model, observation).run()
    low, high = free.intervals()[2]
    priors = {"gce": NormPrior(low=0.5 * (low + free.norms[2]), high=0.5 * (high + free.norms[2])), "ic": Fixed(5.0)}
    bounded = PoissonFit(model, observation, {"gce": priors["gce"]}).run()
    np.testing.assert_allclose(bounded.intervals()[2], [priors["gce"].low, priors["gce"].high])
    assert bounded.upper_limits()[2] == priors["gce"].high
    fixed = PoissonFit(model, observation, priors).run()
    np.testing.assert_array_equal(fixed.intervals()[1], [5.0, 5.0])
    assert fixed.upper_limits()[1] == 5.0


def test_large_counts_give_the_errors_of_the_hessian():
    model = SmallModel.build(brightness=1000.0)
    result = PoissonFit(model, observe(model, seed=6)).run()
    half = np.diff(result.intervals(0.682689492137))[:, 0] / 2
    np.testing.assert_allclose(half, result.errors, rtol=1e-3)


@pytest.mark.parametrize(("truth", "n"), [(0.0, 100), (0.4, 200)])
def test_limits_and_intervals_cover_the_truth(truth, n):
    """Coverage of 95 % and 68.27 % on n maps, within k = 3.5 binomial errors; at the bound only from below."""
    model = SmallModel.build(names=("iso", "gce"), nside=8)
    mean = np.einsum("t,tep->ep", [1.0, truth], model.templates)
    rng = np.random.default_rng(7)
    inside = np.zeros((n, 2), dtype=bool)
    for i in range(n):
        result = PoissonFit(model, observe(model, rng.poisson(mean))).run()
        low, high = result.intervals(0.6827)[1]
        inside[i] = result.upper_limits(0.95)[1] >= truth, low <= truth <= high
    level = np.array([0.95, 0.6827])
    away = 3.5 * np.sqrt(level * (1 - level) / n)
    assert np.all(inside.mean(axis=0) > level - away)
    if truth:
        assert np.all(inside.mean(axis=0) < level + away)


def test_spectra_in_physical_units():
    model = SmallModel.build(n_energy=3)
    result = PoissonFit(model, observe(model, seed=8)).run()
    gce = result.template_spectra()[2]
    np.testing.assert_allclose(gce.flux, result.norms[2] * model.flux_per_norm[2])
    np.testing.assert_allclose(gce.low, result.intervals()[2, :, 0] * model.flux_per_norm[2])
    np.testing.assert_allclose(gce.upper_limit, result.upper_limits()[2] * model.flux_per_norm[2])
    assert np.all((gce.low <= gce.flux) & (gce.flux <= gce.high) & (gce.high < gce.upper_limit))
    assert gce.test_statistic.sum() == pytest.approx(result.test_statistic("gce"))
    found = gce.e2dnde(per_sr=True)
    np.testing.assert_allclose(found["flux"], e2dnde(gce.flux, model.energy_edges) / model.region.solid_angle)
    np.testing.assert_allclose(gce.e2dnde()["high"], e2dnde(gce.high, model.energy_edges))
    np.testing.assert_allclose(gce.energy, result.coordinates.energy)


def test_likelihood_with_and_without_factorials():
    model = SmallModel.build(n_energy=2)
    result = PoissonFit(model, observe(model, seed=9)).run()
    kernel = np.sum(result.observed * np.log(result.mean) - result.mean)
    assert result.log_likelihood_kernel == pytest.approx(kernel, abs=1e-7)
    assert result.log_likelihood == pytest.approx(poisson_log_likelihood(result.observed, result.mean), abs=1e-7)


def test_levels_are_checked():
    result = PoissonFit(SmallModel.build(), observe(SmallModel.build(), seed=1)).run()
    with pytest.raises(InputError, match=r"level: must lie in \(0, 1\), got 1.0"):
        result.intervals(1.0)
    with pytest.raises(InputError, match=r"level: must lie in \(0.5, 1\), got 0.4"):
        result.upper_limits(0.4)
    with pytest.raises(InputError, match="other: must be a fit of iso, ic, gce, disk"):
        result.shift_to(PoissonFit(SmallModel.build(n_energy=2), observe(SmallModel.build(n_energy=2), seed=1)).run())
