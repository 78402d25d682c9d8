"""What the point-spread function makes of a sky that is constant within each pixel.

Light leaves each pixel along the points of one scrambled Sobol sequence in four dimensions: two for the place within
the pixel, one for the containment that the displacement reaches, one for its position angle. Every point carries the
same share, so light is conserved, nothing rings and nothing turns negative; and the result is the mean of what the
simulator draws, which displaces photons by the same PSF from places even within the same pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.stats import qmc

from gcesbi.physics.psf import PSF
from gcesbi.sky.healpix import pixel_of, position_in, xy_of_pixel
from gcesbi.sky.region import Region

__all__ = ["smooth"]

_N_CHUNK = 8


def smooth(
    maps: NDArray[np.float64], patch: Region, psf: PSF, n_point: int | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Convolve maps on a patch of the sky with a PSF.

    Parameters
    ----------
    maps : array (n_map, n_pix)
        Intensity averaged over the pixels of the patch.
    patch : Region
        Light that lands outside is lost; light from outside is not seen: choose it larger than what is used.
    psf : PSF
    n_point : int, optional
        Points per pixel, a power of two; by default 2¹⁸ / nside within [2¹⁰, 2¹³]. A pixel's light is then placed
        with an error of about 0.1 % of it, in each of its neighbours.
    seed : int
        Scrambles the sequence.

    Returns
    -------
    array (n_map, n_pix)
    """
    maps = np.ascontiguousarray(np.atleast_2d(maps).T)
    n_point = min(max(2**18 // patch.nside, 2**10), 2**13) if n_point is None else n_point
    points = qmc.Sobol(4, rng=seed).random(n_point)
    theta = np.radians(psf.containment_radius(points[:, 2]))
    angle = 2 * np.pi * points[:, 3]
    steps = np.stack(
        [points[:, 0], points[:, 1], np.cos(theta), np.sin(theta) * np.cos(angle), np.sin(theta) * np.sin(angle)]
    )
    return _smooth(maps, patch.nside, xy_of_pixel(patch.nside, patch.pixels), patch.index, steps.T.copy()).T.copy()


@njit(cache=True, parallel=True)
def _smooth(
    maps: NDArray[np.float64],
    nside: int,
    where: NDArray[np.int64],
    index: NDArray[np.int32],
    steps: NDArray[np.float64],
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Rows of `steps`: place x, y in the pixel; cosine, northward and eastward part of the displacement."""
    n_pix, n_map = maps.shape
    partial = np.zeros((_N_CHUNK, n_pix, n_map))
    for chunk in prange(_N_CHUNK):
        for p in range(chunk, n_pix, _N_CHUNK):
            if not maps[p].any():
                continue
            for i in range(len(steps)):
                z, phi = position_in(
                    where[p, 0], (where[p, 1] + steps[i, 0]) / nside, (where[p, 2] + steps[i, 1]) / nside
                )
                s = math.sqrt(1.0 - z * z)
                cosine, north, east = steps[i, 2], steps[i, 3], steps[i, 4]
                at = index[pixel_of(nside, cosine * z + north * s, phi + math.atan2(east, cosine * s - north * z))]
                if at >= 0:
                    for m in range(n_map):
                        partial[chunk, at, m] += maps[p, m]
    return partial.sum(axis=0) / len(steps)
