"""Coverage against brute force, closed forms, and planted faults."""

import doctest
import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.validation import (
    calibration_curve,
    coverage,
    coverage_by,
    curves_along,
    gaussian_coverage,
    gaussian_covered,
    quantiles_covered,
    rearrange,
    undecided,
    within,
)
from gcesbi.validation.checks import crossings

TAUS = np.linspace(0.005, 0.995, 199)
ALPHAS = np.array([0.1, 0.5, 0.68, 0.95])


def random_cdfs(rng, *shape):
    return np.cumsum(rng.dirichlet(np.full(shape[-1], 0.5), size=shape[:-1]), axis=-1)


def brute_force(truth, quantiles, taus, alphas, epsilon):
    """One pair at a time, with numpy's own interpolation."""
    shares = []
    for alpha in alphas:
        hits = pairs = 0
        for index in np.ndindex(truth.shape):
            if not epsilon < truth[index] < 1 - epsilon:
                continue
            curve = quantiles[(slice(None), *index)]
            ends = sorted(np.interp([(1 - alpha) / 2, (1 + alpha) / 2], taus, curve))
            hits += ends[0] <= truth[index] <= ends[1]
            pairs += 1
        shares.append(hits / pairs)
    return np.array(shares)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), falling=st.booleans())
def test_agrees_with_one_pair_at_a_time(seed, falling):
    rng = np.random.default_rng(seed)
    taus = np.sort(np.append(rng.uniform(0.03, 0.97, 7), [0.02, 0.98]))
    truth = random_cdfs(rng, 6, 5)
    quantiles = np.sort(random_cdfs(rng, 9, 6, 5), axis=0)[:: -1 if falling else 1]
    alphas = np.array([0.2, 0.68, 0.95])
    np.testing.assert_allclose(
        coverage(truth, quantiles, taus, alphas), brute_force(truth, quantiles, taus, alphas, 1e-5), atol=1e-12
    )


def test_direction_of_tau_does_not_matter():
    rng = np.random.default_rng(1)
    truth, quantiles = random_cdfs(rng, 40, 26), np.sort(random_cdfs(rng, 199, 40, 26), axis=0)
    rising, falling = (coverage(truth, q, TAUS, ALPHAS) for q in (quantiles, quantiles[::-1]))
    np.testing.assert_allclose(rising, falling, atol=1e-12)


def test_guessing_a_uniform_number_is_calibrated():
    """The toy of List et al. 2025, Fig. S9; tolerance 4 binomial errors."""
    n = 20_000
    truth = np.random.default_rng(2).uniform(size=(n, 1))
    found = coverage(truth, np.broadcast_to(TAUS[:, None, None], (199, n, 1)), TAUS, ALPHAS)
    assert np.all(np.abs(found - ALPHAS) < 4 * np.sqrt(ALPHAS * (1 - ALPHAS) / n))


def test_pairs_where_the_cdf_is_zero_or_one_do_not_count():
    truth = np.array([[0.0, 1e-6, 0.5, 1 - 1e-6, 1.0]])
    quantiles = np.stack([np.array([[0.2, 0.2, 0.4, 0.6, 1.0]]), np.array([[0.3, 0.3, 0.6, 0.7, 1.0]])])
    taus, alphas = [0.05, 0.95], [0.9]
    assert coverage(truth, quantiles, taus, alphas).tolist() == [1.0]
    assert coverage(truth, quantiles, taus, alphas, epsilon=1e-7).tolist() == [1 / 3]
    assert np.isnan(coverage(np.ones((2, 3)), np.ones((2, 2, 3)), taus, alphas)).all()


def test_bounds_count_as_inside():
    truth = np.array([[0.25, 0.75, 1.0]])
    quantiles = np.array([[[0.25, 0.5, 1.0]], [[0.5, 0.75, 1.0]]])
    assert coverage(truth, quantiles, [0.25, 0.75], [0.5]).tolist() == [1.0]


def test_levels_between_taus_are_interpolated():
    """Two curves, 0 and 1, at τ = 0 + and 1 -: the quantile at τ is τ itself."""
    quantiles = np.stack([np.full((1, 1), 0.1), np.full((1, 1), 0.9)])
    for value, alpha in ((0.31, 0.4), (0.29, 0.4), (0.71, 0.4)):
        assert coverage([[value]], quantiles, [0.1, 0.9], [alpha])[0] == (0.3 <= value <= 0.7)


@pytest.mark.parametrize(
    ("scale", "shift", "factor"), [(1.0, 0.0, 1.0), (0.9, 0.0, 0.9), (1.1, 0.0, 1.1), (1.0, 0.3, 1.0)]
)
def test_gaussian_coverage_has_its_closed_form(scale, shift, factor):
    """P(|z + shift| < reach × scale); tolerance 4 binomial errors."""
    n = 50_000
    truth = np.random.default_rng(3).normal(size=n)
    reach = norm.ppf((1 + ALPHAS) / 2) * factor
    expected = norm.cdf(reach - shift) - norm.cdf(-reach - shift)
    found = gaussian_coverage(truth + shift, np.zeros(n), np.full(n, scale), ALPHAS)
    assert np.all(np.abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / n))


def test_gaussian_and_quantile_coverage_agree():
    rng = np.random.default_rng(4)
    mean, std = rng.normal(size=(300, 6, 10)), rng.uniform(0.5, 2, size=(300, 6, 10))
    truth = mean + 1.1 * std * rng.normal(size=mean.shape)
    quantiles = mean + std * norm.ppf(TAUS)[:, None, None, None]
    taus_alphas = [TAUS[199 // 2 + k] - TAUS[199 // 2 - k] for k in (10, 40, 90)]
    np.testing.assert_allclose(
        quantiles_covered(truth, quantiles, TAUS, taus_alphas).reshape(3, -1).mean(axis=1),
        gaussian_coverage(truth, mean, std, taus_alphas),
        atol=1e-4,
    )


def test_coverage_by_keeps_the_axes_asked_for():
    rng = np.random.default_rng(5)
    truth, mean, std = rng.normal(size=(50, 6, 10)), np.zeros((50, 6, 10)), np.ones((50, 6, 10))
    covered = gaussian_covered(truth, mean, std, ALPHAS)
    np.testing.assert_allclose(coverage_by(covered, keep=1), covered.mean(axis=(1, 3)))
    np.testing.assert_allclose(coverage_by(covered, keep=2), covered.mean(axis=(1, 2)))
    np.testing.assert_allclose(coverage_by(covered, keep=(1, 2)), covered.mean(axis=1))
    used = rng.uniform(size=truth.shape) < 0.5
    expected = (covered & used).sum(axis=(1, 2)) / used.sum(axis=(0, 1))
    np.testing.assert_allclose(coverage_by(covered, used, keep=-1), expected)


def test_curve_matches_coverage_and_its_band_respects_correlated_bins():
    """Twenty copies of one bin are one bin: the band must be as wide as for one, not √20 narrower."""
    rng = np.random.default_rng(6)
    truth = rng.uniform(size=(400, 1))
    one, many = truth, np.repeat(truth, 20, axis=1)
    bands = []
    for values in (one, many):
        covered = quantiles_covered(values, np.broadcast_to(TAUS[:, None, None], (199, *values.shape)), TAUS, ALPHAS)
        curve = calibration_curve(covered, ALPHAS, within(values, 1e-5))
        np.testing.assert_allclose(curve.coverage, covered.mean(axis=(1, 2)))
        bands.append(curve.high - curve.low)
    np.testing.assert_allclose(bands[0], bands[1], rtol=0.15)
    binomial = 2 * 1.96 * np.sqrt(ALPHAS * (1 - ALPHAS) / 400)
    np.testing.assert_allclose(bands[1], binomial, rtol=0.15)


def test_band_holds_the_nominal_level_as_often_as_it_says():
    """95 % bands of 300 experiments of 150 maps; tolerance 4 binomial errors."""
    rng, inside = np.random.default_rng(7), 0
    for _ in range(300):
        z = rng.normal(size=(150, 1)) * np.sqrt(0.5) + rng.normal(size=(150, 4)) * np.sqrt(0.5)
        covered = gaussian_covered(z, np.zeros_like(z), np.ones_like(z), [0.68])
        curve = calibration_curve(covered, [0.68])
        inside += int(curve.low[0] <= 0.68 <= curve.high[0])
    assert abs(inside / 300 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 300)


def test_few_maps_are_marked():
    covered = gaussian_covered(np.zeros((20, 3)), np.zeros((20, 3)), np.ones((20, 3)), ALPHAS)
    assert calibration_curve(covered, ALPHAS).few_maps
    assert not calibration_curve(np.repeat(covered, 10, axis=1), ALPHAS).few_maps


CDF = np.array([[0.2, 0.6, 1.0], [0.1, 0.5, 1.0]])
STEP = np.array([0.1, 0.1, 0.0])
CURVES = np.stack([CDF - STEP, CDF, CDF + STEP])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taus": [0.5, 0.1, 0.9]}, "taus: must be sorted, strictly increasing, got 0.5 before 0.1"),
        ({"taus": [0.1, 0.1, 0.9]}, "taus: must be sorted, strictly increasing, got 0.1 before 0.1"),
        ({"taus": [0.0, 0.5, 0.9]}, r"taus: must lie in \(0, 1\), got 0"),
        ({"taus": [0.1, 0.5, 1.0]}, r"taus: must lie in \(0, 1\), got 1"),
        ({"taus": [[0.1, 0.5, 0.9]]}, r"taus: must be a vector, got shape \(1, 3\)"),
        ({"taus": [0.1, 0.9]}, r"quantiles: must have shape \(n_tau, \*truth.shape\) = \(2, 2, 3\), got \(3, 2, 3\)"),
        ({"truth": CDF[:, :2]}, r"quantiles: must have shape .* = \(3, 2, 2\), got \(3, 2, 3\)"),
        ({"alphas": [0.95]}, "alphas: needs the quantile at level 0.025, but taus reach only from 0.1 to 0.9"),
        ({"alphas": [1.2]}, r"alphas: must be a vector of numbers in \[0, 1\], got \[1.2\]"),
        ({"truth": np.where(CDF == 0.6, np.nan, CDF)}, "truth: must be finite, got 1 NaN or infinite of 6 values"),
        ({"truth": np.ma.masked_equal(CDF, 0.6)}, "truth: must be an array without masked values, has 1"),
        ({"quantiles": CURVES * np.nan}, "quantiles: must be finite, got 18 NaN or infinite of 18 values"),
        ({"truth": CDF * 0.9}, "truth: every CDF must end at 1, got one that ends at 0.9"),
        ({"quantiles": CURVES * 0.5}, "quantiles: every CDF must end at 1, got one that ends at 0.5"),
        ({"truth": CDF * 2}, r"truth: CDF values must lie in \[0, 1\], got 2"),
        ({"epsilon": 0.5}, r"epsilon: must lie in \[0, 0.5\), got 0.5"),
        ({"truth": [], "quantiles": []}, "truth: must hold at least one value"),
        ({"truth": "x"}, "truth: must be an array of numbers, got 'x'"),
        ({"quantiles": None}, "quantiles: must "),
    ],
)
def test_bad_input_is_named(changes, message):
    good = {"truth": CDF, "quantiles": CURVES, "taus": [0.1, 0.5, 0.9], "alphas": [0.5]}
    coverage(**good)
    with pytest.raises(InputError, match=message):
        coverage(**(good | changes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), np.zeros(3), np.zeros(3)), "std: must be above zero, got 0"),
        ((np.zeros(3), np.zeros(2), np.ones(3)), r"truth, mean, std: must share a shape, got \(3,\), \(2,\), \(3,\)"),
        ((np.zeros(3), np.full(3, np.inf), np.ones(3)), "mean: must be finite"),
    ],
)
def test_bad_gaussians_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        gaussian_coverage(*arguments, [0.5])


def test_curve_of_other_levels_is_refused():
    covered = gaussian_covered(np.zeros((20, 3)), np.zeros((20, 3)), np.ones((20, 3)), ALPHAS)
    with pytest.raises(InputError, match=r"covered: must have shape \(2, 20, 3\), got \(4, 20, 3\)"):
        calibration_curve(covered, [0.1, 0.2])


@pytest.mark.parametrize("name", ["__init__", "calibration", "coverage", "distance", "sharpness"])
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"gcesbi.validation.{name}".removesuffix(".__init__")))
    assert result.attempted
    assert not result.failed


def test_curves_along_an_axis_are_those_of_slices_with_bands():
    rng = np.random.default_rng(11)
    z = rng.normal(size=(200, 3, 4))
    covered, used = gaussian_covered(z, 0 * z, 1 + 0 * z, ALPHAS), z < 1
    for axis, size in ((1, 3), (-1, 4)):
        curves = curves_along(covered, ALPHAS, axis, used)
        assert len(curves) == size
        expected = coverage_by(covered, used, keep=axis)
        np.testing.assert_allclose(np.stack([c.coverage for c in curves], axis=1), expected)
        assert all(np.all((c.low <= c.coverage) & (c.coverage <= c.high)) for c in curves)
    single = curves_along(covered[:, :, 0], ALPHAS)[0]
    np.testing.assert_allclose(single.high, calibration_curve(covered[:, :, 0, 0], ALPHAS).high)  # Clopper-Pearson
    assert curves_along(covered, ALPHAS, 1, used & (np.arange(3) > 0)[:, None])[0] is None
    with pytest.raises(InputError, match="axis: must not be that of the maps"):
        curves_along(covered, ALPHAS, 0)


def test_crossing_curves_are_refused_with_place_share_and_remedy():
    truth, quantiles = np.full((3, 2), 0.5), np.tile(np.linspace(0.1, 0.9, 5)[:, None, None], (1, 3, 2))
    truth[:, -1] = quantiles[..., -1] = 1.0
    quantiles[2, 1, 0] = 0.2
    message = (
        r"quantiles: must not cross, but 1 of 24 neighbouring pairs do \(4.2 %\), the first between tau 0.3 and 0.5 at "
        r"\(map, ...\) = \(1, 0\); sort them first with gcesbi.validation.rearrange"
    )
    with pytest.raises(InputError, match=message):
        coverage(truth, quantiles, [0.1, 0.3, 0.5, 0.7, 0.9], [0.5])
    assert coverage(truth, rearrange(quantiles), [0.1, 0.3, 0.5, 0.7, 0.9], [0.5]) == 1.0


def test_rounding_in_single_precision_is_no_crossing():
    curves = np.full((5, 4, 3), 1e-7)
    curves[3] *= 1 - 1e-7
    assert crossings(curves).mean() == 0
    curves[3] *= 0.99
    assert crossings(curves).mean() == 0.25


@pytest.mark.parametrize("call", [rearrange, undecided])
def test_nan_in_curves_is_never_sorted_or_taken_for_open(call):
    with pytest.raises(InputError, match="quantiles: must be finite, got 1 NaN or infinite of 6 values"):
        call([[0.1, np.nan], [0.2, 0.3], [0.4, 0.5]])
