"""Coverage with atoms: exact for an exact posterior, where choosing pairs by their truth is not; others fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from gcesbi.errors import InputError
from gcesbi.validation import (
    Calibration,
    atom_bounds,
    coverage,
    coverage_with_atoms,
    pit_with_atoms,
    share_inside,
    undecided,
)

TAUS = np.arange(1, 80) / 80
ALPHAS = np.array([0.3, 0.5, 0.68, 0.9, 0.95])


def conjugate(rng, n_map=4000, d=5, weights=(0.3, 0.2), trials=5, factor=1.0):
    """Numbers y, 0 or 1 with `weights`, else uniform; k ~ Binomial(trials, y). Truth, exact quantiles (n_tau, ...).

    The posterior has an atom at 0 if k = 0, at 1 if k = trials, and is Beta(1 + k, 1 + trials − k) besides. `factor`
    brings levels nearer to ½ (below 1) or farther (above), which makes predictions narrower or wider.
    """
    u, y = rng.uniform(size=(2, n_map, d))
    y = np.where(u < weights[0], 0.0, np.where(u > 1 - weights[1], 1.0, y))
    k = rng.binomial(trials, y)
    rest = (1 - sum(weights)) / (trials + 1)
    zero = np.where(k == 0, weights[0] / (weights[0] + rest), 0.0)
    one = np.where(k == trials, weights[1] / (weights[1] + rest), 0.0)
    levels = (0.5 + factor * (TAUS - 0.5)).clip(1e-9, 1 - 1e-9)[:, None, None]
    inner = beta.ppf(((levels - zero) / (1 - zero - one)).clip(0, 1), 1 + k, 1 + trials - k)
    return y, np.where(levels <= zero, 0.0, np.where(levels > 1 - one, 1.0, inner))


@pytest.mark.parametrize("falling", [False, True])
def test_exact_posterior_with_atoms_has_nominal_coverage_where_the_threshold_has_not(falling):
    """20,000 independent pairs: 4 σ of the share; the threshold's coverage is off by twenty times that."""
    truth, curves = conjugate(np.random.default_rng(1))
    if falling:
        truth, curves = 1 - truth, 1 - curves
    error = np.sqrt(ALPHAS * (1 - ALPHAS) / truth.size)
    for used in (None, undecided(curves)):
        found = coverage_with_atoms(truth, curves, TAUS, ALPHAS, used=used)
        assert np.all(np.abs(found.coverage - found.alphas) < 4 * error)
        assert np.all((found.low < found.coverage) & (found.coverage < found.high))
    assert coverage(truth, curves, TAUS, [0.5])[0] < 0.5 - 0.1


@pytest.mark.parametrize(("factor", "side"), [(0.8, -1), (1.2, 1)])
def test_predictions_that_are_too_narrow_or_too_wide_are_rejected(factor, side):
    found = coverage_with_atoms(*conjugate(np.random.default_rng(2), factor=factor), TAUS, [0.5])
    assert int(found.low[0] > 0.5) - int(found.high[0] < 0.5) == side


def test_the_report_judges_by_it():
    """The exact posterior passes; by pairs chosen by their truth it would be called over-confident."""
    truth, curves = conjugate(np.random.default_rng(3), n_map=3000, d=1)
    truth, curves = (np.concatenate([part, np.ones((*part.shape[:-1], 1))], axis=-1) for part in (truth, curves))
    report = Calibration.from_quantiles(truth, curves, TAUS)
    assert report.judgement == "calibrated"
    assert report.curve.high[list(report.curve.alphas).index(0.5)] < 0.45
    every = coverage_with_atoms(truth, curves, TAUS, report.curve.alphas)
    np.testing.assert_array_equal(report.all_pairs.coverage, every.coverage)
    assert report.undecided.n_pair == np.count_nonzero(undecided(curves))
    assert Calibration.from_quantiles(truth, curves, TAUS, cdf=False).undecided is None


def test_randomised_pit_is_uniform_and_its_coverage_is_that_of_the_curve():
    """Kolmogorov-Smirnov p above 10⁻³; a draw's coverage within 4 σ of its expectation."""
    truth, curves = conjugate(np.random.default_rng(4))
    values = pit_with_atoms(truth, curves, TAUS, seed=5)
    assert kstest(values.ravel(), "uniform").pvalue > 1e-3
    drawn = [np.mean(np.abs(values - 0.5) <= alpha / 2) for alpha in ALPHAS]
    mean = coverage_with_atoms(truth, curves, TAUS, ALPHAS).coverage
    assert np.all(np.abs(drawn - mean) < 4 * np.sqrt(mean * (1 - mean) / values.size))


@pytest.mark.parametrize(
    ("value", "bounds"),
    [(0.0, (0.0, 0.25)), (5e-4, (0.0, 0.25)), (0.3, (0.4, 0.4)), (0.45, (0.55, 0.55)), (1.0, (0.85, 1.0))],
)
def test_bounds_are_half_way_between_the_levels_where_an_atom_ends(value, bounds):
    """Curves 0, 0, 0.2, 0.4, 0.6, 0.8, 1 at levels 0.1, 0.2, 0.3 ... 0.8, 0.9: atoms end at 0.25 and 0.85."""
    taus = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9])
    curve = np.array([0.0, 1e-4, 0.2, 0.4, 0.6, 0.8, 1.0])[:, None]
    np.testing.assert_allclose(np.ravel(atom_bounds([value], curve, taus)), bounds, atol=1e-12)
    np.testing.assert_allclose(np.ravel(atom_bounds([1 - value], 1 - curve, taus)), bounds, atol=1e-12)


def test_values_beside_an_atom_share_the_other_half_of_its_cell():
    """Levels 0.2 (on the atom) and 0.4: a truth from 0 to 0.2 has levels from 0.3 to 0.4."""
    taus = np.array([0.2, 0.4, 0.6])
    curve = np.array([0.0, 0.2, 0.4])[:, None] + np.zeros((1, 3))
    low, high = atom_bounds([2e-3, 0.1, 0.2], curve, taus)
    np.testing.assert_allclose(low, [0.301, 0.35, 0.4])
    np.testing.assert_allclose(high, low)


@pytest.mark.parametrize(
    ("curve", "value", "bounds"), [(0, 0, (0, 1)), (1, 1, (0, 1)), (0, 1, (0.9, 1)), (1, 0, (0, 0.1))]
)
def test_predictions_that_are_sure(curve, value, bounds):
    curves = np.full((9, 1), float(curve))
    assert not undecided(curves).any()
    np.testing.assert_allclose(np.ravel(atom_bounds([float(value)], curves, np.arange(1, 10) / 10)), bounds)


@settings(deadline=None, max_examples=30)
@given(low=st.floats(0, 1), width=st.floats(0, 1), alpha=st.floats(0, 1))
def test_share_inside_is_that_of_many_points(low, width, alpha):
    high = min(1.0, low + width)
    points = low + (np.arange(2000) + 0.5) / 2000 * (high - low)
    found = share_inside(np.array([low]), np.array([high]), [alpha])[0, 0]
    if high - low > 1e-6:
        assert found == pytest.approx(np.mean(np.abs(points - 0.5) <= alpha / 2), abs=1.1e-3)
    assert 0 <= found <= 1


def test_bad_input_is_named():
    truth, curves = np.array([[0.5], [0.2]]), np.linspace(0.1, 0.9, 3)[:, None, None] * np.ones((3, 2, 1))
    with pytest.raises(InputError, match=r"epsilon: must lie in \[0, 0.5\), got 0.7"):
        undecided(curves, 0.7)
    with pytest.raises(InputError, match=r"alphas: needs the quantile at level 0.025, but taus reach only from 0.1"):
        coverage_with_atoms(truth, curves, [0.1, 0.5, 0.9], [0.95])
    with pytest.raises(InputError, match="CDF values must lie in"):
        coverage_with_atoms(truth + 1, curves, [0.1, 0.5, 0.9], [0.5])
    with pytest.raises(InputError, match=r"quantiles: must have shape \(n_tau, \*truth.shape\)"):
        atom_bounds(truth[:1], curves, [0.1, 0.5, 0.9])


def test_bounds_that_are_none_are_named():
    with pytest.raises(InputError, match="low: must be finite, got 1 NaN"):
        share_inside([0.1, np.nan], [0.2, 0.3], [0.5])
    for high in ([0.0, 0.3], [0.2]):
        with pytest.raises(InputError, match=r"high: must have the shape of low, \(2,\), and lie above it"):
            share_inside([0.1, 0.2], high, [0.5])
