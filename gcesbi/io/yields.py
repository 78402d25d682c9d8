"""Photon yields of annihilating dark matter from the table of Cirelli et al. (2011, arXiv:1012.4515).

The file is ``AtProduction_gammas.dat``, which gammapy's ``PrimaryFlux`` reads too: a row for every mass (mDM, GeV) and
log₁₀ x, x = E/m, with dN/dlog₁₀x of every channel. Between masses a yield at one x is interpolated linearly in ln m.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.dark_matter import PhotonYield

__all__ = ["CHANNELS", "read_yield"]

CHANNELS = {
    "e": "e",
    "mu": r"\[Mu]",
    "tau": r"\[Tau]",
    "q": "q",
    "c": "c",
    "b": "b",
    "t": "t",
    "W": "W",
    "Z": "Z",
    "g": "g",
    "gamma": r"\[Gamma]",
    "h": "h",
}
"""What the particles annihilate into, and the table's name of it."""


def read_yield(path: str | os.PathLike[str], channel: str, mass: float) -> PhotonYield:
    """The yield of one channel for one mass.

    Parameters
    ----------
    path : path
    channel : str
        Among :data:`CHANNELS`.
    mass : float, GeV

    Raises
    ------
    InputError
        If the file is missing or no such table, or holds no such channel or mass.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"yields: must be a file, got {str(path)!r}")
    names, table = _read(path, path.stat().st_mtime_ns)
    column = CHANNELS.get(channel, channel)
    if column not in names:
        raise InputError(
            f"channel: must be one of {', '.join(k for k, v in CHANNELS.items() if v in names)}: {channel!r}"
        )
    masses = np.unique(table[:, 0])
    if not masses[0] <= mass <= masses[-1]:
        raise InputError(f"mass: must lie in {masses[0]:g} to {masses[-1]:g} GeV, those of {path.name}, got {mass:g}")
    low, high = masses[np.searchsorted(masses, mass, side="right") - 1], masses[np.searchsorted(masses, mass)]
    weight = 0.0 if low == high else float(np.log(mass / low) / np.log(high / low))
    (log_x, below), (other, above) = (_rows(table, each, names.index(column)) for each in (low, high))
    if not np.array_equal(log_x, other):
        raise InputError(f"yields {path}: must hold the same x for every mass, does not for {low:g} and {high:g} GeV")
    return PhotonYield(channel, np.log(10) * log_x, ((1 - weight) * below + weight * above) / np.log(10))


@lru_cache(maxsize=2)
def _read(path: Path, written: int) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the columns, and the table; again if the file was written anew."""
    try:
        with path.open(encoding="utf-8") as file:
            names = file.readline().lstrip("# ").split()
            table = np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"yields {path}: cannot be read ({' '.join(str(error).split())})") from None
    if names[:2] != ["mDM", "Log[10,x]"] or table.shape[1] != len(names) or not np.isfinite(table).all():
        raise InputError(f"yields {path}: must have columns mDM, Log[10,x] and one for every channel, all finite")
    return names, table


def _rows(table: NDArray[np.float64], mass: float, column: int) -> NDArray[np.float64]:
    """log₁₀ x and yields of one mass, (2, n), by ascending x."""
    rows = table[table[:, 0] == mass]
    return rows[np.argsort(rows[:, 1])][:, [1, column]].T
