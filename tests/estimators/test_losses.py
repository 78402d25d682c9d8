import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from gcesbi.estimators.losses import (
    cholesky_nll,
    earth_movers_pinball,
    gaussian_crps,
    gaussian_nll,
    logit_pinball,
    low_rank_nll,
    pinball,
)
from gcesbi.validation import crps_gaussian

FEW = settings(deadline=None, max_examples=30)


@FEW
@given(st.floats(-1, 1), st.floats(0.01, 0.99))
def test_pinball_is_the_tilted_absolute_value(difference, level):
    value = float(pinball(torch.tensor(difference), torch.tensor(level)))
    assert value == pytest.approx((level if difference > 0 else level - 1) * difference, abs=1e-6)
    assert value >= 0


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_pinball_is_least_at_the_quantile(level):
    """Grid search over 20 001 exponential draws; the empirical quantile is within one step of the least."""
    draws = torch.from_numpy(np.random.default_rng(0).exponential(size=20_001))
    grid = torch.linspace(0, 4, 401, dtype=torch.float64)
    losses = pinball(draws[:, None] - grid, torch.tensor(level, dtype=torch.float64)).mean(0)
    best = float(grid[losses.argmin()])
    assert best == pytest.approx(float(np.quantile(draws, level)), abs=0.011)


def test_earth_movers_pinball_by_hand():
    cdf, predicted = torch.tensor([[0.2, 0.7, 1.0]]), torch.tensor([[0.5, 0.6, 1.0]])
    loss = earth_movers_pinball(cdf, predicted, torch.tensor([0.9]))
    assert float(loss) == pytest.approx(0.1 * 0.3 + 0.9 * 0.1)


def test_earth_movers_pinball_of_the_median_is_half_the_earth_movers_distance():
    rng = np.random.default_rng(1)
    a, b = (np.cumsum(rng.dirichlet(np.ones(26), size=7), axis=1) for _ in range(2))
    loss = earth_movers_pinball(torch.from_numpy(a), torch.from_numpy(b), torch.full((7,), 0.5, dtype=torch.float64))
    np.testing.assert_allclose(loss, 0.5 * np.abs(a - b).sum(1))


def test_low_tau_is_rewarded_for_a_cdf_that_rises_early():
    """t = 1 - τ: at τ = 0.05 a CDF above the truth costs little, one below it costs much."""
    cdf, level = torch.tensor([0.5]), torch.tensor(1 - 0.05)
    above, below = (earth_movers_pinball(cdf, torch.tensor([p]), level) for p in (0.7, 0.3))
    assert above < below / 10


def test_logit_pinball_has_its_least_at_the_same_quantile():
    draws = torch.from_numpy(np.random.default_rng(0).uniform(0.001, 0.2, size=20_001))
    grid = torch.linspace(0.002, 0.198, 197, dtype=torch.float64)
    level = torch.tensor(0.8, dtype=torch.float64)
    plain = earth_movers_pinball(draws[:, None, None], grid[None, :, None], level).mean(0)
    logit = logit_pinball(draws[:, None, None], torch.logit(grid)[None, :, None], level).mean(0)
    assert abs(int(plain.argmin()) - int(logit.argmin())) <= 1


def test_logit_pinball_moves_the_truth_into_its_range():
    loss = logit_pinball(torch.tensor([0.0]), torch.tensor([-math.log(99_999.0)]), torch.tensor(0.5))
    assert float(loss) == pytest.approx(0, abs=1e-3)


@FEW
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 5))
def test_gaussian_nll_is_scipys(value, mean, std):
    loss = gaussian_nll(torch.tensor(value), torch.tensor(mean), torch.tensor(math.log(std)))
    assert float(loss) == pytest.approx(-norm.logpdf(value, mean, std), rel=1e-4, abs=1e-4)


@FEW
@given(st.integers(0, 2**31 - 1), st.integers(1, 12))
def test_cholesky_nll_is_scipys_and_torchs(seed, n):
    """Float64; the precision's factor has entries of unit size and a diagonal between 0.5 and 2."""
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(n, n)), -1) + np.diag(rng.uniform(0.5, 2, n))
    value = rng.normal(size=n)
    loss = cholesky_nll(torch.from_numpy(value), torch.from_numpy(factor))
    inverse = np.linalg.inv(factor)
    covariance = inverse @ inverse.T
    assert float(loss) == pytest.approx(
        -multivariate_normal.logpdf(value, cov=covariance, allow_singular=True), rel=1e-6
    )
    zero = torch.zeros(n, dtype=torch.float64)
    gaussian = torch.distributions.MultivariateNormal(zero, precision_matrix=torch.from_numpy(factor.T @ factor))
    assert float(loss) == pytest.approx(-float(gaussian.log_prob(torch.from_numpy(value))), rel=1e-6)


@FEW
@given(st.integers(0, 2**31 - 1), st.integers(1, 4), st.floats(-3, 1))
def test_low_rank_nll_is_scipys_and_torchs(seed, rank, log_std):
    rng = np.random.default_rng(seed)
    value, loadings = rng.normal(size=6), rng.normal(size=(6, rank))
    spread = log_std + rng.uniform(-0.5, 0.5, 6)
    loss = low_rank_nll(torch.from_numpy(value), torch.from_numpy(spread), torch.from_numpy(loadings))
    covariance = np.diag(np.exp(2 * spread)) + loadings @ loadings.T
    assert float(loss) == pytest.approx(-multivariate_normal.logpdf(value, cov=covariance), rel=1e-6)
    variance = torch.from_numpy(np.exp(2 * spread))
    gaussian = torch.distributions.LowRankMultivariateNormal(
        torch.zeros(6).double(), torch.from_numpy(loadings), variance
    )
    assert float(loss) == pytest.approx(-float(gaussian.log_prob(torch.from_numpy(value))), rel=1e-6)


def test_correlated_losses_are_the_diagonal_one_without_correlation():
    rng = np.random.default_rng(2)
    value, log_std = (torch.from_numpy(rng.normal(size=(5, 7))) for _ in range(2))
    expected = gaussian_nll(value, torch.zeros(7), log_std).sum(1)
    np.testing.assert_allclose(cholesky_nll(value, torch.diag_embed(torch.exp(-log_std))), expected)
    np.testing.assert_allclose(low_rank_nll(value, log_std, torch.zeros(5, 7, 2)), expected)


def test_low_rank_nll_holds_in_float32_where_the_diagonal_is_small():
    """D of 1e-6 beside loadings of size one: the terms that cancel are 1e6 times their difference."""
    rng = np.random.default_rng(3)
    loadings = rng.normal(size=(50, 8))
    value = loadings @ rng.normal(size=8) + 1e-3 * rng.normal(size=50)
    covariance = 1e-6 * np.eye(50) + loadings @ loadings.T
    value32, loadings32 = (torch.from_numpy(a).float() for a in (value, loadings))
    log_std = torch.full((50,), math.log(1e-3))
    exact = -multivariate_normal.logpdf(
        value32.double(), cov=1e-6 * np.eye(50) + (loadings32.double() @ loadings32.double().T).numpy()
    )
    assert float(low_rank_nll(value32, log_std, loadings32)) == pytest.approx(exact, rel=1e-4)
    assert np.linalg.cond(covariance) > 1e6


@FEW
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.05, 5))
def test_gaussian_crps_is_that_of_validation_over_sigma(value, mean, std):
    loss = gaussian_crps(*(torch.tensor(each, dtype=torch.float64) for each in (value, mean, math.log(std))))
    assert float(loss) == pytest.approx(float(crps_gaussian(value, mean, std)) / std, abs=1e-9)


def _mean_crps(value, std):
    return crps_gaussian(value.numpy(), np.zeros(len(value)), np.full(len(value), std)).mean()


def test_gaussian_crps_weighs_entries_alike_and_keeps_their_minima():
    """Gradients are those of the score over σ; at the best σ of t-distributed errors 68 % intervals hold 68 %."""
    value = torch.from_numpy(np.random.default_rng(0).standard_t(4, 200_000))
    log_std = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    gaussian_crps(value, torch.zeros_like(value), log_std).mean().backward()
    std, step = math.exp(0.3), 1e-5
    above, below = (_mean_crps(value, std + sign * step) for sign in (1, -1))
    assert float(log_std.grad) == pytest.approx((above - below) / (2 * step), rel=1e-6)
    grid = np.geomspace(0.9, 1.6, 141)
    best = {
        "crps": grid[np.argmin([_mean_crps(value[:20_000], each) for each in grid])],
        "likelihood": float(value.square().mean().sqrt()),
    }
    coverage = {name: float((value.abs() < std).double().mean()) for name, std in best.items()}
    assert abs(coverage["crps"] - 0.683) < 0.03 < coverage["likelihood"] - 0.683
