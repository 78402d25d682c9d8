"""Full-sky maps as a reader hands them on: NESTED, Galactic, energies first; and their cut to a region."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import healpy as hp
import numpy as np
from astropy import units
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import naming
from gcesbi.sky.energy import bins_within, check_energy_edges
from gcesbi.sky.observation import Observation, check_counts, check_exposure
from gcesbi.sky.quantity import Values
from gcesbi.sky.region import Region, check_nside, glon_glat, in_disc

__all__ = ["SkyMaps", "check_mask", "degrade", "map_nside"]


def map_nside(n_pix: int, where: str) -> int:
    """Nside of a full-sky map of `n_pix` pixels; InputError, naming `where`, if no power of two gives that size."""
    if n_pix < 12 or not hp.isnpixok(n_pix) or not hp.isnsideok(hp.npix2nside(n_pix), nest=True):
        raise InputError(f"{where}: must have a HEALPix size, 12 nside² with nside a power of two, got {n_pix} pixels")
    return int(hp.npix2nside(n_pix))


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
    values = np.asarray(mask)
    if values.ndim != 1:
        raise InputError(f"{where}: must have shape (12 nside²,), got {values.shape}")
    map_nside(values.size, where)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(f"{where}: must hold only 0 and 1, or booleans, got {values[~np.isin(values, (0, 1))][:1]}")
    return values.astype(bool)


@dataclass(frozen=True, eq=False)
class SkyMaps:
    """Counts and exposure over the full sky, as read and not yet cut to a region.

    Parameters
    ----------
    counts : array (n_energy, 12 nside²), photons
        NESTED, Galactic.
    exposure : array (n_energy, 12 nside²), cm² s
        NESTED, Galactic.
    energy_edges : array (n_energy + 1,), GeV
    observed : array (12 nside²,), bool
        False where the file holds nothing.
    counts_source, exposure_source : str
        The files the two were read from, for messages.

    Raises
    ------
    InputError
        If counts are negative, fractional or NaN where observed, edges do not increase, or shapes disagree.
    """

    counts: NDArray[Any]
    exposure: NDArray[np.float64]
    energy_edges: ArrayLike | units.Quantity
    observed: NDArray[np.bool_]
    counts_source: str
    exposure_source: str

    def __post_init__(self) -> None:
        nside = map_nside(self.counts.shape[-1], f"{self.counts_source}: counts")
        with naming(self.counts_source):
            edges = check_energy_edges(self.energy_edges)
        if len(edges) - 1 != len(self.counts):
            raise InputError(
                f"{self.counts_source}: energy_edges: must be one more than the {len(self.counts)} maps of counts, "
                f"got {len(edges)}"
            )
        if self.exposure.shape[-1] != self.counts.shape[-1]:
            have = map_nside(self.exposure.shape[-1], f"{self.exposure_source}: exposure")
            raise InputError(
                f"{self.exposure_source}: exposure: must have the nside of the counts, {nside}, got {have}"
            )
        counts = check_counts(np.where(self.observed, self.counts, 0), f"{self.counts_source}: counts")
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "exposure", _exposure_in_bins(self.exposure, len(counts), self.exposure_source))
        object.__setattr__(self, "energy_edges", edges)

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return int(hp.npix2nside(self.counts.shape[-1]))

    def within(self, energy_range: Values | None) -> Self:
        """The maps of the energy bins within (low, high), GeV; all for None.

        Raises
        ------
        InputError
            If no bin lies within.
        """
        edges = check_energy_edges(self.energy_edges)
        kept = bins_within(edges, energy_range)
        edges = edges[kept.start : kept.stop + 1]
        return replace(self, counts=self.counts[kept], exposure=self.exposure[kept], energy_edges=edges)

    def cut(
        self,
        radius: float | None = 25.0,
        band: float | None = 2.0,
        mask: NDArray[np.bool_] | None = None,
        nside: int | None = None,
    ) -> Observation:
        """Observation within `radius` of the Galactic Centre, at |b| > `band`, outside `mask`, at `nside`.

        Parameters
        ----------
        radius, band : float, deg, or None
            None: no cut. (A band of 0 leaves out pixels whose centres lie exactly on the Galactic plane.)
        mask : array (12 n²,), bool
            NESTED; true where masked. n is at least `nside`.
        nside : int, optional
            At most the maps' own, which is the default.

        Raises
        ------
        InputError
            If no pixel is left, or exposure is not above zero in the region.
        """
        nside = self.nside if nside is None else nside
        counts, exposure = degrade(self.counts, nside, "sum"), degrade(self.exposure, nside, "mean")
        inside = ~degrade(~self.observed, nside, "any") & _within(nside, radius, band)
        if mask is not None:
            if mask.size < 12 * nside**2:
                raise InputError(f"mask: must have nside {self.nside}, as the maps, got {map_nside(mask.size, 'mask')}")
            inside &= ~degrade(mask, nside, "any")
        if not inside.any():
            raise InputError(
                f"{self.counts_source}: radius, band, mask: must leave at least one pixel, none is left of "
                f"{12 * nside**2} with radius {radius} deg, band {band} deg"
                + ("" if mask is None else f" and {np.count_nonzero(mask)} pixels masked")
            )
        region = Region(nside, np.flatnonzero(inside))
        exposure = check_exposure(exposure[:, inside], f"{self.exposure_source}: exposure")
        return Observation(counts[:, inside], exposure, check_energy_edges(self.energy_edges), region)


def _within(nside: int, radius: float | None, band: float | None) -> NDArray[np.bool_]:
    if radius is not None and not 0 < radius <= 180:
        raise InputError(f"radius: must lie in (0, 180] degrees, got {radius}")
    if band is not None and not 0 <= band < 90:
        raise InputError(f"band: must lie in [0, 90) degrees, got {band}")
    latitude = -1.0 if band is None else band
    if radius is None:
        return np.abs(glon_glat(nside)[1]) > latitude
    return in_disc(nside, radius, latitude)


def _exposure_in_bins(exposure: NDArray[np.float64], n_energy: int, source: str) -> NDArray[np.float64]:
    """Exposure (n_energy, n_pix) from one map, one for every bin, or one for every edge (geometric mean of the two)."""
    if len(exposure) == n_energy:
        return exposure
    if len(exposure) == 1:
        return np.repeat(exposure, n_energy, axis=0)
    if len(exposure) == n_energy + 1:
        return np.sqrt(exposure[1:] * exposure[:-1])
    raise InputError(
        f"{source}: exposure: must hold 1 map, or one for each of the {n_energy} energy bins or {n_energy + 1} edges, "
        f"got {len(exposure)}"
    )
