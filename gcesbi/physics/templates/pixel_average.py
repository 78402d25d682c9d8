"""Means of a function of direction over HEALPix pixels, by adaptive subdivision.

In NESTED order pixel p of nside has the four children 4p ... 4p + 3 of equal area at 2 nside. A cell whose value at the
centre agrees with the mean of its children's is done; the others are divided further, so that work goes where the
function is steep and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates, spline_filter

from gcesbi.errors import InputError
from gcesbi.sky.region import check_nside

__all__ = ["SkyTable", "check_pixels", "pixel_average"]

Array = NDArray[np.float64]
Pixels = NDArray[np.int64]

TOLERANCE = 1e-3
"""Relative difference of a cell and its children at which the cell is done; the error left is about a third of it."""
MAX_DEPTH = 6
"""Divisions at most: 4^6 cells per pixel where the function is steepest."""
TINY = 1e-300
"""Floor of a tabulated intensity, whose logarithm is taken."""
CHUNK = 1 << 17
"""Pixels averaged at a time: bounds the memory."""


def check_pixels(nside: int, pixels: ArrayLike | None) -> Pixels:
    """NESTED indices as an integer array (n_pix,), the full sky by default; InputError outside the sphere."""
    n_pix = 12 * check_nside(nside) ** 2
    if pixels is None:
        return np.arange(n_pix)
    indices = np.asarray(pixels)
    if indices.ndim != 1 or not (np.issubdtype(indices.dtype, np.integer) or indices.size == 0):
        raise InputError(f"pixels: must be a list of integers, got shape {indices.shape} of {indices.dtype}")
    if indices.size and (indices.min() < 0 or indices.max() >= n_pix):
        raise InputError(f"pixels: must lie in [0, {n_pix}) at nside {nside}, got {indices.min()} to {indices.max()}")
    return indices.astype(np.int64)


def pixel_average(
    function: Callable[[int, Pixels], Array],
    nside: int,
    pixels: Pixels,
    min_depth: int = 0,
    max_depth: int = MAX_DEPTH,
    tolerance: float = TOLERANCE,
) -> Array:
    """Mean of a function over each pixel.

    Parameters
    ----------
    function : callable
        (nside, pixels (n,)) -> values (n,), not negative, at the centres of NESTED pixels.
    nside, pixels : int, array (n_pix,)
        The pixels to average over.
    min_depth, max_depth : int
        Least and greatest number of divisions of a pixel.
    tolerance : float
        A cell is done when its centre and the mean of its children agree to this relative difference.

    Returns
    -------
    array (n_pix,)
    """
    if pixels.size > CHUNK:
        parts = [pixels[i : i + CHUNK] for i in range(0, pixels.size, CHUNK)]
        return np.concatenate([pixel_average(function, nside, p, min_depth, max_depth, tolerance) for p in parts])
    mean, cells, owner = np.zeros(pixels.size), pixels, np.arange(pixels.size)
    values = function(nside, cells)
    for depth in range(1, max_depth + 1):
        children = 4 * cells[:, None] + np.arange(4)
        below = function(nside << depth, children.ravel()).reshape(children.shape)
        finer = below.mean(axis=1)
        done = (np.abs(finer - values) <= tolerance * finer) & (depth > min_depth)
        if depth == max_depth:
            done[:] = True
        mean += np.bincount(owner[done], finer[done] * 0.25 ** (depth - 1), pixels.size)
        cells, values, owner = children[~done].ravel(), below[~done].ravel(), np.repeat(owner[~done], 4)
        if not cells.size:
            break
    return mean


class SkyTable:
    """An intensity that is symmetric in ±l and in ±b, tabulated over the quadrant l, b >= 0.

    log I is interpolated by cubic splines in sinh-stretched longitude and latitude, dense at the Galactic Centre and
    at the plane. Good to 10⁻³ for line-of-sight integrals through disks no thinner than about 50 pc.

    Parameters
    ----------
    intensity : callable
        (glon (n,), glat (n,)), degrees in [0, 180] and [0, 90] -> intensity (n,), positive.
    """

    SHAPE = (128, 160)
    REACH = (180.0, 90.0)  # degrees
    CORE = (1.0, 0.25)  # degrees: the stretch is linear within, logarithmic without

    def __init__(self, intensity: Callable[[Array, Array], Array]) -> None:
        glon, glat = (c * np.sinh(np.linspace(0, np.arcsinh(m / c), n)) for n, m, c in self._axes())
        values = intensity(np.repeat(glon, glat.size), np.tile(glat, glon.size)).reshape(self.SHAPE)
        self._coefficients = spline_filter(np.log(np.maximum(values, TINY)), order=3, mode="mirror")

    def _axes(self) -> list[tuple[int, float, float]]:
        return list(zip(self.SHAPE, self.REACH, self.CORE, strict=True))

    def __call__(self, nside: int, pixels: Pixels) -> Array:
        """Values (n,) at the centres of NESTED pixels (n,)."""
        glon, glat = hp.pix2ang(nside, pixels, nest=True, lonlat=True)
        folded = np.where(glon > 180, 360 - glon, glon), np.abs(glat)
        where = [
            np.arcsinh(x / c) * ((n - 1) / np.arcsinh(m / c)) for x, (n, m, c) in zip(folded, self._axes(), strict=True)
        ]
        return np.exp(map_coordinates(self._coefficients, where, order=3, mode="mirror", prefilter=False))

    def average(self, nside: int, pixels: ArrayLike | None) -> Array:
        """Mean over each NESTED pixel (all by default), (n_pix,)."""
        return pixel_average(self, nside, check_pixels(nside, pixels))
