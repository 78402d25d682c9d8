"""Labelled arrays as netCDF, made in memory: HDF5 ends badly on a full disk, or where there are no locks."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from gcesbi.io.files import write_bytes
from gcesbi.posterior import Variable

__all__ = ["write_netcdf"]


def write_netcdf(
    path: Path,
    group: str,
    variables: Mapping[str, Variable],
    coords: Mapping[str, Sequence[Any]],
    attributes: Mapping[str, str | float],
) -> None:
    """Write a group of arrays, whole or not at all, in place of what is there; every array has a checksum.

    xarray and ArviZ read the file; to write it takes neither, since xarray brings pandas and takes seconds to import.

    Parameters
    ----------
    path : Path
    group : str
    variables : mapping of str to Variable
    coords : mapping of str to sequence
        Labels along each axis that has some.
    attributes : mapping
        Facts about the group.
    """
    from h5netcdf import File

    buffer = BytesIO()
    with File(buffer, "w") as file:
        stored = file.create_group(group)
        sizes = {axis: n for axes, values, _ in variables.values() for axis, n in zip(axes, values.shape, strict=True)}
        stored.dimensions = sizes
        stored.attrs.update(attributes)
        for name, labels in coords.items():
            _write(stored, name, ((name,), np.asarray(labels), {}))
        for name, variable in variables.items():
            _write(stored, name, variable)
    write_bytes(path, buffer.getvalue())


def _write(group: Any, name: str, variable: Variable) -> None:
    from h5py import string_dtype

    axes, values, facts = variable
    checked = {"fletcher32": True, "chunks": values.shape} if values.size and values.ndim else {}
    text = values.dtype.kind == "U"
    made = group.create_variable(
        name,
        axes,
        string_dtype() if text else values.dtype,
        values.astype(object) if text else values,
        **({} if text else checked),
    )
    made.attrs.update(facts)
