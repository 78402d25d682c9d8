"""Images of FITS files, in plate carrée projection, Galactic or equatorial: exposure, intensities, template maps.

An image is turned until longitude rises to the left and latitude upwards, whatever the signs of CDELT1 and CDELT2.
Rows whose middles lie on a pole are left out: they are no pixels of the sphere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from gcesbi.errors import InputError
from gcesbi.io.reading import check_number
from gcesbi.sky.image import ImageGeometry

__all__ = ["SkyImage", "image_of", "upright"]

Array = NDArray[np.float64]
_Number = TypeVar("_Number", bound=np.generic)

_AXES = {("GLON", "GLAT"): "G", ("RA", "DEC"): "C"}


@dataclass(frozen=True, eq=False)
class SkyImage:
    """Images on one grid of longitude and latitude.

    Parameters
    ----------
    values : array (n_map, n_lat, n_lon)
    geometry : ImageGeometry
        In its own frame.
    frame : "G" | "C"
        Galactic or equatorial.
    """

    values: Array
    geometry: ImageGeometry
    frame: str = "G"

    def at(self, glon: ArrayLike, glat: ArrayLike) -> Array:
        """Values (n_map, n) at Galactic directions (n,), degrees: linear between pixels, NaN beyond the edge."""
        lon, lat = np.asarray(glon, dtype=np.float64), np.asarray(glat, dtype=np.float64)
        if self.frame != "G" and lon.size:
            lon, lat = hp.Rotator(coord=["G", self.frame])(lon, lat, lonlat=True)
        n_lat, n_lon = self.geometry.shape
        turn = 360 / self.geometry.pixel_size
        x, y = self.geometry.to_pixel(lon, lat)
        x = np.mod(x + 0.5, turn) - 0.5
        around = n_lon > turn - 0.5
        values = np.concatenate([self.values[..., -1:], self.values, self.values[..., :1]], axis=-1)
        edge = 1e-6
        inside = around | (x < n_lon - 0.5 + edge)
        if n_lat * self.geometry.pixel_size < 180 - 2.5 * self.geometry.pixel_size:
            inside &= (y > -0.5 - edge) & (y < n_lat - 0.5 + edge)
        x = x if around else np.clip(x, 0, n_lon - 1)
        sampled = [map_coordinates(each, (y, x + 1), order=1, mode="nearest") for each in values]
        return np.where(inside, np.reshape(sampled, (len(self.values), *np.shape(x))), np.nan)


def upright(image: NDArray[_Number], header: fits.Header) -> tuple[NDArray[_Number], fits.Header]:
    """An image (..., n_lat, n_lon) and its header with longitude rising to the left and latitude upwards."""
    header = header.copy()
    for axis, sign in (1, -1), (2, 1):
        if float(header.get(f"CDELT{axis}", sign)) * sign < 0:
            image = np.flip(image, axis=-axis)
            header[f"CDELT{axis}"] = -float(header[f"CDELT{axis}"])
            header[f"CRPIX{axis}"] = np.shape(image)[-axis] + 1 - float(header[f"CRPIX{axis}"])
    return image, header


def image_of(hdu: fits.PrimaryHDU | fits.ImageHDU) -> SkyImage:
    """The images of a table of images, with one axis of energies or none.

    Raises
    ------
    InputError
        If they have another number of axes, another projection or frame, or pixels that are not square.
    """
    shape: tuple[int, ...] = () if hdu.data is None else hdu.data.shape
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(f"image {hdu.name}: must have axes (energy, latitude, longitude), got shape {shape}")
    check_number(int(np.prod(shape, dtype=np.float64)), f"image {hdu.name}")
    data, header = upright(np.asarray(hdu.data, dtype=np.float64).reshape(-1, *shape[-2:]), hdu.header)
    kinds = tuple(str(header.get(f"CTYPE{axis}", "")).strip().upper() for axis in (1, 2))
    names = tuple(kind.split("-")[0] for kind in kinds)
    if names not in _AXES or not all(kind.endswith("-CAR") for kind in kinds):
        raise InputError(
            f"CTYPE1, CTYPE2: must be GLON-CAR and GLAT-CAR, or RA---CAR and DEC--CAR, got {kinds[0]!r}, {kinds[1]!r}"
        )
    header["CTYPE1"], header["CTYPE2"] = "GLON-CAR", "GLAT-CAR"
    rows = _off_the_poles(header, shape[-2])
    header["NAXIS2"], header["CRPIX2"] = rows.stop - rows.start, float(header["CRPIX2"]) - rows.start
    return SkyImage(data[:, rows], ImageGeometry.from_header(header), _AXES[names])


def _off_the_poles(header: fits.Header, n_lat: int) -> slice:
    """Rows whose pixels lie on the sphere, where the outermost ones have their middles on a pole."""
    step, at_equator = float(header["CDELT2"]), abs(float(header["CRVAL2"])) < 1e-9
    latitude = (np.arange(n_lat) + 1 - float(header["CRPIX2"])) * step
    polar = at_equator & (np.abs(np.abs(latitude) - 90) < 1e-6 * abs(step))
    return slice(int(polar[0]), n_lat - int(polar[-1]))
