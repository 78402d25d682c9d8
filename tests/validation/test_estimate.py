"""Means over maps: both bands cover, both know that bins of one map go together."""

import numpy as np
import pytest
from scipy.stats import t as student

from gcesbi.errors import InputError
from gcesbi.validation import Estimate


@pytest.mark.parametrize("kind", ["mean", "linear"])
def test_bands_cover_although_bins_go_together(kind):
    """300 sets of 80 maps with 6 equal bins: 95 % bands hold zero; 4 σ of 300 trials, and 1 % for few maps."""
    hits = 0
    for seed in range(300):
        values = np.random.default_rng(seed).normal(size=(80, 1)) * np.ones(6)
        hits += getattr(Estimate, kind)(values).side(0.0) == 0
    assert hits / 300 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 300) + 0.01)


def test_linear_agrees_with_resampling_where_maps_have_different_numbers_of_pairs():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(500, 8))
    used = rng.uniform(size=values.shape) < rng.uniform(size=(500, 1))
    one, two = Estimate.mean(values, used), Estimate.linear(values, used)
    assert one.value == pytest.approx(two.value)
    assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.12)


def test_one_map_has_no_band_and_none_is_an_error():
    one = Estimate.linear(np.ones((1, 3)))
    assert (one.value, one.low, one.high) == (1.0, -np.inf, np.inf)
    with pytest.raises(InputError, match="values: must hold at least one map"):
        Estimate.mean(np.zeros((0, 3)))
    with pytest.raises(InputError, match="values: must be finite, got 1 NaN or infinite of 6 values"):
        Estimate.linear(np.where(np.arange(6).reshape(2, 3) == 4, np.nan, 1.0))
    with pytest.raises(InputError, match=r"used: must be a mask of shape \(2, 3\), got \(2, 1\)"):
        Estimate.mean(np.zeros((2, 3)), np.ones((2, 1), bool))
    with pytest.raises(InputError, match="used: no pair counts"):
        Estimate.linear(np.zeros((2, 3)), np.zeros((2, 3), bool))


def test_linear_bands_of_squares_allow_for_their_skewness():
    """χ² of one degree of freedom, 60 maps, 1,500 sets at 99 %: each tail holds half a per cent, 4 σ of the trials.

    Student's t without Hall's transformation leaves 2.5 % above and nothing below.
    """
    square = np.random.default_rng(4).normal(size=(1500, 60, 1)) ** 2
    sides = np.array([Estimate.linear(values, level=0.99).side(1.0) for values in square])
    for side in (1, -1):
        assert np.mean(sides == side) == pytest.approx(0.005, abs=4 * np.sqrt(0.005 / 1500))


def test_linear_bands_of_symmetric_values_are_students():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    found = Estimate.linear(values)
    expected = student.interval(0.95, 4, scale=values.std(ddof=1) / np.sqrt(5))
    np.testing.assert_allclose([found.low, found.high], expected)
    assert Estimate.linear(np.ones(9)) == Estimate(1.0, 1.0, 1.0)
