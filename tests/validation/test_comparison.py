"""Two methods on the same maps: known width ratios, shifts, correlations; who is calibrated and who is sharper."""

import json

import numpy as np
import pytest
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.validation import Comparison, c2st, error_correlation, gaussian_quantiles

TAUS = np.arange(1, 100) / 100


def two_detectors(rng, n_map=600, d=5, noise=(0.5, 1.0), common=0.0):
    """θ ~ N(0, 1) seen by two detectors; `common` is the correlation of their noise. Exact posteriors of either."""
    theta = rng.normal(size=(n_map, d))
    shared = rng.normal(size=theta.shape)
    curves = []
    for s in noise:
        own = np.sqrt(common) * shared + np.sqrt(1 - common) * rng.normal(size=theta.shape)
        mean, std = (theta + s * own) / (1 + s**2), np.sqrt(s**2 / (1 + s**2)) * np.ones(theta.shape)
        curves.append(gaussian_quantiles(mean, std, TAUS))
    return theta, *curves


def test_two_exact_methods_are_both_calibrated_and_the_better_detector_is_sharper():
    found = Comparison.from_quantiles(*two_detectors(np.random.default_rng(0)), TAUS, names=("fine", "coarse"))
    assert (found.first.judgement, found.second.judgement) == ("calibrated", "calibrated")
    assert found.width_ratio.value == pytest.approx(np.sqrt(0.5 / 0.2), rel=1e-6)
    assert found.sharper == found.better == "fine"
    assert found.skill.high < 0
    np.testing.assert_allclose(found.bin_width_ratio, np.sqrt(2.5), rtol=1e-6)
    assert np.all(found.bin_skill < 0)
    assert found.verdict.startswith("fine: calibrated; coarse: calibrated. Fine is sharper")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["width_ratio"]["value"] == found.width_ratio.value
    assert all(len(row) == 3 for row in (found.columns, *found.rows))


def test_a_method_against_itself():
    truth, one, _ = two_detectors(np.random.default_rng(1))
    found = Comparison.from_quantiles(truth, one, one, TAUS)
    assert (found.sharper, found.better) == (None, None)
    assert found.width_ratio.value == 1
    assert found.skill.value == 0
    assert found.correlation.value == pytest.approx(1)


def test_a_shift_is_measured_in_half_widths():
    truth, one, _ = two_detectors(np.random.default_rng(2))
    half = (one[83] - one[15])[0, 0] / 2
    found = Comparison.from_quantiles(truth, one, one + 0.3 * half, TAUS)
    assert found.shift.value == pytest.approx(0.3, rel=0.02)  # levels 0.16 and 0.84 against the exact 68 %


def test_correlation_of_errors_is_numpys_and_its_band_covers():
    """40 sets of correlation 0.5: about 38 bands of 95 % hold it; at least 33 (binomial probability of fewer: 10⁻³)."""
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(150, 2))
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=x.shape)
        found = error_correlation(x, y, seed=seed)
        assert found.value == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
        hits += found.low <= 0.5 <= found.high
    assert hits >= 33


def test_cdf_pairs_outside_epsilon_do_not_count():
    rng = np.random.default_rng(3)
    truth = np.cumsum(rng.dirichlet(np.ones(4), size=200), axis=1)
    truth[:, -1] = 1.0
    level = (1 - TAUS)[:, None, None]
    curves = np.concatenate([norm.cdf(norm.ppf(level) + norm.ppf(truth[:, :3])), np.ones((99, 200, 1))], axis=-1)
    found = Comparison.from_quantiles(truth, curves, curves, TAUS, cdf=True)
    assert np.isnan(found.bin_skill[-1])
    assert np.isnan(found.bin_width_ratio[-1])


def test_c2st_tells_samples_apart_or_not():
    rng = np.random.default_rng(4)
    same = c2st(rng.normal(size=(400, 2)), rng.normal(size=(400, 2)))
    assert same.value == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(800))
    assert c2st(rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 2).low > 0.8


def test_bad_input_is_named():
    truth, one, two = two_detectors(np.random.default_rng(5), n_map=20)
    with pytest.raises(InputError, match="quantiles: must have shape"):
        Comparison.from_quantiles(truth, one, two[:, :5], TAUS)
    with pytest.raises(InputError, match="no pair has intervals of some width"):
        Comparison.from_quantiles(truth, 0 * one, two, TAUS)
    with pytest.raises(InputError, match="second: must have the shape of first"):
        error_correlation(truth, truth[:5])
    with pytest.raises(InputError, match="second: both must have the same shape"):
        c2st(truth, truth[:5])
    with pytest.raises(InputError, match=r"std: must be above zero and have the shape of mean, \(3,\), got \(2,\)"):
        gaussian_quantiles(np.zeros(3), np.ones(2), TAUS)
    with pytest.raises(InputError, match="std: must be above zero"):
        gaussian_quantiles(np.zeros(3), np.zeros(3), TAUS)
    with pytest.raises(InputError, match=r"taus: must lie in \(0, 1\), got 1"):
        gaussian_quantiles(np.zeros(3), np.ones(3), [0.5, 1.0])
