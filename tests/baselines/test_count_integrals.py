from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.baselines.nptf.count_integrals import count_vectors, count_vectors_with_derivatives, mean_counts

MANY = (1, 2, 3, 10, 29, 31, 40, 100, 228, 1000, 2000)


def vectors(theta, shares, density, n):
    out = np.empty(n + 1)
    count_vectors(
        np.asarray(theta, dtype=float), np.asarray(shares, dtype=float), np.asarray(density, dtype=float), out
    )
    return out


def oracle(theta, shares, density, m):
    """X_m, or X_Σ for m = 0, by incomplete gamma functions of 70 digits."""
    with mp.workdps(70):
        nudge = mp.mpf(10) ** -28  # away from the gamma function's poles; it changes results by as much
        values = [mp.mpf(t) for t in theta]
        n_break = len(values) // 2 - 1
        indices = [n + nudge if abs(n - mp.nint(n)) < nudge else n for n in values[1 : n_break + 2]]
        breaks = values[n_break + 2 :]
        total = mp.mpf(0)
        for f, weight in zip(map(float, shares), map(float, density), strict=True):
            level = values[0]
            for j, n in enumerate(indices):
                if j > 1:
                    level *= (breaks[j - 1] / breaks[j - 2]) ** -indices[j - 1]
                reference = f * breaks[max(j - 1, 0)]
                low = f * breaks[j] if j < n_break else mp.mpf(0)
                high = mp.inf if j == 0 else reference
                total += level * mp.mpf(weight) / f * segment(n, m, low, high, reference)
        return total


def segment(n, m, low, high, reference):
    if m > 0:
        return reference**n * mp.gammainc(m + 1 - n, low, high) / mp.factorial(m)

    def edge(u):
        return u ** (1 - n) * -mp.expm1(-u) if 0 < u < mp.inf else mp.mpf(0)

    return reference**n * (edge(low) - edge(high) + mp.gammainc(2 - n, low, high)) / (n - 1)


def check(theta, share, n_max):
    got = vectors(theta, [share], [1.0], n_max)
    for m in (0, *(m for m in MANY if m <= n_max)):
        exact = oracle(theta, [share], [1.0], m)
        if exact > mp.mpf(10) ** -280:
            assert abs(mp.mpf(float(got[m])) / exact - 1) < 1e-12, (m, got[m], exact)


AWKWARD = [0.0, 1.0, 1 + 1e-6, 1 - 1e-6, 1 - 1e-9, 0.5, 1.5, -3.0, -10.0, 1.999]


@given(data=st.data())
@settings(deadline=None, max_examples=80, derandomize=True)
def test_every_entry_agrees_with_mpmath(data):
    draw = data.draw
    n_break = draw(st.integers(1, 3))
    breaks = [10 ** draw(st.floats(-2, 3.7))]
    for _ in range(n_break - 1):
        gap = draw(st.sampled_from([1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999]))
        breaks.append(breaks[-1] * (1 - gap))
    first = draw(st.one_of(st.floats(1.05, 30), st.sampled_from([2.0, 3.0 + 1e-6, 10.0, 30.0])))
    middle = [
        draw(st.one_of(st.floats(-3, 12), st.sampled_from([*AWKWARD, 2.0, 2 + 1e-7]))) for _ in range(n_break - 1)
    ]
    last = draw(st.one_of(st.floats(-10, 1.999), st.sampled_from(AWKWARD)))
    share = draw(st.sampled_from([1e-3, 0.0333, 0.5, 0.97]))
    check([1.0, first, *middle, last, *breaks], share, draw(st.sampled_from([3, 228, 2000])))


@pytest.mark.parametrize(
    "theta",
    [
        [1.0, 4.57, -1.267, 2.0, 1.000001, 1456.31282, 1456.31267, 0.0360174],
        [1.0, 2.773, 2.0000001, 10.377, 1.5, 3760.39764, 3760.39763, 1.24747],
        [1.0, 30.0, 1.00001, -10.0, 0.02, 0.01],
        [1.0, 1.05, 1.999, 5000.0],
    ],
)
def test_corners_agree_with_mpmath(theta):
    check(theta, 0.97, 2000)
    check(theta, 0.05, 40)


def test_sum_over_m_is_the_number_of_sources_that_show():
    theta = [0.3, 8.0, 1.2, -2.0, 9.0, 0.7]
    x = vectors(theta, [0.1, 0.6], [2.0, 1.3], 3000)
    assert x[1:].sum() == pytest.approx(x[0], rel=1e-12)


@pytest.mark.parametrize("n_break", [1, 2])
def test_the_sum_alone_is_the_sum_beside_others(n_break):
    """Of a map without a photon X_Σ is all that is asked for."""
    theta = [0.05, 3.2, 1.4, 6.0] if n_break == 1 else [0.02, 4.0, 1.6, -1.0, 12.0, 2.0]
    assert vectors(theta, [0.2, 0.6], [2.0, 1.0], 0)[0] == vectors(theta, [0.2, 0.6], [2.0, 1.0], 5)[0]


def test_mean_counts_are_the_first_moment():
    theta = np.array([0.3, 9.0, 1.2, -2.0, 9.0, 0.7])
    x = vectors(theta, [0.25, 0.5], [2.0, 1.0], 3000)
    assert np.arange(3001) @ x == pytest.approx(mean_counts(theta[None])[0], rel=1e-12)


def test_derivatives_agree_with_mpmath_differences():
    theta = np.array([0.7, 12.0, 1.3, 1.0, -2.5, 30.0, 4.0, 0.3])
    shares, density, n = np.array([0.1, 0.6]), np.array([2.0, 1.3]), 60
    value, slopes = np.empty(n + 1), np.empty((theta.size, n + 1))
    count_vectors_with_derivatives(theta, shares, density, value, slopes)
    np.testing.assert_allclose(value, vectors(theta, shares, density, n), rtol=1e-13)
    for i in range(theta.size):
        for m in (0, 1, 7):
            with mp.workdps(60):
                step = mp.mpf(2) ** -60 * (1 + abs(mp.mpf(float(theta[i]))))
                sides = []
                for sign in (1, -1):
                    moved = [mp.mpf(float(t)) for t in theta]
                    moved[i] += sign * step
                    sides.append(oracle(moved, shares, density, m))
                slope = (sides[0] - sides[1]) / (2 * step)
                size = abs(mp.mpf(float(value[m])))
            assert abs(slopes[i, m] - float(slope)) < 1e-10 * max(abs(float(slope)), float(size))


def test_derivatives_at_a_norm_of_zero():
    theta = np.array([0.0, 12.0, 1.3, 3.0])
    value, slopes = np.empty(9), np.empty((4, 9))
    count_vectors_with_derivatives(theta, np.array([0.5]), np.array([2.0]), value, slopes)
    assert not value.any()
    np.testing.assert_allclose(slopes[0], vectors([1.0, 12.0, 1.3, 3.0], [0.5], [2.0], 8))
