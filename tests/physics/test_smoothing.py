"""Smoothing by ring stencils against the same points displaced from every pixel by healpy."""

import healpy as hp
import numpy as np
import pytest
from scipy.stats import qmc

from gcesbi.physics.psf import PSF
from gcesbi.physics.smoothing import smooth
from gcesbi.sky.region import Region, in_disc

WIDE = PSF.default(2.0, 2.5)


def by_pixel(maps, patch, psf, n_point):
    points = qmc.Sobol(4, rng=0).random(n_point)
    theta, angle = np.radians(psf.containment_radius(points[:, 2])), 2 * np.pi * points[:, 3]
    fine = 2**29 // patch.nside  # the place in the pixel, as the middle of one of fine² pixels
    out = np.zeros((len(maps), 12 * patch.nside**2))
    inner = [np.floor(points[:, i] * fine).astype(np.int64) for i in (0, 1)]
    for p in np.flatnonzero(maps.any(axis=0)):
        x, y, face = hp.pix2xyf(patch.nside, patch.pixels[p], nest=True)
        child = hp.xyf2pix(patch.nside * fine, x * fine + inner[0], y * fine + inner[1], np.full(n_point, face), True)
        colatitude, phi = hp.pix2ang(patch.nside * fine, child, nest=True)
        latitude = np.pi / 2 - colatitude
        z = np.cos(theta) * np.sin(latitude) + np.sin(theta) * np.cos(angle) * np.cos(latitude)
        east = np.sin(theta) * np.sin(angle)
        along = np.cos(theta) * np.cos(latitude) - np.sin(theta) * np.cos(angle) * np.sin(latitude)
        at = hp.ang2pix(patch.nside, np.arccos(z), phi + np.arctan2(east, along), nest=True)
        np.add.at(out.T, at, maps[:, p] / n_point)
    return out[:, patch.pixels]


@pytest.mark.parametrize(
    ("nside", "radius", "centre", "n_point"),
    [
        (64, 35, (0, 0), 256),
        (64, 9, (178, -12), 256),  # across the longitude at which columns begin
        (32, 15, (40, 35), 256),  # partly in a polar cap
        (32, 8, (-100, 85), 256),  # in a cap alone
        (8, 180, (0, 0), 512),  # the whole sky, all the way round
    ],
)
def test_rings_give_what_every_pixel_gives(nside, radius, centre, n_point):
    patch = Region(nside, np.flatnonzero(in_disc(nside, radius, centre=centre)))
    maps = np.random.default_rng(1).random((2, patch.n_pix))
    maps[0] *= np.random.default_rng(2).random(patch.n_pix) < 0.1
    expected = by_pixel(maps, patch, WIDE, n_point)
    np.testing.assert_allclose(smooth(maps, patch, WIDE, n_point), expected, atol=1e-5 * expected.max())


def test_holes_and_dark_maps():
    disc = np.flatnonzero(in_disc(64, 20))
    patch = Region(64, np.delete(disc, np.arange(0, len(disc), 7)))
    spot = np.zeros((1, patch.n_pix))
    spot[0, patch.n_pix // 2] = 1.0
    assert 0.8 < smooth(spot, patch, WIDE).sum() < 0.95  # a seventh of the pixels keep nothing
    assert not smooth(np.zeros((2, patch.n_pix)), patch, WIDE).any()
