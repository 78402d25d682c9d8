"""Energy bins: logarithmic edges in GeV."""

from __future__ import annotations

import numpy as np
from astropy import units
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = ["EnergyBins", "check_energy_edges", "log_energy_edges"]


class EnergyBins:
    """What follows for anything that has edges of energy bins (n_energy + 1,), GeV."""

    energy_edges: NDArray[np.float64]

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return len(self.energy_edges) - 1

    @property
    def energy(self) -> NDArray[np.float64]:
        """Bin centres (geometric mean), (n_energy,), GeV."""
        return np.sqrt(self.energy_edges[:-1] * self.energy_edges[1:])


def check_energy_edges(edges: ArrayLike | units.Quantity) -> NDArray[np.float64]:
    """Edges (n_energy + 1,) in GeV, from plain numbers in GeV or a Quantity.

    Raises
    ------
    InputError
        If there are fewer than two edges, or they are not finite, positive and increasing.
    """
    values = np.asarray(edges.to_value("GeV") if isinstance(edges, units.Quantity) else edges, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise InputError(f"energy_edges: must be a vector of at least two edges, got shape {values.shape}")
    if not (np.isfinite(values).all() and values[0] > 0 and np.all(np.diff(values) > 0)):
        raise InputError(f"energy_edges: must be positive and increasing, in GeV, got {values.tolist()}")
    return values


def log_energy_edges(n_energy: int, low: float = 2.0, high: float = 20.0) -> NDArray[np.float64]:
    """Edges (n_energy + 1,) of equal bins in log E from `low` to `high`, GeV."""
    if n_energy < 1:
        raise InputError(f"n_energy: must be at least 1, got {n_energy}")
    return check_energy_edges(np.geomspace(low, high, n_energy + 1))
