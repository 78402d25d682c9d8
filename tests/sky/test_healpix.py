"""Compiled HEALPix against healpy."""

import healpy as hp
import numpy as np
import pytest

from gcesbi.sky.healpix import pixel_of, position_in, xy_of_pixel


@pytest.mark.parametrize("nside", [1, 2, 8, 128, 2048])
def test_pixels_of_random_directions_are_healpys(nside):
    rng = np.random.default_rng(nside)
    z, phi = rng.uniform(-1, 1, 3000), rng.uniform(-7, 14, 3000)
    ours = [pixel_of(nside, *direction) for direction in zip(z, phi, strict=True)]
    assert np.array_equal(ours, hp.ang2pix(nside, np.arccos(z), phi % (2 * np.pi), nest=True))


@pytest.mark.parametrize("nside", [1, 4, 64])
def test_positions_of_pixel_centres_are_healpys(nside):
    pixels = np.arange(0, hp.nside2npix(nside), max(1, nside**2 // 20))
    theta, phi = hp.pix2ang(nside, pixels, nest=True)
    for pixel, t, p in zip(pixels, theta, phi, strict=True):
        face, x, y = xy_of_pixel(nside, np.array([pixel]))[0]
        z, longitude = position_in(face, (x + 0.5) / nside, (y + 0.5) / nside)
        assert z == pytest.approx(np.cos(t), abs=1e-12)
        assert np.cos(longitude - p) == pytest.approx(1, abs=1e-12)


def test_points_even_in_a_base_pixel_are_even_on_the_sphere():
    rng = np.random.default_rng(3)
    points = [position_in(face, *rng.random(2)) for face in range(12) for _ in range(2000)]
    hits = np.bincount([pixel_of(4, *point) for point in points], minlength=192)
    chi2 = np.sum((hits - 125) ** 2 / 125)
    assert abs(chi2 - 191) < 5 * np.sqrt(2 * 191)  # 5 standard deviations of chi-squared


@pytest.mark.parametrize("nside", [1, 8, 256])
def test_xy_of_pixels_are_healpys(nside):
    pixels = np.arange(0, hp.nside2npix(nside), max(1, nside // 4))
    x, y, face = hp.pix2xyf(nside, pixels, nest=True)
    assert np.array_equal(xy_of_pixel(nside, pixels), np.stack([face, x, y], axis=1))
