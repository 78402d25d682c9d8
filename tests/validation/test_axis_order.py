"""Draws and curves given with their axes in another order are noticed where sizes tell, and coverage names its twin."""

import numpy as np
import pytest
from scipy.stats import binom

from gcesbi.errors import InputError
from gcesbi.validation import (
    Calibration,
    coverage,
    coverage_with_atoms,
    crps_from_samples,
    interval_coverage,
    pit,
)
from gcesbi.validation.pit import rank_bounds
from gcesbi.validation.sbi_diagnostics import sbc

RNG = np.random.default_rng(0)
TRUTH, DRAWS = RNG.normal(size=(30, 4)), RNG.normal(size=(50, 30, 4))
TAUS = np.arange(1, 20) / 20
CURVES = np.quantile(DRAWS, TAUS, axis=0)


@pytest.mark.parametrize("measure", [Calibration.from_samples, crps_from_samples, rank_bounds, sbc])
@pytest.mark.parametrize(
    ("order", "hint"),
    [
        ((1, 2, 0), r"axis 2 seems to be n_sample: pass numpy.moveaxis\(samples, 2, 0\)"),
        ((1, 0, 2), r"axis 1 seems to be n_sample: pass numpy.moveaxis\(samples, 1, 0\)"),
        ((0, 2, 1), r"the axes of truth are in reverse: pass numpy.transpose\(samples, \(0, 2, 1\)\)"),
    ],
)
def test_moved_axes_of_draws_are_noticed(measure, order, hint):
    moved = np.transpose(DRAWS, order)
    with pytest.raises(InputError, match=r"samples: must have shape \(n_sample, \*truth.shape\) = .*" + hint) as caught:
        measure(TRUTH, moved)
    call = str(caught.value).split("pass ")[1]
    np.testing.assert_array_equal(eval(call, {"numpy": np, "samples": moved}), DRAWS)


def test_chains_are_joined_by_the_caller():
    chains = DRAWS.reshape(5, 10, 30, 4)
    with pytest.raises(InputError, match=r"join chains into one axis of draws: pass samples.reshape") as caught:
        crps_from_samples(TRUTH, chains)
    call = str(caught.value).split("pass ")[1]
    np.testing.assert_array_equal(eval(call, {"samples": chains}), DRAWS)


def test_a_last_axis_of_one_too_many_or_missing_is_noticed():
    one = np.random.default_rng(1).normal(size=(50, 30))
    with pytest.raises(InputError, match=r"a last axis is missing: pass samples\[..., None\]"):
        crps_from_samples(TRUTH[:, :1], one)
    with pytest.raises(InputError, match=r"drop the last axis: pass samples\[..., 0\]"):
        crps_from_samples(TRUTH[:, 0], one[..., None])


@pytest.mark.parametrize("measure", [pit, lambda *a: interval_coverage(*a, [0.5])])
def test_moved_axes_of_curves_are_noticed(measure):
    with pytest.raises(
        InputError, match=r"= \(19, 30, 4\), got \(30, 4, 19\); axis 2 seems to be n_tau: pass numpy.move"
    ):
        measure(TRUTH, np.moveaxis(CURVES, 0, -1), TAUS)


def test_sizes_that_tell_nothing_still_state_the_order():
    with pytest.raises(InputError, match=r"samples: must have shape \(n_sample, \*truth.shape\) = .*\(7, 8, 9\)$"):
        crps_from_samples(TRUTH, np.zeros((7, 8, 9)))
    with pytest.raises(InputError, match=r"truth: must have shape \(n_map, ...\), got \(\)"):
        crps_from_samples(1.0, np.zeros(9))
    with pytest.raises(InputError, match=r"truth: must have shape \(n_map, d\), got \(30,\)"):
        sbc(TRUTH[:, 0], DRAWS[..., 0])


@pytest.mark.parametrize("measure", [coverage, coverage_with_atoms])
def test_coverage_of_values_that_are_no_cdfs_names_interval_coverage(measure):
    with pytest.raises(InputError, match=r"truth: CDF values must lie in \[0, 1\].*validation.interval_coverage"):
        measure(TRUTH, CURVES, TAUS, [0.5])


def test_tensors_are_arrays_and_those_with_gradients_say_what_to_do():
    torch = pytest.importorskip("torch")
    draws = torch.as_tensor(DRAWS)
    np.testing.assert_array_equal(crps_from_samples(TRUTH, draws), crps_from_samples(TRUTH, DRAWS))
    with pytest.raises(InputError, match=r"samples: must be an array of numbers, got tensor.*detach\(\)"):
        crps_from_samples(TRUTH, draws.requires_grad_())


def test_interval_coverage_is_a_count_of_truths_inside():
    found = interval_coverage(TRUTH, CURVES, TAUS, [0.5, 0.9])
    for share, (low, high) in zip(found, ((0.25, 0.75), (0.05, 0.95)), strict=True):
        inside = (np.quantile(DRAWS, low, axis=0) <= TRUTH) & (np.quantile(DRAWS, high, axis=0) >= TRUTH)
        assert share == inside.mean()
        assert binom.cdf(share * 120, 120, high - low) > 1e-4
    far = interval_coverage(TRUTH + 100.0, CURVES, TAUS, [0.5])
    assert far.tolist() == [0.0]
