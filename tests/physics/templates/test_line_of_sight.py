import numpy as np
import pytest
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.physics.templates.line_of_sight import axisymmetric_integral, check_positive, spherical_integral

R_SUN = 8.5


def test_spherical_isothermal_has_closed_form():
    # ∫_0^∞ ds / (d² + (s - R cos ψ)²) = (π - ψ) / (R sin ψ)
    psi = np.concatenate([np.geomspace(1e-8, 1, 20), np.linspace(1.1, 3.1, 10)])
    found = spherical_integral(lambda r: r**-2.0, psi, R_SUN)
    # the integral ends at 10⁴ R_sun, which leaves out 10⁻⁴ / R_sun
    expected = (np.pi - psi) / (R_SUN * np.sin(psi)) - 1e-4 / R_SUN
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_spherical_plummer_has_closed_form_towards_centre():
    # ∫ (1 + (s - R)² )^(-3/2) ds from 0 to ∞ at ψ -> 0 is 1 + R / sqrt(1 + R²)
    found = spherical_integral(lambda r: (1 + r**2) ** -1.5, [1e-9, np.pi], R_SUN)
    rim = R_SUN / np.hypot(1, R_SUN)
    np.testing.assert_allclose(found, [1 + rim, 1 - rim], rtol=1e-6)


@pytest.mark.parametrize(("glon", "glat"), [(0, 0), (30, 0), (120, 40), (0, 89.9), (180, -10), (-12, 0.1), (70, 90)])
def test_constant_slab_is_exponential_in_height(glon, glat):
    # n = exp(-|z| / h) exp(-R²/2w²) with w huge is ∫ = h / sin|b|; in the plane the Gaussian bounds the line
    if abs(glat) < 1:
        width = 3.0
        found = axisymmetric_integral(lambda r, z: np.exp(-(r**2) / 2 / width**2 - 0 * z), [glon], [0], R_SUN)
        along, across = R_SUN * np.cos(np.radians(glon)), R_SUN * np.sin(np.radians(glon))
        from scipy.special import ndtr

        expected = np.exp(-(across**2) / 2 / width**2) * width * np.sqrt(2 * np.pi) * ndtr(along / width)
    else:
        found = axisymmetric_integral(lambda r, z: np.exp(-z / 0.3) + 0 * r, [glon], [glat], R_SUN)
        expected = 0.3 / np.sin(np.radians(abs(glat)))
    np.testing.assert_allclose(found, expected, rtol=3e-6)


def test_axisymmetric_agrees_with_quad_and_with_spherical():
    rng = np.random.default_rng(3)
    glon, glat = rng.uniform(-180, 180, 8), rng.uniform(-80, 80, 8)

    def density(radius, height):
        return np.exp(-radius / 5 - height / 0.3)

    def along(s, lon, lat):
        x, y = s * np.cos(lat) * np.cos(lon) - R_SUN, s * np.cos(lat) * np.sin(lon)
        return density(np.hypot(x, y), abs(s * np.sin(lat)))

    found = axisymmetric_integral(density, glon, glat, R_SUN)
    for value, lon, lat in zip(found, np.radians(glon), np.radians(glat), strict=True):
        points = np.geomspace(0.01, 100, 9).tolist()
        expected = quad(along, 0, 100, args=(lon, lat), points=points, limit=400, epsrel=1e-10)[0]
        assert value == pytest.approx(expected, rel=1e-5)
    psi = np.arccos(np.cos(np.radians(glon)) * np.cos(np.radians(glat)))
    ball = axisymmetric_integral(lambda r, z: (4 + r**2 + z**2) ** -2.0, glon, glat, R_SUN)
    np.testing.assert_allclose(ball, spherical_integral(lambda r: (4 + r**2) ** -2.0, psi, R_SUN), rtol=1e-6)


def test_several_densities_at_once_in_chunks():
    glon, glat = np.linspace(-179, 180, 5000), np.linspace(-80, 80, 5000)

    def one(radius, height):
        return np.exp(-radius - height)

    both = axisymmetric_integral(lambda r, z: np.stack([one(r, z), 2 * one(r, z)]), glon, glat, R_SUN)
    assert both.shape == (2, 5000)
    np.testing.assert_allclose(both[1], 2 * both[0])
    np.testing.assert_allclose(both[0], axisymmetric_integral(one, glon, glat, R_SUN))
    np.testing.assert_allclose(both[0, -1:], axisymmetric_integral(one, glon[-1:], glat[-1:], R_SUN))


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_check_positive(value):
    with pytest.raises(InputError, match=r"r_s: must be positive and finite \(kpc\), got"):
        check_positive("r_s", value)
