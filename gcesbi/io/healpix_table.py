"""HEALPix tables of FITS files: maps in the pixels that the table holds, NESTED, with what the header states.

A table has one row per pixel, all in order (INDXSCHM = IMPLICIT) or numbered in a column (EXPLICIT), and one column per
map. Its order (ORDERING) and frame (COORDSYS or COORD) are read, or stated by the caller where the header is silent; a
header that contradicts the caller or itself is refused. Missing are pixels that hold healpy.UNSEEN, the header's
BAD_DATA, or a column's TNULL. Nothing is spread over the whole sky: a partial map of any nside costs what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.reading import check_number
from gcesbi.io.tables import declared_number, find_column, native

__all__ = ["HealpixMaps", "frame_of", "map_columns", "map_nside", "nested_pixels", "order_of", "read_table"]

PIXEL_COLUMNS = ("PIX", "PIXEL", "IPIX", "HPX_INDEX", "HPXPIX")
_FRAMES = {
    **dict.fromkeys(("G", "GAL", "GALACTIC"), "G"),
    **dict.fromkeys(("C", "CEL", "EQU", "CELESTIAL", "EQUATORIAL", "Q"), "C"),
    **dict.fromkeys(("E", "ECL", "ECLIPTIC"), "E"),
}
_ORDERINGS = {"RING": "RING", "NESTED": "NESTED", "NEST": "NESTED"}


@dataclass(frozen=True, eq=False)
class HealpixMaps:
    """Maps in some pixels of the sky.

    Parameters
    ----------
    nside : int
    pixels : array (n_pix,)
        NESTED, ascending.
    values : array (n_map, n_pix)
    frame : "G" | "C" | "E"
        Galactic, equatorial or ecliptic.
    source : str
        The file they were read from, for messages.
    """

    nside: int
    pixels: NDArray[np.int64]
    values: NDArray[np.generic]
    frame: str
    source: str


def map_nside(n_pix: int, where: str) -> int:
    """Nside of a full-sky map of `n_pix` pixels; InputError, naming `where`, if no power of two gives that size."""
    if n_pix < 12 or not hp.isnpixok(n_pix) or not hp.isnsideok(hp.npix2nside(n_pix), nest=True):
        raise InputError(f"{where}: must have a HEALPix size, 12 nside² with nside a power of two, got {n_pix} pixels")
    return int(hp.npix2nside(n_pix))


def order_of(order: str, argument: str = "order") -> str:
    """Return RING or NESTED, of an argument in any case."""
    return _known(order, _ORDERINGS, argument)


def frame_of(frame: str, argument: str = "frame") -> str:
    """Return G, C or E, of an argument in any case."""
    return _known(frame, _FRAMES, argument)


def _known(value: str, allowed: Mapping[str, str], name: str) -> str:
    if not isinstance(value, str) or value.strip().upper() not in allowed:
        raise InputError(f"{name}: must be one of {sorted(allowed)}, in capitals or not, got {value!r}")
    return allowed[value.strip().upper()]


def nested_pixels(nside: int, order: str) -> NDArray[np.int64]:
    """Where the NESTED pixels (12 nside²,) lie in an array over the whole sky in an order, "RING" or "NESTED"."""
    pixels = np.arange(12 * nside**2)
    return pixels if order == "NESTED" else np.asarray(hp.nest2ring(nside, pixels))


def map_columns(table: fits.BinTableHDU) -> list[str]:
    """Columns that hold maps: all but the one of pixel numbers."""
    return [name for name in table.columns.names if name.upper() not in PIXEL_COLUMNS]


def read_table(
    table: fits.BinTableHDU,
    source: str,
    names: Sequence[str],
    *,
    order: str | None = None,
    frame: str | None = None,
    strict: bool = True,
) -> HealpixMaps:
    """Read some columns of a table; `order` and `frame` are stated by the caller, and unless `strict` may be overruled.

    Raises
    ------
    InputError
        If the header lacks order, frame or nside, or contradicts itself or the arguments.
    """
    if not names:
        raise InputError(f"table {table.name} must hold a column of map values, has {table.columns.names}")
    kind = str(table.header.get("PIXTYPE", "HEALPIX")).strip().upper()
    if kind != "HEALPIX":
        raise InputError(f"PIXTYPE: must be HEALPIX in table {table.name!r}, got {kind}")
    stated_order = None if order is None else order_of(order)
    stated_frame = None if frame is None else frame_of(frame)
    ordering = _declared(table, ("ORDERING",), _ORDERINGS, "order", stated_order, strict)
    coordinates = _declared(table, ("COORDSYS", "COORD"), _FRAMES, "frame", stated_frame, strict)
    check_number(len(names) * len(table.data) * max(1, _width(table, names[0])), f"table {table.name}")
    columns = [native(table, name) for name in names]
    if len({column.size for column in columns}) > 1:
        raise InputError(f"table {table.name}: columns must be of one length, got {[c.size for c in columns]}")
    nside, pixels = _pixels(table, columns[0].size)
    pixels = pixels if ordering == "NESTED" else np.asarray(hp.ring2nest(nside, pixels))
    seen = np.ones(pixels.size, dtype=bool)
    for name, column in zip(names, columns, strict=True):
        seen &= ~_missing(table, name, column)
    sort = np.argsort(pixels[seen])
    values = np.stack([column[seen][sort] for column in columns])
    return HealpixMaps(nside, pixels[seen][sort], values, coordinates, source)


def _width(table: fits.BinTableHDU, name: str) -> int:
    return int(np.prod(table.data.dtype[name].shape, dtype=np.int64))


def _missing(table: fits.BinTableHDU, name: str, column: NDArray[np.generic]) -> NDArray[np.bool_]:
    marks = [hp.UNSEEN, float(np.float32(hp.UNSEEN))]
    for value in (table.header.get("BAD_DATA"), table.columns[name].null):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            marks += [float(value), float(np.float32(value))]
    return np.isin(column.astype(np.float64), marks)


def _declared(
    table: fits.BinTableHDU,
    keys: Sequence[str],
    allowed: Mapping[str, str],
    argument: str,
    stated: str | None,
    strict: bool,
) -> str:
    """What the header says under the first key it has, or the caller where it says nothing."""
    key = next((each for each in keys if str(table.header.get(each, "")).strip()), None)
    value = "" if key is None else str(table.header[key]).strip().upper()
    if key is None and stated is not None:
        return stated
    if value not in allowed:
        raise InputError(
            f"{key or keys[0]}: must be declared in the header of table {table.name!r} as one of {sorted(allowed)}, "
            f"got {value or 'nothing'}; the argument {argument} states it where the header does not"
        )
    if strict and stated not in (None, allowed[value]):
        raise InputError(f"{argument}: must be that of the header's {key}, {value}, or None, got {stated}")
    return allowed[value]


def _pixels(table: fits.BinTableHDU, n_rows: int) -> tuple[int, NDArray[np.int64]]:
    """Nside and pixel numbers (n_rows,), in the table's own order."""
    scheme = str(table.header.get("INDXSCHM", "")).strip().upper()
    if scheme not in ("", "IMPLICIT", "EXPLICIT"):
        raise InputError(f"INDXSCHM: must be IMPLICIT or EXPLICIT in table {table.name!r}, got {scheme}")
    column = find_column(table, *PIXEL_COLUMNS)
    if scheme == "EXPLICIT" and column is None:
        raise InputError(f"INDXSCHM: is EXPLICIT, so a column must be one of {PIXEL_COLUMNS}: {table.columns.names}")
    nside = _nside(table, n_rows, column is not None)
    if column is None:
        return nside, np.arange(n_rows)
    numbers = native(table, column)
    n_pix = 12 * nside**2
    pixels = numbers.astype(np.int64)
    whole = numbers.dtype.kind in "iu" and pixels.size == n_rows
    if not whole or (n_rows and not (pixels.min() >= 0 and pixels.max() < n_pix and np.unique(pixels).size == n_rows)):
        ends = f"{pixels.min()} to {pixels.max()}" if pixels.size else "none"
        raise InputError(f"column {column}: must hold distinct pixels in [0, {n_pix}), got {n_rows} from {ends}")
    if scheme == "IMPLICIT" and not np.array_equal(pixels, np.arange(n_pix)):
        raise InputError(f"INDXSCHM: is IMPLICIT, so column {column} must count the pixels from 0 to {n_pix - 1}")
    return nside, pixels


def _nside(table: fits.BinTableHDU, n_rows: int, explicit: bool) -> int:
    told = table.header.get("NSIDE")
    declared = None if told is None else declared_number(told)
    if told is not None and (declared is None or declared < 1 or not hp.isnsideok(declared, nest=True)):
        raise InputError(f"NSIDE: must be a power of two in the header of table {table.name!r}, got {told!r}")
    if explicit:
        if declared is None:
            raise InputError(f"NSIDE: must be declared in the header of an explicit table, got {told}")
        nside = declared
    else:
        nside = map_nside(n_rows, "map")
        if declared not in (None, nside):
            raise InputError(f"NSIDE: must be that of the map's {n_rows} pixels, {nside}, got {declared}")
    level = declared_number(table.header.get("ORDER"))
    if level is not None and level >= 0 and 2 ** min(level, 30) != nside:
        raise InputError(f"ORDER: must be log2 of NSIDE = {nside}, got {level}")
    return nside
