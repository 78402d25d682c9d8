"""Whole curves: independent bins in closed form, perfectly dependent bins, and the widening on fresh maps."""

import numpy as np
import pytest
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.validation import SimultaneousCoverage, simultaneous_coverage

TAUS = np.arange(1, 200) / 200
ALPHAS = np.array([0.5, 0.68, 0.9])
CURVES = norm.ppf(TAUS)[:, None, None]


def of_normal(z, **options):
    return simultaneous_coverage(z, CURVES + 0 * z, TAUS, ALPHAS, cdf=False, **options)


def test_independent_bins_hold_whole_curves_with_alpha_to_the_number_of_bins():
    z = np.random.default_rng(0).normal(size=(4000, 5))
    found = of_normal(z)
    error = np.sqrt(ALPHAS**5 * (1 - ALPHAS**5) / 4000)
    np.testing.assert_array_less(np.abs(found.curve.coverage - ALPHAS**5), 4 * error)
    level = ALPHAS ** (1 / 5)
    slope = 5 * level**4  # of the share of curves by the pointwise level
    allowed = 4 * np.sqrt(ALPHAS * (1 - ALPHAS) / 4000) / slope
    np.testing.assert_array_less(np.abs(found.pointwise_level - level), allowed)
    widening = norm.ppf((1 + level) / 2) / norm.ppf((1 + ALPHAS) / 2)
    np.testing.assert_allclose(found.widening, widening, rtol=0.04)


def test_bins_that_move_together_need_no_widening():
    z = np.random.default_rng(1).normal(size=(4000, 1)) + np.zeros((1, 5))
    found = of_normal(z)
    np.testing.assert_allclose(found.curve.coverage, ALPHAS, atol=4 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(found.widening, 1, atol=0.08)


def test_the_widening_is_nominal_on_fresh_maps():
    """Over 400 experiments of 50 maps, one fresh curve each; 4 σ = 4 √(0.68 · 0.32 / 400)."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        mix = rng.normal(size=(51, 3)) @ np.array([[1, 0.5, 0.2], [0, 1, 0.4], [0, 0, 1]])
        factor = of_normal(mix[:50]).at(0.68)[2]
        hits += np.abs(mix[50]).max() <= factor * norm.ppf(0.84)
    assert hits / 400 == pytest.approx(0.68, abs=4 * np.sqrt(0.68 * 0.32 / 400))


def test_bins_without_a_question_do_not_count():
    truth = np.array([[0.0, 0.4, 1.0], [0.0, 1.0, 1.0]])
    curves = np.stack([np.full((2, 3), q) for q in (0.3, 0.5, 0.7)])
    curves[..., 2] = 1.0
    found = simultaneous_coverage(truth, curves, [0.1, 0.5, 0.9], [0.8])
    assert found.curve.n_pair == 1  # the second map has no bin within epsilon
    assert found.curve.coverage[0] == 1.0


def test_too_few_maps_cannot_promise_and_say_so():
    found = of_normal(np.random.default_rng(3).normal(size=(5, 4)))
    assert found.curve.few_maps
    assert np.isinf(found.widening[-1])
    assert np.isnan(found.pointwise_level[-1])
    assert isinstance(found, SimultaneousCoverage)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="quantiles: must have shape"):
        simultaneous_coverage(np.zeros((4, 3)), np.zeros((199, 4, 2)), TAUS, ALPHAS)
    with pytest.raises(InputError, match="truth: every CDF must end at 1"):
        simultaneous_coverage(np.full((4, 3), 0.5), np.ones((199, 4, 3)), TAUS, ALPHAS)
    with pytest.raises(InputError, match=r"alphas: needs the quantile at level 0.0005"):
        simultaneous_coverage(np.ones((4, 3)), np.ones((199, 4, 3)), TAUS, [0.999])
