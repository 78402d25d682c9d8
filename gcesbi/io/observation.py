"""Observations from files and to files: the NumPy folder layout, HEALPix FITS, and counts cubes on an image."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from astropy import units
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.data.fetching import located
from gcesbi.io.folder import read_folder, read_mask, write_folder
from gcesbi.io.healpix_fits import read_fits, write_fits
from gcesbi.io.image import holds_cube, read_cube, write_cube
from gcesbi.io.skymaps import check_mask
from gcesbi.sky.image import ImageRegion
from gcesbi.sky.observation import Observation

__all__ = ["read_observation", "write_observation"]

_FITS_ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz")


def read_observation(
    path: str | os.PathLike[str],
    radius: float | None = 25.0,
    band: float | None = 2.0,
    mask: str | ArrayLike | None = None,
    *,
    nside: int | None = None,
    energy_edges: ArrayLike | units.Quantity | None = None,
    exposure: str | os.PathLike[str] | None = None,
    seed: int = 0,
    centre: tuple[float, float] = (0.0, 0.0),
    energy_range: tuple[float, float] | None = None,
    index: float = 2.4,
    event_type: str = "",
) -> Observation:
    """Read counts and exposure about the Galactic Centre.

    Parameters
    ----------
    path : path
        A folder (:mod:`gcesbi.io.folder`), the name of one that can be fetched ("fermi-573w"; :mod:`gcesbi.io.data`),
        a HEALPix FITS file (:mod:`gcesbi.io.healpix_fits`), or a counts cube, an image for every energy bin
        (:mod:`gcesbi.io.image`); its header tells which.
    radius : float, deg, or None
        Pixels with centres within it of the Galactic Centre are kept; None keeps all.
    band : float, deg, or None
        Pixels with centres at |b| above it are kept; None keeps all.
    mask : str, array (12 nside²,) or None
        "3fgl" or "4fgl" for that mask of the folder, or a full-sky map in NESTED order, true where masked; of a counts
        cube, an image (n_lat, n_lon).
    nside : int, optional
        Bring the maps to this lower nside: counts are summed, exposure is averaged, and a coarse pixel is left out if
        any of its fine pixels is masked or not observed.
    energy_edges : array (n_energy + 1,), GeV, optional
        Energy bins, in place of the file's own; a folder without any has one bin, 2-20 GeV.
    exposure : path, optional
        FITS file with the exposure, where the FITS file `path` holds none; of a counts cube, a table of the
        point-spread function against energy (``gtpsf``), which holds the exposure at the centre.
    seed : int
        Places photons within their pixels when a FITS map in another frame is rotated to Galactic.
    centre : (glon, glat), deg
        Of the disc of `radius` that is kept of a counts cube.
    energy_range : (low, high), GeV, optional
        Energy bins within it are kept; all by default, of the folder in 40 bins those from 2 to 20 GeV.
    index : float
        Spectral index with which a table's exposure and point-spread function are averaged over a bin.
    event_type : str
        Name of a counts cube's events, such as "PSF3".

    Returns
    -------
    Observation
        On a :class:`gcesbi.Region`, or, of a counts cube, on an :class:`gcesbi.sky.ImageRegion`.

    Raises
    ------
    InputError
        If anything read breaks a rule; the message names file, argument, rule and value.
    """
    path = located(path)
    if path.is_dir():
        if exposure is not None:
            raise InputError(
                f"exposure: must be None for the folder {str(path)!r}, which has its own, got {exposure!r}"
            )
        maps = read_folder(path, energy_edges, energy_range)
    elif holds_cube(path):
        if nside is not None or energy_edges is not None or isinstance(mask, str):
            raise InputError(
                f"nside, energy_edges, mask: must be None, mask may be an array, for the image {str(path)!r}"
            )
        return read_cube(
            path,
            exposure,
            radius=radius,
            centre=centre,
            band=band,
            mask=mask,
            energy_range=energy_range,
            index=index,
            event_type=event_type,
        )
    else:
        maps = read_fits(path, exposure, energy_edges=energy_edges, seed=seed).within(energy_range)
    return maps.cut(radius, band, _mask(path, mask, energy_range), nside)


def write_observation(path: str | os.PathLike[str], observation: Observation, *, overwrite: bool = False) -> None:
    """Write an observation to a FITS file (`.fits`, `.fits.gz`), or in the folder layout if `path` has no ending.

    What is written with the region of `observation` is read back exactly with `radius=None, band=None`; point-spread
    functions come back as tables, at 1024 angles.

    Raises
    ------
    InputError
        If it exists and `overwrite` is false, the folder to hold it does not exist, or the ending is another.
    """
    name = Path(path).name.lower()
    if name.endswith(_FITS_ENDINGS):
        write = write_cube if isinstance(observation.region, ImageRegion) else write_fits
        write(path, observation, overwrite=overwrite)
    elif Path(path).is_dir() or not Path(path).suffix:
        write_folder(path, observation, overwrite=overwrite)
    else:
        raise InputError(f"path: must end in one of {_FITS_ENDINGS}, or have no ending for a folder, got {str(path)!r}")


def _mask(
    path: Path, mask: str | ArrayLike | None, energy_range: tuple[float, float] | None
) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    if not isinstance(mask, str):
        return check_mask(mask)
    if not path.is_dir():
        raise InputError(f"mask: must be None or an array for the FITS file {str(path)!r}, got {mask!r}")
    return read_mask(path, mask, energy_range)
