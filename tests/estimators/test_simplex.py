"""Errors that sum to zero, with the correlations and deviations asked for; draws that are shares."""

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from gcesbi.errors import InputError
from gcesbi.estimators import load_estimator, save_estimator
from gcesbi.estimators.simplex import error_correlation, onto_simplex, simplex_scale

WEIGHT = np.array([0.5, 0.3, 0.2])
T, E = 4, 3


def known_scale(seed: int = 0) -> np.ndarray:
    """A (T, E + 1, m) of errors that sum to zero over templates, the last column being the weighted one."""
    scale = np.random.default_rng(seed).normal(size=(T, E, 9)) * np.linspace(0.01, 0.03, T)[:, None, None]
    scale -= scale.mean(axis=0)
    return np.concatenate([scale, np.einsum("tem,e->tm", scale, WEIGHT)[:, None]], axis=1)


def test_ranks_of_equal_errors_are_their_mean():
    errors = np.random.default_rng(0).integers(0, 6, (40, 3))
    scores = norm.ppf(rankdata(errors, axis=0) / 41)
    scores /= np.linalg.norm(scores, axis=0)
    np.testing.assert_allclose(error_correlation(errors), scores.T @ scores, atol=1e-12)


def covariance(scale: np.ndarray) -> np.ndarray:
    flat = scale.reshape(-1, scale.shape[-1])
    return flat @ flat.T


def correlation(scale: np.ndarray) -> np.ndarray:
    unit = np.sqrt(np.diag(covariance(scale)))
    return covariance(scale) / np.outer(unit, unit)


def test_the_correlation_of_gaussian_errors_is_found_whatever_their_scale():
    """To 5 Monte Carlo errors, 1/√n; a monotone change of each error, as its long tail is, changes nothing."""
    scale, n = known_scale(), 20_000
    errors = np.einsum("tcm,nm->ntc", scale, np.random.default_rng(1).normal(size=(n, 9))).reshape(n, -1)
    found = error_correlation(errors)
    np.testing.assert_allclose(found, correlation(scale), atol=5 / np.sqrt(n))
    np.testing.assert_allclose(error_correlation(np.sinh(50 * errors)), found, atol=1e-12)


def test_an_error_that_never_varies_goes_with_nothing():
    errors = np.random.default_rng(0).normal(size=(100, 3))
    errors[:, 1] = 0
    np.testing.assert_array_equal(error_correlation(errors)[1], [0, 1, 0])


@pytest.mark.parametrize("errors", [np.zeros((15, 2)), np.zeros(20), np.full((20, 2), np.nan)])
def test_errors_to_correlate_are_checked(errors):
    with pytest.raises(InputError, match="errors: must be finite, of at least 16 maps, got"):
        error_correlation(errors)


def of_one(std, covariance, weight):
    return simplex_scale(std[None], covariance, weight[None])[0]


def test_errors_of_many_maps_are_those_of_each_by_itself():
    scale, rng, n = known_scale(), np.random.default_rng(6), 70
    std = np.linalg.norm(scale, axis=-1) * rng.uniform(0.5, 2.0, (n, T, 1))
    weight = rng.dirichlet(20 * WEIGHT, n)
    made = simplex_scale(std, correlation(scale), weight)
    each = [of_one(one, correlation(scale), share) for one, share in zip(std, weight, strict=True)]
    np.testing.assert_allclose(made, each, atol=1e-12)


def test_errors_that_sum_to_zero_keep_their_covariance():
    scale = known_scale()
    std = np.linalg.norm(scale, axis=-1)
    made = of_one(std, correlation(scale), WEIGHT)
    np.testing.assert_allclose(covariance(made), covariance(scale), atol=1e-10)


def test_other_deviations_are_met_and_errors_sum_to_zero():
    """Deviations of another map, with the correlation of the first."""
    scale = known_scale()
    std = np.linalg.norm(scale, axis=-1) * np.random.default_rng(2).uniform(0.8, 1.25, (T, 1))
    made = of_one(std, correlation(scale), WEIGHT)
    np.testing.assert_allclose(made.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(made, axis=-1), std, rtol=0.02)
    short = np.einsum("tem,e->tm", made[:, :E], WEIGHT) - made[:, E]
    assert np.all(np.linalg.norm(short, axis=-1) < 0.05 * std[:, E])


def test_without_a_correlation_errors_are_as_independent_as_the_sum_allows():
    """Alike deviations of T templates: every pair correlates with −1/(T − 1)."""
    made = of_one(np.full((T, 1), 0.1), np.eye(T), np.ones(1))
    np.testing.assert_allclose(correlation(made), np.eye(T) * T / (T - 1) - 1 / (T - 1), atol=1e-12)


def test_an_error_larger_than_all_others_together_is_cut():
    made = of_one(np.array([[0.5], [0.1], [0.1]]), np.eye(3), np.ones(1))
    np.testing.assert_allclose(made.sum(axis=0), 0, atol=1e-12)
    assert np.linalg.norm(made[0, 0]) == pytest.approx(0.2, abs=0.03)


def drawn(n: int = 500, spread: float = 0.3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    weight = rng.dirichlet(20 * WEIGHT, n)
    shares = np.array([0.5, 0.3, 0.15, 0.05])[:, None] + spread * rng.normal(size=(n, T, E))
    return shares, np.array([0.5, 0.3, 0.15, 0.05]) + spread * rng.normal(size=(n, T)), weight


def test_draws_become_shares_of_bins_that_belong_to_those_of_all_energies():
    shares, together, weight = drawn(spread=0.05)
    made, total = onto_simplex(shares, together, weight, np.full((T, E), 1 / T))
    np.testing.assert_allclose(made.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.einsum("nte,ne->nt", made, weight), total, atol=1e-12)
    wanted = np.maximum(together, 0)
    off = np.abs(total - wanted / wanted.sum(axis=1, keepdims=True)).max(axis=1)
    assert np.mean(off > 1e-3) < 0.01  # zeros of a draw may leave a template too few bins to give its share
    assert made.min() == 0


def test_shares_stay_as_they_are():
    rng = np.random.default_rng(4)
    shares, weight = rng.dirichlet(np.ones(T), (50, E)).swapaxes(1, 2), rng.dirichlet(np.ones(E), 50)
    together = np.einsum("nte,ne->nt", shares, weight)
    for ours, theirs in zip(onto_simplex(shares, together, weight, shares[0]), (shares, together), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("spread", [3.0, 100.0])
def test_wild_draws_become_shares_too(spread):
    shares, together, weight = drawn(spread=spread)
    shares[0], together[1] = -1, -1  # nothing left in any bin; nothing left together
    weight[2] = [1, 0, 0]
    made, total = onto_simplex(shares, together, weight, np.full((T, E), 1 / T))
    for values in (made, total[..., None]):
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-12)
        assert values.min() >= 0


def test_the_correlation_of_errors_is_stored_with_the_weights(toy, maps, tmp_path):
    estimator = toy.spectra()
    estimator.fit_errors(maps.fresh)
    found = estimator.error_correlation.numpy()
    assert np.abs(found - np.eye(8)).max() > 0.5
    save_estimator(estimator, tmp_path / "a")
    np.testing.assert_array_equal(load_estimator(tmp_path / "a").error_correlation.numpy(), found)


def test_weights_from_before_correlations_were_fitted_are_read(toy, tmp_path):
    estimator = toy.spectra()
    estimator.register_buffer("error_correlation", None)
    save_estimator(estimator, tmp_path / "a")
    np.testing.assert_array_equal(load_estimator(tmp_path / "a").error_correlation.numpy(), np.eye(8))


def test_a_network_that_knows_its_covariance_is_fitted_none(toy, maps):
    with pytest.raises(InputError, match="covariance: must be diagonal for a correlation to be fitted, got 'full'"):
        toy.spectra(covariance="full").fit_errors(maps.fresh)
