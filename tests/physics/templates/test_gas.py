import numpy as np
import pytest
from scipy.integrate import quad

from gcesbi.physics.templates.gas import ATOMIC, HYDROGEN_PER_CM3, MOLECULAR, thick_line_correction


@pytest.mark.parametrize("disk", [ATOMIC, MOLECULAR])
def test_column_through_the_disk_is_its_surface_density(disk):
    for radius in (2.0, 8.5):
        column = 2 * quad(lambda z, r=radius: float(disk.density(np.array(r), np.array(z))), 0, 3, limit=200)[0]
        surface = disk.sigma_0 * np.exp(-disk.r_m / radius - radius / disk.r_d)  # solar masses / pc²
        assert column == pytest.approx(surface * HYDROGEN_PER_CM3 * 1e-3, rel=1e-6)


@pytest.mark.parametrize(("disk", "mass"), [(ATOMIC, 1.1e10), (MOLECULAR, 1.2e9)])
def test_mass_is_the_published_one(disk, mass):
    # McMillan (2017): 1.1·10¹⁰ and 1.2·10⁹ solar masses
    found = quad(lambda r: 2 * np.pi * r * disk.sigma_0 * np.exp(-disk.r_m / r - r / disk.r_d), 1e-3, 100)[0]
    assert found * 1e6 == pytest.approx(mass, rel=0.05)


def test_local_density_is_sensible():
    assert 0.7 < ATOMIC.density(np.array(8.5), np.array(0.0)) < 1.1
    assert 0.01 < MOLECULAR.density(np.array(8.5), np.array(0.0)) < 0.8
    assert np.isfinite(ATOMIC.density(np.array(0.0), np.array(0.0)))


def test_correction_limits_and_order():
    column = np.array([1e-6, 0.17, 3.0, 10.0])
    warm, cool = thick_line_correction(column, 0.86, 1e5), thick_line_correction(column, 0.86, 150.0)
    np.testing.assert_allclose(warm, 1, atol=1e-3)
    assert cool[0] == pytest.approx(1, abs=1e-4)
    assert np.all(np.diff(cool) > 0)
    assert 1.2 < cool[-1] < 2
    # T_b stays below T_s - 5 K
    assert thick_line_correction(np.array([1e6]), 0.86, 20.0)[0] == pytest.approx(
        -np.log(1 - 15 / 17.275) / (15 / 17.275)
    )


def test_correction_is_the_radiative_transfer_of_one_slab():
    # T_b = (T_s - T_CMB)(1 - e^-τ) and N_true = N_thin τ / (1 - e^-τ)
    column, width = 5.0, 25.0 + 15.0 * 5.0
    brightness = column * 3.0857e21 / (1.823e18 * width)
    tau = -np.log(1 - brightness / (150 - 2.725))
    expected = tau / (1 - np.exp(-tau))
    assert thick_line_correction(np.array([column]), 1.0, 150.0)[0] == pytest.approx(expected, rel=1e-9)
