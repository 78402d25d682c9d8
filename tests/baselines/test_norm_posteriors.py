from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma, kstest, truncnorm

from gcesbi.baselines import Fixed, NormPrior, PoissonFit, SamplingWarning
from gcesbi.baselines.poisson.norm_posteriors import _between, truncated_gaussian
from gcesbi.baselines.poisson.optimum import Optimum
from gcesbi.errors import InputError

from .conftest import SmallModel, observe


def few_counts(n):
    model = SmallModel.build(names=("iso",))
    counts = np.zeros(model.exposure.shape, dtype=int)
    counts[0, :n] = 1
    return model, observe(model, counts)


@pytest.mark.parametrize(
    ("mean", "low", "high"), [(1.0, 0.0, np.inf), (-3.0, 0.0, np.inf), (2.0, 0.5, 1.0), (9.0, 0.0, 4.0)]
)
def test_truncated_gaussian_is_that_of_scipy(mean, low, high):
    sigma, n = 0.7, 20_000
    uniform = np.random.default_rng(1).random(n)
    found = _between(np.full(n, mean), sigma, low, high, uniform)
    law = truncnorm((low - mean) / sigma, (high - mean) / sigma, mean, sigma)
    assert kstest(found, law.cdf).pvalue > 1e-3
    assert found.min() >= low
    assert found.max() <= high


def test_far_outside_the_truncated_gaussian_is_exponential():
    uniform = np.random.default_rng(2).random(20_000)
    found = _between(np.full(uniform.size, -100.0), 1.0, 0.0, np.inf, uniform)
    assert found.mean() == pytest.approx(0.01, rel=0.03)
    narrow = _between(np.full(uniform.size, -100.0), 1.0, 0.0, 0.005, uniform)
    assert narrow.max() <= 0.005
    # an exponential of mean 0.01 cut at 0.005 has the mean 0.01 - 0.005 / (e^0.5 - 1)
    assert narrow.mean() == pytest.approx(0.01 - 0.005 / np.expm1(0.5), rel=0.03)


def optimum(information, gradient=(0.0, 0.0)):
    return Optimum(np.array([1.0, 2.0]), np.array(gradient), np.array(information), 0.0, 0.0, 0.0)


@pytest.mark.parametrize("correlation", [0.0, -0.9, -0.9999])
def test_draws_in_a_box_are_those_of_rejection(correlation):
    """Also where the box cuts a long thin ridge, along which no single norm can move."""
    rng, box = np.random.default_rng(0), np.array([[0.0, np.inf], [0.0, 2.5]])
    covariance = 4 * np.array([[1, correlation], [correlation, 1]])
    found = optimum(np.linalg.inv(covariance), (0.2, -0.1))
    drawn = truncated_gaussian(found, box, 20_000, rng)
    free = rng.multivariate_normal(found.norms + covariance @ found.gradient, covariance, 60_000)
    kept = free[np.all((free >= box[:, 0]) & (free <= box[:, 1]), axis=1)]
    np.testing.assert_allclose(drawn.mean(axis=0), kept.mean(axis=0), atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(kept.T), atol=0.12)
    assert len(drawn) == 20_000


def test_a_direction_of_no_curvature_fills_the_box():
    """Information that is not positive: the sum is known, the difference is bounded by the box alone."""
    told = np.array([[100.0, 101.0], [101.0, 100.0]])
    drawn = truncated_gaussian(optimum(told), np.array([[0.0, 5.0], [0.0, 5.0]]), 4000, np.random.default_rng(0))
    assert drawn.sum(axis=1).std() == pytest.approx(2 / np.sqrt(402), rel=0.1)
    assert drawn[:, 0].std() == pytest.approx(3 / np.sqrt(12), rel=0.05)
    fixed = truncated_gaussian(optimum(told), np.ones((2, 2)), 5, np.random.default_rng(0))
    np.testing.assert_array_equal(fixed, [[1.0, 2.0]] * 5)


def test_quadratic_posterior_keeps_to_the_priors():
    model = SmallModel.build(n_energy=2)
    priors = {"iso": Fixed(4.0), "gce": NormPrior(low=4.0, high=5.0)}
    result = PoissonFit(model, observe(model, seed=1), priors).run()
    flux = result.posterior().sample(500, seed=1)
    energies = result.flux_per_norm.sum(axis=1)
    np.testing.assert_allclose(flux["flux"][:, 0], 4.0 * energies[0])
    gce = flux["flux"][:, 2] / energies[2]
    assert 4.0 <= gce.min() < gce.max() <= 5.0


@pytest.mark.parametrize("n", [0, 2])
def test_chain_is_exact_for_few_counts(n):
    """One flat template, flat prior: the norm follows Gamma(n + 1, 1 / S); the quadratic posterior does not."""
    model, observation = few_counts(n)
    result = PoissonFit(model, observation).run()
    chain = result.sample_posterior(n_steps=2000, n_walkers=16, seed=3)
    assert chain.converged
    size, law = model.templates.sum(), gamma(n + 1)
    effective = chain.chains[0].convergence.ess[0]
    levels = np.array([0.16, 0.5, 0.84])
    found = law.cdf(np.quantile(chain.norms[:, 0, 0], levels) * size)
    # k = 4 Monte Carlo errors of a quantile's level
    assert np.all(np.abs(found - levels) < 4 * np.sqrt(levels * (1 - levels) / effective))
    rough = result.posterior().quantiles("flux", [0.84])[0, 0] / model.flux_per_norm.sum() * size
    assert n == 0 or abs(law.cdf(rough) - 0.84) > 0.05


def test_chain_agrees_with_the_quadratic_posterior_for_many_counts():
    model = SmallModel.build(n_energy=2, brightness=300.0)
    result = PoissonFit(model, observe(model, seed=4), {"disk": Fixed(5.0)}).run()
    chain = result.sample_posterior(n_steps=1500, n_walkers=20, seed=5)
    assert chain.norms.shape[1:] == (4, 2)
    assert np.all(chain.norms[:, 3] == 5.0)
    assert [len(each.convergence.names) for each in chain.chains] == [3, 3]
    assert set(chain.names) == {"flux_fraction", "spectrum_fraction", "flux", "spectrum"}
    exact, rough = (p.quantiles("flux", [0.16, 0.5, 0.84])[:, :3] for p in (chain, result.posterior()))
    width = rough[2] - rough[0]
    assert np.all(np.abs(exact - rough) < 0.15 * width)
    assert chain.to_arviz(20).posterior["flux"].sizes["template"] == 4


def test_the_same_seed_gives_the_same_chain():
    result = PoissonFit(*few_counts(3)).run()
    with pytest.warns(SamplingWarning):
        one, two = (result.sample_posterior(n_steps=400, n_walkers=8, seed=6) for _ in range(2))
    np.testing.assert_array_equal(one.norms, two.norms)


def test_log_posterior_is_the_objective():
    model = SmallModel.build()
    fit = PoissonFit(model, observe(model, seed=7), {"gce": NormPrior(high=9.0, mean=4.0, sigma=2.0)})
    problem = fit.problems[0]
    norms = np.array([[5.0, 4.0, 3.0, 2.0], [5.0, 4.0, -1.0, 2.0], [5.0, 4.0, 9.5, 2.0]])
    found = problem.log_posterior(norms)
    assert found[0] == pytest.approx(problem.evaluate(norms[0])[0], abs=1e-8)
    assert np.all(np.isneginf(found[1:]))


def test_nothing_to_sample():
    result = PoissonFit(*few_counts(3), {"iso": Fixed(1.0)}).run()
    with pytest.raises(InputError, match="priors: leave at least one norm to sample, all are fixed"):
        result.sample_posterior()
