"""Conformal bands keep their promise on over- and under-confident predictions."""

import numpy as np
import pytest
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.validation import Calibration, ConformalBand, ScoreMap
from gcesbi.validation.recalibration import KNOTS

TAUS = np.arange(1, 100) / 100


def predictions(rng, n, factor):
    """Standard normal truth with four bins, believed with widths `factor` times the right ones."""
    truth = np.sqrt(0.5) * rng.normal(size=(n, 1)) + np.sqrt(0.5) * rng.normal(size=(n, 4))
    return truth, np.broadcast_to(factor * norm.ppf(TAUS)[:, None, None], (99, n, 4))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
@pytest.mark.parametrize("simultaneous", [False, True])
def test_fresh_maps_are_held_as_often_as_promised(factor, simultaneous):
    """Calibrated on 999 maps, tried on 20,000; tolerance 4 errors, both sets' binomial errors added."""
    rng = np.random.default_rng(0)
    band = ConformalBand.fit(*predictions(rng, 999, factor), TAUS, 0.9, simultaneous)
    truth, quantiles = predictions(rng, 20_000, factor)
    low, high = band.interval(quantiles, TAUS)
    inside = (low <= truth) & (truth <= high)
    share = inside.all(axis=1).mean() if simultaneous else inside.mean(axis=0)
    assert np.all(np.abs(share - 0.9) < 4 * np.sqrt(0.09 * (1 / 999 + 1 / 20_000)))
    assert not band.few_maps


def test_widening_of_a_shrunk_band_is_what_was_taken():
    truth, quantiles = predictions(np.random.default_rng(1), 20_000, 0.5)
    band = ConformalBand.fit(truth, quantiles, TAUS, 0.8)
    np.testing.assert_allclose(band.widening, 0.5 * norm.ppf(0.9), atol=0.05)


def test_the_rank_is_the_finite_sample_one():
    """Nine maps, α = 0.8: the ⌈10 × 0.8⌉ = 8th smallest miss."""
    truth = np.arange(1.0, 10.0)[:, None]
    band = ConformalBand.fit(truth, np.zeros((2, 9, 1)), [0.05, 0.95], 0.8)
    assert band.widening.tolist() == [8.0]


def test_too_few_maps_promise_nothing_and_say_so():
    truth, quantiles = predictions(np.random.default_rng(2), 8, 1.0)
    band = ConformalBand.fit(truth, quantiles, TAUS, 0.9)
    assert band.few_maps
    assert np.isinf(band.widening).all()


def test_the_promise_holds_for_pairs_chosen_by_their_prediction():
    """Narrow for positive features, right for others: widened for the chosen, 4 errors of 2,000 and 20,000 pairs."""
    rng = np.random.default_rng(3)

    def draw(n):
        feature = rng.normal(size=(n, 2))
        width = np.where(feature > 0, 0.5, 1.0)
        return rng.normal(size=(n, 2)), width * norm.ppf(TAUS)[:, None, None], feature > 0

    truth, quantiles, used = draw(2000)
    band = ConformalBand.fit(truth, quantiles, TAUS, 0.9, used=used)
    np.testing.assert_allclose(band.widening, 0.5 * norm.ppf(0.95), atol=0.2)
    truth, quantiles, used = draw(20_000)
    low, high = band.interval(quantiles, TAUS)
    inside = ((low <= truth) & (truth <= high))[used].mean()
    assert abs(inside - 0.9) < 4 * np.sqrt(0.09 * (1 / 2000 + 1 / 20_000))


def test_bins_without_enough_pairs_promise_nothing():
    """Ten maps count in the first bin, all twenty in the second, whose bound is its 19th smallest miss."""
    truth, used = np.arange(20.0)[:, None] * np.ones(2), np.stack([np.arange(20) < 10, np.ones(20)], axis=1) > 0
    band = ConformalBand.fit(truth, np.zeros((2, 20, 2)), [0.05, 0.95], 0.9, used=used)
    assert band.widening.tolist() == [9.0, 18.0]
    assert ConformalBand.fit(truth, np.zeros((2, 20, 2)), [0.02, 0.98], 0.95, used=used).widening.tolist() == [
        np.inf,
        19,
    ]
    both = ConformalBand.fit(truth, np.zeros((2, 20, 2)), [0.05, 0.95], 0.9, True, used)
    assert float(both.widening) == 18.0
    with pytest.raises(InputError, match=r"used: must be a mask of shape \(20, 2\), got \(20,\)"):
        ConformalBand.fit(truth, np.zeros((2, 20, 2)), [0.05, 0.95], 0.9, used=used[:, 0])


def test_a_band_is_not_turned_inside_out():
    band = ConformalBand(0.8, np.array([-5.0]), 100)
    low, high = band.interval(np.array([[[0.0]], [[1.0]]]), [0.05, 0.95])
    assert low[0, 0] == high[0, 0] == 0.5


def test_bad_level_is_named():
    with pytest.raises(InputError, match=r"alpha: must lie in \(0, 1\), got 1"):
        ConformalBand.fit(np.zeros(3), np.zeros((2, 3)), [0.1, 0.9], 1.0)
    with pytest.raises(InputError, match=r"alpha: needs the quantile at level 0.005"):
        ConformalBand.fit(np.zeros(3), np.zeros((2, 3)), [0.1, 0.9], 0.99)


def test_a_score_map_makes_skewed_overconfident_errors_normal():
    """Fitted on 4,000 maps of four bins, tried on 4,000; tolerance 4 errors of the mean and of the deviation."""
    rng = np.random.default_rng(1)
    errors = 1.4 * (rng.gamma(4.0, size=(2, 4000, 4)) - 4) / 2 + 0.3
    asked = ScoreMap.fit(errors[0])
    z = asked.inverse(errors[1])
    assert abs(z.mean()) < 4 / np.sqrt(8000)
    assert abs(z.std() - 1) < 4 / np.sqrt(16000) + 0.02  # tails beyond the last knot are extrapolated
    zero = np.zeros(errors[1].shape)
    assert Calibration.from_gaussian(errors[1], zero, zero + 1).judgement == "over-confident"
    found = Calibration.from_gaussian(errors[1], zero, zero + 1, asked=asked)
    assert found.judgement == "calibrated"
    assert found.width_68 == pytest.approx(np.diff(asked(norm.ppf([0.16, 0.84])))[0])


def test_a_score_map_goes_back_and_forth():
    asked, z = ScoreMap.fit(np.random.default_rng(2).standard_t(4, 3000)), np.linspace(-6, 6, 99)
    np.testing.assert_allclose(asked.inverse(asked(z)), z, atol=1e-9)
    assert np.all(np.diff(asked.values) > 0)
    assert not asked.trivial
    assert ScoreMap(KNOTS).trivial
    np.testing.assert_allclose(ScoreMap(KNOTS).levels([0.1, 0.5]), [0.1, 0.5])


@pytest.mark.parametrize("scores", [np.zeros(199), np.full(300, np.nan)])
def test_too_few_scores_are_refused(scores):
    with pytest.raises(InputError, match="scores: must be finite, at least 200"):
        ScoreMap.fit(scores)
