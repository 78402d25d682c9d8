"""Widths of intervals against closed forms."""

import numpy as np
import pytest
from scipy.stats import beta, norm

from gcesbi.errors import InputError
from gcesbi.validation import gaussian_sharpness, prior_quantiles, sharpness, sharpness_ratio

TAUS = np.linspace(0.01, 0.99, 99)
A, B = np.array([[2.0, 3.0], [5.0, 1.5]]), np.array([[4.0, 2.0], [5.0, 3.0]])


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("level", [0.95, 0.68, 0.5])
def test_is_the_width_of_a_beta_distribution(level, direction):
    """The levels asked for are among the given ones: exact."""
    taus = np.arange(1, 200) / 200
    quantiles = beta.ppf(taus[::direction, None, None], A, B)
    expected = beta.ppf((1 + level) / 2, A, B) - beta.ppf((1 - level) / 2, A, B)
    np.testing.assert_allclose(sharpness(quantiles, taus, level), expected, atol=1e-12)


def test_is_linear_between_the_given_levels():
    quantiles = beta.ppf(TAUS[:, None, None], A, B)
    found = sharpness(quantiles, TAUS, 0.953)
    for index in np.ndindex(A.shape):
        low, high = np.interp([0.0235, 0.9765], TAUS, quantiles[(slice(None), *index)])
        assert found[index] == pytest.approx(high - low, abs=1e-12)


def test_default_level_is_95_percent():
    quantiles = np.array([0.1, 0.2, 0.5, 0.7])[:, None, None]
    assert sharpness(quantiles, [0.025, 0.16, 0.84, 0.975])[0, 0] == pytest.approx(0.6)


def test_gaussian_width():
    np.testing.assert_allclose(gaussian_sharpness([1.0, 2.0], 0.95), [2 * norm.ppf(0.975), 4 * norm.ppf(0.975)])
    np.testing.assert_allclose(gaussian_sharpness([1.0]), 1.98892, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": 0.99}, "level: needs the quantile at level 0.005, but taus reach only from 0.01 to 0.99"),
        ({"level": 1.0}, r"level: must lie in \(0, 1\), got 1.0"),
        ({"taus": TAUS[:50]}, "quantiles: must have one curve per tau, 50, along the first axis, got shape"),
        ({"taus": TAUS[::-1]}, "taus: must be sorted"),
        ({"quantiles": np.full((99, 2, 2), np.nan)}, "quantiles: must be finite"),
    ],
)
def test_bad_input_is_named(changes, message):
    good = {"quantiles": np.zeros((99, 2, 2)), "taus": TAUS}
    with pytest.raises(InputError, match=message):
        sharpness(**(good | changes))


def test_bad_gaussian_widths_are_named():
    with pytest.raises(InputError, match=r"std: must be above zero, got -1"):
        gaussian_sharpness([-1.0, 2.0])
    with pytest.raises(InputError, match=r"level: must lie in \(0, 1\), got 0"):
        gaussian_sharpness([1.0], 0)


def test_the_ratio_to_the_priors_width():
    """θ ~ N(0, 1), seen with unit noise: posterior widths are 1/√2 of the prior's; 2 % for 20,000 labels."""
    labels = np.random.default_rng(0).normal(size=(20_000, 2))
    prior = prior_quantiles(labels, TAUS)
    curves = np.broadcast_to(norm.ppf(TAUS)[:, None, None] / np.sqrt(2), (99, 30, 2))
    np.testing.assert_allclose(sharpness_ratio(curves, TAUS, prior, 0.9), 1 / np.sqrt(2), rtol=0.02)
    np.testing.assert_allclose(prior_quantiles(labels, TAUS, falling=True), prior[::-1], rtol=1e-6, atol=1e-6)


def test_a_bin_that_the_prior_knows_has_no_ratio():
    labels = np.stack([np.arange(9.0), np.ones(9)], axis=1)
    ratio = sharpness_ratio(np.zeros((99, 4, 2)), TAUS, prior_quantiles(labels, TAUS))
    np.testing.assert_array_equal(ratio[:, 0], 0)
    assert np.isnan(ratio[:, 1]).all()
    with pytest.raises(InputError, match=r"prior: must have shape \(n_tau, \*\(2,\)\), got \(99, 3\)"):
        sharpness_ratio(np.zeros((99, 4, 2)), TAUS, np.zeros((99, 3)))


def test_crossing_curves_are_refused():
    curves = np.tile(np.linspace(0, 1, 99)[:, None, None], (1, 2, 2))
    curves[40:42] = curves[[41, 40]]
    with pytest.raises(InputError, match="must not cross"):
        sharpness(curves, TAUS)
