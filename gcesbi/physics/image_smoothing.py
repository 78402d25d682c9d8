"""What the point-spread function makes of an image: as :mod:`gcesbi.physics.smoothing`, row by row.

The pixels of a row differ by a turn about the native poles alone, so all of them spread their light over the same
pixels relative to themselves: the points are displaced once a row.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gcesbi.physics.smoothing import psf_steps
from gcesbi.sky import RadialPSF
from gcesbi.sky.image import ImageGeometry

__all__ = ["smooth_image"]

_N_POINT = 2**14  # places a pixel's light with an error of some 0.1 % of it


def smooth_image(
    maps: NDArray[np.float64], geometry: ImageGeometry, psf: RadialPSF, seed: int = 0
) -> NDArray[np.float64]:
    """Convolve images with a PSF.

    Parameters
    ----------
    maps : array (n_map, n_pix)
        Light of every pixel (not per solid angle), row by row.
    geometry : ImageGeometry
        Light that lands outside is lost, unless the image goes around the sky.
    psf : RadialPSF
    seed : int
        Scrambles the sequence of points.

    Returns
    -------
    array (n_map, n_pix)
    """
    steps, reach = psf_steps(psf, _N_POINT, seed)
    size = math.radians(geometry.pixel_size)
    rise = math.ceil(reach / size) + 1
    farthest = math.radians(min(np.abs(geometry.native_lat).max() + geometry.pixel_size, 89.0)) + 0.0
    turn = math.asin(min(math.sin(min(reach, math.pi / 2)) / math.cos(farthest), 1.0))
    run = min(math.ceil(turn / size) + 1, geometry.shape[1])
    image = np.ascontiguousarray(np.atleast_2d(maps).reshape(-1, *geometry.shape))
    out = np.zeros_like(image)
    whole_turn = round(2 * math.pi / size) if geometry.shape[1] * geometry.pixel_size > 360 - 1e-6 else 0
    _spread_rows(image, size, geometry.native_lat[0] / geometry.pixel_size, steps, rise, run, whole_turn, out)
    return out.reshape(len(out), -1)


@njit(cache=True)
def _spread_rows(
    image: NDArray[np.float64],
    size: float,
    first: float,
    steps: NDArray[np.float64],
    rise: int,
    run: int,
    whole_turn: int,
    out: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Add the light of `image` (n_map, n_row, n_column) to `out`; the first row lies at latitude first · size."""
    n_map, n_row, n_column = image.shape
    stencil = np.zeros((2 * rise + 1, 2 * run + 1))
    for row in range(n_row):
        low, high = math.sin((first + row - 0.5) * size), math.sin((first + row + 0.5) * size)
        stencil[:] = 0.0
        for i in range(len(steps)):
            z = low + steps[i, 0] * (high - low)
            s = math.sqrt(1.0 - z * z)
            cosine, north, east = steps[i, 2], steps[i, 3], steps[i, 4]
            turn = (steps[i, 1] - 0.5) + math.atan2(east, cosine * s - north * z) / size
            to = math.asin(min(max(cosine * z + north * s, -1.0), 1.0)) / size - first
            to_row, to_column = math.floor(to + 0.5) - row + rise, math.floor(turn + 0.5) + run
            if 0 <= to_row <= 2 * rise and 0 <= to_column <= 2 * run:
                stencil[to_row, to_column] += 1.0
        for r in range(2 * rise + 1):
            to_row = row + r - rise
            if to_row < 0 or to_row >= n_row:
                continue
            for c in range(2 * run + 1):
                if stencil[r, c] > 0.0:
                    weight = stencil[r, c] / len(steps)
                    for at in range(n_column):
                        to_column = at - (c - run)  # columns run from high to low longitude
                        if whole_turn > 0:
                            to_column %= whole_turn
                        if 0 <= to_column < n_column:
                            for m in range(n_map):
                                out[m, to_row, to_column] += weight * image[m, row, at]
