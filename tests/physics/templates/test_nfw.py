import healpy as hp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.physics.templates import NFW


@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.2, 1.49])
@pytest.mark.parametrize("psi", [1e-6, 0.02, 0.4, 1.5, 3.0, np.pi])
def test_intensity_agrees_with_mpmath(gamma, psi):
    with mpmath.workdps(30):
        r_s, r_sun, angle = mpmath.mpf(20), mpmath.mpf(8.5), mpmath.mpf(psi)
        peak = r_sun * mpmath.cos(angle)
        impact = r_sun * mpmath.sin(angle)

        def squared(s):
            x = mpmath.sqrt(impact**2 + (s - peak) ** 2) / r_s
            return x ** (-2 * gamma) * (1 + x) ** (2 * gamma - 6)

        steps = [mpmath.mpf(10) ** k * abs(impact) for k in range(8)]
        around = [peak - d for d in steps] + [peak] + [peak + d for d in steps] + [20, 100, 1000]
        points = sorted(p for p in around if 0 < p < 1e4)
        exact = float(mpmath.quad(squared, [0, *points, mpmath.inf]))
    assert NFW(gamma=gamma).intensity([psi])[0] == pytest.approx(exact, rel=1e-6)


def test_flat_core_and_steep_halo_has_closed_form():
    # γ = 0: ρ² = (1 + r/r_s)^-6, and towards the anticentre ∫ = r_s / 5 (1 + R_sun/r_s)^-5
    found = NFW(gamma=0.0, r_s=3.0).intensity([np.pi])[0]
    assert found == pytest.approx(3 / 5 * (1 + 8.5 / 3) ** -5, rel=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 1.2, 1.45])
def test_mean_over_the_central_pixels_has_closed_form(gamma):
    # near the centre I = K ψ^-a, a = 2γ - 1, and the mean over a small pixel with a corner there is
    # K / Ω ∫ dφ ψ_edge(φ)^(2 - a) / (2 - a); pixel edges are straight lines of slope ±1 in (2l/π, ¾ sin b)
    nside, a = 1 << 16, 2 * gamma - 1
    nfw, psi = NFW(gamma=gamma), 1e-6
    k = nfw.intensity([psi])[0] * psi**a
    side = np.array([np.pi / 2, 4 / 3]) / nside  # diamond |x| + |y| <= 1/nside, in radians of l and b

    def edge(phi):
        return 1 / (abs(np.cos(phi)) / side[0] + abs(np.sin(phi)) / side[1])

    corner = np.arctan2(side[1], side[0])  # where |x| = |y|: neighbouring pixels meet
    flank = quad(lambda p: edge(p) ** (2 - a), -corner, corner)[0]
    top = quad(lambda p: edge(p) ** (2 - a), corner, np.pi - corner)[0]
    middle = nside // 2
    # x - y <-> row, x + y <-> column: the pixel (middle, middle) is at b > 0, (middle, middle - 1) at l > 0 or < 0
    pixels = hp.xyf2pix(nside, np.array([middle, middle]), np.array([middle, middle - 1]), 4, nest=True)
    found = nfw.map(nside, pixels)
    expected = k / hp.nside2pixarea(nside) * np.array([top, flank]) / (2 - a)
    np.testing.assert_allclose(found, expected, rtol=2e-3)  # the tolerance of the averaging, and the next order in ψ
    assert found[0] != pytest.approx(found[1], rel=5e-3)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.2])
def test_pixel_means_agree_with_brute_force(gamma):
    nfw, nside, depth = NFW(gamma=gamma), 16, 6
    near = hp.query_disc(nside, [1, 0, 0], np.radians(12), nest=True)
    pixels = near[np.argsort(hp.rotator.angdist(np.stack(hp.pix2vec(nside, near, nest=True)), [1, 0, 0]))][4:]
    cells = (4**depth * pixels[:, None] + np.arange(4**depth)).ravel()
    psi = np.arccos(hp.pix2vec(nside << depth, cells, nest=True)[0])
    grid = np.geomspace(psi.min(), psi.max(), 3000)
    values = np.interp(psi, grid, nfw.intensity(grid)).reshape(pixels.size, -1)
    np.testing.assert_allclose(nfw.map(nside, pixels), values.mean(axis=1), rtol=1e-3)


@given(gamma=st.floats(0, 1.499), r_s=st.floats(0.5, 50))
@settings(deadline=None, max_examples=15)
def test_finite_positive_symmetric_and_nested(gamma, r_s):
    nfw = NFW(gamma=gamma, r_s=r_s)
    maps = {nside: nfw.map(nside) for nside in (1, 2, 8)}
    for values in maps.values():
        assert np.all(np.isfinite(values))
        assert np.all(values > 0)
    # means over pixels of different sizes agree: 2 x the tolerance of the averaging
    np.testing.assert_allclose(maps[8].reshape(12, 64).mean(axis=1), maps[1], rtol=2e-3)
    np.testing.assert_allclose(maps[8].reshape(48, 16).mean(axis=1), maps[2], rtol=2e-3)
    theta, phi = hp.pix2ang(8, np.arange(768), nest=True)
    for mirror in (hp.ang2pix(8, theta, -phi, nest=True), hp.ang2pix(8, np.pi - theta, phi, nest=True)):
        np.testing.assert_allclose(maps[8][mirror], maps[8], rtol=1e-6)


def test_subset_of_pixels_and_brightest_at_the_centre():
    full = NFW().map(32)
    some = np.array([12287, 5000, 4 * 1024 + 512, 1, 4 * 1024 + 511])
    np.testing.assert_allclose(NFW().map(32, some), full[some])
    glon, glat = hp.pix2ang(32, np.argsort(full)[-4:], nest=True, lonlat=True)
    assert np.all(np.cos(np.radians(glon)) * np.cos(np.radians(glat)) > np.cos(np.radians(2)))


def test_guards():
    for gamma in (-0.1, 1.5, np.nan):
        with pytest.raises(InputError, match=r"gamma: must lie in \[0, 1.5\), where"):
            NFW(gamma=gamma)
    with pytest.raises(InputError, match="r_s: must be positive"):
        NFW(r_s=0.0)
    with pytest.raises(InputError, match="r_sun: must be positive"):
        NFW(r_sun=-8.5)
    with pytest.raises(InputError, match="nside: must be a power of two"):
        NFW().map(100)
