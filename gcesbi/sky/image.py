"""Images: a rectangle of equal steps in longitude and latitude, and the pixels of it that are analysed.

The plate carrée projection of FITS (``GLON-CAR``, ``GLAT-CAR``; Calabretta & Greisen 2002, astro-ph/0207413), computed
by :mod:`astropy.wcs`: a pixel (x, y) has native longitude -(x - x₀) Δ and native latitude (y - y₀) Δ, longitude rising
to the left. The native sphere is the Galactic one, turned so that its origin lies at the reference point. A pixel
covers the solid angle

    Ω = Δ [sin(θ + Δ/2) - sin(θ - Δ/2)],

θ the native latitude of its centre.

:class:`ImageGeometry` is the rectangle, :class:`ImageRegion` the image's counterpart of
:class:`gcesbi.sky.region.Region`. Arrays are (n_energy, n_pix) as everywhere, over the region's pixels row by row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.sky.grid import Grid
from gcesbi.sky.quantity import Direction, Scalar, direction, number_in

__all__ = ["ImageGeometry", "ImageRegion", "angular_distance"]

Array = NDArray[np.float64]


def angular_distance(glon: ArrayLike, glat: ArrayLike, centre: tuple[float, float]) -> Array:
    """Angle between directions (...), degrees, and `centre` (glon, glat), degrees."""
    lon, lat = np.radians(np.asarray(glon) - centre[0]), np.radians(glat)
    lat0 = np.radians(centre[1])
    chord2 = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin(lon / 2) ** 2
    return np.asarray(2 * np.degrees(np.arcsin(np.sqrt(np.clip(chord2, 0, 1)))))


@dataclass(frozen=True)
class ImageGeometry:
    """Square pixels in plate carrée projection, in Galactic coordinates.

    Parameters
    ----------
    shape : (n_lat, n_lon)
        Rows, upwards in latitude, and columns, from high to low longitude.
    pixel_size : float, deg
    reference : (glon, glat), deg
        Where the projection has its origin (FITS' CRVAL).
    reference_pixel : (x, y), optional
        Column and row of the origin, counted from 0 at the middle of the first pixel (FITS' CRPIX - 1); the middle of
        the image by default.

    Raises
    ------
    InputError
        If a number of pixels or the pixel size is not above 0, or the image reaches beyond the sphere.

    Examples
    --------
    >>> geometry = ImageGeometry((120, 120), 0.25)
    >>> [round(float(x[0]), 3) for x in geometry.glon_glat()]
    [14.875, -14.875]
    """

    shape: tuple[int, int]
    pixel_size: float
    reference: tuple[float, float] = (0.0, 0.0)
    reference_pixel: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in self.shape):
            raise InputError(f"shape: must be two whole numbers above 0, (n_lat, n_lon), got {self.shape}")
        if not (np.isfinite(self.pixel_size) and self.pixel_size > 0):
            raise InputError(f"pixel_size: must be above 0 degrees, got {self.pixel_size}")
        if not np.isfinite(self.reference).all() or not abs(self.reference[1]) < 90:
            raise InputError(f"reference: must be finite, with |glat| < 90 degrees, got {self.reference}")
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        if self.reference_pixel is None:
            object.__setattr__(self, "reference_pixel", ((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2))
        if not np.isfinite(self.origin).all():
            raise InputError(f"reference_pixel: must be two finite numbers, got {self.reference_pixel}")
        reach = np.abs(self.native_lat).max() + self.pixel_size / 2
        if reach > 90 + 1e-9 or self.shape[1] * self.pixel_size > 360 + 1e-9:
            raise InputError(
                f"shape: must stay within |latitude| <= 90 and 360 degrees of longitude, reaches {reach:.6g} and "
                f"{self.shape[1] * self.pixel_size:.6g}"
            )

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def origin(self) -> tuple[float, float]:
        """Column and row of the reference point, counted from 0 at the middle of the first pixel."""
        return self.reference_pixel or (0.0, 0.0)

    @property
    def native_lon(self) -> Array:
        """Native longitude of the columns' middles (n_lon,), degrees."""
        return -(np.arange(self.shape[1], dtype=np.float64) - self.origin[0]) * self.pixel_size

    @property
    def native_lat(self) -> Array:
        """Native latitude of the rows' middles (n_lat,), degrees."""
        return (np.arange(self.shape[0], dtype=np.float64) - self.origin[1]) * self.pixel_size

    @cached_property
    def row_solid_angle(self) -> Array:
        """Solid angle of a pixel in each row (n_lat,), sr."""
        half = np.radians(self.pixel_size) / 2
        return 4 * half * np.cos(np.radians(self.native_lat)) * np.sin(half)

    @cached_property
    def solid_angle(self) -> Array:
        """Solid angle of every pixel (n_pix,), sr."""
        return np.repeat(self.row_solid_angle, self.shape[1])

    @cached_property
    def wcs(self) -> WCS:
        """The projection."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cunit = ["GLON-CAR", "GLAT-CAR"], self.reference, ["deg", "deg"]
        wcs.wcs.cdelt, wcs.wcs.crpix = [-self.pixel_size, self.pixel_size], np.add(self.origin, 1)
        wcs.wcs.bounds_check(False, False)
        wcs.wcs.set()
        wcs.array_shape = self.shape
        return wcs

    @classmethod
    def from_header(cls, header: Header) -> ImageGeometry:
        """The geometry that a FITS header states.

        Raises
        ------
        InputError
            If the projection is another, rotated, or has pixels that are not square.
        """
        types = tuple(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2))
        if types != ("GLON-CAR", "GLAT-CAR"):
            raise InputError(f"CTYPE1, CTYPE2: must be GLON-CAR and GLAT-CAR, got {types[0]!r} and {types[1]!r}")
        if float(header.get("CROTA2", 0.0)) != 0:
            raise InputError(f"CROTA2: must be 0, got {header['CROTA2']}")
        step = float(header["CDELT2"])
        if not np.isclose(float(header["CDELT1"]), -step, rtol=1e-6):
            raise InputError(f"CDELT1, CDELT2: must be -size and size of square pixels, got {header['CDELT1']}, {step}")
        glon, glat = float(header["CRVAL1"]), float(header["CRVAL2"])
        return cls(
            shape=(int(header["NAXIS2"]), int(header["NAXIS1"])),
            pixel_size=step,
            reference=(glon if -180 < glon < 360 else glon % 360, 0.0 if abs(glat) < 1e-9 else glat),
            reference_pixel=(float(header["CRPIX1"]) - 1, float(header["CRPIX2"]) - 1),
        )

    def to_header(self) -> Header:
        """The geometry as cards of a FITS header."""
        header = self.wcs.to_header()
        for axis, sign in (1, -1), (2, 1):  # in full, where WCS rounds
            header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = self.reference[axis - 1], sign * self.pixel_size
            header[f"CRPIX{axis}"] = self.origin[axis - 1] + 1
        return header

    def glon_glat(self) -> tuple[Array, Array]:
        """Galactic longitude in (-180, 180] and latitude of the pixels' middles, degrees, each (n_pix,)."""
        lat, lon = np.meshgrid(self.native_lat, self.native_lon, indexing="ij")
        return self.to_galactic(lon.ravel(), lat.ravel())

    def to_galactic(self, native_lon: ArrayLike, native_lat: ArrayLike) -> tuple[Array, Array]:
        """Galactic longitude in (-180, 180] and latitude (...) of native coordinates (...), all in degrees."""
        x, y = self._to_steps(native_lon, native_lat)
        glon, glat = self.wcs.wcs_pix2world(x, y, 0)
        return 180 - np.mod(180 - glon, 360), glat

    def to_native(self, glon: ArrayLike, glat: ArrayLike) -> tuple[Array, Array]:
        """Native longitude in (-180, 180] and latitude (...) of Galactic coordinates (...), all in degrees."""
        x, y = self.to_pixel(glon, glat)
        return (self.origin[0] - x) * self.pixel_size, (y - self.origin[1]) * self.pixel_size

    def to_pixel(self, glon: ArrayLike, glat: ArrayLike) -> tuple[Array, Array]:
        """Column x and row y (...), counted from 0 at the middle of the first pixel, of directions (...), degrees."""
        x, y = self.wcs.wcs_world2pix(glon, glat, 0)
        return x, y

    def _to_steps(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Array, Array]:
        return self.origin[0] - np.asarray(lon) / self.pixel_size, self.origin[1] + np.asarray(lat) / self.pixel_size

    def index(self, glon: ArrayLike, glat: ArrayLike) -> NDArray[np.int64]:
        """Pixel, row by row, that holds each direction (...), degrees; -1 outside the image."""
        x, y = (np.floor(v + 0.5).astype(np.int64) for v in self.to_pixel(glon, glat))
        inside = (x >= 0) & (x < self.shape[1]) & (y >= 0) & (y < self.shape[0])
        return np.where(inside, y * self.shape[1] + x, -1)

    def padded(self, margin: int) -> ImageGeometry:
        """The same pixels with `margin` more on every side, fewer where the pole or the far side is met."""
        if margin < 0:
            raise InputError(f"margin: must not be negative, got {margin}")
        low = min(margin, int((90 + self.native_lat[0]) / self.pixel_size - 0.5 + 1e-9))
        high = min(margin, int((90 - self.native_lat[-1]) / self.pixel_size - 0.5 + 1e-9))
        side = min(margin, int((360 / self.pixel_size + 1e-9 - self.shape[1]) / 2))
        shape = (self.shape[0] + low + high, self.shape[1] + 2 * side)
        return replace(self, shape=shape, reference_pixel=(self.origin[0] + side, self.origin[1] + low))

    def refined(self, factor: int) -> ImageGeometry:
        """The same rectangle with every pixel divided into factor × factor."""
        if factor < 1:
            raise InputError(f"factor: must be at least 1, got {factor}")
        x, y = ((place + 0.5) * factor - 0.5 for place in self.origin)
        shape = (self.shape[0] * factor, self.shape[1] * factor)
        return replace(self, shape=shape, pixel_size=self.pixel_size / factor, reference_pixel=(x, y))

    def whole(self) -> ImageRegion:
        """All pixels."""
        return ImageRegion(self, np.arange(self.n_pix))

    def disc(
        self,
        radius: Scalar,
        centre: Direction = (0.0, 0.0),
        min_latitude: Scalar = 0.0,
        mask: ArrayLike | None = None,
    ) -> ImageRegion:
        """Pixels whose middles lie within `radius` of `centre` and at |b| > `min_latitude`, and are not masked.

        Parameters
        ----------
        radius, min_latitude : float, deg, or Quantity
        centre : (glon, glat), deg, or SkyCoord
        mask : array (n_lat, n_lon), optional
            True where a pixel is masked.

        Raises
        ------
        InputError
            If the radius is not above 0, the mask has another shape, or no pixel is left.
        """
        radius, min_latitude = number_in(radius, "deg", "radius"), number_in(min_latitude, "deg", "min_latitude")
        centre = direction(centre)
        if not radius > 0:
            raise InputError(f"radius: must be above 0 degrees, got {radius}")
        glon, glat = self.glon_glat()
        inside = angular_distance(glon, glat, centre) < radius
        if min_latitude > 0:
            inside &= np.abs(glat) > min_latitude
        if mask is not None:
            masked = np.asarray(mask)
            if masked.shape != self.shape:
                raise InputError(f"mask: must have the image's shape {self.shape}, got {masked.shape}")
            inside &= ~masked.astype(bool).ravel()
        if not inside.any():
            raise InputError(f"region: no pixel is left within {radius} deg, |b| > {min_latitude} deg, after masking")
        return ImageRegion(self, np.flatnonzero(inside))


@dataclass(frozen=True, eq=False, repr=False)
class ImageRegion(Grid):
    """Pixels of an image on which counts are analysed.

    Parameters
    ----------
    geometry : ImageGeometry
    pixels : array (n_pix,)
        Indices, row by row, ascending.

    Raises
    ------
    InputError
        If pixels are none, unsorted, repeated or outside the image.
    """

    geometry: ImageGeometry
    pixels: NDArray[np.int64]

    def __post_init__(self) -> None:
        self._keep(self.pixels, self.geometry.n_pix)

    @property
    def frame(self) -> ImageGeometry:
        """Geometry of the image."""
        return self.geometry

    @property
    def solid_angles(self) -> Array:
        """Solid angle of every pixel (n_pix,), sr."""
        return self.geometry.solid_angle[self.pixels]

    def glon_glat(self) -> tuple[Array, Array]:
        """Galactic longitude and latitude of the pixels' middles, degrees, each (n_pix,)."""
        glon, glat = self.geometry.glon_glat()
        return glon[self.pixels], glat[self.pixels]

    def holding(self, glon: ArrayLike, glat: ArrayLike) -> NDArray[np.int64]:
        """Place among the pixels of the one that holds each direction (...), degrees; -1 where none does."""
        pixel = self.geometry.index(glon, glat)
        place = np.minimum(np.searchsorted(self.pixels, pixel), self.n_pix - 1)
        return np.where(self.pixels[place] == pixel, place, -1)

    def outline(self, place: int, n_side: int) -> Array:
        """Unit vectors (4 n_side, 3) around the outline of one pixel."""
        row, column = divmod(int(self.pixels[place]), self.geometry.shape[1])
        step = np.arange(n_side) / n_side - 0.5
        low, high = np.full(n_side, -0.5), np.full(n_side, 0.5)
        lon = self.geometry.native_lon[column] + self.geometry.pixel_size * np.concatenate([step, high, -step, low])
        lat = self.geometry.native_lat[row] + self.geometry.pixel_size * np.concatenate([low, step, high, -step])
        glon, glat = np.radians(self.geometry.to_galactic(lon, np.clip(lat, -90, 90)))
        return np.stack([np.cos(glat) * np.cos(glon), np.cos(glat) * np.sin(glon), np.sin(glat)], axis=1)

    def cells(self, width: int) -> NDArray[np.int64]:
        """Number (n_pix,) of the square of width × width pixels that each pixel lies in."""
        row, column = np.divmod(self.pixels, self.geometry.shape[1])
        return row // width * self.geometry.shape[1] + column // width

    def describe(self) -> dict[str, Any]:
        """Geometry, and pixels as runs of consecutive ones."""
        return {"geometry": asdict(self.geometry), "runs": self._runs}

    def take(self, image: ArrayLike) -> NDArray:
        """Values (..., n_pix) in the region of an image (..., n_lat, n_lon)."""
        values = np.asarray(image)
        if values.shape[-2:] != self.geometry.shape:
            raise InputError(f"image: must end in shape {self.geometry.shape}, got {values.shape}")
        return values.reshape(*values.shape[:-2], -1)[..., self.pixels]

    def image(self, values: ArrayLike, fill: float = np.nan) -> Array:
        """Spread values (..., n_pix) over an image (..., n_lat, n_lon), `fill` outside the region."""
        values = np.asarray(values)
        if values.shape[-1] != self.n_pix:
            raise InputError(f"values: must end in n_pix = {self.n_pix}, got shape {values.shape}")
        full = np.full((*values.shape[:-1], self.geometry.n_pix), fill, dtype=np.float64)
        full[..., self.pixels] = values
        return full.reshape(*values.shape[:-1], *self.geometry.shape)
