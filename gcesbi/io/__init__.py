"""Reading and writing: maps, observations, instrument responses."""

from gcesbi.io.catalog import read_catalogue
from gcesbi.io.folder import read_map, read_mask, read_template, templates_in
from gcesbi.io.image import read_intensity_cube
from gcesbi.io.irf import read_king_table
from gcesbi.io.netcdf import write_netcdf
from gcesbi.io.observation import read_observation, write_observation
from gcesbi.io.skymaps import SkyMaps, degrade, map_nside

__all__ = [
    "SkyMaps",
    "degrade",
    "map_nside",
    "read_catalogue",
    "read_intensity_cube",
    "read_king_table",
    "read_map",
    "read_mask",
    "read_observation",
    "read_template",
    "templates_in",
    "write_netcdf",
    "write_observation",
]
