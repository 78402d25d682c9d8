"""Bands against scipy's binomial test, the standard error of a mean, and their own rules."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from gcesbi.errors import InputError
from gcesbi.validation import binomial_band, bootstrap_band
from gcesbi.validation.bootstrap import map_weights, share_band


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (475, 500)])
def test_binomial_band_is_clopper_pearson(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(binomial_band(successes, trials), [expected.low, expected.high], atol=1e-12)


def test_no_trials_leave_all_open():
    assert [float(x) for x in binomial_band(0, 0)] == [0.0, 1.0]


def test_band_of_a_mean_is_its_standard_error():
    """1,000 draws: the quantiles are good to about 5 % of the width."""
    values = np.random.default_rng(0).normal(3, 2, size=(400, 3))
    low, high = bootstrap_band(values, np.ones((400, 3)))
    np.testing.assert_allclose(high - low, 2 * 1.96 * values.std(axis=0) / 20, rtol=0.15)
    np.testing.assert_allclose((low + high) / 2, values.mean(axis=0), atol=0.05)


def test_same_seed_same_band():
    values = np.random.default_rng(1).normal(size=100)
    bands = [bootstrap_band(values, np.ones(100), seed=seed) for seed in (3, 4, 3)]
    assert bands[0] == bands[2] != bands[1]


def test_every_draw_has_as_many_maps():
    weights = map_weights(30, 50, 1)
    assert np.all(weights.sum(axis=1) == 30)
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 0


def test_pairs_in_few_maps_only():
    """One map in fifty holds pairs: draws without it fall back on the whole, nothing is NaN."""
    numerator, denominator = np.zeros(50), np.zeros(50)
    numerator[7], denominator[7] = 1.0, 2.0
    assert [float(x) for x in bootstrap_band(numerator, denominator)] == [0.5, 0.5]


def test_impossible_successes_are_named():
    with pytest.raises(InputError, match="successes: must lie between 0 and the number of trials"):
        binomial_band(11, 10)


def test_share_band_of_independent_maps_is_clopper_pearson_but_for_students_quantile():
    """One pair a map, 200 maps: n - 1 in the variance and Student's t widen the band by less than 2 %."""
    for covered in (50, 190):
        hits = (np.arange(200) < covered).astype(float)
        low, high = share_band(hits, np.ones(200))
        expected = binomial_band(covered, 200)
        np.testing.assert_allclose([low, high], expected, atol=0.02 * (expected[1] - expected[0]))
        assert low < expected[0] < expected[1] < high


def test_share_band_counts_copies_once():
    """Twenty equal bins of a map say no more than one."""
    hits = (np.random.default_rng(0).uniform(size=300) < 0.7).astype(float)
    np.testing.assert_allclose(share_band(20 * hits, np.full(300, 20.0)), share_band(hits, np.ones(300)))


@pytest.mark.parametrize(
    ("n_map", "rho", "alpha"), [(100, 0.9, 0.95), (40, 0.9, 0.5), (40, 0.3, 0.95), (20, 0.0, 0.95)]
)
def test_share_bands_hold_what_they_say(n_map, rho, alpha):
    """Ten bins of correlation ρ, 500 sets: at least 95 %, less 4 σ of the trials."""
    assert held_share(n_map, rho, alpha, share_band) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 500)


def test_share_bands_hold_more_than_resampling_where_few_maps_are_nearly_all_covered():
    """20 maps whose bins nearly go together: about 0.90 of the bands hold 0.95, of those by resampling 0.75."""
    by_resampling = held_share(20, 0.9, 0.95, lambda hits, pairs: bootstrap_band(hits, pairs))
    assert held_share(20, 0.9, 0.95, share_band) > by_resampling + 0.1


def held_share(n_map, rho, alpha, band):
    rng = np.random.default_rng(1)
    z = np.sqrt(rho) * rng.normal(size=(n_map, 500, 1)) + np.sqrt(1 - rho) * rng.normal(size=(n_map, 500, 10))
    hits = (np.abs(z) < norm.ppf((1 + alpha) / 2)).sum(axis=-1).astype(float)
    low, high = band(hits, np.full(n_map, 10.0))
    return np.mean((low <= alpha) & (alpha <= high))


def test_share_band_of_full_cover_is_open_below_and_one_map_says_nothing():
    low, high = share_band(np.full((20, 2), 3.0), np.full(20, 3.0))
    assert high.tolist() == [1.0, 1.0]
    assert np.all((low > 0.7) & (low < 0.85))  # 0.83 by Clopper and Pearson for 20 maps
    assert [float(x) for x in share_band(np.array([1.0, 0.0]), np.array([1.0, 0.0]))] == [0.0, 1.0]
