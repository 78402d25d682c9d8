"""Simulated maps and their labels, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.scd import true_cdf

__all__ = ["Simulations"]


@dataclass(frozen=True, eq=False, repr=False)
class Simulations:
    """A batch of simulated maps. Labels are physical, before photon noise (see ``docs/science/model.md``).

    Parameters
    ----------
    theta : array (n, n_parameter)
        Parameters, in the order of ``model.prior().names``.
    counts : array (n, n_energy, n_pix), photons
        Smallest unsigned integer type that holds them.
    flux : array (n, n_template, n_energy), photons / cm² / s
        Flux of every template inside the region, in every energy bin.
    scd : array (n, n_point_source_template, n_bin)
        Share of each population's flux that its sources in a flux bin give; sums to 1 over bins.
    n_sources : array (n, n_point_source_template)
        Number of sources in the region.
    """

    theta: NDArray[np.float64]
    counts: NDArray[np.unsignedinteger]
    flux: NDArray[np.float64]
    scd: NDArray[np.float64]
    n_sources: NDArray[np.float64]

    @property
    def scd_cdf(self) -> NDArray[np.float64]:
        """Cumulative histograms of source counts (n, n_point_source, n_bin), which end at exactly one."""
        return true_cdf(self.scd)

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise InputError(f"simulations: all arrays must have the same length, got {lengths}")

    def __repr__(self) -> str:
        return f"Simulations({', '.join(f'{field.name} {getattr(self, field.name).shape}' for field in fields(self))})"

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, index: slice | NDArray) -> Simulations:
        return Simulations(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def flux_fractions(self) -> NDArray[np.float64]:
        """Share of each template in the flux of an energy bin, (n, n_template, n_energy); sums to 1 over templates."""
        total = self.flux.sum(axis=1, keepdims=True)
        return np.divide(self.flux, total, out=np.zeros_like(self.flux), where=total > 0)

    @classmethod
    def concatenate(cls, parts: list[Simulations]) -> Simulations:
        """Join batches, in order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
