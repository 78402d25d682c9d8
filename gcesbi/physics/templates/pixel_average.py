"""Means of a function of direction over HEALPix pixels, by adaptive subdivision.

In NESTED order pixel p of nside has the four children 4p ... 4p + 3 of equal area at 2 nside, the first and last on one
diagonal. A cell whose value at the centre agrees with the mean of its children's on either diagonal is done; the others
are divided further, so that work goes where the function is steep and nowhere else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RectBivariateSpline

from gcesbi.errors import InputError
from gcesbi.sky.region import check_nside

__all__ = ["SkyTable", "TabulatedTemplate", "check_pixels", "pixel_average"]

Array = NDArray[np.float64]
Pixels = NDArray[np.int64]

TOLERANCE = 1e-3
"""Relative difference of a cell and its children at which the cell is done; the error left is about a third of it."""
MAX_DEPTH = 6
"""Divisions at most: 4^6 cells per pixel where the function is steepest."""
COARSE = 32
"""Pixels larger than those of this nside are divided in any case: a few points are too few for them."""
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
    max_depth : int
        Greatest number of divisions of a pixel, from nside 32 upwards.
    tolerance : float
        A cell is done when its centre and the means of its children on the diagonals agree to this relative difference.

    Returns
    -------
    array (n_pix,)
    """
    if pixels.size > CHUNK:
        parts = [pixels[i : i + CHUNK] for i in range(0, pixels.size, CHUNK)]
        return np.concatenate([pixel_average(function, nside, p, max_depth, tolerance) for p in parts])
    if nside < COARSE:
        children = (4 * pixels[:, None] + np.arange(4)).ravel()
        return pixel_average(function, 2 * nside, children, max_depth, tolerance).reshape(-1, 4).mean(axis=1)
    mean, cells, owner = np.zeros(pixels.size), pixels, np.arange(pixels.size)
    values = function(nside, cells)
    for depth in range(1, max_depth + 1):
        children = 4 * cells[:, None] + np.arange(4)
        below = function(nside << depth, children.ravel()).reshape(children.shape)
        finer = below.mean(axis=1)
        diagonals = (below[:, :2] + below[:, :1:-1]) / 2
        done = np.all(np.abs(diagonals - values[:, None]) <= tolerance * finer[:, None], axis=1) | (depth == max_depth)
        mean += np.bincount(owner[done], finer[done] * 0.25 ** (depth - 1), pixels.size)
        cells, values, owner = children[~done].ravel(), below[~done].ravel(), np.repeat(owner[~done], 4)
        if not cells.size:
            break
    return mean


class SkyTable:
    """An intensity that is symmetric in ±l and in ±b, tabulated over the quadrant l, b >= 0.

    log I is interpolated by cubic splines in sinh-stretched longitude and latitude, dense at the Galactic Centre and
    at the plane. Good to 10⁻⁵ for line-of-sight integrals through smooth disks no thinner than 50 pc.

    Parameters
    ----------
    intensity : callable
        (glon (n,), glat (n,)), degrees in [0, 180] and [0, 90] -> intensity (n,), positive.
    """

    SHAPE = (128, 160)
    REACH = (180.0, 90.0)  # degrees
    CORE = (1.0, 0.25)  # degrees: the stretch is linear within, logarithmic without

    def __init__(self, intensity: Callable[[Array, Array], Array]) -> None:
        axes = [c * np.sinh(stretched) for stretched, c in zip(self._axes(), self.CORE, strict=True)]
        glon, glat = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
        values = intensity(np.clip(glon, 0.0, 180.0), np.clip(glat, 0.0, 90.0)).reshape(self.SHAPE)
        self._spline = RectBivariateSpline(*self._axes(), np.log(np.maximum(values, TINY)), s=0)

    def _axes(self) -> list[Array]:
        """Stretched longitudes and latitudes of the table, arcsinh(angle / core)."""
        return [np.linspace(0, np.arcsinh(r / c), n) for r, c, n in zip(self.REACH, self.CORE, self.SHAPE, strict=True)]

    def __call__(self, nside: int, pixels: Pixels) -> Array:
        """Values (n,) at the centres of NESTED pixels (n,)."""
        return self.at(*hp.pix2ang(nside, pixels, nest=True, lonlat=True))

    def at(self, glon: Array, glat: Array) -> Array:
        """Values (n,) towards glon, glat (n,), degrees."""
        folded = np.abs(180 - np.mod(180 - glon, 360)), np.abs(glat)
        stretched = [np.arcsinh(x / c) for x, c in zip(folded, self.CORE, strict=True)]
        return np.exp(self._spline.ev(*stretched))

    def average(self, nside: int, pixels: ArrayLike | None) -> Array:
        """Mean over each NESTED pixel (all by default), (n_pix,)."""
        return pixel_average(self, nside, check_pixels(nside, pixels))


class TabulatedTemplate(ABC):
    """A template whose intensity is tabulated to be averaged; the table is kept, as templates are equal by value."""

    @abstractmethod
    def intensity(self, glon: ArrayLike, glat: ArrayLike) -> Array:
        """Intensity (n,) towards glon, glat (n,), degrees."""

    def map(self, nside: int, pixels: ArrayLike | None = None) -> Array:
        """Intensity averaged over NESTED pixels (all by default): array (n_pix,)."""
        return self.table().average(nside, pixels)

    def table(self) -> SkyTable:
        """The intensity's table."""
        return _table(self)


@lru_cache(maxsize=64)
def _table(template: TabulatedTemplate) -> SkyTable:
    return SkyTable(template.intensity)
