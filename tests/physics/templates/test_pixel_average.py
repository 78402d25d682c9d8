import healpy as hp
import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.templates.pixel_average import SkyTable, check_pixels, pixel_average


def heights(nside, pixels):
    return hp.pix2vec(nside, pixels, nest=True)[2]


def brute(function, nside, pixels, depth):
    cells = 4**depth * pixels[:, None] + np.arange(4**depth)
    return function(nside << depth, cells.ravel()).reshape(cells.shape).mean(axis=1)


def test_constant_is_its_own_mean():
    pixels = np.array([0, 7, 100])
    np.testing.assert_allclose(pixel_average(lambda n, p: np.full(p.size, 3.0), 4, pixels), 3.0)


def test_mean_over_the_whole_sky_is_exact():
    # the mean of z² over the sphere is 1/3
    found = pixel_average(lambda n, p: heights(n, p) ** 2, 4, np.arange(192), tolerance=1e-4, max_depth=4)
    assert found.mean() == pytest.approx(1 / 3, rel=1e-4)


def test_steep_function_agrees_with_brute_force():
    def cusp(nside, pixels):
        return np.exp(-np.abs(heights(nside, pixels)) / 0.01)

    pixels = np.arange(12 * 16**2)[::37]
    found = pixel_average(cusp, 16, pixels)
    exact = brute(cusp, 16, pixels, 7)
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    centre = cusp(16, pixels)
    assert np.max(np.abs(centre / exact - 1)) > 0.3  # averaging matters


def test_saddle_that_the_mean_of_four_children_misses():
    # centre 1, children ½, 1, ½, 2: their mean agrees, the diagonals do not; below that the function is 7
    def saddle(nside, pixels):
        level = {32: [1.0], 64: [0.5, 1.0, 0.5, 2.0]}.get(nside)
        return np.full(pixels.size, 7.0) if level is None else np.resize(level, pixels.size)

    assert pixel_average(saddle, 32, np.array([5]))[0] == 7


def test_large_pixels_are_divided_in_any_case():
    def speck(nside, pixels):
        return (pixels // (nside // 16) ** 2 == 37).astype(float)  # one 256th of base pixel 0

    assert pixel_average(speck, 1, np.array([0]))[0] == pytest.approx(1 / 256)
    assert pixel_average(speck, 8, np.array([9]))[0] == pytest.approx(1 / 4)


def test_chunks_change_nothing(monkeypatch):
    monkeypatch.setattr("gcesbi.physics.templates.pixel_average.CHUNK", 50)
    chunked = pixel_average(lambda n, p: np.exp(9 * heights(n, p)), 4, np.arange(192))
    monkeypatch.undo()
    np.testing.assert_array_equal(chunked, pixel_average(lambda n, p: np.exp(9 * heights(n, p)), 4, np.arange(192)))


def test_table_agrees_with_the_function():
    def intensity(glon, glat):
        return 1 / (0.1 + (1 - np.cos(np.radians(glon)) * np.cos(np.radians(glat)))) + np.exp(-glat / 2)

    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 12 * 2**40, 2000)
    glon, glat = hp.pix2ang(1 << 20, pixels, nest=True, lonlat=True)
    np.testing.assert_allclose(
        SkyTable(intensity)(1 << 20, pixels), intensity(np.where(glon > 180, 360 - glon, glon), abs(glat)), rtol=1e-4
    )


def test_table_of_a_vanishing_intensity_stays_finite():
    values = SkyTable(lambda glon, glat: np.zeros(glon.size)).average(2, None)
    assert np.all(np.isfinite(values))
    assert np.all(values >= 0)


def test_check_pixels():
    np.testing.assert_array_equal(check_pixels(1, None), np.arange(12))
    assert check_pixels(2, [3, 1]).tolist() == [3, 1]
    assert check_pixels(2, []).size == 0
    with pytest.raises(InputError, match=r"nside: must be a power of two, got 3"):
        check_pixels(3, None)
    with pytest.raises(InputError, match=r"pixels: must lie in \[0, 12\) at nside 1, got 0 to 12"):
        check_pixels(1, [0, 12])
    with pytest.raises(InputError, match=r"pixels: must be a list of integers, got shape \(1,\) of float64"):
        check_pixels(1, [0.5])
    with pytest.raises(InputError, match=r"pixels: must be a list of integers, got shape \(1, 1\)"):
        check_pixels(1, [[0]])
