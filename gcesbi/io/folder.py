"""The NumPy folder layout of the public 573-week Fermi-LAT maps (Leane & Slatyer 2020, arXiv:2002.12370).

Every file is a full-sky HEALPix map in RING order, Galactic, of shape (12 nside²,) or (n_energy, 12 nside²):
`fermidata_counts.npy`, `fermidata_exposure.npy` (cm² s), `fermidata_pscmask_3fgl.npy` and `_4fgl.npy` (1 where
masked), `template_NAME.npy` (expected counts). What is read is returned in NESTED order. Two files are this library's
own addition, read where present: `fermidata_energy_edges.npy` (GeV) and `fermidata_unobserved.npy` (1 where nothing
was measured).
"""

from __future__ import annotations

import os
from pathlib import Path

import healpy as hp
import numpy as np
from astropy import units
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import existing, load_array, naming, write_atomically
from gcesbi.io.skymaps import SkyMaps, check_mask, map_nside
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.observation import Observation
from gcesbi.sky.region import Region

__all__ = ["FOLDER_ENERGY_EDGES", "read_folder", "read_map", "read_mask", "read_template", "write_folder"]

FOLDER_ENERGY_EDGES = (2.0, 20.0)
"""The energy bin, GeV, of a folder that holds no `fermidata_energy_edges.npy`."""


def read_map(folder: str | os.PathLike[str], stem: str, nside: int | None = None) -> NDArray[np.float64]:
    """Read `folder/stem.npy`, a full-sky RING map, into NESTED order.

    Parameters
    ----------
    folder : path
    stem : str
        Name of the file without its ending, such as "fermidata_exposure".
    nside : int, optional
        The nside the map must have.

    Returns
    -------
    array (12 nside²,) or (n_energy, 12 nside²), as stored

    Raises
    ------
    InputError
        If the file is missing or no NumPy file, or the map's size is no HEALPix size or another than that of `nside`.
    """
    path = existing(folder, "folder") / f"{stem}.npy"
    values = load_array(path)
    if values.ndim not in (1, 2) or 0 in values.shape:
        raise InputError(f"{path}: must have shape (12 nside²,) or (n_energy, 12 nside²), got {values.shape}")
    have = map_nside(values.shape[-1], str(path))
    if nside is not None and have != nside:
        raise InputError(f"{path}: nside: must be that of the counts, {nside}, got {have}")
    return values.astype(np.float64)[..., hp.nest2ring(have, np.arange(12 * have**2))]


def read_template(folder: str | os.PathLike[str], name: str, nside: int | None = None) -> NDArray[np.float64]:
    """Read `folder/template_NAME.npy`: expected counts, (12 nside²,) or (n_energy, 12 nside²), NESTED.

    Raises
    ------
    InputError
        As :func:`read_map`, and if a value is negative or not finite.
    """
    path = existing(folder, "folder") / f"template_{name}.npy"
    if not path.is_file():
        have = sorted(found.stem.removeprefix("template_") for found in path.parent.glob("template_*.npy"))
        raise InputError(f"template: must be one of those in {str(path.parent)!r}, {have}, got {name!r}")
    values = read_map(folder, path.stem, nside)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise InputError(
            f"{path}: must be finite and not negative, got {values[bad][0]} ({np.count_nonzero(bad)} such)"
        )
    return values


def read_mask(folder: str | os.PathLike[str], catalogue: str) -> NDArray[np.bool_]:
    """Read `folder/fermidata_pscmask_CATALOGUE.npy`: (12 nside²,) NESTED, true where masked."""
    path = existing(folder, "folder") / f"fermidata_pscmask_{catalogue}.npy"
    if not path.is_file():
        start = "fermidata_pscmask_"
        have = sorted(found.stem.removeprefix(start) for found in path.parent.glob(f"{start}*.npy"))
        raise InputError(f"mask: must be one of those in {str(path.parent)!r}, {have}, got {catalogue!r}")
    return check_mask(read_map(folder, path.stem), str(path))


def read_folder(folder: str | os.PathLike[str], energy_edges: ArrayLike | units.Quantity | None = None) -> SkyMaps:
    """Read counts and exposure of a folder; `energy_edges` (n_energy + 1,), GeV, overrules the folder's own.

    Raises
    ------
    InputError
        If a file is missing, a map's size is no HEALPix size, counts are negative, fractional or NaN, or
        shapes disagree.
    """
    folder = existing(folder)
    counts = np.atleast_2d(read_map(folder, "fermidata_counts"))
    exposure = np.atleast_2d(read_map(folder, "fermidata_exposure"))
    observed = np.ones(counts.shape[-1], dtype=bool)
    if (folder / "fermidata_unobserved.npy").is_file():
        nside = map_nside(counts.shape[-1], "counts")
        unobserved = read_map(folder, "fermidata_unobserved", nside)
        observed = ~check_mask(unobserved, str(folder / "fermidata_unobserved.npy"))
    edges = _folder_edges(folder) if energy_edges is None else energy_edges
    names = (str(folder / f"fermidata_{name}.npy") for name in ("counts", "exposure"))
    return SkyMaps(counts, exposure, edges, observed, *names)


def _folder_edges(folder: Path) -> NDArray[np.float64]:
    path = folder / "fermidata_energy_edges.npy"
    if not path.is_file():
        return check_energy_edges(FOLDER_ENERGY_EDGES)
    with naming(path):
        return check_energy_edges(load_array(path))


def write_folder(path: str | os.PathLike[str], observation: Observation, *, overwrite: bool = False) -> None:
    """Write an observation in the folder layout, whole sky in RING order, zero outside its region.

    Raises
    ------
    InputError
        If one of the files exists and `overwrite` is false, or the folder that is to hold the new one does not exist.
    """
    folder, files = Path(path), _files(observation)
    if not folder.exists():
        write_atomically(folder, lambda partial: _fill(partial, files))
        return
    if not folder.is_dir():
        raise InputError(f"path: must be a folder, got the file {str(folder)!r}")
    there = [name for name in files if (folder / name).exists()]
    if there and not overwrite:
        raise InputError(f"path: {str(folder / there[0])!r} exists, and overwrite is False")
    for name, values in files.items():
        write_atomically(folder / name, lambda partial, values=values: _save(partial, values), overwrite=overwrite)  # type: ignore[misc]


def _files(observation: Observation) -> dict[str, NDArray[np.generic]]:
    region = Region.of(observation.region)
    order = hp.ring2nest(region.nside, np.arange(12 * region.nside**2))
    return {
        "fermidata_counts.npy": region.full_sky(observation.counts, 0)[:, order],
        "fermidata_exposure.npy": region.full_sky(observation.exposure, 0)[:, order],
        "fermidata_unobserved.npy": (region.index < 0)[order].astype(np.int64),
        "fermidata_energy_edges.npy": observation.energy_edges,
    }


def _fill(folder: Path, files: dict[str, NDArray[np.generic]]) -> None:
    folder.mkdir()
    for name, values in files.items():
        _save(folder / name, values)


def _save(path: Path, values: NDArray[np.generic]) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)
