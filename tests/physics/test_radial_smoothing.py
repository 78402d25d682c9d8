"""Radial smoothing against closed forms and against photons displaced one by one."""

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.psf import PSF
from gcesbi.physics.radial_smoothing import RadialSmoother

KING = PSF.king(f_core=0.75, s_core=0.43, g_core=7.8, s_tail=0.72, g_tail=3.6, scale=0.0046)
SMOOTHER = RadialSmoother(KING, 2.0)


def total(function, radius):
    psi = np.linspace(0, np.radians(radius), 20_001)
    return np.trapezoid(function(psi) * 2 * np.pi * np.sin(psi), psi)


def test_the_middle_of_an_even_disc_sees_the_containment():
    smoothed = SMOOTHER(np.ones_like)
    assert smoothed(np.array([0.0]))[0] == pytest.approx(float(KING.containment(2.0)), abs=1e-5)
    assert smoothed(np.radians([2.0]))[0] == pytest.approx(0.5, abs=0.02)  # nearly a straight edge


@pytest.mark.parametrize("slope", [0.0, -1.2, -1.7])
def test_light_is_conserved(slope):
    smoothed = SMOOTHER(lambda psi: psi**slope)
    expected = 2 * np.pi * np.radians(2.0) ** (2 + slope) / (2 + slope)
    assert total(smoothed, 7.0) == pytest.approx(expected, rel=2e-3)


def test_a_narrow_source_takes_the_shape_of_the_function():
    smoothed = SMOOTHER(lambda psi: np.where(psi < 1e-5, 1.0, 0.0))
    theta = np.array([0.0, 0.1, 0.3, 1.0])
    ratio = smoothed(np.radians(theta)) / KING.density(theta)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_displaced_photons_fall_as_the_smoothed_light():
    rng = np.random.default_rng(1)
    n = 200_000
    psi = np.radians(2.0) * rng.random(n) ** (1 / 0.6)  # dN/dψ ∝ ψ ψ^-1.4
    theta, around = np.radians(KING.sample(n, rng)), 2 * np.pi * rng.random(n)
    cosine = np.cos(psi) * np.cos(theta) + np.sin(psi) * np.sin(theta) * np.cos(around)
    landed = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    limits = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 2.3])
    smoothed = SMOOTHER(lambda p: p**-1.4)
    expected = np.array([total(smoothed, each) for each in limits]) / total(smoothed, 7.0)
    got = (landed[:, None] < limits).mean(axis=0)
    np.testing.assert_array_less(np.abs(got - expected), 4 * np.sqrt(expected * (1 - expected) / n) + 3e-4)  # k = 4


def test_guard():
    with pytest.raises(InputError, match=r"radius: must lie in \(0, 90\] degrees, got 0"):
        RadialSmoother(KING, 0.0)
