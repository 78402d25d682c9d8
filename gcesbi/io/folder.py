"""Folders of NumPy maps, as those of the public 573-week Fermi-LAT data (Leane & Slatyer 2020, arXiv:2002.12370).

Every file is a full-sky HEALPix map in RING order, Galactic, of shape (12 nside²,) or (n_energy, 12 nside²):
`fermidata_counts.npy`, `fermidata_exposure.npy` (cm² s), `fermidata_pscmask_3fgl.npy` and `_4fgl.npy` (1 where
masked), `template_NAME.npy` (expected counts). What is read is returned in NESTED order. Two files are this library's
own addition, read where present: `fermidata_energy_edges.npy` (GeV) and `fermidata_unobserved.npy` (1 where nothing
was measured). The same maps in 40 energy bins have files of other names (:mod:`gcesbi.io.layouts`); of those the bins
from 2 to 20 GeV are read unless others are asked for, and masks of several bins are joined.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.data.fetching import located
from gcesbi.io.exposure import ExposureMaps
from gcesbi.io.files import naming, write_atomically
from gcesbi.io.healpix_table import HealpixMaps, map_nside, nested_pixels
from gcesbi.io.layouts import EBINS, PLAIN, FolderLayout, layout_of
from gcesbi.io.reading import load_array
from gcesbi.io.skymaps import SkyMaps, check_mask
from gcesbi.sky.energy import bins_within, check_energy_edges
from gcesbi.sky.observation import Observation
from gcesbi.sky.quantity import Values
from gcesbi.sky.region import Region

__all__ = ["FolderMaps", "read_folder", "read_map", "read_mask", "read_template", "templates_in", "write_folder"]


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
    path = located(folder, "folder") / f"{stem}.npy"
    values = load_array(path)
    if values.ndim not in (1, 2) or 0 in values.shape:
        raise InputError(f"{path}: must have shape (12 nside²,) or (n_energy, 12 nside²), got {values.shape}")
    have = map_nside(values.shape[-1], str(path))
    if nside is not None and have != nside:
        raise InputError(f"{path}: nside: must be that of the counts, {nside}, got {have}")
    return values.astype(np.float64)[..., nested_pixels(have, "RING")]


@dataclass(frozen=True)
class FolderMaps:
    """What a folder holds, before anything is read.

    Parameters
    ----------
    layout : FolderLayout
    energy_edges : tuple, GeV
        Of the bins within the wanted range.
    bins : (first, end)
        Their rows in the folder's cubes.
    templates, masks : dict of str to Path
        Files by the name that a user says.
    exposure : Path
    """

    layout: FolderLayout
    energy_edges: tuple[float, ...]
    bins: tuple[int, int]
    templates: dict[str, Path]
    masks: dict[str, Path]
    exposure: Path

    @classmethod
    def of(cls, folder: str | os.PathLike[str], energy_range: Values | None = None) -> FolderMaps:
        """Look into a folder, or the data of a name.

        Raises
        ------
        InputError
            If there is none, no bin lies within the range, or a file holds neither one map nor one for each bin.
        """
        folder = located(folder, "folder")
        layout = layout_of(folder)
        edges = _folder_edges(folder, layout)
        rows = bins_within(edges, layout.energy_range if energy_range is None else energy_range)
        kept = tuple(edges[rows.start : rows.stop + 1].tolist())
        exposure = folder / f"{layout.exposure}.npy"
        found = layout.templates_in(folder), layout.masks_in(folder)
        for file in (exposure, *found[0].values()):
            shape = load_array(file).shape
            if len(shape) == 2 and shape[0] not in (1, len(edges) - 1):
                raise InputError(
                    f"{file}: must hold 1 map or {len(edges) - 1}, one for each energy bin, holds {shape[0]}; "
                    "fermidata_energy_edges.npy states other bins"
                )
        return cls(layout, kept, (rows.start, rows.stop), *found, exposure)

    def rows(self, file: Path) -> tuple[int, int]:
        """First and one past the last row of a file that is of the wanted bins: its only one where it holds one map."""
        shape = load_array(file).shape
        return self.bins if len(shape) == 2 and shape[0] > 1 else (0, 1)


def templates_in(folder: str | os.PathLike[str]) -> dict[str, bool]:
    """Names of a folder's templates, and whether they have the point-spread function applied."""
    folder = located(folder, "folder")
    layout = layout_of(folder)
    return {name: not name.startswith(layout.without_psf) for name in layout.templates_in(folder)}


def read_template(
    folder: str | os.PathLike[str], name: str, nside: int | None = None, energy_range: Values | None = None
) -> NDArray[np.float64]:
    """Read a folder's template by its name: expected counts, (12 nside²,) or (n_energy, 12 nside²), NESTED.

    Names are those of ``template_NAME.npy`` (:func:`templates_in`), "Opi" and "Oic", say, in both layouts. Of several
    energy bins those within `energy_range` are read, GeV; by default those of :func:`read_folder`.

    Raises
    ------
    InputError
        As :func:`read_map`, and if a value is negative or not finite.
    """
    folder = located(folder, "folder")
    layout = layout_of(folder)
    path = _named(folder, name, layout.templates_in(folder), "template")
    values = _in_range(folder, layout, read_map(folder, path.stem, nside), energy_range)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise InputError(
            f"{path}: must be finite and not negative, got {values[bad][0]} ({np.count_nonzero(bad)} such)"
        )
    return values


def read_mask(folder: str | os.PathLike[str], catalogue: str, energy_range: Values | None = None) -> NDArray[np.bool_]:
    """Read a folder's mask, of "3fgl" or "4fgl": (12 nside²,) NESTED, true where masked in any bin that is read."""
    folder = located(folder, "folder")
    layout = layout_of(folder)
    path = _named(folder, catalogue, layout.masks_in(folder), "mask")
    values = np.atleast_2d(_in_range(folder, layout, read_map(folder, path.stem), energy_range))
    if layout is EBINS:
        values = np.where((values > 0) & (values < 1), 1, values)
    return np.logical_or.reduce([check_mask(row, str(path)) for row in values])


def read_folder(
    folder: str | os.PathLike[str], energy_edges: Values | None = None, energy_range: Values | None = None
) -> SkyMaps:
    """Read counts and exposure of a folder.

    Parameters
    ----------
    folder : path
    energy_edges : array (n_energy + 1,), GeV, optional
        In place of the folder's own.
    energy_range : (low, high), GeV, optional
        Bins within it are kept; by default all, of the maps in 40 bins those from 2 to 20 GeV.

    Raises
    ------
    InputError
        If a file is missing, a map's size is no HEALPix size, counts are negative or fractional, shapes disagree, or
        no bin lies within the range.
    """
    folder = located(folder)
    layout = layout_of(folder)
    counts = np.atleast_2d(read_map(folder, layout.counts))
    exposure = np.atleast_2d(read_map(folder, layout.exposure))
    nside = map_nside(counts.shape[-1], layout.counts)
    pixels = np.arange(counts.shape[-1])
    unobserved = folder / "fermidata_unobserved.npy"
    if unobserved.is_file():
        pixels = np.flatnonzero(~check_mask(read_map(folder, unobserved.stem, nside), str(unobserved)))
    edges = _folder_edges(folder, layout) if energy_edges is None else energy_edges
    names = [str(folder / f"{stem}.npy") for stem in (layout.counts, layout.exposure)]
    every = np.arange(exposure.shape[-1])
    known = HealpixMaps(map_nside(every.size, names[1]), every, exposure, "G", names[1])
    seen = HealpixMaps(nside, pixels, counts[:, pixels], "G", names[0])
    maps = SkyMaps(seen, ExposureMaps(known, names[1]), edges)
    return maps.within(layout.energy_range if energy_range is None else energy_range)


def _named(folder: Path, name: str, files: Mapping[str, Path], argument: str) -> Path:
    if name not in files:
        raise InputError(f"{argument}: must be one of those in {str(folder)!r}, {sorted(files)}, got {name!r}")
    return files[name]


def _in_range(
    folder: Path, layout: FolderLayout, values: NDArray[np.float64], energy_range: Values | None
) -> NDArray[np.float64]:
    """Rows of a map (n_energy, n_pix) that are read; a map (n_pix,) as it is."""
    wanted = layout.energy_range if energy_range is None else energy_range
    edges = _folder_edges(folder, layout)
    return values[bins_within(edges, wanted)] if values.ndim == 2 and len(values) == len(edges) - 1 else values


def _folder_edges(folder: Path, layout: FolderLayout) -> NDArray[np.float64]:
    path = folder / "fermidata_energy_edges.npy"
    if not path.is_file():
        return check_energy_edges(layout.energy_edges)
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
        f"{PLAIN.counts}.npy": region.full_sky(observation.counts, 0)[:, order],
        f"{PLAIN.exposure}.npy": region.full_sky(observation.exposure, 0)[:, order],
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
