"""Observations from files and to files: NumPy maps and folders of them, HEALPix FITS, and counts cubes on an image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.arrays import FITS_ENDINGS, array_mask, read_exposure_maps, read_listing, read_whole_sky
from gcesbi.io.data.fetching import located
from gcesbi.io.exposure import ExposureMaps
from gcesbi.io.folder import read_folder, read_mask, write_folder
from gcesbi.io.healpix_fits import read_fits, write_fits
from gcesbi.io.image import holds_cube, holds_psf, read_cube, write_cube
from gcesbi.sky.image import ImageRegion
from gcesbi.sky.observation import Observation
from gcesbi.sky.quantity import Direction, Scalar, Values

__all__ = ["read_observation", "write_observation"]

Source = str | os.PathLike[str] | ArrayLike


def read_observation(
    path: Source,
    radius: Scalar | None = 25.0,
    band: Scalar | None = 2.0,
    mask: Source | None = None,
    *,
    nside: int | None = None,
    energy_edges: Values | None = None,
    exposure: Source | None = None,
    order: str | None = None,
    mask_order: str | None = None,
    frame: str | None = None,
    seed: int = 0,
    centre: Direction = (0.0, 0.0),
    energy_range: Values | None = None,
    index: float = 2.4,
    event_type: str = "",
) -> Observation:
    """Read counts and exposure about the Galactic Centre.

    Parameters
    ----------
    path : path or array
        A folder (:mod:`gcesbi.io.folder`), the name of one that can be fetched ("fermi-573w"; :mod:`gcesbi.io.data`),
        a HEALPix FITS file (:mod:`gcesbi.io.healpix_fits`), a counts cube, an image for every energy bin
        (:mod:`gcesbi.io.image`; the file's header tells which), a `.npy` file or array over the whole sky, or a TOML
        file that lists such files (:mod:`gcesbi.io.arrays`).
    radius : float, deg, Quantity, or None
        Pixels with centres within it of `centre` are kept; None keeps all.
    band : float, deg, Quantity, or None
        Pixels with centres at |b| above it are kept; None keeps all.
    mask : str, path, array (12 nside²,) or None
        "3fgl" or "4fgl" for that mask of the folder, or a full-sky map in a stated order (array, `.npy`, FITS), true
        where masked; of a counts cube, an image (n_lat, n_lon).
    nside : int, optional
        Bring the maps to this lower nside: counts are summed, exposure is averaged, and a coarse pixel is left out if
        any of its fine pixels is masked or not observed.
    energy_edges : array (n_energy + 1,), GeV, or Quantity, optional
        Energy bins, in place of the file's own; a folder without any has one bin, 2-20 GeV.
    exposure : path or array, optional
        Where `path` holds none: FITS maps (HEALPix or plate carrée: ``gtexpcube2``), a `.npy` file or an array over the
        whole sky; of a counts cube, also a table of the point-spread function against energy (``gtpsf``),
        which holds the exposure at the centre.
    order : "ring" or "nested", optional
        Order of arrays and `.npy` files over the whole sky, which must be stated; of a FITS file without ORDERING.
    mask_order : "ring" or "nested", optional
        Order of a mask over the whole sky; `order` if not given.
    frame : "galactic", "equatorial" or "ecliptic", optional
        Of a FITS file that states none (COORDSYS, COORD), and of arrays, which are Galactic if not stated.
    seed : int
        Places photons within their pixels when a map in another frame is rotated to Galactic.
    centre : (glon, glat), deg, or SkyCoord
        Of the disc of `radius` that is kept.
    energy_range : (low, high), GeV, or Quantity, optional
        Energy bins within it are kept; all by default, of the folder in 40 bins those from 2 to 20 GeV.
    index : float
        Spectral index with which exposure and point-spread function are averaged over a bin.
    event_type : str
        Name of the events, such as "PSF3".

    Returns
    -------
    Observation
        On a :class:`gcesbi.Region`, or, of a counts cube, on an :class:`gcesbi.sky.ImageRegion`.

    Raises
    ------
    InputError
        If anything read breaks a rule; the message names file, argument, rule and value.
    """
    masks: Mapping[str, Any] = {}
    if isinstance(path, (str, os.PathLike)):
        path = located(path)
    if not isinstance(path, Path) or path.name.lower().endswith(".npy"):
        maps = read_whole_sky(path, exposure, order=order, frame=frame, energy_edges=energy_edges, seed=seed)
    elif path.is_dir():
        _unused(path, "folder, which has its own", exposure=exposure, order=order, frame=frame)
        maps = read_folder(path, energy_edges, energy_range)
    elif path.name.lower().endswith(".toml"):
        _unused(path, "list of maps, which states them", exposure=exposure, order=order, frame=frame)
        maps, masks = read_listing(path, energy_edges, seed)
    elif holds_cube(path):
        if nside is not None or energy_edges is not None or isinstance(mask, (str, os.PathLike)):
            raise InputError(
                f"nside, energy_edges, mask: must be None, mask may be an array, for the image {str(path)!r}"
            )
        _unused(path, "image", mask_order=mask_order)
        known = exposure if _is_psf(exposure) else _exposure(exposure, order, frame)
        return read_cube(
            path,
            known,  # type: ignore[arg-type]
            radius=radius,
            centre=centre,
            band=band,
            mask=mask,
            energy_range=energy_range,
            index=index,
            event_type=event_type,
        )
    else:
        known = _exposure(exposure, order, frame)
        maps = read_fits(path, known, energy_edges=energy_edges, order=order, frame=frame, seed=seed)
    if not isinstance(path, Path) or not path.is_dir():
        maps = maps.within(energy_range)
    seen = _mask(path, mask, mask_order or order, masks, energy_range)
    return maps.cut(radius, band, seen, nside, centre=centre, index=index, event_type=event_type)


def write_observation(path: str | os.PathLike[str], observation: Observation, *, overwrite: bool = False) -> None:
    """Write an observation to a FITS file (`.fits`, `.fits.gz`), or in the folder layout if `path` has no ending.

    What is written with the region of `observation` is read back exactly with `radius=None, band=None`; point-spread
    functions come back as tables, at 1024 angles.

    Raises
    ------
    InputError
        If it exists and `overwrite` is false, the folder to hold it does not exist, or the ending is another; if
        `path` is no path, or `observation` no observation.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: must be a path, got {type(path).__name__}")
    if not isinstance(observation, Observation):
        raise InputError(f"observation: must be an Observation, got {type(observation).__name__}")
    name = Path(path).name.lower()
    if name.endswith(FITS_ENDINGS):
        write = write_cube if isinstance(observation.region, ImageRegion) else write_fits
        write(path, observation, overwrite=overwrite)
    elif Path(path).is_dir() or not Path(path).suffix:
        write_folder(path, observation, overwrite=overwrite)
    else:
        raise InputError(f"path: must end in one of {FITS_ENDINGS}, or have no ending for a folder, got {str(path)!r}")


def _unused(path: Path, what: str, **arguments: object) -> None:
    """Refuse arguments that would not be used."""
    for name, value in arguments.items():
        if value is not None:
            raise InputError(f"{name}: must be None for the {what}, {str(path)!r}, got {value!r}")


def _is_psf(exposure: Source | None) -> bool:
    fits = isinstance(exposure, (str, os.PathLike)) and not str(exposure).lower().endswith(".npy")
    return fits and holds_psf(exposure)  # type: ignore[arg-type]


def _exposure(exposure: Source | None, order: str | None, frame: str | None) -> ExposureMaps | None:
    return None if exposure is None else read_exposure_maps(exposure, order=order, frame=frame)


def _mask(
    path: Path | ArrayLike,
    mask: Source | None,
    order: str | None,
    masks: Mapping[str, Any],
    energy_range: Values | None,
) -> NDArray[np.bool_] | None:
    """The mask (12 nside²,), NESTED; `masks` are those of a list of maps, and their order."""
    if mask is None:
        return None
    if not isinstance(mask, (str, os.PathLike)):
        return array_mask(mask, order)
    if isinstance(mask, str) and mask in masks and mask != "order":
        return array_mask(masks[mask], masks["order"])
    if Path(mask).is_file():
        return array_mask(mask, order)
    if isinstance(path, Path) and path.is_dir():
        return read_mask(path, str(mask), energy_range)
    have = sorted(masks.keys() - {"order"})
    told = f", one of {have}" if have else ""
    raise InputError(f"mask: must be None, an array{told} or a file for the map {str(path)[:99]!r}, got {str(mask)!r}")
