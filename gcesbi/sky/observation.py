"""What was seen: counts, exposure, energies and region, checked once where they enter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.region import Region

__all__ = ["Observation", "check_counts", "check_exposure"]


def check_counts(counts: ArrayLike, name: str = "counts") -> NDArray[np.int64]:
    """Counts as 64-bit integers; raise InputError if any is NaN, negative or fractional."""
    values = np.asarray(counts)
    if not np.issubdtype(values.dtype, np.integer):
        if not np.isfinite(values).all():
            raise InputError(f"{name}: must be finite, got {np.count_nonzero(~np.isfinite(values))} NaN or infinite")
        fractional = values != np.rint(values)
        if fractional.any():
            raise InputError(f"{name}: must be whole numbers, got {values[fractional].flat[0]}")
    if values.size and values.min() < 0:
        raise InputError(f"{name}: must not be negative, got {values.min()}")
    return values.astype(np.int64)


def check_exposure(exposure: ArrayLike, name: str = "exposure") -> NDArray[np.float64]:
    """Exposure in cm² s; raise InputError unless it is finite and above zero everywhere."""
    values = np.asarray(exposure, dtype=np.float64)
    if not np.isfinite(values).all() or np.any(values <= 0):
        bad = np.count_nonzero(~(values > 0) | ~np.isfinite(values))
        raise InputError(f"{name}: must be above zero inside the region, is not in {bad} of {values.size} values")
    return values


@dataclass(frozen=True, eq=False)
class Observation:
    """A counts map that posteriors are conditioned on.

    Parameters
    ----------
    counts : array (n_energy, n_pix), photons
    exposure : array (n_energy, n_pix), cm² s
    energy_edges : array (n_energy + 1,), GeV
    region : Region

    Raises
    ------
    InputError
        If counts are negative, fractional or NaN, exposure is not above zero, edges do not increase,
        or shapes disagree.
    """

    counts: NDArray[np.int64]
    exposure: NDArray[np.float64]
    energy_edges: NDArray[np.float64]
    region: Region

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", check_counts(self.counts))
        object.__setattr__(self, "exposure", check_exposure(self.exposure))
        object.__setattr__(self, "energy_edges", check_energy_edges(self.energy_edges))
        shape = (len(self.energy_edges) - 1, self.region.n_pix)
        for name in ("counts", "exposure"):
            got = getattr(self, name).shape
            if got != shape:
                raise InputError(f"{name}: must have shape (n_energy, n_pix) = {shape}, got {got}")

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return len(self.energy_edges) - 1
