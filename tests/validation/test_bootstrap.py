"""Bands against scipy's binomial test, the standard error of a mean, and their own rules."""

import numpy as np
import pytest
from scipy.stats import binomtest

from gcesbi.errors import InputError
from gcesbi.validation import binomial_band, bootstrap_band
from gcesbi.validation.bootstrap import map_weights


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
