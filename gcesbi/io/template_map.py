"""Maps of light, of any kind that people have: read as they are, and brought to the pixels and energy bins of a sky.

Read are HEALPix tables and plate carrée images in FITS files, Galactic or equatorial, whole or partial, and ``.npy``
arrays over the whole sky. Of a file with several, as ``gtsrcmaps`` writes one for each source, one is named. Where a
file holds no pixel there is no light.

An image gives the light of every pixel to the HEALPix pixels that it covers, a pixel's share being that of an even grid
of points within it. Maps of HEALPix pixels in another frame are interpolated at the middles of Galactic ones.

Energies are those of the file: bins (EBOUNDS) are added up to those of the sky, whose edges must be among theirs; maps
at energies (ENERGIES, or at the edges of bins, as ``gtsrcmaps`` gives them) are integrated, a power law in between.
Without any, there is one map for every bin, or one for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gcesbi.errors import InputError, nearest
from gcesbi.io.arrays import whole_sky
from gcesbi.io.data import located
from gcesbi.io.exposure import AXIS_TABLES
from gcesbi.io.files import naming
from gcesbi.io.healpix_table import HealpixMaps, map_columns, read_table
from gcesbi.io.rotation import interpolate_in_galactic, places_of
from gcesbi.io.sky_image import SkyImage, image_of
from gcesbi.io.tables import axis_table, opened
from gcesbi.physics.intensity import integrated
from gcesbi.sky.image import ImageGeometry

__all__ = ["LightMaps", "healpix_shape", "image_geometry", "in_rows", "is_map_cube", "light_of_array", "read_light"]

Array = NDArray[np.float64]
_Image: TypeAlias = fits.PrimaryHDU | fits.ImageHDU
_TOLERANCE = 1e-4
"""Relative difference of energies that are meant to be equal: files hold them in single precision."""

_COVERED = 0.9
"""Share of a pixel by points of an image from which on it lies wholly in the image: points are not quite even in it."""


@dataclass(frozen=True, eq=False)
class LightMaps:
    """Light per solid angle, in any unit, in the pixels of a file.

    Parameters
    ----------
    maps : HealpixMaps or SkyImage
        One map, or one for every energy bin.

    Raises
    ------
    InputError
        If a value is negative or not finite.
    """

    maps: HealpixMaps | SkyImage
    source: str

    def __post_init__(self) -> None:
        values = np.asarray(self.maps.values, dtype=np.float64)
        if not np.isfinite(values).all() or np.any(values < 0):
            raise InputError(f"{self.source}: must be finite and not negative")

    def in_pixels(self, nside: int, pixels: NDArray[np.int64]) -> Array:
        """Means (n, n_pix) over ascending Galactic NESTED pixels.

        Raises
        ------
        InputError
            If the maps' nside is lower.
        """
        if isinstance(self.maps, SkyImage):
            return _deposited(self.maps, nside, pixels)
        maps, values = self.maps, np.asarray(self.maps.values, dtype=np.float64)
        if maps.nside < nside:
            raise InputError(f"{self.source}: nside must be at least the model's {nside}, is {maps.nside}")
        parts = (maps.nside // nside) ** 2
        fine = (pixels[:, None] * parts + np.arange(parts)).ravel()
        if maps.frame == "G":
            at = places_of(maps.pixels, fine)
            found = np.where(at < 0, 0.0, values[:, at])
        else:
            found = np.nan_to_num(interpolate_in_galactic(maps.nside, maps.pixels, values, maps.frame, fine))
        return found.reshape(len(found), len(pixels), parts).mean(axis=-1)

    def at(self, glon: Array, glat: Array) -> Array:
        """Values (n, n_direction) of the pixels that hold Galactic directions, degrees."""
        lon, lat = glon, glat
        if self.maps.frame != "G":
            lon, lat = hp.Rotator(coord=["G", self.maps.frame])(glon, glat, lonlat=True)
        if isinstance(self.maps, HealpixMaps):
            at = places_of(self.maps.pixels, hp.ang2pix(self.maps.nside, lon, lat, nest=True, lonlat=True))
            return np.where(at < 0, 0.0, self.maps.values[:, at])
        geometry = self.maps.geometry
        x, y = geometry.to_pixel(lon, lat)
        column = np.floor(np.mod(x + 0.5, 360 / geometry.pixel_size)).astype(int)
        row = np.floor(y + 0.5).astype(int)
        lit = (column < geometry.shape[1]) & (row >= 0) & (row < geometry.shape[0])
        return np.where(lit, self.maps.values[:, np.where(lit, row, 0), np.where(lit, column, 0)], 0.0)


def _deposited(image: SkyImage, nside: int, pixels: NDArray[np.int64]) -> Array:
    n = max(2, int(np.ceil(8 * image.geometry.pixel_size / np.degrees(hp.nside2resol(nside)))))
    fine = image.geometry.refined(n)
    lon, lat = fine.glon_glat()
    if image.frame != "G":
        lon, lat = hp.Rotator(coord=[image.frame, "G"])(lon, lat, lonlat=True)
    at = places_of(pixels, hp.ang2pix(nside, lon, lat, nest=True, lonlat=True))
    lands = at >= 0
    at, area = at[lands], fine.solid_angle[lands] / hp.nside2pixarea(nside)
    covered = np.bincount(at, area, len(pixels))
    whole = np.where(covered > _COVERED, covered, 1.0)
    rows = (np.repeat(np.repeat(each, n, axis=0), n, axis=1).ravel()[lands] for each in image.values)
    return np.stack([np.bincount(at, row * area, len(pixels)) / whole for row in rows])


def read_light(
    file: str | os.PathLike[str],
    energy_edges: Array,
    *,
    counts: bool = False,
    hdu: str | None = None,
    order: str | None = None,
    frame: str | None = None,
    index: float | None = None,
    bins: tuple[int, int] | None = None,
) -> LightMaps:
    """Read a map or a cube of light.

    Parameters
    ----------
    file : path
        ``.npy`` over the whole sky, or FITS.
    energy_edges : array (n_energy + 1,), GeV
        Of the sky's bins.
    counts : bool
        Whether values are counts per pixel of the file, not light per solid angle.
    hdu : str, optional
        Name of the table or image; needed where a file holds several.
    order, frame : str, optional
        Of a ``.npy`` file, Galactic unless stated; of a HEALPix table whose header states none.
    index : float, optional
        Of the power law of energy, E^-index, that multiplies maps at energies; of counts it must be stated, and is 0
        where the maps hold the spectrum.
    bins : (int, int), optional
        First and one past the last of the maps that are used.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or does not state its order, frame or energies, or has other ones.
    """
    path = located(file, "file")
    if path.suffix == ".npy":
        return light_of_array(path, order=order, frame=frame, bins=bins)
    maps, axis = _read(path, hdu, order, frame)
    if counts and isinstance(maps, SkyImage):
        maps = replace(maps, values=maps.values / maps.geometry.row_solid_angle[:, None])
    values = np.asarray(maps.values, dtype=np.float64)
    with naming(path):
        values = _in_bins(values, *axis, energy_edges, counts, index, bins)
    return LightMaps(replace(maps, values=values), str(path))


def light_of_array(
    values: Any,
    *,
    order: str | None,
    frame: str | None = None,
    bins: tuple[int, int] | None = None,
) -> LightMaps:
    """Maps over the whole sky, (12 nside²,) or (n, 12 nside²), from an array or a ``.npy`` file: :func:`read_light`."""
    maps = whole_sky(values, "map", order, frame)
    with naming(maps.source):
        cube = in_rows(np.asarray(maps.values, dtype=np.float64), bins)
    return LightMaps(replace(maps, values=cube), maps.source)


def in_rows(maps: Array, bins: tuple[int, int] | None) -> Array:
    """Maps (n_map, ...) from the first of `bins` to before its second; all if it is None.

    Raises
    ------
    InputError
        If there are not so many.
    """
    if bins is None:
        return maps
    if not 0 <= bins[0] < bins[1] <= len(maps):
        raise InputError(f"bins: must be the first and one past the last of {len(maps)} maps, got {list(bins)}")
    return maps[slice(*bins)]


def healpix_shape(
    file: str | os.PathLike[str], *, hdu: str | None = None, order: str | None = None, frame: str | None = None
) -> tuple[int, int] | None:
    """How many maps of HEALPix pixels a file holds, and their nside; None if it holds images: :func:`read_light`."""
    path = located(file, "file")
    maps = whole_sky(path, "map", order, frame) if path.suffix == ".npy" else _read(path, hdu, order, frame)[0]
    return None if isinstance(maps, SkyImage) else (len(maps.values), maps.nside)


def _read(
    path: Path, hdu: str | None, order: str | None, frame: str | None
) -> tuple[HealpixMaps | SkyImage, tuple[Array | None, Array | None]]:
    """Maps of a FITS file, dark where an image holds no number; edges and energies that it states."""
    with opened(path) as hdus:
        axis, found = axis_table(hdus), _named(hdus, hdu)
        if isinstance(found, fits.BinTableHDU):
            return read_table(found, str(path), map_columns(found), order=order, frame=frame), axis
        image = image_of(found)
        return replace(image, values=np.nan_to_num(image.values, nan=0.0)), axis


def _named(hdus: fits.HDUList, name: str | None) -> _Image | fits.BinTableHDU:
    """The table or image of a name, or the only one."""
    there = list(_maps_of(hdus))
    names = [each.name for each in there]
    told = f"has {', '.join(repr(each) for each in names) or 'none'}"
    if name is None:
        if len(there) != 1:
            raise InputError(f"hdu: must name one of the file's maps, {told}")
        return there[0]
    found = [each for each in there if each.name.upper() == name.strip().upper()]
    if len(found) != 1:
        raise InputError(f"hdu: must be one of the file's maps, {told}, got {name!r}; {nearest(name.upper(), names)}")
    return found[0]


def _maps_of(hdus: fits.HDUList) -> Iterator[_Image | fits.BinTableHDU]:
    for hdu in hdus:
        table = isinstance(hdu, fits.BinTableHDU)
        if (table and not hdu.name.upper().endswith((*AXIS_TABLES, "BANDS"))) or (
            hdu.is_image and hdu.header.get("NAXIS", 0) >= 2
        ):
            yield hdu


def _in_bins(
    values: Array,
    edges: Array | None,
    energies: Array | None,
    energy_edges: Array,
    counts: bool,
    index: float | None,
    bins: tuple[int, int] | None,
) -> Array:
    """Maps (n_map, ...) of a file as (1, ...) or (n_energy, ...)."""
    if energies is not None and len(energies) == len(values) + 1:
        edges, energies = energies, None
    elif energies is None and edges is not None and len(edges) == len(values):
        energies = edges
    if len(values) == 1:
        return in_rows(values, bins)
    if energies is not None and len(energies) == len(values):
        if bins is not None:
            raise InputError("bins: must be left out for maps at energies, which are integrated over the sky's bins")
        if counts and index is None:
            raise InputError(
                "index: must be stated for maps of counts at energies: of the power law that multiplies them, 0 where "
                "they hold the spectrum"
            )
        spectrum = (energies / energies[0]) ** -(index or 0.0)
        return integrated(energies, values * spectrum.reshape(-1, *[1] * (values.ndim - 1)), energy_edges)
    if edges is not None and len(edges) != len(values) + 1:
        raise InputError(f"EBOUNDS: must have a row for each of {len(values)} maps, has {len(edges) - 1}")
    values = in_rows(values, bins)
    edges = edges if edges is None or bins is None else edges[bins[0] : bins[1] + 1]
    return values if edges is None else _added(values, edges, energy_edges)


def _added(values: Array, edges: Array, energy_edges: Array) -> Array:
    at = np.abs(edges[:, None] / energy_edges - 1).argmin(axis=0)
    if not np.allclose(edges[at], energy_edges, rtol=_TOLERANCE, atol=0):
        own, wanted = (f"{each[0]:.6g} to {each[-1]:.6g} GeV in {len(each) - 1}" for each in (edges, energy_edges))
        raise InputError(f"energy bins: must be the model's, or parts of them, {wanted}, has {own}")
    return np.stack([values[low:high].sum(axis=0) for low, high in pairwise(at)])


def image_geometry(file: str | os.PathLike[str]) -> ImageGeometry:
    """Geometry of the first image of a FITS file.

    Raises
    ------
    InputError
        If there is no such file or image, or it is not Galactic.
    """
    with opened(located(file, "header"), "header") as hdus:
        image = next((each for each in _maps_of(hdus) if each.is_image), None)
        if image is None:
            raise InputError("holds no image")
        found = image_of(image)
        if found.frame != "G":
            raise InputError("CTYPE1, CTYPE2: must be GLON-CAR and GLAT-CAR, got equatorial ones")
        return found.geometry


def is_map_cube(file: str | os.PathLike[str]) -> bool:
    """Whether a file is a cube of intensities at energies (``ENERGIES``), as diffuse models come: a MapCube."""
    path = Path(file)
    if path.suffix == ".npy" or not path.is_file():
        return False
    with opened(path) as hdus:
        return hdus[0].header.get("NAXIS", 0) == 3 and axis_table(hdus)[1] is not None
