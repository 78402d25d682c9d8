"""HEALPix maps in FITS files: counts, exposure and energies with order, frame and energy axis taken from the header.

Read are tables with one column per energy (:mod:`gcesbi.io.healpix_table`), such as healpy's `write_map` and Fermi's
`gtbin` and `gtexpcube2` write; maps in equatorial or ecliptic frames are rotated to Galactic
(:mod:`gcesbi.io.rotation`). The energy bins come from an EBOUNDS table (E_MIN, E_MAX; keV unless a unit is given), or
the edges from an ENERGIES table (MeV unless a unit is given). Exposure (:mod:`gcesbi.io.exposure`) is in the columns of
the same table whose names begin with EXPOSURE, or in a table EXPOSURE or HPXEXPOSURES of the same file, or in a second
file. Several maps of it are at the energies of their file's table ENERGIES, if there is one, else at those of the
counts.

Written is an explicit table of the region's pixels (SKYMAP), one of the exposure (EXPOSURE) and EBOUNDS in GeV, which
read back exactly. Pixels that a file does not hold, or marks as missing, are not observed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.exposure import AXIS_TABLES, ExposureMaps, exposure_of_table
from gcesbi.io.healpix_table import HealpixMaps, map_columns, read_table
from gcesbi.io.rotation import counts_to_galactic, observed_in_galactic, places_of
from gcesbi.io.skymaps import SkyMaps, check_photons
from gcesbi.io.tables import axis_table, ebounds, opened, write_tables
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.observation import Observation, check_counts
from gcesbi.sky.quantity import Values
from gcesbi.sky.region import Region

__all__ = ["counts_to_galactic_maps", "read_fits", "read_mask_table", "write_fits"]

_EXPOSURE_TABLES = ("EXPOSURE", "HPXEXPOSURES")


def read_fits(
    path: str | os.PathLike[str],
    exposure: ExposureMaps | None = None,
    *,
    energy_edges: Values | None = None,
    order: str | None = None,
    frame: str | None = None,
    seed: int = 0,
) -> SkyMaps:
    """Read counts and exposure of a HEALPix FITS file, Galactic.

    Parameters
    ----------
    path : path
        File with the counts.
    exposure : ExposureMaps, optional
        Where `path` holds none.
    energy_edges : array (n_energy + 1,), GeV, optional
        In place of the file's own.
    order, frame : str, optional
        Of a map whose header states none.
    seed : int
        Places photons within their pixels when a map is rotated.

    Raises
    ------
    InputError
        If a file is missing or no FITS file; the order, frame, exposure or energies are not declared; a size is no
        HEALPix size; counts are negative or fractional; or shapes disagree.
    """
    path = Path(path)
    with opened(path) as hdus:
        table = _first_table(hdus, (*AXIS_TABLES, *_EXPOSURE_TABLES))
        names = map_columns(table)
        inline = [name for name in names if name.upper().startswith("EXPOSURE")]
        maps = read_table(table, str(path), [name for name in names if name not in inline], order=order, frame=frame)
        check_photons(maps)
        edges = _energy_edges(hdus, len(maps.values)) if energy_edges is None else check_energy_edges(energy_edges)
        counts = counts_to_galactic_maps(maps, seed)
        if exposure is None:
            own = table if inline else _exposure_table(hdus)
            several = "ENERGIES" in hdus and len(inline or map_columns(own)) > 1
            axis = (None, axis_table(hdus)[1] if several else None)
            exposure = exposure_of_table(own, str(path), inline, axis, order, frame)
    return SkyMaps(counts, exposure, edges)


def read_mask_table(path: Path, order: str | None = None) -> NDArray[np.bool_]:
    """Read a mask over the whole sky from a HEALPix FITS file, Galactic: (12 nside²,) NESTED, true where it is not 0.

    Raises
    ------
    InputError
        If it is in another frame, has more than one map, or does not cover the sky.
    """
    with opened(path, "mask") as hdus:
        table = _first_table(hdus, AXIS_TABLES)
        maps = read_table(table, str(path), map_columns(table), order=order, frame=None)
        if maps.frame != "G" or len(maps.values) != 1 or maps.pixels.size != 12 * maps.nside**2:
            raise InputError(
                f"mask: must be one Galactic map over the whole sky, got {len(maps.values)} in frame {maps.frame} with "
                f"{maps.pixels.size} of {12 * maps.nside**2} pixels"
            )
        return np.asarray(maps.values[0])


def write_fits(path: str | os.PathLike[str], observation: Observation, *, overwrite: bool = False) -> None:
    """Write an observation as a HEALPix FITS file, explicit, NESTED, Galactic.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, or its folder does not exist.
    """
    exposure_unit = "cm2 s"
    counts = [fits.Column(f"CHANNEL{i}", "K", array=row) for i, row in enumerate(observation.counts, 1)]
    exposure = [
        fits.Column(f"ENERGY{i}", "D", exposure_unit, array=row) for i, row in enumerate(observation.exposure, 1)
    ]
    hdus = fits.HDUList([
        fits.PrimaryHDU(),
        _healpix_table("SKYMAP", observation, counts),
        _healpix_table("EXPOSURE", observation, exposure),
        ebounds(observation.energy_edges),
    ])  # fmt: skip
    write_tables(Path(path), hdus, overwrite=overwrite)


def _healpix_table(name: str, observation: Observation, columns: Sequence[fits.Column]) -> fits.BinTableHDU:
    region = Region.of(observation.region)
    table = fits.BinTableHDU.from_columns([fits.Column("PIX", "K", array=region.pixels), *columns], name=name)
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "COORDSYS": "G", "NSIDE": region.nside}
    cards |= {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL", "OBS_NPIX": region.n_pix}
    table.header.update(cards)
    return table


def counts_to_galactic_maps(maps: HealpixMaps, seed: int) -> HealpixMaps:
    """Counts in any frame as Galactic ones, in the pixels that were observed whole."""
    if maps.frame == "G":
        return maps
    counts = check_counts(maps.values, "counts")
    observed = observed_in_galactic(maps.nside, maps.pixels, maps.frame)
    lit, photons = counts_to_galactic(maps.nside, maps.pixels, counts, maps.frame, seed)
    at = places_of(lit, observed)
    return HealpixMaps(maps.nside, observed, np.where(at < 0, 0, photons[:, at]), "G", maps.source)


def _first_table(hdus: fits.HDUList, apart_from: Sequence[str]) -> fits.BinTableHDU:
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and not hdu.name.upper().endswith((*apart_from, "BANDS")):
            return hdu
    raise InputError(f"must hold a table with a HEALPix map, has {[hdu.name for hdu in hdus]}")


def _exposure_table(hdus: fits.HDUList) -> fits.BinTableHDU:
    for name in _EXPOSURE_TABLES:
        if name in hdus and isinstance(hdus[name], fits.BinTableHDU):
            return hdus[name]
    raise InputError(
        f"exposure: must be in columns EXPOSURE.. or a table EXPOSURE or HPXEXPOSURES, or the argument "
        f"exposure must name another file, got tables {[hdu.name for hdu in hdus]}"
    )


def _energy_edges(hdus: fits.HDUList, n_energy: int) -> NDArray[np.float64]:
    """Edges (n_energy + 1,) in GeV, from a table EBOUNDS or ENERGIES."""
    edges, energies = axis_table(hdus)
    edges = energies if edges is None else edges
    if edges is None:
        raise InputError("energy_edges: must be given, as the file has no table EBOUNDS or ENERGIES")
    edges = check_energy_edges(edges)
    if len(edges) != n_energy + 1:
        raise InputError(f"energy_edges: must be {n_energy + 1} for {n_energy} maps of counts, got {len(edges)}")
    return edges
