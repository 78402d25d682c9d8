"""Reading and writing: maps, observations, instrument responses."""

from gcesbi.io.catalog import read_catalogue
from gcesbi.io.exposure import read_exposure
from gcesbi.io.folder import FolderMaps, read_map, read_mask, read_template, templates_in
from gcesbi.io.healpix_table import map_nside
from gcesbi.io.image import read_intensity_cube, read_isotropic_spectrum, read_psf_table
from gcesbi.io.irf import read_king_table
from gcesbi.io.netcdf import write_netcdf
from gcesbi.io.observation import read_observation, write_observation
from gcesbi.io.skymaps import SkyMaps, degrade

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
