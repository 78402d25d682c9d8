"""PIT values against closed forms, and their uniformity for exact posteriors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest, norm

from gcesbi.errors import InputError
from gcesbi.validation import pit, pit_gaussian, pit_histogram_band
from gcesbi.validation.pit import normal_scores, pit_bounds, rank_bounds

TAUS = np.arange(1, 100) / 100


@settings(deadline=None, max_examples=20)
@given(value=st.floats(0.011, 0.989), falling=st.booleans())
def test_uniform_belief_places_a_number_at_itself(value, falling):
    """Curves Q(τ) = τ, or 1 − τ: the level that passes x is x, or 1 − x."""
    quantiles = (1 - TAUS if falling else TAUS)[:, None]
    assert pit([value], quantiles, TAUS)[0] == pytest.approx(1 - value if falling else value, abs=1e-12)


def test_a_brighter_truth_has_a_larger_pit():
    """CDFs of SCDs fall with τ, and a bright population's CDF is small."""
    quantiles = (1 - TAUS)[:, None]
    assert pit([0.1], quantiles, TAUS)[0] > 0.5 > pit([0.9], quantiles, TAUS)[0]


def test_agrees_with_numpy_interpolation():
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(size=(99, 30, 4)), axis=0)
    truth = rng.uniform(-1.5, 1.5, size=(30, 4))
    found = pit(truth, quantiles, TAUS)
    for index in np.ndindex(truth.shape):
        curve = quantiles[(slice(None), *index)]
        assert found[index] == pytest.approx(np.interp(truth[index], curve, TAUS), abs=1e-12)


@pytest.mark.parametrize(
    ("value", "bounds"),
    [(-1.0, (0.0, 0.01)), (2.0, (0.99, 1.0)), (0.5, (0.30, 0.40)), (0.2, (0.2, 0.2)), (0.0, (0.0, 0.01))],
)
def test_bounds_where_the_curves_leave_it_open(value, bounds):
    """Below, above, on an atom at τ = 0.30 … 0.40, on a curve, on the first curve."""
    curve = np.where((TAUS > 0.295) & (TAUS < 0.405), 0.5, np.where(TAUS < 0.3, TAUS, TAUS + 0.3))
    curve[0] = 0.0
    low, high = pit_bounds([value], curve[:, None], TAUS)
    np.testing.assert_allclose([low[0], high[0]], bounds, atol=1e-12)


def test_a_single_curve_only_says_above_or_below():
    low, high = pit_bounds([0.0, 1.0, 2.0], np.ones((1, 3)), [0.3])
    np.testing.assert_allclose([low, high], [[0, 0, 0.3], [0.3, 1, 1]])


def test_draws_are_uniform_for_an_exact_posterior_and_only_for_one():
    """Kolmogorov-Smirnov at 8,000 maps: p above 10⁻³ if exact, below 10⁻⁶ if widths are 20 % off."""
    rng = np.random.default_rng(1)
    mean, std = rng.normal(size=8000), rng.uniform(0.5, 2, size=8000)
    truth = mean + std * rng.normal(size=8000)
    for factor, uniform in ((1.0, True), (0.8, False), (1.2, False)):
        values = pit(truth, mean + factor * std * norm.ppf(TAUS)[:, None], TAUS, seed=2)
        p = kstest(values, "uniform").pvalue
        assert p > 1e-3 if uniform else p < 1e-6


def test_ranks_of_samples_are_uniform_even_with_ties():
    """Truth and samples are whole numbers from one distribution; p above 10⁻³ at 4,000 maps."""
    rng = np.random.default_rng(3)
    draws = rng.poisson(2.0, size=(20, 4000))
    drawn = rng.uniform(*rank_bounds(draws[0], draws[1:]))
    assert kstest(drawn, "uniform").pvalue > 1e-3
    assert kstest(rng.uniform(*rank_bounds(draws[0] + 1, draws[1:])), "uniform").pvalue < 1e-6


def test_gaussian_pit():
    np.testing.assert_allclose(pit_gaussian([1.0, 3.0], [1.0, 1.0], [2.0, 2.0]), [0.5, norm.cdf(1)])


@pytest.mark.parametrize("bounds", [(0.0, 0.05), (0.3, 0.7), (0.95, 1.0), (0.2, 0.2), (0.9, 0.9 + 1e-12), (0.0, 1.0)])
def test_normal_scores_are_conditional_moments(bounds):
    first, second = normal_scores(*(np.array([b]) for b in bounds))
    low, high = norm.ppf(bounds)
    width = bounds[1] - bounds[0]
    if width < 1e-9:
        expected = low, low**2
    else:
        expected = tuple(quad(lambda z, k=k: z**k * norm.pdf(z), low, high)[0] / width for k in (1, 2))
    np.testing.assert_allclose([first[0], second[0]], expected, atol=1e-7)


def test_bad_samples_are_named():
    with pytest.raises(InputError, match=r"samples: must have shape .*, got \(5, 2\)"):
        rank_bounds(np.zeros(3), np.zeros((5, 2)))
    with pytest.raises(InputError, match="values: must be finite"):
        pit_histogram_band([np.nan])


def test_histogram_bands_hold_one_in_all_bins_together():
    """200 calibrated sets: at most 5 % have a bin whose band misses; 20 allowed (probability of more: 10⁻³)."""
    missed = 0
    for seed in range(200):
        values = np.random.default_rng(seed).uniform(size=(300, 1)) * np.ones(3)  # bins of a map go together
        missed += not pit_histogram_band(values).flat
    assert missed <= 20


def test_histogram_band_has_the_density_of_numpy_and_marks_few_maps():
    values = np.random.default_rng(0).beta(2, 2, size=(50, 3))
    found = pit_histogram_band(values, n_bin=5)
    np.testing.assert_allclose(found.density, np.histogram(values, 5, (0, 1), density=True)[0])
    np.testing.assert_allclose(found.edges, np.linspace(0, 1, 6))
    assert found.few_maps
    assert not pit_histogram_band(np.tile(values, (9, 1)), n_bin=5).flat


def test_a_mask_that_does_not_fit_or_counts_nothing_is_named():
    for used in (np.zeros((4, 2), bool), np.ones((4, 3), bool)):
        with pytest.raises(InputError, match=r"used: must be a mask of shape \(4, 2\) with some pair that counts"):
            pit_histogram_band(np.full((4, 2), 0.5), used)
