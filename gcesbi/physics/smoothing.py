"""What the point-spread function makes of a sky that is constant within each pixel.

Light leaves each pixel along the points of one scrambled Sobol sequence in four dimensions: two for the place within
the pixel, one for the containment that the displacement reaches, one for its position angle. Every point carries the
same share, so light is conserved, nothing rings and nothing turns negative; and the result is the mean of what the
simulator draws, which displaces photons by the same PSF from places even within the same pixels.

In the equatorial belt of HEALPix the pixels of a ring differ by a turn about the poles alone, so all of them spread
their light over the same pixels relative to themselves: the points are displaced once a ring. Only the light that may
reach a polar cap is displaced pixel by pixel.
"""

from __future__ import annotations

import math
from functools import lru_cache

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from gcesbi.sky import RadialPSF
from gcesbi.sky.compiled import njit
from gcesbi.sky.healpix import BELT, pixel_of, position_in, ring_and_column, xy_of_pixel
from gcesbi.sky.region import Region

__all__ = ["psf_steps", "smooth"]


def smooth(
    maps: NDArray[np.float64], patch: Region, psf: RadialPSF, n_point: int | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Convolve maps on a patch of the sky with a PSF.

    Parameters
    ----------
    maps : array (n_map, n_pix)
        Intensity averaged over the pixels of the patch.
    patch : Region
        Light that lands outside is lost; light from outside is not seen: choose it larger than what is used.
    psf : RadialPSF
    n_point : int, optional
        Points per pixel, a power of two; by default 2¹⁸ / nside within [2¹⁰, 2¹³]. A pixel's light is then placed
        with an error of about 0.1 % of it, in each of its neighbours.
    seed : int
        Scrambles the sequence.

    Returns
    -------
    array (n_map, n_pix)
    """
    maps = np.atleast_2d(maps)
    n_point = min(max(2**18 // patch.nside, 2**10), 2**13) if n_point is None else n_point
    steps, reach = psf_steps(psf, n_point, seed)
    z = np.abs(np.sin(np.radians(patch.glon_glat()[1]))) + BELT / patch.nside  # of the pixels' farthest corners
    in_belt = np.arcsin(np.minimum(z, 1.0)) + reach < math.asin(BELT)
    near, far = np.where(in_belt, maps, 0.0), np.where(in_belt, 0.0, maps)
    out = np.zeros_like(near)
    if near.any():
        out += _by_ring(near, patch, steps, reach)
    if far.any():
        out += _by_pixel(far, patch, steps)
    return out


def psf_steps(psf: RadialPSF, n_point: int, seed: int) -> tuple[NDArray[np.float64], float]:
    """Rows (n_point, 5): place x, y in the pixel; cosine, northward and eastward part of the step. And the longest."""
    points = _points(n_point, seed)
    theta = np.radians(psf.containment_radius(points[:, 2]))
    angle = 2 * np.pi * points[:, 3]
    columns = [np.cos(theta), np.sin(theta) * np.cos(angle), np.sin(theta) * np.sin(angle)]
    return np.stack([points[:, 0], points[:, 1], *columns], axis=1), float(theta.max())


@lru_cache(maxsize=4)
def _points(n_point: int, seed: int) -> NDArray[np.float64]:
    """Scrambled Sobol sequence (n_point, 4): the same for every energy bin of every sky."""
    from scipy.stats import qmc  # takes a third of a second, and skies that are kept need none

    points = np.asarray(qmc.Sobol(4, rng=seed).random(n_point), dtype=np.float64)
    points.setflags(write=False)
    return points


def _by_pixel(maps: NDArray[np.float64], patch: Region, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maps (n_map, n_pix), displaced from every pixel on its own."""
    where = xy_of_pixel(patch.nside, patch.pixels)
    return np.ascontiguousarray(_displace(np.ascontiguousarray(maps.T), patch.nside, where, patch.index, steps).T)


def _by_ring(maps: NDArray[np.float64], patch: Region, steps: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Maps (n_map, n_pix), displaced once for every ring; no light may come from or reach a polar cap."""
    nside = patch.nside
    n_around = 4 * nside
    ring, column = np.divmod(hp.nest2ring(nside, patch.pixels) - 2 * nside * (nside - 1), n_around)
    shining = np.flatnonzero(maps.any(axis=0))
    used = np.unique(column[shining])
    gaps = np.diff(np.append(used, used[0] + n_around))
    column = (column - used[(gaps.argmax() + 1) % len(used)]) % n_around  # those that shine are then the first
    top, bottom, width = ring[shining].min(), ring[shining].max(), column[shining].max() + 1
    rise = math.ceil(reach / BELT * nside) + 1
    z = max(abs(nside - top), abs(nside - bottom)) + 1
    turn = math.asin(math.sin(reach) / math.sqrt(1 - (BELT * z / nside) ** 2))
    run = math.ceil(turn * 2 / math.pi * nside) + 1
    light = np.zeros((len(maps), bottom - top + 1, width))
    light[:, ring[shining] - top, column[shining]] = maps[:, shining]
    spread = np.zeros((len(maps), light.shape[1] + 2 * rise, width + 2 * run))
    _spread_rings(light, nside, top, steps, rise, run, spread)
    out = np.zeros_like(maps)
    row = ring - top + rise
    for around in (-n_around, 0, n_around):
        at = column + run + around
        lit = np.flatnonzero((row >= 0) & (row < spread.shape[1]) & (at >= 0) & (at < spread.shape[2]))
        out[:, lit] += spread[:, row[lit], at[lit]]
    return out


@njit(cache=True)
def _spread_rings(
    light: NDArray[np.float64],
    nside: int,
    top: int,
    steps: NDArray[np.float64],
    rise: int,
    run: int,
    spread: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Add `light` (n_map, n_ring, n_column) to `spread`, `rise` rings and `run` columns wider on either side.

    `top` is the belt's ring of the first row; columns are counted from any.
    """
    n_map, n_ring, n_column = light.shape
    stencil = np.zeros((2 * rise + 1, 2 * run + 1))
    for row in range(n_ring):
        ring = top + row
        stencil[:] = 0.0
        for i in range(len(steps)):
            z = BELT * (nside - ring + steps[i, 0] + steps[i, 1] - 1.0) / nside
            eighths = 2.0 * (2 * nside) + 1 - (ring & 1) + steps[i, 0] - steps[i, 1]
            s = math.sqrt(1.0 - z * z)
            cosine, north, east = steps[i, 2], steps[i, 3], steps[i, 4]
            phi = math.pi / 4 * eighths / nside + math.atan2(east, cosine * s - north * z)
            to_ring, to_column = ring_and_column(nside, cosine * z + north * s, phi)
            stencil[to_ring - ring + rise, to_column - 2 * nside + run] += 1.0
        for r in range(2 * rise + 1):
            for c in range(2 * run + 1):
                if stencil[r, c] > 0.0:
                    weight = stencil[r, c] / len(steps)
                    for m in range(n_map):
                        for at in range(n_column):
                            spread[m, row + r, at + c] += weight * light[m, row, at]


@njit(cache=True)
def _displace(
    maps: NDArray[np.float64],
    nside: int,
    where: NDArray[np.int64],
    index: NDArray[np.int32],
    steps: NDArray[np.float64],
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Maps (n_pix, n_map); `where` and `index` as of :func:`xy_of_pixel` and :class:`Region`."""
    n_pix, n_map = maps.shape
    out = np.zeros((n_pix, n_map))
    for p in range(n_pix):
        if not maps[p].any():
            continue
        for i in range(len(steps)):
            z, phi = position_in(where[p, 0], (where[p, 1] + steps[i, 0]) / nside, (where[p, 2] + steps[i, 1]) / nside)
            s = math.sqrt(1.0 - z * z)
            cosine, north, east = steps[i, 2], steps[i, 3], steps[i, 4]
            at = index[pixel_of(nside, cosine * z + north * s, phi + math.atan2(east, cosine * s - north * z))]
            if at >= 0:
                for m in range(n_map):
                    out[at, m] += maps[p, m]
    return out / len(steps)
