"""Poisson fits to many maps: the classical answer that is cheap enough for every held-out map.

Norms are fitted in each energy bin by itself, free above zero. A fraction s = F_t / Σ F has
∂s_t / ∂A_u = (δ_tu − s_t) φ_u / Σ F, with F_u = φ_u A_u; its error propagates the inverse of the likelihood's
information at the best fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.poisson.optimum import Optima, maximise_many
from gcesbi.errors import InputError
from gcesbi.sky.observation import check_counts

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["fit_maps", "fitted_means", "fitted_norms", "poisson_fractions"]

Array = NDArray[np.float64]


def fit_maps(counts: ArrayLike, model: SkyModel) -> tuple[Optima, ...]:
    """Best fits of the model's templates to maps (n, n_energy, n_pix) of its region, for every energy bin."""
    maps = check_counts(counts)
    templates = np.asarray(model.templates, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[1:] != templates.shape[1:] or not len(maps):
        raise InputError(
            f"counts: must have shape (n, {templates.shape[1]}, {templates.shape[2]}), n > 0, got {maps.shape}"
        )
    return tuple(maximise_many(maps[:, e], np.ascontiguousarray(templates[:, e])) for e in range(templates.shape[1]))


def fitted_norms(counts: ArrayLike, model: SkyModel) -> Array:
    """Norms (n, n_template, n_energy) of the best fit to every map."""
    return np.stack([best.norms for best in fit_maps(counts, model)], axis=-1)


def fitted_means(norms: Array, model: SkyModel) -> Array:
    """Expected counts (n, n_energy, n_pix) of norms (n, n_template, n_energy)."""
    return np.stack([norms[:, :, e] @ model.templates[:, e] for e in range(model.n_energy)], axis=1)


def poisson_fractions(counts: ArrayLike, model: SkyModel) -> tuple[Array, Array]:
    """Flux fractions of Poisson fits to maps (n, n_energy, n_pix): mean and error, (n, n_template, n_energy) each."""
    means, errors = [], []
    for per_norm, best in zip(model.flux_per_norm.T, fit_maps(counts, model), strict=True):
        flux = best.norms * per_norm
        total = np.maximum(flux.sum(axis=1), 1e-300)[:, None]
        share = flux / total
        slope = (np.eye(flux.shape[1]) - share[:, :, None]) * (per_norm / total)[:, None, :]
        variance = np.einsum("nij,njk,nik->ni", slope, _inverse(best.information), slope)
        means.append(share)
        errors.append(np.sqrt(np.clip(variance, 1e-10, 0.25)))
    return np.stack(means, axis=-1), np.stack(errors, axis=-1)


def _inverse(information: Array) -> Array:
    """Pseudo-inverses (n, t, t), taken in units in which diagonals are one."""
    scale = 1 / np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-12))
    both = scale[:, :, None] * scale[:, None, :]
    return np.asarray(np.linalg.pinv(information * both, rcond=1e-8, hermitian=True) * both, dtype=np.float64)
