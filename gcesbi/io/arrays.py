"""NumPy maps over the whole sky: their order is stated, in a call or in a small TOML file, and never guessed.

Such a file lists the maps of a folder whose names are the user's own, by paths relative to it::

    order = "ring"                       # or "nested"
    counts = "photons.npy"               # (12 nside²,) or (n_energy, 12 nside²)
    exposure = "exposure.npy"            # cm² s; or a FITS file
    energy_edges = [2.0, 6.3, 20.0]      # GeV
    frame = "galactic"                   # or "equatorial"; Galactic if not given
    unobserved = "unobserved.npy"        # 1 where nothing was measured; optional
    masks = { mine = "mask.npy" }        # 1 where masked; optional
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError, nearest
from gcesbi.io.data.fetching import located
from gcesbi.io.exposure import ExposureMaps, read_exposure
from gcesbi.io.healpix_fits import counts_to_galactic_maps, read_mask_table
from gcesbi.io.healpix_table import HealpixMaps, frame_of, map_nside, nested_pixels, order_of
from gcesbi.io.reading import load_array, reading
from gcesbi.io.skymaps import SkyMaps, check_mask
from gcesbi.sky.observation import photons
from gcesbi.sky.quantity import Values, in_unit, plain

__all__ = ["FITS_ENDINGS", "array_mask", "read_exposure_maps", "read_listing", "read_whole_sky", "whole_sky"]

FITS_ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz")
_MAX_LISTING = 2**20
_KEYS = ("order", "counts", "exposure", "energy_edges", "frame", "unobserved", "masks")

PathLike = str | os.PathLike[str]
Source = PathLike | ArrayLike


def read_whole_sky(
    counts: Source,
    exposure: Source | ExposureMaps | None,
    *,
    order: str | None,
    frame: str | None = None,
    energy_edges: Values | None = None,
    unobserved: Source | None = None,
    seed: int = 0,
) -> SkyMaps:
    """Counts and exposure over the whole sky, from arrays or `.npy` files in a stated order.

    Parameters
    ----------
    counts : array (12 nside²,) or (n_energy, 12 nside²), or path
    exposure : array of like shape, cm² s, Quantity, path, or ExposureMaps
    order : "ring" or "nested"
        Of all arrays.
    frame : str, optional
        Of all arrays: Galactic unless stated.
    energy_edges : array (n_energy + 1,), GeV, or Quantity
    unobserved : array (12 nside²,) or path, optional
        1 where nothing was measured.
    seed : int
        Places photons within their pixels when a map is rotated.

    Raises
    ------
    InputError
        If the order, the exposure or the energies are not stated, or a size is no HEALPix size.
    """
    maps = whole_sky(counts, "counts", order, frame)
    if energy_edges is None:
        raise InputError(f"{maps.source}: energy_edges: must be given, as an array has none")
    if exposure is None:
        raise InputError(f"{maps.source}: exposure: must be given, an array or a file")
    known = exposure if isinstance(exposure, ExposureMaps) else read_exposure_maps(exposure, order=order, frame=frame)
    if unobserved is not None:
        seen = np.flatnonzero(~array_mask(unobserved, order, "unobserved"))
        if seen.size and seen[-1] >= maps.pixels.size:
            raise InputError(f"unobserved: must have the nside of the counts, {maps.nside}")
        maps = HealpixMaps(maps.nside, seen, maps.values[:, seen], maps.frame, maps.source)
    return SkyMaps(counts_to_galactic_maps(maps, seed), known, energy_edges)


def read_exposure_maps(exposure: Source, *, order: str | None, frame: str | None) -> ExposureMaps:
    """Exposure from an array over the whole sky in a stated order, a `.npy` file of one, or a FITS file."""
    if isinstance(exposure, (str, os.PathLike)) and not str(exposure).lower().endswith(".npy"):
        return read_exposure(exposure, order=order, frame=frame)
    maps = whole_sky(exposure, "exposure", order, frame)
    return ExposureMaps(maps, maps.source)


def array_mask(mask: Source, order: str | None, argument: str = "mask_order") -> NDArray[np.bool_]:
    """A mask (12 nside²,) over the whole sky, NESTED, true where masked: an array, a `.npy` or a HEALPix FITS file.

    Raises
    ------
    InputError
        If the order is not stated, or values are other than 0 and 1.
    """
    if isinstance(mask, (str, os.PathLike)):
        path = located(mask, "mask")
        if path.name.lower().endswith(FITS_ENDINGS):
            return check_mask(read_mask_table(path, order), str(path))
        values, source = check_mask(load_array(path), str(path)), str(path)
    else:
        values, source = check_mask(mask), "mask"
    return values[_places(values.size, order, argument, source)]


def read_listing(path: Path, energy_edges: Values | None = None, seed: int = 0) -> tuple[SkyMaps, dict[str, Any]]:
    """Maps that a small TOML file lists, and where its masks lie by name, with the order of all.

    Raises
    ------
    InputError
        If the file is no TOML, has a key that is not known or lacks one, or a file that it names breaks a rule.
    """
    with reading(path, "a TOML file"):
        if path.stat().st_size > _MAX_LISTING:
            raise InputError(f"must be a TOML file of at most {_MAX_LISTING >> 20} MiB")
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        for key in told:
            if key not in _KEYS:
                raise InputError(f"{key}: is no key of a list of maps; {nearest(key, _KEYS)}")
        missing = [key for key in ("order", "counts", "exposure") if key not in told]
        if missing:
            raise InputError(f"must state {', '.join(missing)}")
        files = {key: _beside(path, key, told[key]) for key in ("counts", "exposure", "unobserved") if key in told}
        masks = {name: _beside(path, f"masks.{name}", file) for name, file in dict(told.get("masks", {})).items()}
    maps = read_whole_sky(
        files["counts"],
        files["exposure"],
        order=told["order"],
        frame=told.get("frame"),
        energy_edges=told.get("energy_edges") if energy_edges is None else energy_edges,
        unobserved=files.get("unobserved"),
        seed=seed,
    )
    return maps, {"order": told["order"], **masks}


def _beside(path: Path, key: str, name: object) -> Path:
    if not isinstance(name, str):
        raise InputError(f"{key}: must be a path, got {name!r}")
    found = path.parent / name
    if not found.is_file():
        raise InputError(f"{key}: must be a file beside it, there is none at {str(found)!r}")
    return found


def _without_unit(values: Any, what: str) -> NDArray[Any]:
    """An array of counts, of exposure in cm² s, or of a map, whose unit is no matter."""
    if what == "counts":
        return photons(values)
    return in_unit(values, "cm2 s", what) if what == "exposure" else plain(values, what)


def whole_sky(source: Source, argument: str, order: str | None, frame: str | None = None) -> HealpixMaps:
    """Maps over the whole sky in a stated order and frame, Galactic unless stated: an array or a `.npy` file.

    Raises
    ------
    InputError
        If the order is not stated, or the size is no HEALPix size.
    """
    if isinstance(source, (str, os.PathLike)):
        values, where = load_array(Path(source)), str(source)
    else:
        values, where = _without_unit(source, argument), argument
    if values.ndim not in (1, 2) or 0 in values.shape or values.dtype.kind not in "biuf":
        shape = "(12 nside²,) or (n_energy, 12 nside²)"
        raise InputError(f"{where}: must be numbers of shape {shape}, got {values.shape} {values.dtype}")
    nside = map_nside(values.shape[-1], where)
    ordered = np.atleast_2d(values)[:, _places(values.shape[-1], order, "order", where)]
    return HealpixMaps(nside, np.arange(12 * nside**2), ordered, "G" if frame is None else frame_of(frame), where)


def _places(n_pix: int, order: str | None, argument: str, where: str) -> NDArray[np.int64]:
    if order is None:
        raise InputError(f"{argument}: must be 'ring' or 'nested' for {where}, an array over the whole sky, got None")
    return nested_pixels(map_nside(n_pix, where), order_of(order, argument))
