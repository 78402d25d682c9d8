"""Reading and writing: maps, observations, instrument responses.

Names are imported when they are first used: files of a run and data by name need no library of astronomy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcesbi.io.catalog import read_catalogue
    from gcesbi.io.exposure import read_exposure
    from gcesbi.io.folder import FolderMaps, read_map, read_mask, read_template, templates_in
    from gcesbi.io.healpix_table import map_nside
    from gcesbi.io.image import read_intensity_cube, read_isotropic_spectrum, read_psf_table
    from gcesbi.io.irf import read_king_table
    from gcesbi.io.netcdf import write_netcdf
    from gcesbi.io.observation import read_observation, write_observation
    from gcesbi.io.skymaps import SkyMaps, degrade

_HOMES = {
    "catalog": ("read_catalogue",),
    "exposure": ("read_exposure",),
    "folder": ("FolderMaps", "read_map", "read_mask", "read_template", "templates_in"),
    "healpix_table": ("map_nside",),
    "image": ("read_intensity_cube", "read_isotropic_spectrum", "read_psf_table"),
    "irf": ("read_king_table",),
    "netcdf": ("write_netcdf",),
    "observation": ("read_observation", "write_observation"),
    "skymaps": ("SkyMaps", "degrade"),
}

__all__ = [
    "FolderMaps",
    "SkyMaps",
    "degrade",
    "map_nside",
    "read_catalogue",
    "read_exposure",
    "read_intensity_cube",
    "read_isotropic_spectrum",
    "read_king_table",
    "read_map",
    "read_mask",
    "read_observation",
    "read_psf_table",
    "read_template",
    "templates_in",
    "write_netcdf",
    "write_observation",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"gcesbi.io.{home}"), name)
    raise AttributeError(f"module 'gcesbi.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
