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
    truth, *curves = two_detectors(np.random.default_rng(0))
    found = Comparison.of(truth, dict(zip(("fine", "coarse"), curves, strict=True)), TAUS)
    assert [report.judgement for report in found.reports] == ["calibrated", "calibrated"]
    (pair,) = found.pairs
    assert pair.width_ratio.value == pytest.approx(np.sqrt(0.5 / 0.2), rel=1e-6)
    assert found.sharper == found.better == "fine"
    assert pair.skill.high < 0
    np.testing.assert_allclose(pair.bin_width_ratio, np.sqrt(2.5), rtol=1e-6)
    assert np.all(pair.bin_skill < 0)
    assert found.verdict.startswith("fine: calibrated; coarse: calibrated. Fine is sharper")
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["pairs"][0]["width_ratio"]["value"] == pair.width_ratio.value
    assert list(told["methods"]) == ["fine", "coarse"]
    assert all(len(row) == 3 for row in (found.columns, *found.rows))


def test_a_method_against_itself():
    truth, one, _ = two_detectors(np.random.default_rng(1))
    found = Comparison.of(truth, {"a": one, "b": one}, TAUS)
    (pair,) = found.pairs
    assert (found.sharper, found.better) == (None, None)
    assert pair.width_ratio.value == 1
    assert pair.skill.value == 0
    assert pair.correlation.value == pytest.approx(1)


def test_a_shift_is_measured_in_half_widths():
    truth, one, _ = two_detectors(np.random.default_rng(2))
    half = (one[83] - one[15])[0, 0] / 2
    (pair,) = Comparison.of(truth, {"a": one, "b": one + 0.3 * half}, TAUS).pairs
    assert pair.shift.value == pytest.approx(0.3, rel=0.02)  # levels 0.16 and 0.84 against the exact 68 %


def detectors(noise, n_map=600, d=3, n_sample=999, seed=0):
    """θ ~ N(0, 1) seen by detectors of independent noise: truth, exact posteriors' draws (n_sample, n_map, d)."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(n_map, d))
    found = []
    for s in noise:
        mean, std = (theta + s * rng.normal(size=theta.shape)) / (1 + s**2), s / np.sqrt(1 + s**2)
        found.append((mean, std, mean + std * rng.normal(size=(n_sample, *theta.shape))))
    return theta, found


def test_draws_and_quantiles_of_three_methods_are_compared_with_known_answers():
    """CRPS of an exact Gaussian posterior is σ/√π on average, so that skills are 1 − σ₂/σ₁ (Gneiting et al. 2005)."""
    truth, found = detectors((0.5, 1.0, 2.0))
    (_, s1, one), (mean, s2, _), (_, s3, three) = found
    methods = {"fine": one, "middle": gaussian_quantiles(mean, np.full(mean.shape, s2), TAUS), "coarse": three}
    compared = Comparison.of(truth, methods)
    assert [r.judgement for r in compared.reports] == ["calibrated"] * 3
    assert [(p.first.name, p.second.name) for p in compared.pairs] == [
        ("fine", "middle"),
        ("fine", "coarse"),
        ("middle", "coarse"),
    ]
    for pair, ratio in zip(compared.pairs, (s2 / s1, s3 / s1, s3 / s2), strict=True):
        assert pair.width_ratio.value == pytest.approx(ratio, rel=0.01)
        assert pair.skill.low < 1 - ratio < pair.skill.high
    assert compared.sharper == compared.better == "fine"
    assert compared.verdict.endswith("Fine is sharpest, fine has the best score.")
    assert compared.columns == ("measure", "fine", "middle", "coarse")
    assert {len(row) for row in compared.rows} == {4}


def test_the_same_posterior_by_draws_by_curves_and_by_sorted_draws_is_no_better_than_itself():
    truth, ((mean, std, draws),) = detectors((1.0,))
    curves = gaussian_quantiles(mean, np.full(mean.shape, std), TAUS)
    compared = Comparison.of(truth, {"draws": draws, "curves": (curves, TAUS), "sorted": np.sort(draws, axis=0)})
    assert (compared.better, compared.sharper) == (None, None)
    for pair in compared.pairs:
        assert pair.skill.value == pytest.approx(0, abs=0.004)
        assert pair.width_ratio.value == pytest.approx(1, abs=0.005)
        assert pair.correlation.value == pytest.approx(1, abs=0.005)


def test_one_method_has_nothing_to_be_compared_with():
    truth, ((_, _, draws),) = detectors((1.0,))
    alone = Comparison.of(truth, {"draws": draws})
    assert (alone.pairs, alone.better, alone.sharper) == ((), None, None)
    assert alone.verdict == "draws: calibrated."
    assert {len(row) for row in alone.rows} == {2}


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
    (found,) = Comparison.of(truth, {"a": curves, "b": curves}, TAUS, cdf=True).pairs
    assert np.isnan(found.bin_skill[-1])
    assert np.isnan(found.bin_width_ratio[-1])


def test_c2st_tells_samples_apart_or_not():
    rng = np.random.default_rng(4)
    same = c2st(rng.normal(size=(400, 2)), rng.normal(size=(400, 2)))
    assert same.value == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(800))
    assert c2st(rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 2).low > 0.8


def test_bad_input_is_named():
    truth, one, two = two_detectors(np.random.default_rng(5), n_map=20)
    with pytest.raises(InputError, match="b: samples: must have shape"):
        Comparison.of(truth, {"a": one, "b": two[:, :5]}, TAUS)
    with pytest.raises(InputError, match="no pair has intervals of some width by both a and b"):
        Comparison.of(truth, {"a": 0 * one, "b": two}, TAUS)
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
