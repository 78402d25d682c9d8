"""J-factors against direct integration, fluxes against sums over pixels."""

import numpy as np
import pytest
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.physics.dark_matter import CM_PER_KPC, Annihilation, DarkMatterHalo, b_quark_yield
from gcesbi.physics.templates.nfw import NFW
from gcesbi.sky.image import ImageGeometry, angular_distance

EDGES = np.array([1.0, 2.0, 6.0])


def test_density_is_the_local_one_at_the_sun():
    assert DarkMatterHalo().density(8.5) == pytest.approx(0.4, rel=1e-12)
    inner = DarkMatterHalo(NFW(gamma=1.3)).density(np.array([1e-4, 2e-4]))
    assert inner[0] / inner[1] == pytest.approx(2**1.3, rel=1e-3)


@pytest.mark.parametrize("psi", [1.0, 30.0, 150.0])
def test_j_factor_is_the_line_of_sight_integral(psi):
    halo = DarkMatterHalo()

    def squared(s):
        radius = np.sqrt(s**2 + 8.5**2 - 2 * s * 8.5 * np.cos(np.radians(psi)))
        return float(halo.density(radius)) ** 2

    tangent = max(8.5 * np.cos(np.radians(psi)), 0.0)
    pieces = [
        quad(squared, a, b, limit=500)[0] for a, b in ((0, tangent), (tangent, tangent + 20), (tangent + 20, 9e3))
    ]
    assert halo.j_factor(psi) == pytest.approx(sum(pieces) * CM_PER_KPC, rel=1e-4)


@pytest.mark.parametrize("gamma", [1.0, 1.2, 1.4])
def test_flux_of_the_pixels_is_that_of_the_disc(gamma):
    signal = Annihilation(DarkMatterHalo(NFW(gamma=gamma)))
    geometry = ImageGeometry((360, 360), 0.05)
    light = signal.intensity(geometry, EDGES).reshape(2, -1) * geometry.solid_angle
    inside = angular_distance(*geometry.glon_glat(), (0.0, 0.0)) < 8.0
    np.testing.assert_allclose(light[:, inside].sum(axis=1), signal.flux(EDGES, 8.0), rtol=2e-3)


def test_flux_scales_with_cross_section_and_density_squared():
    base = Annihilation().flux(EDGES, 10.0)
    np.testing.assert_allclose(Annihilation(cross_section=4e-26).flux(EDGES, 10.0), 2 * base, rtol=1e-12)
    dense = Annihilation(DarkMatterHalo(local_density=0.8))
    np.testing.assert_allclose(dense.flux(EDGES, 10.0), 4 * base, rtol=1e-10)


def test_yield_meets_the_table_that_it_was_fitted_to():
    """Photons per ln E at 50 GeV, from DMFIT's table (bins of 0.04 in log10 x)."""
    energy = 50 * 10 ** (-0.02 - 0.04 * np.array([42, 32, 23, 19, 16]))
    told = np.array([7.294915, 3.951834, 1.282083, 0.5905186, 0.2903101])
    np.testing.assert_allclose(b_quark_yield(energy) * energy, told, rtol=0.03)


def test_photons_carry_about_a_quarter_of_the_energy():
    energy = np.geomspace(0.5, 30, 2001)
    carried = np.trapezoid(energy * b_quark_yield(energy), energy)
    assert 0.22 < carried / 100 < 0.28


def test_the_papers_fit_band_holds_what_photons_there_are():
    bands = Annihilation().flux([0.5, 30.0, 50.0, 100.0], 10.0)
    assert 0 < bands[1] < 2e-4 * bands[0]
    assert bands[2] == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b_quark_yield(0.1), "energy: must be above 0.5 GeV for a mass of 50 GeV, got 0.1"),
        (lambda: Annihilation(mass=500.0), "mass: must lie in"),
        (lambda: Annihilation(cross_section=0.0), "cross_section: must be positive"),
        (lambda: DarkMatterHalo(local_density=-1.0), "local_density: must be positive"),
        (lambda: Annihilation().flux(EDGES, 0.0), "radius: must lie in"),
    ],
)
def test_guards_name_argument_rule_and_value(make, message):
    with pytest.raises(InputError, match=message):
        make()
