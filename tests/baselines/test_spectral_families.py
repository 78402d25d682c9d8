from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.baselines.poisson.spectral_families import LogParabola, PowerLaw, SkewNormal
from gcesbi.physics.spectra import PowerLawSpectrum, skew_normal_shares

EDGES = np.geomspace(2.0, 20.0, 11)


@pytest.mark.parametrize("index", [-2.0, 1.0, 2.4, 12.0])
def test_power_law_is_that_of_the_library(index):
    np.testing.assert_allclose(PowerLaw().shares(EDGES, [index])[0], PowerLawSpectrum(index).shares(EDGES), rtol=1e-12)


@pytest.mark.parametrize("shape", [(0.6, -0.5, 3.0), (0.3, -2.0, -6.0), (1.9, 0.4, -1.0)])
def test_skew_normal_is_that_of_the_simulator(shape):
    xi, log_omega2, a = shape
    expected = skew_normal_shares(EDGES, xi, 10**log_omega2, a)
    np.testing.assert_allclose(SkewNormal().shares(EDGES, shape)[0], expected, rtol=1e-10)


def test_log_parabola_agrees_with_mpmath():
    alpha, beta, pivot = 2.1, 0.7, mpmath.sqrt(40)
    ends = [mpmath.mpf(float(e)) for e in EDGES]
    bins = [
        mpmath.quad(lambda e: (e / pivot) ** (-alpha - beta * mpmath.log(e / pivot)), [low, high])
        for low, high in itertools.pairwise(ends)
    ]
    expected = np.array([float(b / sum(bins)) for b in bins])
    np.testing.assert_allclose(LogParabola().shares(EDGES, [alpha, beta])[0], expected, rtol=1e-10)


@pytest.mark.parametrize("family", [PowerLaw(), LogParabola(), SkewNormal()])
@given(position=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_derivatives_are_exact(family, position, seed):
    low, high = family.bounds(EDGES).T
    spread = np.clip(position + 0.1 * np.random.default_rng(seed).standard_normal(low.size), 0.05, 0.95)
    shape = low + spread * (high - low)
    share, slopes = family.shares(EDGES, shape)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(slopes.sum(axis=0), 0.0, atol=1e-9)
    for i, h in enumerate(np.eye(shape.size) * 1e-5):
        rise = (family.shares(EDGES, shape + h)[0] - family.shares(EDGES, shape - h)[0]) / 2e-5
        np.testing.assert_allclose(slopes[:, i], rise, atol=1e-7 * max(1.0, np.abs(rise).max()))


@pytest.mark.parametrize("family", [PowerLaw(), LogParabola(), SkewNormal()])
def test_starts_lie_within_bounds(family):
    low, high = family.bounds(EDGES).T
    start = family.start(EDGES)
    assert len(family.names) == start.size
    assert np.all((low < start) & (start < high))
