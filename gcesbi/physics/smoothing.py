"""What the point-spread function makes of a sky that is constant within each pixel.

Light leaves from points spread evenly within every pixel and lands on a low-discrepancy set of displacements drawn
from the PSF (equal steps in containment, golden-angle steps in position angle). Each point carries the same share, so
light is conserved, nothing rings and nothing turns negative; and the result is the mean of what the simulator draws,
which displaces photons by the same PSF from positions even within the same pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from gcesbi.physics.psf import PSF
from gcesbi.sky.healpix import pixel_of, position_in, xy_of_pixel
from gcesbi.sky.region import Region

__all__ = ["smooth"]

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def smooth(maps: NDArray[np.float64], patch: Region, psf: PSF, n_displacement: int = 256) -> NDArray[np.float64]:
    """Convolve maps on a patch of the sky with a PSF.

    Parameters
    ----------
    maps : array (n_map, n_pix)
        Intensity averaged over the pixels of the patch.
    patch : Region
        Light that lands outside is lost; light from outside is not seen: choose it larger than what is used.
    psf : PSF
    n_displacement : int
        Displacements for each of the points within a pixel.

    Returns
    -------
    array (n_map, n_pix)
    """
    maps = np.ascontiguousarray(np.atleast_2d(maps).T)
    n_sub = max(2, 256 // patch.nside)
    drop = psf.radial_table(2 * n_displacement + 1)[1::2]  # 1 - cos(theta) at the middles of equal containments
    where = xy_of_pixel(patch.nside, patch.pixels)
    return _smooth(maps, patch.nside, where, patch.index, drop, n_sub).T.copy()


@njit(cache=True, parallel=True)
def _smooth(
    maps: NDArray[np.float64],
    nside: int,
    where: NDArray[np.int64],
    index: NDArray[np.int32],
    drop: NDArray[np.float64],
    n_sub: int,
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    n_pix, n_map = maps.shape
    n_chunk = 8
    partial = np.zeros((n_chunk, n_pix, n_map))
    weight = 1.0 / (n_sub * n_sub * len(drop))
    for chunk in prange(n_chunk):
        for p in range(chunk, n_pix, n_chunk):
            for sub in range(n_sub * n_sub):
                x = (where[p, 1] + (sub // n_sub + 0.5) / n_sub) / nside
                y = (where[p, 2] + (sub % n_sub + 0.5) / n_sub) / nside
                z, phi = position_in(where[p, 0], x, y)
                s = math.sqrt(1.0 - z * z)
                for i in range(len(drop)):
                    cos_t = 1.0 - drop[i]
                    sin_t = math.sqrt(drop[i] * (2.0 - drop[i]))
                    angle = _GOLDEN_ANGLE * (i + p * 0.618 + sub * 7.31)
                    north = sin_t * math.cos(angle)
                    east = sin_t * math.sin(angle)
                    landed = index[
                        pixel_of(nside, cos_t * z + north * s, phi + math.atan2(east, cos_t * s - north * z))
                    ]
                    if landed >= 0:
                        for m in range(n_map):
                            partial[chunk, landed, m] += weight * maps[p, m]
    return partial.sum(axis=0)
