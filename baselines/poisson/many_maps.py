"""Flux fractions of Poisson fits to many maps: the classical answer that is cheap enough for every held-out map.

Norms are fitted in each energy bin by itself. A fraction s = F_t / Σ F has ∂s_t / ∂A_u = (δ_tu − s_t) φ_u / Σ F, with
F_u = φ_u A_u; its error propagates the inverse of the likelihood's information at the best fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson.optimum import maximise_many
from gcesbi.simulation import SkyModel

__all__ = ["poisson_fractions"]

Array = NDArray[np.float64]


def poisson_fractions(counts: NDArray[np.integer], model: SkyModel) -> tuple[Array, Array]:
    """Flux fractions of Poisson fits to maps (n, n_energy, n_pix): mean and error, (n, n_template, n_energy) each."""
    templates = np.asarray(model.templates, dtype=np.float64)
    means, errors = (np.empty((len(counts), *templates.shape[:2])) for _ in range(2))
    for e in range(templates.shape[1]):
        fitted = maximise_many(counts[:, e].astype(np.int64), np.ascontiguousarray(templates[:, e]))
        flux = fitted.norms * model.flux_per_norm[:, e]
        total = np.maximum(flux.sum(axis=1), 1e-300)[:, None]
        share = flux / total
        slope = (np.eye(flux.shape[1]) - share[:, :, None]) * (model.flux_per_norm[:, e] / total)[:, None, :]
        variance = np.einsum("nij,njk,nik->ni", slope, _inverse(fitted.information), slope)
        means[:, :, e], errors[:, :, e] = share, np.sqrt(np.clip(variance, 1e-10, 0.25))
    return means, errors


def _inverse(information: Array) -> Array:
    """Pseudo-inverses (n, t, t), taken in units in which diagonals are one."""
    scale = 1 / np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-12))
    both = scale[:, :, None] * scale[:, None, :]
    return np.asarray(np.linalg.pinv(information * both, rcond=1e-8, hermitian=True) * both, dtype=np.float64)
