"""HEALPix pixels of directions, and back, for compiled kernels (Górski et al. 2005, astro-ph/0409513).

A direction is (z, phi): z = sin(latitude), phi = longitude in radians. Within base pixel `face`, (x, y) in [0, 1)²
are coordinates in which area is uniform, x towards the north-east and y towards the north-west.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gcesbi.sky.compiled import njit

__all__ = ["BELT", "pixel_of", "position_in", "ring_and_column", "xy_of_pixel"]

BELT = 2.0 / 3.0
"""|z| at which the equatorial belt, where rings are turns of one pixel about the poles, meets the polar caps."""

_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4], dtype=np.float64)
_PHI = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7], dtype=np.float64)


@njit(cache=True, inline="always")
def _spread(v: int) -> int:  # pragma: no cover - compiled
    """Put the bits of v on the even places."""
    v = (v | (v << 16)) & 0x0000FFFF0000FFFF
    v = (v | (v << 8)) & 0x00FF00FF00FF00FF
    v = (v | (v << 4)) & 0x0F0F0F0F0F0F0F0F
    v = (v | (v << 2)) & 0x3333333333333333
    return (v | (v << 1)) & 0x5555555555555555


@njit(cache=True, inline="always")
def _compress(v: int) -> int:  # pragma: no cover - compiled
    """Gather the bits on the even places of v."""
    v &= 0x5555555555555555
    v = (v | (v >> 1)) & 0x3333333333333333
    v = (v | (v >> 2)) & 0x0F0F0F0F0F0F0F0F
    v = (v | (v >> 4)) & 0x00FF00FF00FF00FF
    v = (v | (v >> 8)) & 0x0000FFFF0000FFFF
    return (v | (v >> 16)) & 0x00000000FFFFFFFF


@njit(cache=True)
def pixel_of(nside: int, z: float, phi: float) -> int:  # pragma: no cover - compiled
    """NESTED pixel that holds a direction; phi any real number."""
    quarter = phi * (2.0 / math.pi)
    quarter -= 4.0 * math.floor(quarter * 0.25)
    if quarter >= 4.0:
        quarter = 0.0
    if abs(z) <= 2.0 / 3.0:
        base = nside * (0.5 + quarter)
        rise = nside * z * 0.75
        jp = int(base - rise)
        jm = int(base + rise)
        face_p = int(jp * (1.0 / nside))  # nside is a power of two: exact, and no integer division
        face_m = int(jm * (1.0 / nside))
        if face_p == face_m:
            face = 4 if face_p == 4 else face_p + 4
        elif face_p < face_m:
            face = face_p
        else:
            face = face_m + 8
        x = jm & (nside - 1)
        y = nside - (jp & (nside - 1)) - 1
    else:
        sector = min(3, int(quarter))
        along = quarter - sector
        width = nside * math.sqrt(3.0 * (1.0 - abs(z)))
        jp = min(nside - 1, int(along * width))
        jm = min(nside - 1, int((1.0 - along) * width))
        if z >= 0:
            face, x, y = sector, nside - jm - 1, nside - jp - 1
        else:
            face, x, y = sector + 8, jp, jm
    return face * nside * nside + _spread(x) + 2 * _spread(y)


@njit(cache=True)
def ring_and_column(nside: int, z: float, phi: float) -> tuple[int, int]:  # pragma: no cover - compiled
    """Ring, 0 at z = 2/3, and column within it, 0 .. 4 nside - 1, of a direction of the belt; phi in [0, 2π)."""
    base = nside * (0.5 + phi * (2.0 / math.pi))
    rise = nside * z * 0.75
    jp = int(base - rise)
    jm = int(base + rise)
    ring = nside + jp - jm
    return ring, (jp + jm - nside + 1 + (ring & 1)) >> 1


@njit(cache=True)
def position_in(face: int, x: float, y: float) -> tuple[float, float]:  # pragma: no cover - compiled
    """Direction (z, phi) of the point (x, y) of a base pixel; inverse of :func:`pixel_of`."""
    ring = _RING[face] - x - y
    if ring < 1.0:
        width = ring
        z = 1.0 - width * width / 3.0
    elif ring > 3.0:
        width = 4.0 - ring
        z = width * width / 3.0 - 1.0
    else:
        width = 1.0
        z = (2.0 - ring) * 2.0 / 3.0
    phi = 0.0 if width == 0.0 else math.pi / 4 * (_PHI[face] * width + x - y) / width
    return z, phi


@njit(cache=True)
def _xy(nside: int, pixels: NDArray[np.int64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    out = np.empty((len(pixels), 3), dtype=np.int64)
    for i, pixel in enumerate(pixels):
        within = pixel & (nside * nside - 1)
        out[i, 0] = pixel // (nside * nside)
        out[i, 1] = _compress(within)
        out[i, 2] = _compress(within >> 1)
    return out


def xy_of_pixel(nside: int, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Array (n_pix, 3): base pixel, column x and row y of NESTED pixels in the base pixel's nside × nside square."""
    return _xy(nside, np.asarray(pixels, dtype=np.int64))
