import healpy as hp
import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.templates import Bubbles, Lobe


def test_solid_angle_of_a_small_lobe_is_that_of_an_ellipse():
    small = Bubbles(Lobe(10.0, 30.0, 4.0, 6.0, lean=0.2), Lobe(0.0, -40.0, 3.0, 5.0))
    area = small.map(32).sum() * hp.nside2pixarea(32, degrees=True)
    # area in (l cos b, b) is exact: π a h of each; the shear of the lean keeps it
    assert area == pytest.approx(np.pi * (4 * 6 + 3 * 5), rel=2e-3)


def test_pixel_shares_agree_with_brute_force():
    nside, depth, bubbles = 16, 5, Bubbles()
    cells = np.arange(12 * (nside << depth) ** 2)
    glon, glat = hp.pix2ang(nside << depth, cells, nest=True, lonlat=True)
    inside = np.zeros(cells.size, dtype=bool)
    for lobe in (bubbles.north, bubbles.south):
        y = glat - lobe.glat
        x = ((glon - lobe.glon + 180) % 360 - 180) * np.cos(np.radians(glat)) - lobe.lean * y
        inside |= (x / lobe.half_width) ** 2 + (y / lobe.half_height) ** 2 < 1
    exact = inside.reshape(-1, 4**depth).mean(axis=1)
    found = bubbles.map(nside)
    assert found.min() == 0
    assert found.max() == 1
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_lobes_lie_where_they_should():
    glon, glat = hp.pix2ang(64, np.arange(12 * 64**2), nest=True, lonlat=True)
    glon = np.where(glon > 180, glon - 360, glon)
    lit = Bubbles().map(64) > 0.5
    assert 45 < glat[lit].max() < 52
    assert -56 < glat[lit].min() < -50
    assert np.all(np.abs(glon[lit]) < 35)
    assert not lit[np.abs(glat) < 0.2].any()


def test_a_lobe_across_the_date_line_is_whole():
    where = np.array([180.0, -180.0, 175.0, -175.0, 0.0])
    depth = Lobe(180.0, 0.0, 10.0, 10.0).depth(where, np.zeros(5))
    assert np.all(depth[:4] > 0)
    assert depth[4] < 0
    assert depth[2] == pytest.approx(depth[3])


def test_depth_is_the_distance_to_the_outline_of_a_circle():
    lobe = Lobe(0.0, 0.0, 10.0, 10.0)
    np.testing.assert_allclose(lobe.depth(np.zeros(3), np.array([9.9, 10.0, 10.1])), [0.1, 0, -0.1], atol=1e-3)


def test_guards():
    with pytest.raises(InputError, match=r"half_width: must be positive and finite \(degrees\)"):
        Lobe(0.0, 20.0, 0.0, 10.0)
    with pytest.raises(InputError, match=r"half_height: must be positive"):
        Lobe(0.0, 20.0, 10.0, -1.0)
    with pytest.raises(InputError, match=r"glon: must lie in \(-180, 180\] degrees, got 181"):
        Lobe(181.0, 20.0, 10.0, 10.0)
    with pytest.raises(InputError, match="glat: the lobe must end before the poles"):
        Lobe(0.0, 80.0, 10.0, 20.0)
    with pytest.raises(InputError, match=r"lean: must lie in \(-1, 1\), got 1.5"):
        Lobe(0.0, 20.0, 10.0, 10.0, lean=1.5)
