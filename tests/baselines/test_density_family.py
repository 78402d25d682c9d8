from __future__ import annotations

import numpy as np
import pytest

from gcesbi.baselines import DensityFamily, SkewNormals
from gcesbi.baselines.nptf.count_integrals import count_vectors
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.errors import InputError
from gcesbi.physics.scd import DEFAULT_BINS
from gcesbi.physics.skew_normal import log_pdf

F, RHO = np.array([0.02, 0.3, 0.7]), np.array([10.0, 1.0, 5 / 7])
VIEW = SourceView(F[None], RHO[None], np.ones(1), 9e10, 80)


def skewed(x, shape):
    return np.exp(log_pdf(x, *shape))


def test_skew_normal_written_as_a_density():
    """Two independent ways to the same numbers: values, derivatives and histogram."""
    by_density = DensityFamily(("xi", "omega2", "a"), skewed).bind(VIEW)
    own = SkewNormals(-7.0).bind(VIEW)
    shapes = np.array([[-10.5, 0.2, -1.5], [-11.5, 0.8, 2.0]])
    got, expected = np.zeros((2, 1, 80)), np.zeros((2, 1, 80))
    by_density.unit_vectors(shapes, got)
    own.unit_vectors(shapes, expected)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-15)
    gradient, exact = by_density.unit_gradient(shapes[0]), own.unit_gradient(shapes[0])
    np.testing.assert_allclose(gradient, exact, rtol=1e-6, atol=1e-9 * np.abs(exact).max())
    histograms = [family.histogram(shapes, DEFAULT_BINS.edges) for family in (by_density, own)]
    np.testing.assert_allclose(*histograms, atol=1e-6)


def test_power_law_with_cuts_agrees_with_broken_power_laws():
    """dN/dF ∝ F^-1.5 up to F_1 = 4e-10 (36 counts), nothing above: the limit of a steep first index."""
    high = np.log10(4e-10)
    family = DensityFamily(("n",), lambda x, s: 10.0 ** ((1 - s[0]) * x), low=-25.0, high=high).bind(VIEW)
    got = np.zeros((1, 1, 80))
    family.unit_vectors(np.array([[1.5]]), got)
    below, above = np.empty(80), np.empty(80)
    for index, out in ((1e4, below), (1e5, above)):
        count_vectors(np.array([1.0, index, 1.5, 36.0]), F, RHO, out)
        out /= 36.0**2 * (1 / 0.5 + 1 / (index - 2))
    limit = above + (above - below) / 9  # the next order in 1 / n_1
    np.testing.assert_allclose(got[0, 0], limit, rtol=1e-6)


def test_narrow_features_take_more_pieces():
    """A line of width 0.004: one piece a panel misses it, twelve do not."""
    line = (lambda x, s: np.exp(-0.5 * ((x - s[0]) / 0.004) ** 2),)
    own, expected = SkewNormals(-7.0).bind(VIEW), np.zeros((1, 1, 80))
    own.unit_vectors(np.array([[-10.3, 0.004**2, 0.0]]), expected)
    errors = []
    for n_piece in (1, 12):
        got = np.zeros((1, 1, 80))
        DensityFamily(("x",), *line, low=-12.0, high=-8.0, n_piece=n_piece).bind(VIEW).unit_vectors(
            np.array([[-10.3]]), got
        )
        errors.append(np.abs(got / expected - 1)[0, 0, :30].max())
    assert errors[1] < 1e-8 < errors[0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DensityFamily(("x",), skewed, low=-7.0, high=-8.0), "low, high: low must be below high"),
        (lambda: DensityFamily(("x",), skewed, n_piece=0), "n_piece: must be at least 1"),
        (
            lambda: (
                DensityFamily(("x",), lambda x, s: -np.ones_like(x))
                .bind(VIEW)
                .histogram(np.ones((1, 1)), DEFAULT_BINS.edges)
            ),
            "density: must give one finite, not negative number",
        ),
    ],
)
def test_bad_densities_are_named(build, message):
    with pytest.raises(InputError, match=message):
        build()
