"""Means over maps: both bands cover, both know that bins of one map go together."""

import numpy as np
import pytest

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
    with pytest.raises(InputError, match="used: no pair counts"):
        Estimate.linear(np.zeros((2, 3)), np.zeros((2, 3), bool))
