"""Energy bins: logarithmic edges in GeV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError, shown
from gcesbi.sky.quantity import Scalar, Values, in_unit, number_in

__all__ = ["EnergyBins", "bins_within", "check_energy_edges", "log_energy_edges"]

_TOLERANCE = 1e-3  # of an edge, when bins are asked for by a range


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


def check_energy_edges(edges: Values) -> NDArray[np.float64]:
    """Edges (n_energy + 1,) in GeV, from plain numbers in GeV or a Quantity.

    Raises
    ------
    InputError
        If there are fewer than two edges, or they are not finite, positive and increasing, or no energies.
    """
    values = in_unit(edges, "GeV", "energy_edges")
    if values.ndim != 1 or values.size < 2:
        raise InputError(f"energy_edges: must be a vector of at least two edges, got shape {values.shape}")
    if not (np.isfinite(values).all() and values[0] > 0 and np.all(np.diff(values) > 0)):
        raise InputError(f"energy_edges: must be positive and increasing, in GeV, got {shown(values)}")
    return values


def bins_within(edges: NDArray[np.float64], energy_range: Values | None) -> slice:
    """Bins that lie within a range (low, high), GeV, up to a thousandth of an edge; all for None.

    Raises
    ------
    InputError
        If the range is no pair, or there is no such bin.
    """
    if energy_range is None:
        return slice(0, len(edges) - 1)
    ends = in_unit(energy_range, "GeV", "energy_range")
    if ends.shape != (2,):
        raise InputError(f"energy_range: must be (low, high) in GeV, got {shown(ends)}")
    low, high = ends * (1 - _TOLERANCE, 1 + _TOLERANCE)
    kept = np.flatnonzero((edges[:-1] >= low) & (edges[1:] <= high))
    if not kept.size:
        raise InputError(
            f"energy_range: must hold at least one of the bins from {edges[0]:.6g} to {edges[-1]:.6g} GeV, "
            f"got {ends[0]:.6g} to {ends[1]:.6g}"
        )
    return slice(int(kept[0]), int(kept[-1]) + 1)


def log_energy_edges(n_energy: int, low: Scalar = 2.0, high: Scalar = 20.0) -> NDArray[np.float64]:
    """Edges (n_energy + 1,) of equal bins in log E from `low` to `high`, GeV."""
    if n_energy < 1:
        raise InputError(f"n_energy: must be at least 1, got {n_energy}")
    ends = number_in(low, "GeV", "low"), number_in(high, "GeV", "high")
    if not 0 < ends[0] < ends[1] < np.inf:
        raise InputError(f"low, high: must ascend from above 0 GeV, got {ends[0]} and {ends[1]}")
    return check_energy_edges(np.geomspace(*ends, n_energy + 1))
