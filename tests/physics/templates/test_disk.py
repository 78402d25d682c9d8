from itertools import pairwise

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.physics.templates import Disk


@given(
    glon=st.floats(-180, 180),
    glat=st.floats(-90, 90),
    z_s=st.sampled_from([0.1, 0.3, 1.0]),
    r_s=st.sampled_from([2.0, 5.0]),
)
@settings(deadline=None, max_examples=25)
def test_intensity_agrees_with_quad(glon, glat, z_s, r_s):
    lon, lat = np.radians(glon), np.radians(glat)

    def density(s):
        radius = np.hypot(s * np.cos(lat) * np.cos(lon) - 8.5, s * np.cos(lat) * np.sin(lon))
        return np.exp(-radius / r_s - abs(s * np.sin(lat)) / z_s)

    edges = [0, 0.01, 0.1, 0.3, 1, 3, 8, 8.4, 8.5, 8.6, 9, 15, 30, 100]
    exact = sum(quad(density, a, b, epsrel=1e-10)[0] for a, b in pairwise(edges))
    assert Disk(r_s=r_s, z_s=z_s).intensity([glon], [glat])[0] == pytest.approx(exact, rel=3e-5)


def test_closed_forms_at_the_pole_and_towards_centre_and_anticentre():
    disk = Disk(r_s=4.0, z_s=0.5, r_sun=8.0)
    outwards = 4 * np.exp(-2)
    expected = [0.5 * np.exp(-2), 4 * (1 - np.exp(-2)) + 4, outwards]
    np.testing.assert_allclose(disk.intensity([0, 0, 180], [90, 0, 0]), expected, rtol=1e-5)


@pytest.mark.parametrize("z_s", [0.05, 0.3])
def test_pixel_means_agree_with_brute_force(z_s):
    disk, nside, depth = Disk(z_s=z_s), 16, 7
    pixels = hp.query_strip(nside, np.radians(80), np.radians(100), nest=True)[::97]
    cells = (4**depth * pixels[:, None] + np.arange(4**depth)).ravel()
    glon, glat = hp.pix2ang(nside << depth, cells, nest=True, lonlat=True)
    exact = disk.intensity(glon, glat).reshape(pixels.size, -1).mean(axis=1)
    np.testing.assert_allclose(disk.map(nside, pixels), exact, rtol=2e-3)


def test_symmetric_positive_and_the_same_on_a_subset():
    full = Disk().map(16)
    assert np.all(np.isfinite(full))
    assert np.all(full > 0)
    theta, phi = hp.pix2ang(16, np.arange(full.size), nest=True)
    for mirror in (hp.ang2pix(16, theta, -phi, nest=True), hp.ang2pix(16, np.pi - theta, phi, nest=True)):
        np.testing.assert_allclose(full[mirror], full, rtol=1e-6)
    some = np.array([3000, 2, 1500])
    np.testing.assert_allclose(Disk().map(16, some), full[some])


def test_thin_disk_hugs_the_plane():
    glat = hp.pix2ang(16, np.arange(3072), nest=True, lonlat=True)[1]
    thin, thick = Disk(z_s=0.3).map(16), Disk(z_s=1.0).map(16)
    ratio = thin / thick
    assert ratio[abs(glat) < 2].min() > ratio[abs(glat) > 20].max()


def test_extreme_disk_stays_finite():
    values = Disk(r_s=0.005).map(64, np.arange(0, 49152, 5000))
    assert np.all(np.isfinite(values))
    assert np.all(values >= 0)


@pytest.mark.parametrize("name", ["r_s", "z_s", "r_sun"])
def test_guards(name):
    with pytest.raises(InputError, match=f"{name}: must be positive and finite"):
        Disk(**{name: 0.0})
