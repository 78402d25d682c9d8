"""Labelled arrays as netCDF, made in memory: HDF5 ends badly on a full disk, or where there are no locks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gcesbi.io.files import write_bytes

if TYPE_CHECKING:
    import xarray

__all__ = ["write_netcdf"]


def write_netcdf(path: Path, groups: Mapping[str, xarray.Dataset]) -> None:
    """Write data sets by group, whole or not at all, in place of what is there; every array has a checksum.

    ArviZ reads the file.
    """
    import xarray

    encoding = {
        f"/{group}": {
            str(name): {"fletcher32": True, "chunksizes": values.shape}
            for name, values in data.data_vars.items()
            if values.size and values.ndim
        }
        for group, data in groups.items()
    }
    tree = xarray.DataTree.from_dict(dict(groups))
    write_bytes(path, bytes(tree.to_netcdf(engine="h5netcdf", encoding=encoding)))
