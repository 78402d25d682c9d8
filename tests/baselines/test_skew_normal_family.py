from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erfc, gammaln

from gcesbi.baselines.nptf.count_kernel import N_NODE, CountKernel, lagrange, weigh_kernel
from gcesbi.baselines.nptf.scd_family import BrokenPowerLaws, SourceView
from gcesbi.baselines.nptf.skew_normal_family import SkewNormals
from gcesbi.errors import InputError
from gcesbi.physics.scd import DEFAULT_BINS, SkewNormalScd

F, RHO = np.array([0.02, 0.3, 0.7]), np.array([10.0, 1.0, 5 / 7])  # no light is lost
EXPOSURE, CUT = 9e10, -7.0


def view(n=60, ratio=(1.0,)):
    groups = len(ratio)
    return SourceView(np.tile(F, (groups, 1)), np.tile(RHO, (groups, 1)), np.array(ratio), EXPOSURE, n)


@pytest.fixture(scope="module")
def family():
    return SkewNormals(CUT).bind(view())


def unit(family, shape, n=60):
    out = np.zeros((1, len(family.view.ratio), n))
    family.unit_vectors(np.array([shape], dtype=float), out)
    return out[0]


def exact(shape, m, ratio=1.0, digits=25):
    """X_m, or X_Σ for m = 0, by tanh-sinh quadrature of both integrals, in as many pieces as they have features."""
    with mp.workdps(digits):
        xi, omega2, a = (mp.mpf(float(s)) for s in shape)
        omega = mp.sqrt(omega2)

        def weight(x):
            z = (x - xi) / omega
            return 10**x * mp.exp(-z * z / 2) * mp.erfc(-a * z / mp.sqrt(2))

        def kernel(x):
            s = 10**x * mp.mpf(EXPOSURE)
            means = [mp.mpf(float(f)) * s * ratio for f in F]
            seen = [-mp.expm1(-u) if m == 0 else mp.exp(m * mp.log(u) - u - mp.loggamma(m + 1)) for u in means]
            return mp.fsum(mp.mpf(float(r)) * p for r, p in zip(RHO, seen, strict=True)) / s

        peaks = [mp.log10(max(m, 1) / (mp.mpf(float(f)) * ratio * EXPOSURE)) for f in F]
        edges = [xi + omega * z for z in (-11, -6, -3, -1, 0, 1, 3, 6, 11 + 3 * omega)]
        edges += [xi + omega * z / max(abs(a), 1) for z in (-4, 4)]
        edges += [p + d for p in peaks for d in (-0.6, -0.2, 0, 0.2, 0.6)]
        edges = [e for e in sorted(edges) if xi - 11 * omega <= e < CUT] + [mp.mpf(CUT)]
        edges = [e for e in edges if e <= xi + omega * (11 + 3 * omega)]
        return mp.quad(lambda x: weight(x) * kernel(x), edges) / mp.quad(weight, edges)


SHAPES = [
    (-10.5, 0.2, -1.5),
    (-9.0, 4.0, 3.0),  # wide and bright: the cut bites
    (-11.8, 0.01, 0.0),
    (-12.5, 0.5, 8.0),
    (-10.0, 1e-8, 0.5),  # nearly a single flux
    (-9.2, 1e-3, -12.0),
    (-13.0, 1e-5, 1.0),  # a hundredth of a photon per source
]


@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_agree_with_mpmath(family, shape):
    got = unit(family, shape)[0]
    for m in (0, 1, 7, 59):
        true = float(exact(shape, m))
        if true > 1e-12 * got[0]:
            assert got[m] == pytest.approx(true, rel=1e-9), m
        else:
            assert got[m] == pytest.approx(true, abs=1e-20), m


def test_exposure_groups_see_the_same_sources(family):
    grouped = SkewNormals(CUT).bind(view(ratio=(0.7, 1.4)))
    got = unit(grouped, SHAPES[0])
    for g, ratio in enumerate((0.7, 1.4)):
        for m in (0, 1, 9):
            assert got[g, m] == pytest.approx(float(exact(SHAPES[0], m, ratio)), rel=1e-9)


@given(xi=st.floats(-13, -9), omega2=st.floats(0, 4), a=st.floats(-12, 12))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_sums_over_m(family, xi, omega2, a):
    """Light is not lost, Σ m X_m = 1, unless sources give more photons than the vectors hold; Σ X_m = X_Σ likewise."""
    faint = min(xi, -9.8 - 7 * np.sqrt(omega2) - 2.4 * omega2)
    x = unit(family, (faint, omega2, a))[0]
    assert np.arange(60) @ x == pytest.approx(1.0, abs=1e-9)
    assert x[1:].sum() == pytest.approx(x[0], rel=1e-9)
    bright = unit(family, (xi, omega2, a))[0]
    assert np.all(bright >= -1e-15)
    assert bright[1:].sum() <= bright[0] * (1 + 1e-9)
    assert np.arange(60) @ bright <= 1 + 1e-9


def by_sums(shape, n=60):
    """Vectors of `n` by one long Gauss-Legendre sum in double precision."""
    xi, omega2, a = shape
    omega = np.sqrt(omega2)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    edges = np.linspace(xi - 10 * omega, min(CUT, xi + omega * (10 + 3 * omega)), 1500)
    half = np.diff(edges) / 2
    x = (edges[:-1, None] + half[:, None] * (1 + nodes)).ravel()
    z = (x - xi) / omega
    g = (half[:, None] * weights).ravel() * 10.0**x * np.exp(-(z**2) / 2) * erfc(-a * z / np.sqrt(2))
    mean, m = 10.0**x * EXPOSURE * F[:, None], np.arange(n)[:, None, None]
    seen = np.exp(m * np.log(mean) - mean - gammaln(m + 1))
    seen[0] = -np.expm1(-mean)
    return np.einsum("mfx,f,x->m", seen, RHO, g / (10.0**x * EXPOSURE)) / g.sum()


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], SHAPES[2], SHAPES[5]])
def test_derivatives_agree_with_differences(family, shape):
    gradient = family.unit_gradient(np.array(shape))[0]
    np.testing.assert_allclose(gradient[0], by_sums(shape), rtol=1e-9, atol=1e-18)
    omega = np.sqrt(shape[1])
    for i, step in enumerate((1e-3 * omega, 2e-3 * shape[1], 2e-3)):
        sides = []
        for k in (-2, -1, 1, 2):
            moved = list(shape)
            moved[i] += k * step
            sides.append(by_sums(moved))
        slope = (sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / (12 * step)
        np.testing.assert_allclose(gradient[1 + i], slope, rtol=1e-7, atol=1e-8 * np.abs(slope).max())


def test_omega2_below_the_smallest_counts_as_the_smallest(family):
    np.testing.assert_array_equal(unit(family, (-10.0, 0.0, 1.0)), unit(family, (-10.0, 1e-8, 1.0)))
    assert not family.unit_gradient(np.array([-10.0, 0.0, 1.0]))[:, 2].any()


@pytest.mark.parametrize("shape", SHAPES[:6])
def test_histogram_is_that_of_the_simulator(family, shape):
    xi, omega2, a = shape
    expected = SkewNormalScd(xi, omega2, a, 1e-8, CUT).histogram()
    got = family.histogram(np.array([shape]), DEFAULT_BINS.edges)[0]
    assert got.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(got, expected, atol=3e-4)  # the simulator's own table is a sum over 40,001 points


def test_a_kernel_between_its_nodes_is_the_kernel():
    kernel = CountKernel.build(view(n=231), CUT)
    rng = np.random.default_rng(0)
    basis = np.empty(N_NODE)
    worst = 0.0
    for x in rng.uniform(kernel.edges[1], CUT, 300):
        panel = np.searchsorted(kernel.edges, x, side="right") - 1
        low, high = kernel.edges[panel : panel + 2]
        lagrange(2 * (x - low) / (high - low) - 1, basis)
        rows = kernel.table[0, panel * N_NODE : (panel + 1) * N_NODE]
        got = np.empty(231)
        weigh_kernel(basis[None], rows, got)
        s = 10**x * EXPOSURE
        m = np.arange(231)
        terms = m[:, None] * np.log(F * s) - F * s - np.array([mp.loggamma(k + 1) for k in m], dtype=float)[:, None]
        true = np.exp(terms) @ RHO / s
        true[0] = -np.expm1(-F * s) @ RHO / s
        worst = max(worst, np.max(np.abs(got - true) / kernel.table[0].max(axis=0)))
    assert worst < 1e-11


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((-10.0, -0.1, 0.0), "omega2: must not be negative"),
        ((-6.0, 0.1, 0.0), "xi: must not exceed the cut -7.0"),
        ((np.nan, 0.1, 0.0), "shapes: must be finite"),
    ],
)
def test_bad_shapes_are_named(family, shape, message):
    with pytest.raises(InputError, match=message):
        unit(family, shape)


def test_broken_power_laws_need_a_break():
    with pytest.raises(InputError, match="n_break: must be at least 1"):
        BrokenPowerLaws(0)
