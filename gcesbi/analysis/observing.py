"""A map for a sky: read whole, and cut to the pixels that the sky is analysed in."""

from pathlib import Path
from typing import Any

import numpy as np

from gcesbi.errors import InputError
from gcesbi.io import read_observation
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.regions import HealpixRegion
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky
from gcesbi.sky import Observation

__all__ = ["read_for", "read_whole"]


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
