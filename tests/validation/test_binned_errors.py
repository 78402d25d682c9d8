"""Errors of a prediction by the bin it falls into."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.errors import InputError
from gcesbi.validation import Calibration
from gcesbi.validation.binned_errors import LEVELS, BinnedErrors


def images(n=20_000, seed=0, scale=1.0):
    """Predictions whose errors grow with them."""
    rng = np.random.default_rng(seed)
    prediction = rng.uniform(size=n)
    return prediction, prediction + scale * (0.02 + 0.1 * prediction) * rng.normal(size=n)


def test_errors_are_quantiles_of_what_was_missed_in_each_bin():
    prediction, truth = images(500)
    errors = BinnedErrors.measure(prediction, truth)
    np.testing.assert_allclose(errors.edges, np.arange(11) / 10)
    assert errors.number.sum() == 500
    third = (prediction >= 0.2) & (prediction < 0.3)
    missed = np.sort(np.abs(prediction - truth)[third])
    assert errors.number[2] == third.sum()
    assert errors.errors[3, 2] == missed[-1]
    below = np.mean(missed <= errors.errors[0, 2])
    assert below == pytest.approx(0.6827, abs=1.0 / third.sum())
    assert np.all(np.diff(errors.errors, axis=0) >= 0)


def test_normal_errors_come_out_as_they_are():
    errors = BinnedErrors.measure(*images(200_000))
    sigma = 0.02 + 0.1 * (errors.edges[:-1] + 0.05)
    np.testing.assert_allclose(errors.errors[0], sigma, rtol=0.05)
    np.testing.assert_allclose(errors.errors[1], 2 * sigma, rtol=0.06)


def test_a_prediction_has_the_errors_of_its_bin_or_the_nearest_one_held():
    errors = BinnedErrors.measure([0.05, 0.95, 1.0], [0.15, 0.85, 0.7])
    assert errors.number.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(errors.of([0.0, 0.44, 0.56, 1.0])[3], [0.1, 0.1, 0.3, 0.3])
    assert np.isnan(errors.errors[:, 4]).all()


def test_intervals_hold_what_they_say_and_a_liar_is_found_out():
    errors = BinnedErrors.measure(*images())
    taus = np.sort(np.append(np.arange(1, 40) / 40, [0.16, 0.84]))
    for scale, judgement in ((1.0, {"calibrated"}), (2.0, {"over-confident", "misshapen"})):
        prediction, truth = images(3000, seed=1, scale=scale)
        kept = (truth > 0) & (truth < 1)  # quantiles stay within [0, 1]
        curves = errors.quantiles(prediction[kept], taus)
        report = Calibration.from_quantiles(truth[kept, None], curves[..., None], taus, cdf=False)
        error = np.sqrt(0.68 * 0.32 / kept.sum())
        assert (abs(report.coverage_68.value - 0.68) < 4 * error) == (judgement == {"calibrated"})  # k = 4


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.lists(st.floats(0.001, 0.999), min_size=2, max_size=9))
def test_quantiles_rise_with_their_level_within_bounds_about_the_prediction(predictions, taus):
    errors = BinnedErrors.measure(*images(500))
    curves = errors.quantiles(predictions, np.sort(taus))
    assert np.all(np.diff(curves, axis=0) >= 0)
    assert curves.min() >= 0
    assert curves.max() <= 1
    np.testing.assert_allclose(errors.quantiles(predictions, [0.5])[0], predictions)


def test_told_levels_are_met_exactly():
    errors = BinnedErrors.measure(*images(2000))
    prediction = np.array([0.55])
    for level, error in zip(LEVELS[:3], errors.of(prediction)[:3, 0], strict=True):
        low, high = errors.quantiles(prediction, [(1 - level) / 2, (1 + level) / 2])[:, 0]
        np.testing.assert_allclose([low, high], [0.55 - error, 0.55 + error])


def test_errors_survive_json():
    errors = BinnedErrors.measure([0.05, 0.95], [0.0, 0.9])
    again = BinnedErrors.from_dict(errors.to_dict())
    np.testing.assert_array_equal(again.errors, errors.errors)
    np.testing.assert_array_equal(again.number, errors.number)


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        ([0.5, 1.2], [0.5, 0.5], r"prediction: must lie in \[0, 1\], got 1.2"),
        ([np.nan], [0.5], r"prediction: must lie in \[0, 1\], got nan"),
        ([0.5], [0.5, 0.5], r"prediction, truth: must be of one length, got shapes \(1,\) and \(2,\)"),
        ([], [], "prediction, truth: must be of one length"),
    ],
)
def test_bad_predictions_are_refused(prediction, truth, message):
    with pytest.raises(InputError, match=message):
        BinnedErrors.measure(prediction, truth)
