"""Flux of a whole map, straight from its counts, with its Poisson error.

F_e = Σ_p k_ep / ε_ep, with the variance Σ_p k_ep / ε_ep² of independent Poisson counts k. Photons of sources
outside the region count in it (``docs/science/model.md``, labels: at most 0.5 % of a template).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["flux_error", "flux_shares", "total_flux"]


def total_flux(counts: ArrayLike, exposure: ArrayLike) -> NDArray[np.float64]:
    """Flux of maps (..., n_energy, n_pix) in every energy bin, photons / cm² / s: (..., n_energy)."""
    return np.sum(np.asarray(counts) / np.asarray(exposure), axis=-1)


def flux_error(counts: ArrayLike, exposure: ArrayLike) -> NDArray[np.float64]:
    """Poisson error of :func:`total_flux`, photons / cm² / s: (..., n_energy)."""
    return np.sqrt(np.sum(np.asarray(counts) / np.square(exposure), axis=-1))


def flux_shares(flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of every energy bin (or template) in fluxes (n, n_energy) of maps; all alike where there is no flux."""
    total = flux.sum(axis=1, keepdims=True)
    return np.divide(flux, total, out=np.full_like(flux, 1 / flux.shape[1]), where=total > 0)
