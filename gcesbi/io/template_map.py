"""Maps of emission, of any kind that people have, brought to HEALPix pixels over the whole sky.

FITS tables of HEALPix pixels are read by healpy. Images with GLON/GLAT-CAR axes give every pixel's light to the HEALPix
pixels it covers, a pixel's share being that of an even grid of points within it; beyond the image there is no light.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Literal

import healpy as hp
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.data import located
from gcesbi.io.healpix_table import map_nside, nested_pixels
from gcesbi.io.reading import load_array
from gcesbi.io.skymaps import degrade
from gcesbi.io.tables import axis_table, opened

__all__ = ["healpix_shape", "image_header", "is_map_cube", "nested", "read_template_map", "sample_map"]

Array = NDArray[np.float64]


def read_template_map(
    file: str | os.PathLike[str], nside: int, order: str | None = None, how: Literal["sum", "mean"] = "mean"
) -> Array:
    """Read a map or cube over the whole sky: (n, 12 nside²), NESTED, Galactic; n is 1 for a map.

    Parameters
    ----------
    file : path
        ``.npy``, or FITS: a HEALPix table, or an image in GLON/GLAT-CAR.
    nside : int
        Wanted; a finer map is brought to it.
    order : "ring" | "nested"
        Of the pixels of a ``.npy`` file.
    how : "sum" | "mean"
        Of fine pixels: counts are summed, intensities averaged.

    Raises
    ------
    InputError
        If the file is missing, of another kind, coarser than `nside`, equatorial, or a value is negative or not finite.
    """
    path = located(file, "file")
    if path.suffix == ".npy":
        values = nested(np.atleast_2d(load_array(path).astype(np.float64)), order, str(path))
    else:
        found = _image_of(path)
        values = _healpix(path) if found is None else _deposited(path, *found, nside)
    if not np.isfinite(values).all() or np.any(values < 0):
        raise InputError(f"{path}: must be finite and not negative")
    have = map_nside(values.shape[-1], str(path))
    if have < nside:
        raise InputError(f"{path}: nside must be at least the model's {nside}, is {have}")
    return degrade(values, nside, how)


def healpix_shape(file: str | os.PathLike[str]) -> tuple[int, int] | None:
    """How many maps a file over the whole sky holds, and their nside; None if it holds images.

    Raises
    ------
    InputError
        As :func:`read_template_map`.
    """
    path = located(file, "file")
    if path.suffix == ".npy":
        values = np.atleast_2d(load_array(path))
    elif _image_of(path) is None:
        values = _healpix(path)
    else:
        return None
    return len(values), map_nside(values.shape[-1], str(path))


def nested(values: NDArray, order: str | None, where: str) -> NDArray:
    """Full-sky maps (..., 12 n²) of a stated order, "ring" or "nested", brought to NESTED.

    Raises
    ------
    InputError
        If the order is not stated, or the size is no HEALPix size.
    """
    nside = map_nside(values.shape[-1], where)
    if order not in ("ring", "nested"):
        raise InputError(f"{where}: order must be stated, 'ring' or 'nested', got {order!r}")
    return values if order == "nested" else values[..., nested_pixels(nside, "RING")]


def _healpix(path: Path) -> Array:
    try:
        values, header = hp.read_map(path, field=None, nest=True, dtype=np.float64, h=True)
    except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"{path}: holds no HEALPix map ({str(error).splitlines()[0]})") from None
    told = {key.upper(): value for key, value in header}
    if str(told.get("COORDSYS", "G")).strip().upper()[:1] not in ("G",):
        raise InputError(f"{path}: must be in Galactic coordinates, COORDSYS is {told['COORDSYS']!r}")
    values = np.atleast_2d(values)
    return np.where(values == hp.UNSEEN, 0.0, values)


def _image_of(path: Path) -> tuple[fits.Header, Array] | None:
    """Header and cube (n, n_lat, n_lon) of the first image of a FITS file; None where there is none."""
    if path.suffix == ".npy":
        return None
    with opened(path) as hdus:
        image = next((h for h in hdus if h.is_image and h.data is not None and h.header.get("NAXIS", 0) >= 2), None)
        if image is None:
            return None
        data = np.asarray(image.data)
        return image.header, np.nan_to_num(data.reshape(-1, *data.shape[-2:]).astype(np.float64), nan=0.0)


def _wcs(path: Path, header: fits.Header) -> WCS:
    axes = [str(header.get(f"CTYPE{i}", "")) for i in (1, 2)]
    if not (axes[0].startswith("GLON") and axes[1].startswith("GLAT")):
        raise InputError(f"{path}: must have axes GLON and GLAT, has {axes}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header).celestial


def _deposited(path: Path, header: fits.Header, cube: Array, nside: int) -> Array:
    wcs = _wcs(path, header)
    rows, columns = cube.shape[-2:]
    step = float(np.abs(wcs.wcs.cdelt).max())
    n = max(2, int(np.ceil(8 * step / np.degrees(hp.nside2resol(nside)))))
    offset = (np.arange(n) + 0.5) / n - 0.5
    y, x = (np.arange(m)[:, None] + offset for m in (rows, columns))
    glon, glat = wcs.all_pix2world(*np.meshgrid(x.ravel(), y.ravel()), 0)
    pixel = hp.ang2pix(nside, glon, glat, nest=True, lonlat=True)
    area = np.cos(np.radians(glat)) * np.radians(step / n) ** 2
    fine = np.repeat(np.repeat(cube, n, axis=-2), n, axis=-1)
    full = [np.bincount(pixel.ravel(), (each * area).ravel(), hp.nside2npix(nside)) for each in fine]
    return np.stack(full) / hp.nside2pixarea(nside)


def image_header(file: str | os.PathLike[str]) -> fits.Header:
    """Header of the first image of a FITS file.

    Raises
    ------
    InputError
        If there is no such file or image.
    """
    path = located(file, "header")
    with opened(path) as hdus:
        for hdu in hdus:
            if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2:
                return hdu.header
    raise InputError(f"{path}: holds no image")


def is_map_cube(file: str | os.PathLike[str]) -> bool:
    """Whether a file is a cube of intensities at energies (``ENERGIES``), as diffuse models come: a MapCube."""
    path = Path(file)
    if path.suffix == ".npy" or not path.is_file():
        return False
    with opened(path) as hdus:
        return hdus[0].header.get("NAXIS", 0) == 3 and len(hdus) > 1 and axis_table(hdus)[1] is not None


def sample_map(file: str | os.PathLike[str], glon: Array, glat: Array, order: str | None = None) -> Array:
    """Values (n, n_direction) of a map or cube in some directions, degrees: those of the pixels that hold them.

    Beyond an image there is no light. Raises InputError as :func:`read_template_map`.
    """
    path = located(file, "file")
    found = _image_of(path)
    if found is None:
        values = nested(np.atleast_2d(load_array(path)), order, str(path)) if path.suffix == ".npy" else _healpix(path)
        looked = values[:, hp.ang2pix(map_nside(values.shape[-1], str(path)), glon, glat, nest=True, lonlat=True)]
    else:
        header, cube = found
        x, y = _wcs(path, header).all_world2pix(glon, glat, 0)
        x += np.where(x < -0.5, 1, 0) * abs(360 / header["CDELT1"])
        column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
        lit = (column >= 0) & (column < cube.shape[2]) & (row >= 0) & (row < cube.shape[1])
        looked = np.where(lit, cube[:, np.where(lit, row, 0), np.where(lit, column, 0)], 0.0)
    if not np.isfinite(looked).all() or np.any(looked < 0):
        raise InputError(f"{path}: must be finite and not negative")
    return np.asarray(looked, dtype=np.float64)
