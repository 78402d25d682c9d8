"""FITS files: opened, their tables and columns found or named in an error; energies in the units of their columns."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.data.fetching import located
from gcesbi.io.files import naming

__all__ = ["column_of", "ebounds", "joined_edges", "native", "opened", "table_of", "unit_factor"]

Array = NDArray[np.float64]


@contextmanager
def opened(path: Path, argument: str = "path") -> Iterator[fits.HDUList]:
    """Open a FITS file that must be there; one that is none, or is cut short, is bad input. Errors within name it."""
    path = located(path, argument)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="(?s).*(truncated|non-standard|corrupt).*")
            with fits.open(path, memmap=False) as tables, naming(path):
                yield tables
    except InputError:
        raise
    except (OSError, TypeError, ValueError, Warning) as error:
        raise InputError(f"{path}: must be a whole FITS file ({' '.join(str(error).split())})") from None


def table_of(tables: fits.HDUList, name: str) -> fits.BinTableHDU:
    """The table of a name."""
    if name not in tables:
        raise InputError(f"must hold the table {name}, has {[hdu.name for hdu in tables[1:]]}")
    return tables[name]


def column_of(table: fits.BinTableHDU, name: str) -> Array:
    """Values of a column, as stored."""
    if name not in table.columns.names:
        raise InputError(f"table {table.name} must hold the column {name}, has {table.columns.names}")
    return np.asarray(table.data[name], dtype=np.float64)


def native(column: ArrayLike) -> NDArray[np.generic]:
    """Values of a column in one row or many, in the machine's byte order."""
    values = np.asarray(column).ravel()
    return values.astype(values.dtype.newbyteorder("="))


def unit_factor(table: fits.BinTableHDU, name: str, wanted: str, default: str) -> float:
    """Factor that brings a column to the unit `wanted`; `default` is the unit of a column that states none."""
    stated = table.columns[name].unit or default
    try:
        return float(units.Unit(stated).to(wanted))
    except (ValueError, units.UnitConversionError):
        raise InputError(f"column {name}: must have a unit of {wanted}, got {stated!r}") from None


def joined_edges(table: fits.BinTableHDU) -> Array:
    """Edges (n_energy + 1,), GeV, of the bins in a table EBOUNDS (keV unless it states a unit)."""
    low, high = (column_of(table, name).ravel() * unit_factor(table, name, "GeV", "keV") for name in ("E_MIN", "E_MAX"))
    if not np.allclose(low[1:], high[:-1], rtol=1e-4, atol=0):
        raise InputError(f"EBOUNDS: energy bins must join and increase, got {low.tolist()} to {high.tolist()}")
    return np.append(low, high[-1:])


def ebounds(edges: Array) -> fits.BinTableHDU:
    """The table EBOUNDS of energy edges (n_energy + 1,), GeV."""
    columns = [
        fits.Column("CHANNEL", "J", array=np.arange(1, len(edges))),
        fits.Column("E_MIN", "D", "GeV", array=edges[:-1]),
        fits.Column("E_MAX", "D", "GeV", array=edges[1:]),
    ]
    return fits.BinTableHDU.from_columns(columns, name="EBOUNDS")
