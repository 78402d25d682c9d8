"""Shares that sum to one: their errors together, and samples that keep to it.

The shares y_tc of T templates in a column c, an energy bin or all energies together, are not negative, and their errors
e_tc sum to zero over the templates. A network that answers every share by itself, as ȳ_tc ± σ_tc, knows neither that
nor how errors go together. Both are had in three steps.

**Correlation.** Over maps of known truth, the normal scores of e_tc / σ_tc (their ranks, as quantiles of a Gaussian)
have the correlation matrix R: a Gaussian copula, which no long tail of the errors can spoil
(:func:`error_correlation`).

**On the plane.** On one map, e = A ε with ε ~ N(0, 1), A = diag(σ) L, L Lᵀ = R, is not yet on the plane Σ_t e_tc = 0,
as the ratios of σ differ from map to map; nor is the error of all energies together that of the bins,
e_t = Σ_b w_b e_tb, with w_b the share of bin b in the map's flux. A is projected there, a shortfall of a sum being
shared out in proportion to the variances, and its rows are scaled to the deviations σ again, by turns
(:func:`simplex_scale`). Where a σ_tc exceeds the sum of the others' in its column, no errors of those deviations sum to
zero; the nearest that do are taken.

**Tails.** Errors of some maps are far larger than the network says, those of a bin's templates together. So the errors
of a column are A ε (ν / χ²_ν)^½, with one draw of χ²_ν for all templates: multivariate t, which leaves sums at zero
(:func:`student_factors`). Tails, and how large errors of a column and its sums of two are, are then measured on samples
themselves (:mod:`gcesbi.estimators.sample_errors`).

**In the simplex.** What a draw has below zero is set to zero. The bins of a template are then scaled to its share of
all energies, and the templates of a bin to the sum one, by turns: iterative proportional fitting (Deming & Stephan
1940), which ends at the distribution nearest in relative entropy (:func:`onto_simplex`).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from gcesbi.errors import InputError

__all__ = ["error_correlation", "onto_simplex", "simplex_scale", "student_factors"]

Array = NDArray[np.float64]

_N_SCALING = 30
_N_FITTING = 20
_AT_A_TIME = 32  # maps whose errors stay in a core's own memory
_LEAST_MAPS = 16


def error_correlation(errors: ArrayLike) -> Array:
    """Correlation matrix (d, d) of the normal scores of errors (n, d) on n maps of known truth.

    An error that never varies goes with nothing.

    Raises
    ------
    InputError
        Unless there are at least 16 maps, all errors finite.
    """
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 2 or len(values) < _LEAST_MAPS or not np.isfinite(values).all():
        raise InputError(f"errors: must be finite, of at least {_LEAST_MAPS} maps, got {values.shape}")
    scores = ndtri(np.stack([_ranks(column) for column in values.T], axis=1) / (len(values) + 1))
    spread = np.linalg.norm(scores, axis=0)
    unit = np.divide(scores, spread, out=np.zeros_like(scores), where=spread > 1e-9)
    found = unit.T @ unit
    np.fill_diagonal(found, 1)
    return found


def _ranks(values: Array) -> Array:
    """Ranks (n,) from 1, the mean one of equal values; SciPy's take a third of a second to import."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2


def simplex_scale(std: Array, covariance: Array, weight: Array) -> Array:
    """A (n, T, C, m) of errors A ε, ε ~ N(0, 1), of sum zero over templates, of deviations as asked or the nearest.

    Parameters
    ----------
    std : array (n, T, C)
        Of n maps, in energy bins; and in one more column, if there is one, of all energies together.
    covariance : array (T C, T C)
        Of the errors in units of `std`, template by template: a correlation matrix where they are as large as that.
    weight : array (n, n_energy)
        Share of every bin in the flux.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))).reshape(*std.shape[1:], -1)
    many = range(0, len(std), _AT_A_TIME)
    return np.concatenate([_scaled(std[i : i + _AT_A_TIME], root, weight[i : i + _AT_A_TIME]) for i in many])


def _scaled(std: Array, root: Array, weight: Array) -> Array:
    n_energy = weight.shape[1]
    scale = std[..., None] * root
    std = np.linalg.norm(scale, axis=-1)
    over_templates = _shares_of(np.square(std), 1 / std.shape[1])[..., None]
    over_bins = np.square(std[:, :, :n_energy]) * weight[:, None]
    over_bins /= np.maximum(np.einsum("nte,ne->nt", over_bins, weight), 1e-300)[..., None]

    def on_plane(scale: Array) -> Array:
        if scale.shape[2] > n_energy:
            short = scale[:, :, n_energy] - np.einsum("ntem,ne->ntm", scale[:, :, :n_energy], weight)
            scale[:, :, :n_energy] += over_bins[..., None] * short[:, :, None]
        return scale - over_templates * scale.sum(axis=1, keepdims=True)

    scale = on_plane(scale)
    for _ in range(_N_SCALING):
        found = np.linalg.norm(scale, axis=-1)
        scale = on_plane(scale * _ratio(std, found)[..., None])
    return scale


def student_factors(tails: Array, n: int, rng: np.random.Generator) -> Array:
    """Factors (n, C) that make Gaussians of Student's t with ν = 1 / `tails` (C,); one where that is zero."""
    degrees = 1 / tails[tails > 0]
    found = np.ones((n, len(tails)))
    found[:, tails > 0] = np.sqrt(degrees / rng.chisquare(degrees, (n, len(degrees))))
    return found


def onto_simplex(shares: Array, together: Array, weight: Array, typical: Array) -> tuple[Array, Array]:
    """Draws made shares: not negative, of sum one over templates, those of all energies the weighted ones of bins.

    Parameters
    ----------
    shares, together : array (n, T, n_energy), (n, T)
        Draws in energy bins, and of all energies together; the latter are kept where bins of some template allow it.
    weight : array (n, n_energy)
        Share of every bin in the flux; of sum one.
    typical : array (T, n_energy)
        Shares that stand in for a template or bin of which a draw leaves nothing.

    Returns
    -------
    shares, together : array (n, T, n_energy), (n, T)
    """
    wanted = _shares_of(np.maximum(together, 0), 1 / together.shape[1])
    found = np.maximum(shares, 0)
    for axis in (1, 2):
        found = np.where(found.any(axis=axis, keepdims=True), found, typical)
    for _ in range(_N_FITTING):
        found *= _ratio(wanted, np.einsum("nte,ne->nt", found, weight))[..., None]
        found = _shares_of(found, wanted[..., None])
    return found, np.einsum("nte,ne->nt", found, weight)


def _shares_of(values: Array, otherwise: ArrayLike) -> Array:
    """Values (n, T, ...) over their sum over T; where that is zero `otherwise`, of sum one."""
    total = np.einsum("nt...->n...", values)[:, None]
    if (empty := total <= 0).any():
        values, total = np.where(empty, otherwise, values), np.where(empty, 1.0, total)
    return np.asarray(values / total)


def _ratio(values: Array, by: Array) -> Array:
    """Values over others, zero where those are."""
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)
