r"""PSF correction of the NPTF: how a source's light spreads over pixels, by deterministic quadrature.

ρ(f) df is the expected number of pixels that receive a share of a source's light between f and f + df; Σ f Δρ = 1 says
that no light is lost (Malyshev & Hogg 2011, arXiv:1104.0010; Mishra-Sharma, Rodd & Safdi 2017, arXiv:1612.03173).

For sources spread evenly, ρ is the mean over pixels of the region of

.. math:: \rho(f) = \int \frac{d\Omega_s}{\Omega_\mathrm{pix}}\,\delta\big(f - f_p(\Omega_s)\big),

over all positions Ω_s around the pixel, so sources outside the region, whose light leaks in, count. The share of a
pixel follows from the PSF's containment C(θ) by a line integral along the pixel's true boundary,

.. math:: f_p = \frac{1}{2\pi} \oint C(\theta)\,d\psi,

θ and ψ being distance and azimuth of the boundary point as seen from the source: exact on the sphere for any PSF that
depends on θ alone, however narrow. HEALPix pixels change their shape with latitude; a few pixels, stratified in
latitude, stand for the region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError, shown
from gcesbi.sky import Grid, RadialPSF

__all__ = ["PsfCorrection", "psf_correction"]

_TABLE_SIZE = 40_001  # at 5 degrees, linear interpolation errs by 1e-6 for a core of 0.05 degrees
_RING_STEP = 0.025  # near rings are this far apart, in units of the pixel's size
_NEAR = 1.6  # rings are dense out to this distance, then spread geometrically


@dataclass(frozen=True, eq=False)
class PsfCorrection:
    """Table of ρ(f) in bins of equal light.

    Attributes
    ----------
    f : array (n_bin,)
        Mean share of a source's light in each bin, weighted by light, descending.
    df_rho : array (n_bin,)
        Number of pixels per source that the bin stands for: each bin keeps its light Σ f Δρ and its Σ f² Δρ.
    edges : array (n_bin + 1,)
        Shares that bound the bins, descending to 0: light in however small shares is in the last bin.
    """

    f: NDArray[np.float64]
    df_rho: NDArray[np.float64]
    edges: NDArray[np.float64]


def psf_correction(
    psf: RadialPSF | Sequence[RadialPSF],
    region: Grid,
    weights: ArrayLike | None = None,
    n_bin: int = 16,
    n_shape: int = 6,
    n_azimuth: int = 48,
    n_side: int = 48,
) -> PsfCorrection:
    """PSF correction of a region.

    Parameters
    ----------
    psf : RadialPSF, or one for each energy bin
        A sequence is mixed, as on a map summed over energies.
    region : Grid
        Its pixels set the resolution and, by their latitudes, the pixels' shapes.
    weights : array (n_energy,), optional
        Share of a source's counts in each energy bin; equal by default.
    n_bin : int
        Bins, each with the same share of the light.
    n_shape : int
        Pixels that stand for the region, at equal steps of its distribution in latitude.
    n_azimuth, n_side : int
        Source positions on a ring, and steps along each side of the pixel.

    Raises
    ------
    InputError
        If weights are negative, all zero, or not one for each PSF.
    """
    psfs = list(psf) if isinstance(psf, Sequence) else [psf]
    share = _check_weights(weights, len(psfs))
    if n_bin < 1:
        raise InputError(f"n_bin: must be at least 1, got {n_bin}")
    glat = np.abs(region.glon_glat()[1])
    ranks = ((np.arange(n_shape) + 0.5) / n_shape * region.n_pix).astype(np.int64)
    places = np.argsort(glat, kind="stable")[ranks]
    spread = _Containment.mix(psfs, share)
    parts = [_shares_around(spread, region, int(p), n_azimuth, n_side) for p in places]
    light = np.concatenate([part[0] for part in parts])
    area = np.concatenate([part[1] / np.sum(part[0] * part[1]) for part in parts]) / n_shape
    return _bins_of_equal_light(light, area, n_bin)


def _check_weights(weights: ArrayLike | None, n: int) -> NDArray[np.float64]:
    values = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.shape != (n,) or not np.all(values >= 0) or not 0 < values.sum() < np.inf:
        raise InputError(f"weights: must not be negative, one for each of {n} PSFs, got {shown(values)}")
    return values / values.sum()


@dataclass(frozen=True, eq=False)
class _Containment:
    """Share of light within a chord, for a mixture of PSFs, on an even grid of chords up to that of `reach` (rad)."""

    values: NDArray[np.float64]
    reach: float

    @classmethod
    def mix(cls, psfs: Sequence[RadialPSF], weights: NDArray[np.float64]) -> _Containment:
        used = [(psf, weight) for psf, weight in zip(psfs, weights, strict=True) if weight > 0]
        reach = np.radians(max(psf.theta_max for psf, _ in used))
        chord = np.linspace(0.0, 2 * np.sin(reach / 2), _TABLE_SIZE)
        theta = np.degrees(2 * np.arcsin(chord / 2))
        return cls(np.sum([weight * psf.containment(theta) for psf, weight in used], axis=0), float(reach))

    def __call__(self, chord: NDArray[np.float64]) -> NDArray[np.float64]:
        position = np.minimum(chord * ((_TABLE_SIZE - 1) / (2 * np.sin(self.reach / 2))), _TABLE_SIZE - 1.000001)
        index = position.astype(np.int64)
        low = self.values[index]
        return low + (position - index) * (self.values[index + 1] - low)


def _shares_around(
    spread: _Containment, region: Grid, place: int, n_azimuth: int, n_side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of light in one pixel, for sources on rings about it, and each position's area in pixels."""
    boundary, centre = region.outline(place, n_side), region.vectors[place]
    solid_angle = float(region.solid_angles[place])
    size = np.sqrt(solid_angle)
    reach = spread.reach + 1.2 * float(np.arccos(np.clip(boundary @ centre, -1, 1)).max())
    light, area = [], []
    for radius, ring in _rings(size, min(reach, np.pi)):
        sources = _ring_positions(centre, radius, n_azimuth)
        inside = spread(np.sqrt(np.maximum(2 - 2 * sources @ boundary.T, 0.0)))
        turn = _azimuth_steps(sources, boundary)
        light.append(np.sum(turn * (inside + np.roll(inside, -1, axis=1)) / 2, axis=1) / (2 * np.pi))
        area.append(np.full(n_azimuth, ring / n_azimuth / solid_angle))
    return np.maximum(np.concatenate(light), 0.0), np.concatenate(area)


def _rings(size: float, reach: float) -> list[tuple[float, float]]:
    """Radii, and areas (sr) of the annuli they stand for: even near the pixel, geometric further out."""
    near = np.arange(0.0, min(_NEAR * size, reach), _RING_STEP * size)
    edges = near
    if near[-1] < reach:
        far = np.geomspace(near[-1], reach, 2 + int(np.log(reach / near[-1]) / 0.06))
        edges = np.concatenate([near, far[1:]])
    cosine = np.cos(edges)
    middle = np.arccos((cosine[:-1] + cosine[1:]) / 2)
    return list(zip(middle.tolist(), (2 * np.pi * -np.diff(cosine)).tolist(), strict=True))


def _ring_positions(centre: NDArray[np.float64], radius: float, n: int) -> NDArray[np.float64]:
    """Unit vectors (n, 3) at angular distance `radius` from `centre`, turned by the golden angle from ring to ring."""
    east = np.cross([0.0, 0.0, 1.0], centre)
    east /= np.linalg.norm(east)
    north = np.cross(centre, east)
    angle = 2 * np.pi * (np.arange(n) + 0.5 + 1e3 * radius) / n
    across = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north
    return np.cos(radius) * centre + np.sin(radius) * across


def _azimuth_steps(sources: NDArray[np.float64], boundary: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of azimuth (n_source, n_point) from each boundary point to the next, as each source sees it."""
    following = np.roll(boundary, -1, axis=0)
    sine = np.einsum("si,pi->sp", sources, np.cross(boundary, following))
    along, ahead = sources @ boundary.T, sources @ following.T
    cosine = np.sum(boundary * following, axis=1) - along * ahead
    steps = np.arctan2(sine, cosine)
    return steps * np.sign(np.sum(np.cross(boundary, following) @ boundary.mean(axis=0)))


def _bins_of_equal_light(share: NDArray[np.float64], area: NDArray[np.float64], n_bin: int) -> PsfCorrection:
    """Sort positions by share, brightest first, and cut where the sum of light reaches multiples of 1 / n_bin."""
    order = np.argsort(-share, kind="stable")
    share, area = share[order], area[order]
    first = np.concatenate([[0.0], np.cumsum(share * area)])
    second = np.concatenate([[0.0], np.cumsum(share**2 * area)])
    levels = np.linspace(0.0, first[-1], n_bin + 1)
    light, squared = np.diff(levels), np.diff(np.interp(levels, first, second))
    f = squared / light
    inner = share[np.clip(np.searchsorted(first, levels[1:-1]) - 1, 0, share.size - 1)]
    return PsfCorrection(f, light / f, np.concatenate([[share[0]], inner, [0.0]]))
