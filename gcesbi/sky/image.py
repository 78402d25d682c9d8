"""Images: a rectangle of equal steps in longitude and latitude, and the pixels of it that are analysed.

The plate carrée projection of FITS (``GLON-CAR``, ``GLAT-CAR``; Calabretta & Greisen 2002, astro-ph/0207413): a pixel
(x, y) has native longitude -(x - x₀) Δ and native latitude (y - y₀) Δ, longitude rising to the left. The native sphere
is the Galactic one, turned so that its origin lies at the reference point. A pixel covers the solid angle

    Ω = Δ [sin(θ + Δ/2) - sin(θ - Δ/2)],

θ the native latitude of its centre.

:class:`ImageGeometry` is the rectangle, :class:`ImageRegion` the image's counterpart of
:class:`gcesbi.sky.region.Region`, :class:`ImageObservation` that of :class:`gcesbi.sky.observation.Observation`. Arrays
are (n_energy, n_pix) as everywhere, over the region's pixels row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.observation import check_counts, check_exposure

__all__ = ["ImageGeometry", "ImageObservation", "ImageRegion", "ImageSet", "RadialPSF", "angular_distance"]

Array = NDArray[np.float64]


class RadialPSF(Protocol):
    """A point-spread function that depends on the angle from the source alone."""

    @property
    def theta_max(self) -> float:
        """Angle beyond which there is no light, degrees."""
        ...

    def __hash__(self) -> int: ...

    def density(self, theta: ArrayLike) -> Array:
        """Light per solid angle (...), 1/sr, at `theta` (...), degrees."""
        ...

    def containment_radius(self, level: ArrayLike) -> Array:
        """Angle (...), degrees, within which the share `level` (...) of the light lies."""
        ...


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
    def _origin(self) -> tuple[float, float]:
        return self.reference_pixel or (0.0, 0.0)

    @property
    def native_lon(self) -> Array:
        """Native longitude of the columns' middles (n_lon,), degrees."""
        return -(np.arange(self.shape[1], dtype=np.float64) - self._origin[0]) * self.pixel_size

    @property
    def native_lat(self) -> Array:
        """Native latitude of the rows' middles (n_lat,), degrees."""
        return (np.arange(self.shape[0], dtype=np.float64) - self._origin[1]) * self.pixel_size

    @cached_property
    def row_solid_angle(self) -> Array:
        """Solid angle of a pixel in each row (n_lat,), sr."""
        half = np.radians(self.pixel_size) / 2
        return 4 * half * np.cos(np.radians(self.native_lat)) * np.sin(half)

    @cached_property
    def solid_angle(self) -> Array:
        """Solid angle of every pixel (n_pix,), sr."""
        return np.repeat(self.row_solid_angle, self.shape[1])

    def glon_glat(self) -> tuple[Array, Array]:
        """Galactic longitude in (-180, 180] and latitude of the pixels' middles, degrees, each (n_pix,)."""
        lat, lon = np.meshgrid(self.native_lat, self.native_lon, indexing="ij")
        return self.to_galactic(lon.ravel(), lat.ravel())

    def to_galactic(self, native_lon: ArrayLike, native_lat: ArrayLike) -> tuple[Array, Array]:
        """Galactic longitude in (-180, 180] and latitude (...) of native coordinates (...), all in degrees."""
        if self.reference[1] == 0:
            glon, glat = np.asarray(native_lon, dtype=np.float64), np.asarray(native_lat, dtype=np.float64)
        else:
            glon, glat = _tilt(native_lon, native_lat, self.reference[1])
        return 180 - np.mod(180 - glon - self.reference[0], 360), glat

    def to_native(self, glon: ArrayLike, glat: ArrayLike) -> tuple[Array, Array]:
        """Native longitude in (-180, 180] and latitude (...) of Galactic coordinates (...), all in degrees."""
        lon, lat = np.asarray(glon, dtype=np.float64) - self.reference[0], np.asarray(glat, dtype=np.float64)
        if self.reference[1] != 0:
            lon, lat = _tilt(lon, lat, -self.reference[1])
        return 180 - np.mod(180 - lon, 360), lat

    def to_pixel(self, glon: ArrayLike, glat: ArrayLike) -> tuple[Array, Array]:
        """Column x and row y (...), counted from 0 at the middle of the first pixel, of directions (...), degrees."""
        lon, lat = self.to_native(glon, glat)
        return self._origin[0] - lon / self.pixel_size, self._origin[1] + lat / self.pixel_size

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
        return replace(self, shape=shape, reference_pixel=(self._origin[0] + side, self._origin[1] + low))

    def refined(self, factor: int) -> ImageGeometry:
        """The same rectangle with every pixel divided into factor × factor."""
        if factor < 1:
            raise InputError(f"factor: must be at least 1, got {factor}")
        x, y = ((place + 0.5) * factor - 0.5 for place in self._origin)
        shape = (self.shape[0] * factor, self.shape[1] * factor)
        return replace(self, shape=shape, pixel_size=self.pixel_size / factor, reference_pixel=(x, y))

    def whole(self) -> ImageRegion:
        """All pixels."""
        return ImageRegion(self, np.arange(self.n_pix))

    def disc(
        self,
        radius: float,
        centre: tuple[float, float] = (0.0, 0.0),
        min_latitude: float = 0.0,
        mask: ArrayLike | None = None,
    ) -> ImageRegion:
        """Pixels whose middles lie within `radius` of `centre` and at |b| > `min_latitude`, degrees, and not masked.

        Parameters
        ----------
        mask : array (n_lat, n_lon), optional
            True where a pixel is masked.

        Raises
        ------
        InputError
            If the radius is not above 0, the mask has another shape, or no pixel is left.
        """
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


def _tilt(lon: ArrayLike, lat: ArrayLike, angle: float) -> tuple[Array, Array]:
    """Longitude and latitude after a turn that lifts the direction (0, 0) to latitude `angle`; degrees."""
    phi, theta, tilt = np.radians(lon), np.radians(lat), np.radians(angle)
    x, y, z = np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)
    ahead, up = np.cos(tilt) * x - np.sin(tilt) * z, np.sin(tilt) * x + np.cos(tilt) * z
    return np.degrees(np.arctan2(y, ahead)), np.degrees(np.arcsin(np.clip(up, -1, 1)))


@dataclass(frozen=True, eq=False)
class ImageRegion:
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
        pixels = np.asarray(self.pixels, dtype=np.int64)
        if pixels.ndim != 1 or pixels.size == 0:
            raise InputError(f"region: must hold at least one pixel, got shape {pixels.shape}")
        if np.any(np.diff(pixels) <= 0):
            raise InputError("region: pixels must be ascending and distinct")
        if pixels[0] < 0 or pixels[-1] >= self.geometry.n_pix:
            raise InputError(f"region: pixels must lie in [0, {self.geometry.n_pix}), got {pixels[[0, -1]]}")
        pixels.setflags(write=False)
        object.__setattr__(self, "pixels", pixels)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageRegion):
            return NotImplemented
        return self.geometry == other.geometry and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash((self.geometry, self.pixels.tobytes()))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return len(self.pixels)

    @property
    def solid_angles(self) -> Array:
        """Solid angle of every pixel (n_pix,), sr."""
        return self.geometry.solid_angle[self.pixels]

    @property
    def solid_angle(self) -> float:
        """Solid angle of all pixels together, sr."""
        return float(self.solid_angles.sum())

    def glon_glat(self) -> tuple[Array, Array]:
        """Galactic longitude and latitude of the pixels' middles, degrees, each (n_pix,)."""
        glon, glat = self.geometry.glon_glat()
        return glon[self.pixels], glat[self.pixels]

    def places(self, part: ImageRegion) -> NDArray[np.int64]:
        """Positions (n,), among this region's pixels, of those of another region.

        Raises
        ------
        InputError
            If the other region has another geometry, or pixels that this one lacks.
        """
        if part.geometry != self.geometry:
            raise InputError(f"region: must have the geometry {self.geometry}, got {part.geometry}")
        strange = np.setdiff1d(part.pixels, self.pixels)
        if strange.size:
            raise InputError(f"region: must be part of the region known here, has {strange.size} pixels outside it")
        return np.searchsorted(self.pixels, part.pixels)

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


@dataclass(frozen=True, eq=False)
class ImageObservation:
    """A counts image that posteriors are conditioned on: events of one type.

    Parameters
    ----------
    counts : array (n_energy, n_pix), photons
    exposure : array (n_energy, n_pix), cm² s
    energy_edges : array (n_energy + 1,), GeV
    region : ImageRegion
    psf : tuple of RadialPSF
        One for each energy bin.
    event_type : str
        Such as "PSF3" or "FRONT".

    Raises
    ------
    InputError
        If counts are negative, fractional or NaN, exposure is not above zero, edges do not increase, or shapes
        disagree.
    """

    counts: NDArray[np.int64]
    exposure: Array
    energy_edges: Array
    region: ImageRegion
    psf: tuple[RadialPSF, ...]
    event_type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", check_counts(self.counts))
        object.__setattr__(self, "exposure", check_exposure(self.exposure))
        object.__setattr__(self, "energy_edges", check_energy_edges(self.energy_edges))
        shape = (self.n_energy, self.region.n_pix)
        for name in ("counts", "exposure"):
            got = getattr(self, name).shape
            if got != shape:
                raise InputError(f"{name}: must have shape (n_energy, n_pix) = {shape}, got {got}")
        if len(self.psf) != self.n_energy:
            raise InputError(f"psf: needs one for each of {self.n_energy} energy bins, got {len(self.psf)}")

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return len(self.energy_edges) - 1

    def cut(self, region: ImageRegion) -> ImageObservation:
        """The same observation in fewer pixels.

        Raises
        ------
        InputError
            If the region has another geometry, or pixels that were not observed.
        """
        at = self.region.places(region)
        return replace(self, counts=self.counts[:, at], exposure=self.exposure[:, at], region=region)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one region in the same energy bins, seen in events of several types, to be analysed together.

    Parameters
    ----------
    parts : tuple of ImageObservation
        With their own exposure and point-spread functions.

    Raises
    ------
    InputError
        If there is none, or regions or energy bins differ.
    """

    parts: tuple[ImageObservation, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("parts: must hold at least one observation, got none")
        first = self.parts[0]
        for part in self.parts[1:]:
            if part.region != first.region:
                raise InputError(f"parts: {part.event_type!r} must have the region of {first.event_type!r}")
            if not np.array_equal(part.energy_edges, first.energy_edges):
                raise InputError(f"parts: {part.event_type!r} must have the energy bins of {first.event_type!r}")

    @property
    def region(self) -> ImageRegion:
        """Region of every part."""
        return self.parts[0].region

    @property
    def energy_edges(self) -> Array:
        """Edges of the energy bins (n_energy + 1,), GeV."""
        return self.parts[0].energy_edges

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return self.parts[0].n_energy

    def cut(self, region: ImageRegion) -> ImageSet:
        """The same images in fewer pixels; raises as :meth:`ImageObservation.cut`."""
        return ImageSet(tuple(part.cut(region) for part in self.parts))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Counts (n_energy, n_part n_pix): the pixels of one part after those of another."""
        return np.concatenate([part.counts for part in self.parts], axis=1)

    @cached_property
    def exposure(self) -> Array:
        """Exposure (n_energy, n_part n_pix), cm² s."""
        return np.concatenate([part.exposure for part in self.parts], axis=1)
