"""Patches of the sky, on HEALPix pixels or in an image: where light starts, moves and lands.

A patch holds the region that is analysed and all from where light may reach it. Maps on it are light per pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from pathlib import Path

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from gcesbi.errors import InputError
from gcesbi.io import read_intensity_cube
from gcesbi.io.reading import load_array
from gcesbi.io.template_map import LightMaps, in_rows, is_map_cube, light_of_array, read_light
from gcesbi.physics.exposure import survey_exposure, survey_exposure_at
from gcesbi.physics.image_smoothing import smooth_image
from gcesbi.physics.smoothing import smooth
from gcesbi.physics.templates import Template
from gcesbi.simulation.template_statements import Map
from gcesbi.sky import Grid, ImageGeometry, ImageRegion, RadialPSF, Region
from gcesbi.sky.healpix import xy_of_pixel
from gcesbi.sky.region import NORM_LATITUDE, NORM_RADIUS, in_disc

__all__ = ["HealpixPatch", "ImagePatch", "Patch"]

Array = NDArray[np.float64]
Places = NDArray[np.int64]

_BEYOND = 5.0  # degrees about the normalisation disc, or the region, from which light may reach it
_FINER = 4  # points to a side of an image's pixel at which what is known elsewhere is looked up


class Patch(ABC):
    """Pixels on which everything that shines is known.

    Attributes
    ----------
    grid : Grid
    where : array (n_patch, 3)
        Base pixel, x and y of a HEALPix pixel; nil, column and row of an image's.
    frame : array (n,)
        Empty for HEALPix; of an image: size of a pixel (rad), column and row of the origin, columns and rows.
    nside : int
        Of HEALPix; 0 for an image.
    disc : array (n,)
        Places of the normalisation disc's pixels.
    """

    grid: Grid
    where: NDArray[np.int64]
    frame: Array
    nside: int
    disc: Places

    def __len__(self) -> int:
        return self.grid.n_pix

    @abstractmethod
    def places(self, region: Grid) -> Places:
        """Places in the patch of a region's pixels.

        Raises
        ------
        InputError
            If the region is of another kind or resolution, or reaches beyond the patch.
        """

    @abstractmethod
    def landing(self, region: Grid) -> NDArray[np.int32]:
        """Place in the region of every pixel by number, or -1."""

    @abstractmethod
    def draw(self, template: Template, places: Places | None = None) -> Array:
        """Light of a built-in template in all pixels, or those at some places."""

    @abstractmethod
    def read(self, statement: Map, energy_edges: Array) -> Array:
        """Map or cube, (n, n_patch), as it is stated; a MapCube integrated over bins (n_energy + 1,), GeV.

        Beyond the edge of a MapCube NaN.
        """

    @abstractmethod
    def survey(self, energy_edges: Array, weeks: float) -> Array:
        """The library's own exposure (n_energy, n_patch), cm² s."""

    @abstractmethod
    def smooth(self, maps: Array, psf: RadialPSF) -> Array:
        """Maps (n_map, n_patch) as the point-spread function leaves them."""

    @abstractmethod
    def outlines(self, places: Places) -> Array:
        """Points on the outlines of pixels: unit vectors (n, n_point, 3)."""

    @property
    @abstractmethod
    def gap(self) -> float:
        """Largest distance between neighbouring points of outlines, rad."""

    @abstractmethod
    def at(self, vectors: Array) -> Places:
        """Places of the pixels that hold directions, Galactic unit vectors (n, 3); -1 outside."""

    def extend(self, values: Array, places: Places) -> Array:
        """Values (..., n) at places as (..., n_patch): elsewhere, those of the nearest of the places."""
        glon, glat = self.grid.glon_glat()
        points = np.stack(hp.ang2vec(glon, glat, lonlat=True), axis=0)
        return np.asarray(values)[..., cKDTree(points[places]).query(points)[1]]


def _array(statement: Map) -> Array | None:
    """Values of a map that is an array, or a ``.npy`` file of one."""
    if statement.file is None or not statement.file.endswith(".npy"):
        return statement.values
    return np.asarray(load_array(Path(statement.file)), dtype=np.float64)


def _is_map_cube(statement: Map) -> bool:
    """Whether a file holds intensities at energies, and no bins to choose from."""
    found = statement.file is not None and statement.hdu is None and is_map_cube(statement.file)
    if found and statement.bins is not None:
        raise InputError(f"{statement.file}: bins: must be left out for maps at energies, which are integrated")
    return found


def _light(statement: Map, energy_edges: Array) -> LightMaps:
    """What a file, or an array over the whole sky, holds."""
    told = {n: getattr(statement, n) for n in ("order", "frame", "bins")}
    if statement.file is None:
        return light_of_array(statement.values, **told)
    counts = statement.quantity == "counts"
    return read_light(statement.file, energy_edges, counts=counts, hdu=statement.hdu, index=statement.index, **told)


class HealpixPatch(Patch):
    """A disc of HEALPix pixels about the region's centre."""

    frame = np.zeros(0)

    def __init__(self, nside: int, radius: float, centre: tuple[float, float]) -> None:
        self.nside = nside
        self.disc_of_light = min(max(NORM_RADIUS, radius) + _BEYOND, 180.0), centre
        self.region = Region(nside, _pixels(nside, *self.disc_of_light))
        self.grid = self.region
        self.disc = self.region.index[np.flatnonzero(in_disc(nside, NORM_RADIUS, NORM_LATITUDE, centre))].astype(
            np.int64
        )

    @cached_property
    def where(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Base pixel, x and y."""
        return xy_of_pixel(self.nside, self.region.pixels)

    def places(self, region: Grid) -> Places:
        """See :class:`Patch`."""
        if not isinstance(region, Region):
            raise InputError(f"observation: must be a HEALPix map, is on {region}")
        if region.nside != self.nside:
            raise InputError(f"region: nside must be the templates' {self.nside}, got {region.nside}")
        found = self.region.index[region.pixels].astype(np.int64)
        if np.any(found < 0):
            raise InputError("region: has pixels outside the patch on which the model's templates are known")
        return found

    def landing(self, region: Grid) -> NDArray[np.int32]:
        """See :class:`Patch`."""
        return Region.of(region).index

    def draw(self, template: Template, places: Places | None = None) -> Array:
        """Means over the pixels, by adaptive subdivision."""
        chosen = None if places is None else places.tobytes()
        return _drawn(template, self.nside, *self.disc_of_light, chosen).copy()

    def read(self, statement: Map, energy_edges: Array) -> Array:
        """Finer maps are brought to the patch's pixels."""
        if _is_map_cube(statement):
            cube = read_intensity_cube(str(statement.file))
            known = cube.covers(*self.grid.glon_glat())
            return np.where(known, cube.in_pixels(self.region, energy_edges), np.nan)
        return _light(statement, energy_edges).in_pixels(self.nside, self.region.pixels)

    def survey(self, energy_edges: Array, weeks: float) -> Array:
        """At pixel centres."""
        return survey_exposure(self.nside, self.region.pixels, energy_edges, weeks=weeks)

    def smooth(self, maps: Array, psf: RadialPSF) -> Array:
        """See :func:`gcesbi.physics.smoothing.smooth`."""
        return smooth(maps, self.region, psf)

    @property
    def _step(self) -> int:
        return max(1, 256 // self.nside)

    def outlines(self, places: Places) -> Array:
        """More points for larger pixels."""
        corners = hp.boundaries(self.nside, self.region.pixels[places], step=self._step, nest=True)
        return np.swapaxes(corners, 1, 2)

    @property
    def gap(self) -> float:
        """A little more than a side over its steps."""
        return float(1.3 * hp.nside2resol(self.nside) / self._step)

    def at(self, vectors: Array) -> Places:
        """See :class:`Patch`."""
        return self.region.index[hp.vec2pix(self.nside, *vectors.T, nest=True)].astype(np.int64)


def _pixels(nside: int, radius: float, centre: tuple[float, float]) -> Places:
    """NESTED pixels of a disc."""
    return np.flatnonzero(in_disc(nside, radius, centre=centre))


@lru_cache(maxsize=64)
def _drawn(template: Template, nside: int, radius: float, centre: tuple[float, float], places: bytes | None) -> Array:
    """A template's map on a disc, or at places of it: the variations of a sky share most of them."""
    pixels = _pixels(nside, radius, centre)
    return template.map(nside, pixels if places is None else pixels[np.frombuffer(places, np.int64)])


class ImagePatch(Patch):
    """An image with as many pixels more on every side as the PSF reaches."""

    nside = 0

    def __init__(self, geometry: ImageGeometry, reach: float) -> None:
        margin = int(np.ceil(reach / geometry.pixel_size)) + 1
        self.image, self.geometry = geometry, geometry.padded(margin)
        self.grid = self.geometry.whole()
        columns, rows = self.geometry.origin
        n_row, n_column = self.geometry.shape
        self.frame = np.array([np.radians(geometry.pixel_size), columns, rows, n_column, n_row])
        at = np.arange(self.geometry.n_pix)
        self.where = np.stack([np.zeros_like(at), at % n_column, at // n_column], axis=1)
        self.disc = self._padded(np.arange(geometry.n_pix))

    def _padded(self, pixels: Places) -> Places:
        """Places of the image's pixels by number."""
        right, low = np.subtract(self.geometry.origin, self.image.origin).round().astype(int)
        row, column = np.divmod(pixels, self.image.shape[1])
        return (row + low) * self.geometry.shape[1] + column + right

    def places(self, region: Grid) -> Places:
        """See :class:`Patch`."""
        if not isinstance(region, ImageRegion):
            raise InputError(f"observation: must be an image, is on {region}")
        if region.geometry != self.image:
            raise InputError(f"region: must be an image of the model's own geometry {self.image}, is {region.geometry}")
        return self._padded(region.pixels)

    def landing(self, region: Grid) -> NDArray[np.int32]:
        """See :class:`Patch`."""
        found = np.full(len(self), -1, dtype=np.int32)
        found[self.places(region)] = np.arange(region.n_pix, dtype=np.int32)
        return found

    @cached_property
    def _fine(self) -> tuple[int, Places, Places]:
        """Resolution, numbers and places of HEALPix pixels finer than the image's."""
        nside = 2 ** int(np.ceil(np.log2(np.degrees(np.sqrt(np.pi / 3)) / (self.geometry.pixel_size / _FINER))))
        centre = self.geometry.to_galactic(0.0, 0.0)
        glon, glat = self.grid.glon_glat()
        points = hp.ang2vec(glon, glat, lonlat=True)
        middle = hp.ang2vec(float(centre[0]), float(centre[1]), lonlat=True)
        radius = np.arccos(np.clip((points @ middle).min(), -1, 1)) + np.radians(self.geometry.pixel_size)
        pixels = hp.query_disc(nside, middle, min(radius, np.pi), inclusive=False, nest=True)
        at = self.geometry.index(*hp.pix2ang(nside, pixels, nest=True, lonlat=True))
        return nside, pixels[at >= 0], at[at >= 0]

    def draw(self, template: Template, places: Places | None = None) -> Array:
        """Means over finer HEALPix pixels, times the solid angle."""
        nside, pixels, at = self._fine
        if places is not None:
            kept = np.isin(at, places)
            pixels, at = pixels[kept], at[kept]
        order = np.argsort(pixels)
        values = np.empty(len(pixels))
        values[order] = template.map(nside, pixels[order])
        number = np.bincount(at, minlength=len(self))
        mean = np.bincount(at, values, len(self)) / np.maximum(number, 1)
        light = mean * self.geometry.solid_angle / self.geometry.solid_angle.max()
        return light if places is None else light[places]

    def read(self, statement: Map, energy_edges: Array) -> Array:
        """Arrays of the image's own shape, or what is looked up on a grid of points within every pixel."""
        values = _array(statement)
        if values is not None and (statement.order is None or values.shape[-2:] == self.image.shape):
            if values.ndim not in (2, 3) or values.shape[-2:] != self.image.shape:
                raise InputError(f"map: must have the image's shape {self.image.shape}, got {values.shape[-2:]}")
            values = in_rows(values.reshape(-1, self.image.n_pix), statement.bins)
            if statement.quantity == "exposure":
                return self.extend(values, self.disc)
            found = np.zeros((len(values), len(self)))
            found[:, self.disc] = values
            if statement.quantity == "counts":
                return found
        elif _is_map_cube(statement):
            cube = read_intensity_cube(str(statement.file))
            found = cube.intensity(self.geometry, energy_edges)
            known = cube.covers(*self.grid.glon_glat())
            found = np.where(known, found.reshape(len(found), -1), np.nan)
        else:
            fine = self.geometry.refined(_FINER)
            looked = _light(statement, energy_edges).at(*fine.glon_glat())
            rows, columns = self.geometry.shape
            found = looked.reshape(-1, rows, _FINER, columns, _FINER).mean(axis=(2, 4)).reshape(len(looked), -1)
            if statement.quantity == "exposure":
                return found
        return found * self.geometry.solid_angle / self.geometry.solid_angle.max()

    def survey(self, energy_edges: Array, weeks: float) -> Array:
        """At the pixels' middles."""
        return np.tile(survey_exposure_at(*self.grid.glon_glat(), weeks=weeks), (len(energy_edges) - 1, 1))

    def smooth(self, maps: Array, psf: RadialPSF) -> Array:
        """See :func:`gcesbi.physics.image_smoothing.smooth_image`."""
        return smooth_image(maps, self.geometry, psf)

    def outlines(self, places: Places) -> Array:
        """Corners and the middles of sides."""
        half = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]) / 2
        lon = self.geometry.native_lon[self.where[places, 1]][:, None] + half[:, 0] * self.geometry.pixel_size
        lat = self.geometry.native_lat[self.where[places, 2]][:, None] + half[:, 1] * self.geometry.pixel_size
        points = hp.ang2vec(lon.ravel(), np.clip(lat.ravel(), -90, 90), lonlat=True)
        return np.asarray(points).reshape(len(places), -1, 3)

    @property
    def gap(self) -> float:
        """Half a side."""
        return float(np.radians(self.geometry.pixel_size) / 2)

    def at(self, vectors: Array) -> Places:
        """See :class:`Patch`."""
        return self.geometry.index(*hp.vec2ang(vectors, lonlat=True))
