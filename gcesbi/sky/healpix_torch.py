"""HEALPix pixels of directions, and back, for many at once on any device: see :mod:`gcesbi.sky.healpix`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["displace", "pixel_of", "position_in"]


def _spread(v: Tensor) -> Tensor:
    """Put the bits of v on the even places."""
    for shift, kept in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F)):
        v = (v | (v << shift)) & kept
    v = (v | (v << 2)) & 0x3333333333333333
    return (v | (v << 1)) & 0x5555555555555555


def pixel_of(nside: int, z: Tensor, phi: Tensor) -> Tensor:
    """NESTED pixels (n,) that hold directions z, phi (n,); phi any real number, radians."""
    quarter = torch.remainder(phi * (2 / math.pi), 4.0)
    quarter = torch.where(quarter < 4.0, quarter, 0.0)
    at = torch.where(z.abs() <= 2 / 3, _equatorial(nside, z, quarter), _polar(nside, z, quarter))
    return at[0] * nside**2 + _spread(at[1]) + 2 * _spread(at[2])


def _equatorial(nside: int, z: Tensor, quarter: Tensor) -> Tensor:
    """Base pixel, x and y, (3, n), where |z| <= 2/3."""
    base, rise = nside * (0.5 + quarter), (0.75 * nside) * z
    jp, jm = (base - rise).long(), (base + rise).long()
    face_p, face_m = jp // nside, jm // nside
    face = torch.where(face_p < face_m, face_p, face_m + 8)
    face = torch.where(face_p == face_m, face_p % 4 + 4, face)
    return torch.stack([face, jm % nside, nside - 1 - jp % nside])


def _polar(nside: int, z: Tensor, quarter: Tensor) -> Tensor:
    """Base pixel, x and y, (3, n), where |z| > 2/3."""
    sector = quarter.long()
    along, width = quarter - sector, nside * torch.sqrt(3 * (1 - z.abs()))
    jp, jm = (along * width).long().clamp_max(nside - 1), ((1 - along) * width).long().clamp_max(nside - 1)
    north = torch.stack([sector, nside - 1 - jm, nside - 1 - jp])
    return torch.where(z >= 0, north, torch.stack([sector + 8, jp, jm]))


def position_in(face: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (z, phi) of points (x, y) of base pixels; inverse of :func:`pixel_of`."""
    ring = 2 + face // 4 - x - y
    width = torch.minimum(ring, 4 - ring).clamp(0, 1)
    z = torch.where(width < 1, (1 - width * width / 3) * torch.sign(2 - ring), (2 - ring) * (2 / 3))
    middle = 2 * (face % 4) + (face // 4 != 1)
    return z, (math.pi / 4) * (middle + (x - y) / width.clamp_min(1e-30))


def displace(z: Tensor, phi: Tensor, drop: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Directions at distance θ, drop = 1 - cos θ, from directions (z, phi), towards `angle` east of north."""
    s, sine = torch.sqrt(1 - z * z), torch.sqrt(drop * (2 - drop))
    north, east = sine * torch.cos(angle), sine * torch.sin(angle)
    turned = phi + torch.atan2(east, (1 - drop) * s - north * z)
    return ((1 - drop) * z + north * s).clamp(-1, 1), turned
