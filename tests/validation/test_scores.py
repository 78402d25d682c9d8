"""Scores against closed forms and brute force, and that they are proper."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.validation import (
    crps_from_quantiles,
    crps_from_samples,
    crps_gaussian,
    pinball,
    skill,
    skill_estimate,
)

TAUS = np.arange(1, 400) / 400


@pytest.mark.parametrize("truth", [-1.3, 0.2, 2.5])
def test_gaussian_crps_is_its_integral(truth):
    """∫ (F(x) − 1{x ≥ y})² dx, by quadrature."""
    mean, std = 0.4, 1.7
    left = quad(lambda x: norm.cdf(x, mean, std) ** 2, -30, truth)[0]
    right = quad(lambda x: norm.sf(x, mean, std) ** 2, truth, 30)[0]
    assert crps_gaussian([truth], [mean], [std])[0] == pytest.approx(left + right, abs=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
def test_quantiles_give_the_gaussian_crps(sign):
    """399 levels, tails cut at 1/400: good to 1 %."""
    truth = np.array([-1.3, 0.2, 2.5])
    quantiles = sign * norm.ppf(TAUS)[:, None] + np.zeros(3)
    np.testing.assert_allclose(
        crps_from_quantiles(truth, quantiles, TAUS), crps_gaussian(truth, np.zeros(3), np.ones(3)), rtol=0.01
    )


def test_samples_give_the_gaussian_crps():
    """Unbiased: the mean over 4,000 independent sets of 10 samples; tolerance 4 standard errors."""
    draws = np.random.default_rng(0).normal(size=(10, 4000))
    scores = crps_from_samples(np.full(4000, 0.7), draws)
    error = scores.std() / np.sqrt(4000)
    assert abs(scores.mean() - crps_gaussian([0.7], [0.0], [1.0])[0]) < 4 * error


def test_samples_agree_with_all_pairs():
    rng = np.random.default_rng(1)
    draws, truth = rng.normal(size=(7, 5)), rng.normal(size=5)
    pairs = np.abs(draws[:, None] - draws[None]).sum(axis=(0, 1)) / (7 * 6)
    np.testing.assert_allclose(crps_from_samples(truth, draws), np.abs(draws - truth).mean(axis=0) - pairs / 2)


def test_pinball_by_hand():
    rising = np.array([[0.0], [1.0]])
    np.testing.assert_allclose(pinball([0.5], rising, [0.2, 0.8])[:, 0], [0.1, 0.1])
    np.testing.assert_allclose(pinball([2.0], rising, [0.2, 0.8])[:, 0], [0.4, 0.8])
    np.testing.assert_allclose(pinball([2.0], rising[::-1], [0.2, 0.8])[:, 0], [0.8, 0.4])


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_scores_prefer_the_truth(factor):
    """Mean difference over 5,000 maps exceeds 4 standard errors."""
    rng = np.random.default_rng(3)
    truth, zero, one = rng.normal(size=5000), np.zeros(5000), np.ones(5000)
    gain = crps_gaussian(truth, zero, factor * one) - crps_gaussian(truth, zero, one)
    assert gain.mean() > 4 * gain.std() / np.sqrt(5000)


def test_skill():
    assert skill([1.0, 1.0], [2.0, 2.0]) == 0.5
    with pytest.raises(InputError, match=r"reference: must have the shape of score, \(2,\), got \(1,\)"):
        skill([1.0, 1.0], [2.0])
    with pytest.raises(InputError, match="reference: its mean must be above zero, got -2"):
        skill([1.0], [-2.0])


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"samples: must be at least 2 along the first axis, got \(1, 3\)"):
        crps_from_samples(np.zeros(3), np.zeros((1, 3)))


def test_skill_has_a_band_that_knows_the_maps_are_the_same():
    rng = np.random.default_rng(14)
    reference = rng.gamma(1.0, size=(400, 3))
    found = skill_estimate(0.8 * reference, reference)
    assert found.value == pytest.approx(0.2)
    assert found.high - found.low < 1e-9  # the ratio is the same in every map
    other = skill_estimate(rng.gamma(1.0, size=(400, 3)), reference)
    assert other.low < 0 < other.high
    assert other.value == pytest.approx(skill(*(x for x in (other_scores(14), reference))), abs=1e-12)


def other_scores(seed):
    rng = np.random.default_rng(seed)
    rng.gamma(1.0, size=(400, 3))
    return rng.gamma(1.0, size=(400, 3))
