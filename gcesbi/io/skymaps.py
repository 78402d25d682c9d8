"""Maps of the sky as a reader hands them on, in the pixels that it found; and their cut to a region."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.exposure import ExposureMaps
from gcesbi.io.files import naming
from gcesbi.io.healpix_table import HealpixMaps, map_nside
from gcesbi.io.rotation import places_of
from gcesbi.sky.energy import bins_within, check_energy_edges
from gcesbi.sky.observation import Observation, check_counts, check_exposure
from gcesbi.sky.quantity import Direction, Scalar, Values, direction, plain
from gcesbi.sky.region import Region, check_band, check_nside, check_radius, glon_glat, in_disc

__all__ = ["SkyMaps", "check_mask", "check_photons", "degrade"]


def degrade(values: ArrayLike, nside: int, how: str = "sum") -> NDArray[Any]:
    """Full-sky NESTED map (..., 12 n²) brought to a lower `nside`: (..., 12 nside²).

    Parameters
    ----------
    values : array (..., 12 n²)
    nside : int
        At most n.
    how : "sum" | "mean" | "any"
        Counts and templates in counts are summed, exposure is averaged, a mask is true where any fine pixel is.

    Raises
    ------
    InputError
        If nside is above the map's own, or `how` is none of the three.
    """
    values = np.asarray(values)
    have = map_nside(values.shape[-1], "map")
    if check_nside(nside) > have:
        raise InputError(f"nside: must be at most the map's own, {have}, got {nside}")
    if how not in ("sum", "mean", "any"):
        raise InputError(f"how: must be 'sum', 'mean' or 'any', got {how!r}")
    fine = values.reshape(*values.shape[:-1], 12 * nside**2, -1)
    return np.asarray(getattr(fine, how)(axis=-1))


def check_mask(mask: ArrayLike, where: str = "mask") -> NDArray[np.bool_]:
    """Return a full-sky mask as booleans; InputError unless it holds only 0 and 1, or booleans, in a HEALPix size."""
    values = plain(mask, where)
    if values.ndim != 1:
        raise InputError(f"{where}: must have shape (12 nside²,), got {values.shape}")
    map_nside(values.size, where)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(f"{where}: must hold only 0 and 1, or booleans, got {values[~np.isin(values, (0, 1))][:1]}")
    return values.astype(bool)


def check_photons(maps: HealpixMaps) -> None:
    """Raise InputError if a map is negative, fractional or nowhere finite: NaN may lie where nobody looks."""
    for row in maps.values:
        finite = np.isfinite(row)
        check_counts(row[finite] if finite.any() else row)


@dataclass(frozen=True, eq=False)
class SkyMaps:
    """Counts and exposure in some pixels of the sky, as read and not yet cut to a region.

    Parameters
    ----------
    counts : HealpixMaps
        Maps (n_energy, n_pix) of photons, Galactic, in the pixels that were observed.
    exposure : ExposureMaps
        Without energies of their own, they have those of the counts.
    energy_edges : array (n_energy + 1,), GeV

    Raises
    ------
    InputError
        If counts are negative or fractional, edges do not increase, or there are not as many bins as maps.
    """

    counts: HealpixMaps
    exposure: ExposureMaps
    energy_edges: Values

    def __post_init__(self) -> None:
        with naming(self.counts.source):
            edges = check_energy_edges(self.energy_edges)
            n_map = len(self.counts.values)
            if len(edges) - 1 != n_map:
                raise InputError(f"energy_edges: must be {n_map + 1} for {n_map} maps of counts, got {len(edges)}")
            check_photons(self.counts)
        object.__setattr__(self, "energy_edges", edges)
        object.__setattr__(self, "exposure", self.exposure.on(edges))

    def within(self, energy_range: Values | None) -> Self:
        """The maps of the energy bins within (low, high), GeV; all for None.

        Raises
        ------
        InputError
            If no bin lies within.
        """
        edges = check_energy_edges(self.energy_edges)
        kept = bins_within(edges, energy_range)
        counts = replace(self.counts, values=self.counts.values[kept])
        return replace(self, counts=counts, energy_edges=edges[kept.start : kept.stop + 1])

    def cut(
        self,
        radius: Scalar | None = 25.0,
        band: Scalar | None = 2.0,
        mask: NDArray[np.bool_] | None = None,
        nside: int | None = None,
        *,
        centre: Direction = (0.0, 0.0),
        index: float = 2.4,
        event_type: str = "",
    ) -> Observation:
        """Observation within `radius` of `centre`, at |b| > `band`, outside `mask`, at `nside`.

        Parameters
        ----------
        radius, band : float, deg, Quantity, or None
            None: no cut. (A band of 0 leaves out pixels whose centres lie exactly on the Galactic plane.)
        mask : array (12 n²,), bool
            NESTED; true where masked. n is at least `nside`.
        nside : int, optional
            At most the maps' own, which is the default. A pixel is kept if all its fine pixels are observed.
        centre : (glon, glat), deg, or SkyCoord
        index : float
            Of the spectrum with which exposure is averaged over a bin.
        event_type : str
            Name of the events.

        Raises
        ------
        InputError
            If no pixel is left, counts are not finite there, or exposure is not above zero there.
        """
        maps = self.counts
        nside = maps.nside if nside is None else check_nside(nside)
        if nside > maps.nside:
            raise InputError(f"nside: must be at most the map's own, {maps.nside}, got {nside}")
        edges = check_energy_edges(self.energy_edges)
        kept = self._whole(nside)
        kept = kept[_within(nside, kept, radius, band, direction(centre))]
        if mask is not None:
            if mask.size < 12 * nside**2:
                raise InputError(f"mask: must have nside {maps.nside}, as the maps, got {map_nside(mask.size, 'mask')}")
            kept = kept[~degrade(mask, nside, "any")[kept]]
        parts = (maps.nside // nside) ** 2
        fine = (kept[:, None] * parts + np.arange(parts)).ravel()
        if not kept.size:
            raise InputError(_none_left(maps.source, nside, radius, band, mask))
        exposed = self.exposure.in_pixels(maps.nside, fine, edges, index).reshape(len(edges) - 1, -1, parts)
        known = ~np.isnan(exposed).any(axis=(0, 2))
        if not known.any():
            raise InputError(f"{self.exposure.source}: exposure: must be known in the region, is in none of its pixels")
        exposure = check_exposure(exposed[:, known].mean(axis=2), f"{self.exposure.source}: exposure")
        at = places_of(maps.pixels, fine).reshape(kept.size, parts)[known]
        counts = check_counts(maps.values[:, at], f"{maps.source}: counts").sum(axis=2)
        return Observation(counts, exposure, edges, Region(nside, kept[known]), event_type=event_type)

    def _whole(self, nside: int) -> NDArray[np.int64]:
        """Pixels (n,) of `nside`, NESTED, all of whose fine pixels were observed."""
        parts = (self.counts.nside // nside) ** 2
        pixels, number = np.unique(self.counts.pixels // parts, return_counts=True)
        return np.asarray(pixels[number == parts])


def _none_left(
    source: str, nside: int, radius: Scalar | None, band: Scalar | None, mask: NDArray[np.bool_] | None
) -> str:
    masked = "" if mask is None else f" and {np.count_nonzero(mask)} pixels masked"
    return (
        f"{source}: radius, band, mask: must leave at least one pixel, none is left of {12 * nside**2} with "
        f"radius {radius} deg, band {band} deg{masked}"
    )


def _within(
    nside: int,
    pixels: NDArray[np.int64],
    radius: Scalar | None,
    band: Scalar | None,
    centre: tuple[float, float],
) -> NDArray[np.bool_]:
    limit = None if radius is None else check_radius(radius)
    latitude = -1.0 if band is None else check_band(band)
    if limit is None:
        return np.abs(glon_glat(nside, pixels)[1]) > latitude
    return in_disc(nside, limit, latitude, centre, pixels)
