"""FITS files: opened, their tables and columns found or named in an error; numbers in the units of their columns."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import NDArray

from gcesbi.errors import InputError, shown
from gcesbi.io.data.fetching import located
from gcesbi.io.files import write_atomically
from gcesbi.io.reading import check_number, gunzipped, reading

__all__ = [
    "axis_table",
    "column_of",
    "declared_number",
    "ebounds",
    "find_column",
    "joined_edges",
    "native",
    "opened",
    "scale_to",
    "table_of",
    "unit_factor",
    "values_in",
    "write_tables",
]

Array = NDArray[np.float64]

_AXES: Mapping[str, tuple[str, ...]] = {
    "low": ("E_MIN", "ENERGY_MIN", "ENERGY_TRUE_MIN"),
    "high": ("E_MAX", "ENERGY_MAX", "ENERGY_TRUE_MAX"),
    "node": ("ENERGY", "ENERGY_TRUE", "ENERGIES"),
}
_MAX_COLUMNS = 999
_MANY_AXES = re.compile(rb"NAXIS   = *\d{4}")
_OURS = "gcesbi"
"""CREATOR of tables that are written here; those of others may have had their headers edited since."""
_ENERGY_UNITS = {name.lower(): name for name in ("eV", "keV", "MeV", "GeV", "TeV")}


@contextmanager
def opened(path: Path, argument: str = "path") -> Iterator[fits.HDUList]:
    """Open a FITS file that must be there; one that is none, or is cut short, is bad input. Errors within name it."""
    path = located(path, argument)
    with reading(path, "a whole FITS file"):
        if path.is_dir():
            raise InputError(f"{argument}: must be a FITS file, got a folder")
        with gunzipped(path) as content:
            if content.read(6) != b"SIMPLE":
                raise ValueError("it does not begin with SIMPLE")
            size = content.seek(0, os.SEEK_END)
            content.seek(0)
            in_place = not isinstance(content, BytesIO)
            held = (
                content.getbuffer() if isinstance(content, BytesIO) else mmap(content.fileno(), 0, access=ACCESS_READ)
            )
            if _MANY_AXES.search(held):  # astropy would count them
                raise ValueError("a table says that it has more than 999 axes")
            del held
            with fits.open(content, memmap=in_place, disable_image_compression=True) as tables:
                _check_whole(tables, size)
                yield tables


def write_tables(path: Path, tables: fits.HDUList, *, overwrite: bool = False) -> None:
    """Write a FITS file, whole or not at all; every table with checksums of its own, the same whenever it is written.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, or cannot be written.
    """
    tables.update_extend()
    for hdu in tables:
        hdu.header["CREATOR"] = _OURS
        hdu.add_checksum(when="of all that is here")
    write_atomically(path, tables.writeto, overwrite=overwrite)


def _check_whole(tables: fits.HDUList, size: int) -> None:
    """Every table lies after the one before, and within the file, and has no more columns than FITS knows.

    Its data are those that its DATASUM is of, if it states one, and so is its header, if it was written here.
    """
    end = 0
    for hdu in tables:
        info = hdu.fileinfo()
        first, last = info["datLoc"], info["datLoc"] + info["datSpan"]
        if not end <= first <= last <= size:
            raise ValueError(f"table {hdu.name or 'without a name'} is cut short, or its header is wrong")
        columns = hdu.header.get("TFIELDS", 0)
        if not (isinstance(columns, int) and 0 <= columns <= _MAX_COLUMNS):
            raise ValueError(f"table {hdu.name or 'without a name'} says that it has {columns} columns")
        altered = hdu.verify_checksum() != 1 if hdu.header.get("CREATOR") == _OURS else hdu.verify_datasum() == 0
        if altered:
            raise ValueError(f"table {hdu.name or 'without a name'} was altered: its checksum differs")
        end = last


def table_of(tables: fits.HDUList, name: str) -> fits.BinTableHDU:
    """The table of a name."""
    if name not in tables or not isinstance(tables[name], fits.BinTableHDU):
        raise InputError(f"must hold the table {name}, has {[hdu.name for hdu in tables[1:]]}")
    return tables[name]


def find_column(table: fits.BinTableHDU, *names: str) -> str | None:
    """The first of some names that a table's columns have, in capitals or not, as the table writes it."""
    there = {column.upper(): column for column in table.columns.names}
    return next((there[name.upper()] for name in names if name.upper() in there), None)


def column_of(table: fits.BinTableHDU, name: str) -> Array:
    """Values of a column, as stored; its name in capitals or not."""
    return np.asarray(_plain_column(table, name), dtype=np.float64)


def _plain_column(table: fits.BinTableHDU, name: str) -> NDArray[np.generic]:
    found = find_column(table, name)
    if found is None:
        raise InputError(f"table {table.name} must hold the column {name}, has {table.columns.names}")
    kind = str(table.columns[found].format)
    if re.match(r"\d*[PQ]", kind):
        raise InputError(f"table {table.name}: column {found}: must hold equally many numbers in every row")
    values = table.data[found]
    if values.dtype.kind not in "biuf":
        raise InputError(f"table {table.name}: column {found}: must hold numbers, has the format {kind}")
    check_number(values.size, f"table {table.name}: column {found}")
    return np.asarray(values)


def native(table: fits.BinTableHDU, name: str) -> NDArray[np.generic]:
    """Values of a column in one row or many, in the machine's byte order."""
    values = _plain_column(table, name).ravel()
    return values.astype(values.dtype.newbyteorder("="))


def values_in(table: fits.BinTableHDU, name: str, wanted: str, default: str) -> Array:
    """Values of a column in the unit `wanted`; `default` is the unit of a column that states none."""
    return column_of(table, name) * unit_factor(table, name, wanted, default)


def unit_factor(table: fits.BinTableHDU, name: str, wanted: str, default: str) -> float:
    """Factor that brings a column to the unit `wanted`; `default` is the unit of a column that states none."""
    return scale_to(table.columns[find_column(table, name) or name].unit or default, wanted, f"column {name}")


def scale_to(stated: str, wanted: str, what: str) -> float:
    """Factor from a unit as files write it (MEV for MeV, photons or not) to `wanted`; `what` has it."""
    told = re.sub(r"\b([kmgt]?ev)\b", lambda match: _ENERGY_UNITS[match[1].lower()], str(stated), flags=re.IGNORECASE)
    try:
        unit = units.Unit(re.sub(r"(?i)\bphotons?\b", "ph", told)).decompose()
        powers = dict(zip(unit.bases, unit.powers, strict=True))
        return float((unit / units.photon ** powers.get(units.photon, 0)).to(wanted))
    except (TypeError, ValueError, units.UnitConversionError):
        raise InputError(f"{what}: must have a unit of {wanted}, got {stated!r}") from None


def declared_number(value: Any) -> int | None:
    """A whole number of a header, also as text or as 16.0; None if it is none."""
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return int(number) if not isinstance(value, bool) and number.is_integer() and abs(number) < 2**31 else None


def axis_table(tables: fits.HDUList) -> tuple[Array | None, Array | None]:
    """Edges of energy bins and energies of maps, GeV, as far as tables EBOUNDS, ENERGIES or ``*BANDS`` hold them."""
    edges, energies = None, None
    for table in tables[1:]:
        if not isinstance(table, fits.BinTableHDU) or not table.name.upper().endswith(("EBOUNDS", "ENERGIES", "BANDS")):
            continue
        node = find_column(table, *_AXES["node"])
        if edges is None and find_column(table, *_AXES["low"]):
            edges = joined_edges(table)
        if energies is None and node is not None:
            energies = values_in(table, node, "GeV", "MeV").ravel()
    return edges, energies


def joined_edges(table: fits.BinTableHDU) -> Array:
    """Edges (n_energy + 1,), GeV, of the bins in a table EBOUNDS (keV unless it states a unit)."""
    names = (find_column(table, *_AXES[end]) or _AXES[end][0] for end in ("low", "high"))
    low, high = (values_in(table, name, "GeV", "keV").ravel() for name in names)
    if low.size == 0 or not np.allclose(low[1:], high[:-1], rtol=1e-4, atol=0):
        raise InputError(f"EBOUNDS: energy bins must join and increase, got {shown(low)} to {shown(high)}")
    return np.append(low, high[-1:])


def ebounds(edges: Array) -> fits.BinTableHDU:
    """The table EBOUNDS of energy edges (n_energy + 1,), GeV."""
    columns = [
        fits.Column("CHANNEL", "J", array=np.arange(1, len(edges))),
        fits.Column("E_MIN", "D", "GeV", array=edges[:-1]),
        fits.Column("E_MAX", "D", "GeV", array=edges[1:]),
    ]
    return fits.BinTableHDU.from_columns(columns, name="EBOUNDS")
