import healpy as hp
import numpy as np
import pytest
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.physics.templates import InverseCompton, PionDecay
from gcesbi.physics.templates.cosmic_rays import CosmicRays
from gcesbi.physics.templates.gas import ATOMIC, MOLECULAR, thick_line_correction
from gcesbi.physics.templates.interstellar import LOSS_LENGTH
from gcesbi.physics.templates.radiation import radiation_energy_density
from gcesbi.sky.region import Region

VARIANTS = [("snr", 10, 150), ("lorimer", 10, 1e5), ("lorimer", 4, 150), ("lorimer", 10, 150), ("snr", 4, 1e5)]
DIRECTIONS = [(5.0, 3.0), (20.0, 10.0), (100.0, 1.0), (0.0, 25.0)]


def along(density, glon, glat):
    """∫ ds by brute force: the midpoint rule on a fine grid."""
    lon, lat = np.radians(glon), np.radians(glat)
    edges = np.linspace(0, np.cbrt(30), 20001) ** 3
    s, ds = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    radius = np.hypot(s * np.cos(lat) * np.cos(lon) - 8.5, s * np.cos(lat) * np.sin(lon))
    return float(np.sum(density(radius, s * abs(np.sin(lat))) * ds))


def series(rays, radius, height):
    """Cosmic rays at points, not on a grid: the Fourier-Bessel series summed directly."""
    from scipy.special import j0

    k, mu, amplitude = rays._series
    length = rays.halo_height
    with np.errstate(over="ignore"):
        decay = np.exp(-np.outer(mu, height)) - np.exp(
            np.outer(mu, np.minimum(height, length)) - 2 * mu[:, None] * length
        )
    decay /= (1 + np.exp(-2 * mu * length))[:, None]
    values = np.sum(amplitude[:, None] * j0(np.outer(k, radius)) * decay, axis=0)
    return np.where((radius < 20) & (height < length), values, 0)


@pytest.mark.parametrize(("glon", "glat"), DIRECTIONS)
def test_pion_decay_agrees_with_brute_force(glon, glat):
    rays = CosmicRays("lorimer", 4.0)
    column = along(ATOMIC.density, glon, glat)
    atomic = along(lambda r, z: ATOMIC.density(r, z) * series(rays, r, z), glon, glat)
    molecular = along(lambda r, z: MOLECULAR.density(r, z) * series(rays, r, z), glon, glat)
    factor = thick_line_correction(np.array([column]), float(ATOMIC.density(np.array(8.5), np.array(0.0))), 150.0)[0]
    found = PionDecay("lorimer", 4.0, 150.0).intensity([glon], [glat])[0]
    assert found == pytest.approx(factor * atomic + molecular, rel=2e-3)


@pytest.mark.parametrize(("glon", "glat"), DIRECTIONS)
def test_inverse_compton_agrees_with_brute_force(glon, glat):
    electrons = CosmicRays("snr", 10.0, LOSS_LENGTH * np.sqrt(2.5))
    exact = along(lambda r, z: series(electrons, r, z) * radiation_energy_density(r, z, 8.5), glon, glat)
    assert InverseCompton("snr", 10.0).intensity([glon], [glat])[0] == pytest.approx(exact, rel=3e-3)


@pytest.mark.parametrize("template", [PionDecay(), InverseCompton()])
def test_map_is_the_mean_of_the_intensity(template):
    nside, depth = 32, 4
    pixels = Region.disc(nside, 25, 0).pixels[::61]
    cells = (4**depth * pixels[:, None] + np.arange(4**depth)).ravel()
    glon, glat = hp.pix2ang(nside << depth, cells, nest=True, lonlat=True)
    exact = template.intensity(glon, glat).reshape(pixels.size, -1).mean(axis=1)
    np.testing.assert_allclose(template.map(nside, pixels), exact, rtol=3e-3)


@pytest.mark.parametrize("template", [PionDecay(), InverseCompton()])
def test_finite_positive_and_symmetric(template):
    full = template.map(16)
    assert np.all(np.isfinite(full))
    assert np.all(full > 0)
    theta, phi = hp.pix2ang(16, np.arange(full.size), nest=True)
    for mirror in (hp.ang2pix(16, theta, -phi, nest=True), hp.ang2pix(16, np.pi - theta, phi, nest=True)):
        np.testing.assert_allclose(full[mirror], full, rtol=1e-6)


def half_width(template):
    """Latitude at which the intensity at l = 0 falls to half of its value at b = 2."""
    glat = np.linspace(2, 60, 581)
    values = template.intensity(np.zeros(glat.size), glat)
    return glat[np.argmax(values < values[0] / 2)]


def test_pion_decay_hugs_the_plane_and_inverse_compton_is_broad():
    assert half_width(PionDecay()) < 4.5
    assert half_width(InverseCompton()) > 6


def test_a_higher_halo_is_broader():
    assert half_width(InverseCompton(halo_height=10.0)) > half_width(InverseCompton(halo_height=4.0)) + 0.3
    assert half_width(PionDecay(halo_height=10.0)) >= half_width(PionDecay(halo_height=4.0))


def test_cool_gas_adds_atomic_gas_in_the_plane():
    cool, warm = (PionDecay(spin_temperature=t).intensity([30, 30], [0, 60]) for t in (150.0, 1e5))
    assert 1.1 < cool[0] / warm[0] < 2
    assert 1 <= cool[1] / warm[1] < 1.1


def test_variants_are_alike_but_distinct():
    towards = Region.disc(32, 25, 2).glon_glat()
    pions = np.array([PionDecay(*v).intensity(*towards) for v in VARIANTS])
    pions /= pions.mean(axis=1, keepdims=True)
    assert np.corrcoef(pions).min() > 0.98
    for i in range(5):
        for j in range(i):
            assert np.max(np.abs(pions[i] / pions[j] - 1)) > 0.01
    compton = np.array([InverseCompton(v[0], v[1]).intensity(*towards) for v in VARIANTS if v[2] == 150])
    compton /= compton.mean(axis=1, keepdims=True)
    assert np.corrcoef(compton).min() > 0.98
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.max(np.abs(compton[i] / compton[j] - 1)) > 0.05


def test_loss_length_follows_from_its_diffusion_coefficient():
    assert np.sqrt(1e29 * 1.7e14) / 3.0857e21 == pytest.approx(LOSS_LENGTH, rel=0.05)
    energy_loss = quad(lambda e: 1 / (1.02e-16 * 2 * e**2), 30, np.inf)[0]  # s, from 2 eV/cm³
    assert energy_loss == pytest.approx(1.7e14, rel=0.05)


def test_guards():
    for template in (PionDecay, InverseCompton):
        with pytest.raises(InputError, match="sources: must be one of 'snr', 'lorimer', got 'SNR'"):
            template(sources="SNR")
        with pytest.raises(InputError, match="halo_height: must be positive"):
            template(halo_height=-4.0)
        with pytest.raises(InputError, match="r_sun: must be positive"):
            template(r_sun=0.0)
    for temperature in (5.0, np.inf, np.nan):
        with pytest.raises(InputError, match="spin_temperature: must be above 10 K and finite"):
            PionDecay(spin_temperature=temperature)
