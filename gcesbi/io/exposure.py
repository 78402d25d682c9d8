r"""Exposure maps, in bins of energy or at energies, brought to the bins and places of counts.

The mean exposure of a bin, for a flux that follows :math:`E^{-\gamma}`, is

    ∫ ε(E) E^-γ dE / ∫ E^-γ dE,

with ε a power law of E between the energies of the maps, which must cover the bin (Fermi's ``gtexpcube2`` gives them at
the edges of the counts' bins, in a table ENERGIES, in MeV). Maps in bins (EBOUNDS) must have the bins of the counts.
Without energies one map stands for every bin, n maps are those of the n bins, and n + 1 maps those at their edges.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gcesbi.errors import InputError, shown
from gcesbi.io.healpix_table import HealpixMaps, map_columns, read_table
from gcesbi.io.rotation import interpolate_in_galactic, observed_in_galactic, places_of
from gcesbi.io.sky_image import SkyImage, image_of
from gcesbi.io.tables import axis_table, opened, scale_to, unit_factor
from gcesbi.physics.image_psf import power_law_mean
from gcesbi.sky.region import glon_glat

__all__ = ["ExposureMaps", "exposure_of_table", "mean_in_bins", "read_exposure"]

Array = NDArray[np.float64]

AXIS_TABLES = ("EBOUNDS", "ENERGIES", "GTI")
_TOLERANCE = 1e-4
"""Relative difference of energies that are meant to be equal: files hold them in single precision."""


@dataclass(frozen=True, eq=False)
class ExposureMaps:
    """Maps of exposure, cm² s, as a file holds them.

    Parameters
    ----------
    maps : HealpixMaps or SkyImage
    energies : array (n_map,), GeV, optional
        At which the maps are given.
    edges : array (n_map + 1,), GeV, optional
        Of the bins over which the maps are means.
    source : str
        The file, for messages.

    Raises
    ------
    InputError
        If there are not as many energies as maps.
    """

    maps: HealpixMaps | SkyImage
    source: str
    energies: Array | None = None
    edges: Array | None = None

    def __post_init__(self) -> None:
        n_map = len(self.maps.values)
        for axis in (self.energies, self.edges):
            if axis is not None and not (np.isfinite(axis).all() and axis[0] > 0 and np.all(np.diff(axis) > 0)):
                raise InputError(f"{self.source}: energies: must ascend from above 0 GeV, got {shown(axis)}")
        if self.energies is not None and len(self.energies) != n_map:
            if len(self.energies) != n_map + 1:
                raise InputError(
                    f"{self.source}: ENERGIES: must be {n_map} for {n_map} maps of exposure, or {n_map + 1} edges of "
                    f"their bins, got {len(self.energies)}"
                )
            object.__setattr__(self, "edges", self.energies)
            object.__setattr__(self, "energies", None)
        if self.energies is None and self.edges is not None and len(self.edges) == n_map:
            object.__setattr__(self, "energies", self.edges)

    def on(self, energy_edges: Array) -> ExposureMaps:
        """The same; maps without energies have those of bins (n_energy + 1,), GeV, by their number.

        Raises
        ------
        InputError
            If there are neither n_energy maps, nor n_energy + 1, nor one.
        """
        n_map, n_energy = len(self.maps.values), len(energy_edges) - 1
        if self.energies is not None or self.edges is not None or n_map == 1 < n_energy:
            return self
        if n_map not in (1, n_energy, n_energy + 1):
            raise InputError(
                f"{self.source}: exposure: must hold 1 map, or one for each of the {n_energy} energy bins or "
                f"{n_energy + 1} edges, got {n_map}"
            )
        return replace(self, edges=energy_edges)

    def in_pixels(self, nside: int, pixels: NDArray[np.int64], energy_edges: Array, index: float) -> Array:
        """Mean exposure (n_energy, n_pix) in bins and Galactic NESTED pixels, NaN where it is not known.

        Raises
        ------
        InputError
            If the maps' nside is another, or their energies do not cover the bins.
        """
        if isinstance(self.maps, SkyImage):
            values = self.maps.at(*glon_glat(nside, pixels))
        elif self.maps.nside != nside:
            raise InputError(
                f"{self.source}: exposure: must have the nside of the counts, {nside}, got {self.maps.nside}"
            )
        elif self.maps.frame == "G":
            at = places_of(self.maps.pixels, pixels)
            values = np.where(at < 0, np.nan, _finite(self.maps.values[:, at]))
        else:
            values = _rotated(self.maps, pixels)
        return mean_in_bins(values, self, energy_edges, index)

    def at(self, glon: Array, glat: Array, energy_edges: Array, index: float) -> Array:
        """Mean exposure (n_energy, n) in bins and Galactic directions, degrees; raises as :meth:`in_pixels`."""
        if isinstance(self.maps, SkyImage):
            return mean_in_bins(self.maps.at(glon, glat), self, energy_edges, index)
        maps = self.maps
        lon, lat = (glon, glat) if maps.frame == "G" else hp.Rotator(coord=["G", maps.frame])(glon, glat, lonlat=True)
        neighbours, weights = hp.get_interp_weights(maps.nside, lon, lat, nest=True, lonlat=True)
        at = places_of(maps.pixels, neighbours)
        values = [np.sum(np.where(at < 0, np.nan, row[at]) * weights, axis=0) for row in _finite(maps.values)]
        return mean_in_bins(np.stack(values), self, energy_edges, index)


def _finite(values: NDArray[np.generic]) -> Array:
    """Values with 0, which is no exposure, for what is no number: NaN is left for what is not known."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, 0.0)


def _rotated(maps: HealpixMaps, pixels: NDArray[np.int64]) -> Array:
    """Maps of another frame in Galactic pixels (n_map, n), NaN where one is not wholly known."""
    values = _finite(maps.values)
    rotated = interpolate_in_galactic(maps.nside, maps.pixels, values, maps.frame, pixels)
    seen = places_of(observed_in_galactic(maps.nside, maps.pixels, maps.frame), pixels) >= 0
    return np.where(seen, rotated, np.nan)


def mean_in_bins(values: Array, axis: ExposureMaps, energy_edges: Array, index: float) -> Array:
    """Mean exposure (n_energy, n) in bins of maps (n_map, n); 0 where a map is not above 0, NaN where one is."""
    if axis.energies is not None:
        return _integrated(values, axis.energies, energy_edges, index, axis.source)
    if axis.edges is None:
        return np.repeat(values, len(energy_edges) - 1, axis=0)
    first = int(np.argmin(np.abs(axis.edges - energy_edges[0])))
    own = axis.edges[first : first + len(energy_edges)]
    if len(own) != len(energy_edges) or not np.allclose(own, energy_edges, rtol=_TOLERANCE, atol=0):
        raise InputError(
            f"{axis.source}: exposure: must have the energy bins of the counts, {_told(energy_edges)} GeV, "
            f"got {_told(axis.edges)}"
        )
    return values[first : first + len(energy_edges) - 1]


def _integrated(values: Array, energies: Array, energy_edges: Array, index: float, source: str) -> Array:
    low, high = energies[[0, -1]]
    if len(energies) < 2 or energy_edges[0] < low * (1 - _TOLERANCE) or energy_edges[-1] > high * (1 + _TOLERANCE):
        raise InputError(
            f"{source}: exposure: energies must cover the bins of the counts, {_told(energy_edges[[0, -1]])} GeV, "
            f"got {_told(energies[[0, -1]])}"
        )
    edges = np.clip(energy_edges, low, high)
    known = np.isfinite(values).all(axis=0)
    lit = known & np.all(values > 0, axis=0)
    means = np.where(known, 0.0, np.nan) * np.ones((len(edges) - 1, 1))
    spectrum = (energies / low) ** -index
    for k, ends in enumerate(pairwise(edges)):
        weighted = power_law_mean(energies, values[:, lit] * spectrum[:, None], *ends)
        means[k, lit] = weighted / power_law_mean(energies, spectrum, *ends)
    return means


def _told(edges: Array) -> str:
    return " to ".join(f"{edge:.6g}" for edge in edges[[0, -1]]) + (f" in {len(edges) - 1}" if len(edges) > 2 else "")


def exposure_of_table(
    table: fits.BinTableHDU,
    source: str,
    names: Sequence[str] = (),
    axis: tuple[Array | None, Array | None] = (None, None),
    order: str | None = None,
    frame: str | None = None,
) -> ExposureMaps:
    """Exposure maps of the named columns of a HEALPix table, or of all; `axis` is (edges, energies) of the file."""
    names = names or map_columns(table)
    maps = read_table(table, source, names, order=order, frame=frame, strict=False)
    factors = np.array([unit_factor(table, name, "cm2 s", "cm2 s") for name in names])
    values = np.asarray(maps.values, dtype=np.float64) * factors[:, None]
    edges, energies = axis
    return ExposureMaps(HealpixMaps(maps.nside, maps.pixels, values, maps.frame, source), source, energies, edges)


def read_exposure(path: str | os.PathLike[str], *, order: str | None = None, frame: str | None = None) -> ExposureMaps:
    """Read exposure: HEALPix tables or an image in plate carrée projection, such as those of ``gtexpcube2``.

    Parameters
    ----------
    path : path
    order, frame : str, optional
        Where the header of a HEALPix table states none; see :func:`gcesbi.read_observation`.

    Raises
    ------
    InputError
        If the file is missing or no such file, or its energies do not belong to its maps.
    """
    path = Path(path)
    with opened(path, "exposure") as tables:
        axis = axis_table(tables)
        if tables[0].header.get("NAXIS", 0):
            scale = scale_to(str(tables[0].header.get("BUNIT", "cm2 s")).strip() or "cm2 s", "cm2 s", "BUNIT")
            image = image_of(tables[0])
            return ExposureMaps(SkyImage(image.values * scale, image.geometry, image.frame), str(path), *axis[::-1])
        for table in tables:
            if isinstance(table, fits.BinTableHDU) and not table.name.upper().endswith((*AXIS_TABLES, "BANDS")):
                return exposure_of_table(table, str(path), axis=axis, order=order, frame=frame)
        raise InputError(f"must hold maps of exposure, has {[hdu.name for hdu in tables]}")
