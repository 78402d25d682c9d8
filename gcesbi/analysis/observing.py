"""A map for a sky: read whole, and cut to the pixels that the sky is analysed in; and the image of a run on images."""

from pathlib import Path
from typing import Any

import numpy as np

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.simulate import mock_image
from gcesbi.errors import InputError
from gcesbi.io import read_observation
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.regions import HealpixRegion
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky
from gcesbi.sky import Observation

__all__ = ["image_or_mock", "own_image", "read_for", "read_whole"]


def read_whole(sky: Composition, path: Path, **stated: Any) -> Observation:
    """The map at `path`, all of it, at the resolution of a sky: see :func:`read_for`.

    Energy bins are those within the sky's, where there are such.
    """
    where, edges = sky.region, sky.energy_edges
    told = {"nside": where.nside if isinstance(where, HealpixRegion) else None, **stated}
    try:
        return read_observation(path, None, None, energy_range=(edges[0], edges[-1]), **told)
    except InputError:
        return read_observation(path, None, None, **told)


def read_for(sky: InnerGalaxySky | FolderSky | Composition, path: Path, **stated: Any) -> Observation:
    """The map at `path`, cut to the region of a sky, less what was not observed.

    Parameters
    ----------
    sky : settings of a sky
    path : path
        As for :func:`gcesbi.read_observation`.
    **stated
        Further arguments of it.

    Raises
    ------
    InputError
        If the map cannot be read, or was observed nowhere in the region.
    """
    if not isinstance(sky, Composition):
        return read_observation(path, sky.radius, sky.band, nside=sky.nside, **stated)
    seen = read_whole(sky, path, **stated)
    _, region = sky.region.place(0.0)
    if seen.region.frame != region.frame:
        raise InputError(
            f"observation: {str(path)!r} must have the sky's geometry {region.frame}, has {seen.region.frame}"
        )
    pixels = np.intersect1d(region.pixels, seen.region.pixels)
    if not len(pixels):
        raise InputError(f"observation: {str(path)!r} was observed nowhere in the sky's region")
    return seen.cut(region if len(pixels) == region.n_pix else region.only(np.isin(region.pixels, pixels)))


def own_image(run: RunFolder, folder: Path | None = None) -> Observation | None:
    """The image of a folder; else of the folder that a run on images was made for; else what the run has stored."""
    settings = run.settings.observation
    if folder is not None:
        settings = settings.model_copy(update={"folder": str(folder)})
    real = settings.read()
    return run.observation() if real is None and run.has_observation else real


def image_or_mock(run: RunFolder, folder: Path | None = None) -> tuple[Observation, dict[str, float]]:
    """As :func:`own_image`, else one drawn from the first testing model, and its parameters; none of a real image."""
    own = own_image(run, folder)
    if own is not None and (folder or run.settings.observation.folder):
        return own, {}
    seen, truth = mock_image(run)
    return (seen, truth) if own is None or np.array_equal(own.counts, seen.counts) else (own, {})
