"""HEALPix maps in FITS files: counts, exposure and energies with order, frame and energy axis taken from the header.

Read are tables with one column per energy, implicit (full sky) or explicit (with a column PIX or PIXEL), such as
healpy's `write_map` and Fermi's `gtbin` and `gtexpcube2` write. ORDERING and COORDSYS must be declared; maps in
equatorial or ecliptic frames are rotated to Galactic (`gcesbi.io.rotation`). The energy bins come from an EBOUNDS
table (E_MIN, E_MAX; keV unless a unit is given), or the edges from an ENERGIES table (MeV unless a unit is given).
Exposure is in the columns of the same table whose names begin with EXPOSURE, or in a table EXPOSURE or HPXEXPOSURES of
the same file, or in a second file: one map, one per bin, or one per edge, of which bins take the geometric mean.

Written is an explicit table of the region's pixels (SKYMAP), one of the exposure (EXPOSURE) and EBOUNDS in GeV, which
read back exactly. Pixels that a file does not hold, or holds as healpy.UNSEEN, are not observed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import healpy as hp
import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import naming, write_atomically
from gcesbi.io.rotation import counts_to_galactic, exposure_to_galactic, observed_in_galactic
from gcesbi.io.skymaps import SkyMaps, map_nside
from gcesbi.io.tables import column_of, ebounds, joined_edges, native, opened, unit_factor
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.observation import Observation, check_counts
from gcesbi.sky.region import Region

__all__ = ["read_fits", "write_fits"]

_FRAMES = {"G": "G", "GAL": "G", "GALACTIC": "G", "C": "C", "CEL": "C", "EQU": "C", "CELESTIAL": "C", "EQUATORIAL": "C"}
_FRAMES |= {"E": "E", "ECL": "E", "ECLIPTIC": "E"}
_ORDERINGS = {"RING": "RING", "NESTED": "NESTED", "NEST": "NESTED"}
_EXPOSURE_TABLES = ("EXPOSURE", "HPXEXPOSURES")
_AXIS_TABLES = ("EBOUNDS", "ENERGIES", "GTI")
_PIXEL_COLUMNS = ("PIX", "PIXEL")


@dataclass(frozen=True, eq=False)
class _Maps:
    """Columns of a HEALPix table as full-sky NESTED maps (n_column, 12 nside²), with 0 where not observed."""

    values: NDArray[np.generic]
    observed: NDArray[np.bool_]
    frame: str
    source: str


def read_fits(
    path: str | os.PathLike[str],
    exposure: str | os.PathLike[str] | None = None,
    *,
    energy_edges: ArrayLike | units.Quantity | None = None,
    seed: int = 0,
) -> SkyMaps:
    """Read counts and exposure of a HEALPix FITS file, in Galactic NESTED order.

    Parameters
    ----------
    path : path
        File with the counts.
    exposure : path, optional
        File with the exposure, where `path` holds none.
    energy_edges : array (n_energy + 1,), GeV, optional
        In place of the file's own.
    seed : int
        Places photons within their pixels when a map is rotated.

    Raises
    ------
    InputError
        If a file is missing or no FITS file; the order, frame, exposure or energies are not declared; a size is no
        HEALPix size; counts are negative, fractional or NaN; or shapes disagree.
    """
    path = Path(path)
    with opened(path) as hdus:
        table = _first_table(path, hdus, (*_AXIS_TABLES, *_EXPOSURE_TABLES))
        names = [name for name in table.columns.names if name.upper() not in _PIXEL_COLUMNS]
        inline = [name for name in names if name.upper().startswith("EXPOSURE")]
        counts = _counts_to_galactic(_read_maps(path, table, [name for name in names if name not in inline]), seed)
        edges = _energy_edges(path, hdus, len(counts.values)) if energy_edges is None else energy_edges
        if exposure is None:
            exposed = _read_exposure(path, table if inline else _exposure_table(path, hdus), inline)
    if exposure is not None:
        exposure_path = Path(exposure)
        with opened(exposure_path, "exposure") as hdus:
            exposed = _read_exposure(exposure_path, _first_table(exposure_path, hdus, _AXIS_TABLES))
    observed = counts.observed
    if exposed.observed.size == observed.size:
        observed = observed & exposed.observed
    return SkyMaps(counts.values, exposed.values.astype(float), edges, observed, counts.source, exposed.source)


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
    write_atomically(Path(path), hdus.writeto, overwrite=overwrite)


def _healpix_table(name: str, observation: Observation, columns: Sequence[fits.Column]) -> fits.BinTableHDU:
    region = Region.of(observation.region)
    table = fits.BinTableHDU.from_columns([fits.Column("PIX", "K", array=region.pixels), *columns], name=name)
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "COORDSYS": "G", "NSIDE": region.nside}
    cards |= {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL", "OBS_NPIX": region.n_pix}
    table.header.update(cards)
    return table


def _first_table(path: Path, hdus: fits.HDUList, apart_from: Sequence[str]) -> fits.BinTableHDU:
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and hdu.name.upper() not in apart_from:
            return hdu
    raise InputError(f"{path}: must hold a table with a HEALPix map, has {[hdu.name for hdu in hdus]}")


def _exposure_table(path: Path, hdus: fits.HDUList) -> fits.BinTableHDU:
    for name in _EXPOSURE_TABLES:
        if name in hdus:
            return hdus[name]
    raise InputError(
        f"{path}: exposure: must be in columns EXPOSURE.. or a table EXPOSURE or HPXEXPOSURES, or the argument "
        f"exposure must name another file, got tables {[hdu.name for hdu in hdus]}"
    )


def _read_exposure(path: Path, table: fits.BinTableHDU, names: Sequence[str] = ()) -> _Maps:
    """Exposure maps in cm² s, Galactic, from the named columns or all that are not pixel numbers."""
    names = names or [name for name in table.columns.names if name.upper() not in _PIXEL_COLUMNS]
    maps = _read_maps(path, table, names)
    factors = np.array([unit_factor(table, name, "cm2 s", "cm2 s") for name in names])
    exposure = np.asarray(maps.values, dtype=np.float64) * factors[:, None]
    if maps.frame == "G":
        return _Maps(exposure, maps.observed, "G", maps.source)
    rotated = exposure_to_galactic(np.where(maps.observed, exposure, np.nan), maps.frame)
    observed = np.isfinite(rotated).all(axis=0) & observed_in_galactic(maps.observed, maps.frame)
    return _Maps(np.where(observed, rotated, 0), observed, "G", maps.source)


def _counts_to_galactic(maps: _Maps, seed: int) -> _Maps:
    counts = check_counts(maps.values, f"{maps.source}: counts")
    if maps.frame == "G":
        return _Maps(counts, maps.observed, "G", maps.source)
    observed = observed_in_galactic(maps.observed, maps.frame)
    return _Maps(counts_to_galactic(counts, maps.frame, seed), observed, "G", maps.source)


def _read_maps(path: Path, table: fits.BinTableHDU, names: Sequence[str]) -> _Maps:
    if not names:
        raise InputError(f"{path}: table {table.name} must hold a column of map values, has {table.columns.names}")
    nested = _declared(path, table, "ORDERING", _ORDERINGS) == "NESTED"
    frame = _declared(path, table, "COORDSYS", _FRAMES)
    columns = np.stack([native(table.data[name]) for name in names])
    nside, pixels = _pixels(path, table, columns.shape[-1])
    pixels = pixels if nested else hp.ring2nest(nside, pixels)
    seen = np.all((columns != hp.UNSEEN) & (columns != np.float32(hp.UNSEEN)), axis=0)
    values = np.zeros((len(names), 12 * nside**2), dtype=columns.dtype)
    values[:, pixels[seen]] = columns[:, seen]
    observed = np.zeros(12 * nside**2, dtype=bool)
    observed[pixels[seen]] = True
    return _Maps(values, observed, frame, str(path))


def _pixels(path: Path, table: fits.BinTableHDU, n_rows: int) -> tuple[int, NDArray[np.int64]]:
    """Nside and pixel numbers (n_rows,), in the table's own order."""
    column = next((name for name in table.columns.names if name.upper() in _PIXEL_COLUMNS), None)
    nside = _table_nside(path, table, n_rows, column is not None)
    if column is None:
        return nside, np.arange(n_rows)
    pixels = native(table.data[column]).astype(np.int64)
    if pixels.size and not (pixels.min() >= 0 and pixels.max() < 12 * nside**2 and np.unique(pixels).size == n_rows):
        raise InputError(
            f"{path}: column {column}: must hold distinct pixels in [0, {12 * nside**2}), "
            f"got {n_rows} from {pixels.min()} to {pixels.max()}"
        )
    return nside, pixels


def _declared(path: Path, table: fits.BinTableHDU, key: str, allowed: dict[str, str]) -> str:
    value = str(table.header.get(key, "")).strip().upper()
    if value not in allowed:
        raise InputError(
            f"{path}: {key}: must be declared in the header of table {table.name!r} as one of {sorted(allowed)}, "
            f"got {value or 'nothing'}"
        )
    return allowed[value]


def _table_nside(path: Path, table: fits.BinTableHDU, n_rows: int, explicit: bool) -> int:
    declared = table.header.get("NSIDE")
    if not explicit:
        nside = map_nside(n_rows, f"{path}: map")
        if declared not in (None, nside):
            raise InputError(f"{path}: NSIDE: must be that of the map's {n_rows} pixels, {nside}, got {declared}")
        return nside
    if not isinstance(declared, int) or declared < 1:
        raise InputError(f"{path}: NSIDE: must be declared in the header of an explicit table, got {declared}")
    return map_nside(12 * declared**2, f"{path}: NSIDE")


def _energy_edges(path: Path, hdus: fits.HDUList, n_energy: int) -> NDArray[np.float64]:
    """Edges (n_energy + 1,) in GeV, from a table EBOUNDS or ENERGIES."""
    if "EBOUNDS" in hdus:
        edges = joined_edges(hdus["EBOUNDS"])
    elif "ENERGIES" in hdus:
        table = hdus["ENERGIES"]
        name = table.columns.names[0]
        edges = column_of(table, name).ravel() * unit_factor(table, name, "GeV", "MeV")
    else:
        raise InputError(f"{path}: energy_edges: must be given, as the file has no table EBOUNDS or ENERGIES")
    with naming(path):
        edges = check_energy_edges(edges)
    if len(edges) != n_energy + 1:
        raise InputError(
            f"{path}: energy_edges: must be {n_energy + 1} for {n_energy} maps of counts, got {len(edges)}"
        )
    return edges
