"""Scores against closed forms and brute force, and that they are proper."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.validation import (
    crps_excess_from_quantiles,
    crps_excess_from_samples,
    crps_excess_gaussian,
    crps_from_quantiles,
    crps_from_samples,
    crps_gaussian,
    energy_excess,
    energy_score,
    log_score_gaussian,
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


def test_energy_score_is_the_crps_in_one_dimension_and_brute_force_in_three():
    rng = np.random.default_rng(2)
    draws, truth = rng.normal(size=(20, 4, 3)), rng.normal(size=(4, 3))
    np.testing.assert_allclose(
        energy_score(truth[:, :1], draws[..., :1]), crps_from_samples(truth[:, 0], draws[..., 0])
    )
    for i in range(4):
        x = draws[:, i]
        spread = sum(np.linalg.norm(a - b) for a in x for b in x) / (20 * 19)
        expected = np.mean([np.linalg.norm(a - truth[i]) for a in x]) - spread / 2
        assert energy_score(truth, draws)[i] == pytest.approx(expected)


def test_pinball_by_hand():
    rising = np.array([[0.0], [1.0]])
    np.testing.assert_allclose(pinball([0.5], rising, [0.2, 0.8])[:, 0], [0.1, 0.1])
    np.testing.assert_allclose(pinball([2.0], rising, [0.2, 0.8])[:, 0], [0.4, 0.8])
    np.testing.assert_allclose(pinball([2.0], rising[::-1], [0.2, 0.8])[:, 0], [0.8, 0.4])


def test_log_score():
    np.testing.assert_allclose(log_score_gaussian([1.0], [0.5], [2.0]), -norm.logpdf([1.0], 0.5, 2.0))


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_scores_prefer_the_truth(factor):
    """Mean difference over 5,000 maps exceeds 4 standard errors."""
    rng = np.random.default_rng(3)
    truth, zero, one = rng.normal(size=5000), np.zeros(5000), np.ones(5000)
    for score in (crps_gaussian, log_score_gaussian):
        gain = score(truth, zero, factor * one) - score(truth, zero, one)
        assert gain.mean() > 4 * gain.std() / np.sqrt(5000)


def test_skill():
    assert skill([1.0, 1.0], [2.0, 2.0]) == 0.5
    with pytest.raises(InputError, match=r"reference: must have the shape of score, \(2,\), got \(1,\)"):
        skill([1.0, 1.0], [2.0])
    with pytest.raises(InputError, match="reference: its mean must be above zero, got -2"):
        skill([1.0], [-2.0])


@pytest.mark.parametrize(
    ("score", "truth", "samples", "message"),
    [
        (
            crps_from_samples,
            np.zeros(3),
            np.zeros((1, 3)),
            r"samples: .*>= 2, \*\(3,\)\), got \(1, 3\)",
        ),
        (energy_score, np.zeros((3, 2)), np.zeros((5, 3, 1)), r"samples: must have shape"),
        (energy_score, np.zeros(3), np.zeros((5, 3)), r"truth: must have shape \(n_map, d\), got \(3,\)"),
    ],
)
def test_bad_input_is_named(score, truth, samples, message):
    with pytest.raises(InputError, match=message):
        score(truth, samples)


def test_expected_scores_are_those_of_draws_from_the_prediction():
    """Mean excess over truths drawn from the prediction is zero: 4 σ of 40,000 draws. For falling curves too."""
    rng, taus = np.random.default_rng(12), np.array([0.1, 0.25, 0.5, 0.8, 0.95])
    knots = np.array([-1.0, 0.2, 0.5, 2.0, 2.5])
    truth = np.interp(rng.uniform(size=40_000), taus, knots)  # the ends hold the tails
    rising = np.broadcast_to(knots[:, None], (5, truth.size))
    for curves, levels in ((rising, taus), (rising[::-1], 1 - taus[::-1])):
        excess = crps_excess_from_quantiles(truth, curves, levels)
        assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(truth.size)
    z = rng.normal(size=40_000)
    excess = crps_excess_gaussian(2 * z + 1, 1 + 0 * z, 2 + 0 * z)
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(z.size)
    draws = rng.gamma(2.0, size=(11, 40_000))
    excess = crps_excess_from_samples(draws[0], draws[1:])
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(z.size)


def test_energy_excess_is_the_crps_excess_of_one_component():
    draws = np.random.default_rng(13).normal(size=(31, 50))
    one = crps_excess_from_samples(draws[0], draws[1:])
    np.testing.assert_allclose(energy_excess(draws[0][:, None], draws[1:, :, None]), one)


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


def test_one_level_has_no_expectation():
    with pytest.raises(InputError, match="taus: needs at least two levels"):
        crps_excess_from_quantiles([0.0], [[0.0]], [0.5])
