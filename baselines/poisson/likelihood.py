r"""The Poisson log-likelihood of counts, and what templates must be for a fit to make sense.

.. math:: \ln L = \sum_p k_p \ln\mu_p - \mu_p - \ln k_p!, \qquad
          D = 2 \sum_p k_p \ln\frac{k_p}{\mu_p} - (k_p - \mu_p)

The *kernel* Σ k ln μ - μ is what depends on the mean; the deviance D (McCullagh & Nelder 1989, ch. 2.3) is twice the
distance from ln L of a mean equal to the counts, and has no ln k! in it either.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln, xlogy

from gcesbi.errors import InputError
from gcesbi.sky.observation import check_counts
from gcesbi.sky.quantity import plain

__all__ = [
    "check_covered",
    "check_independent",
    "check_templates",
    "log_factorials",
    "poisson_deviance",
    "poisson_log_likelihood",
]

_DEGENERATE = 1e-12  # smallest eigenvalue of the templates' correlation matrix that can be told from zero
_LARGEST_TABLE = 10**6

Array = NDArray[np.float64]


def poisson_log_likelihood(counts: ArrayLike, mean: ArrayLike) -> float:
    """Σ k ln μ - μ - ln k!, with 0 ln 0 = 0, hence -inf where counts meet a mean of zero.

    Parameters
    ----------
    counts, mean : array (...,)
        Photons and their expectation, of the same shape.

    Examples
    --------
    >>> round(poisson_log_likelihood([0, 2], [0.0, 2.0]), 6)
    -1.306853
    """
    k, mu = _check_pair(counts, mean)
    return float(np.sum(xlogy(k, mu) - mu - gammaln(k + 1.0)))


def poisson_deviance(counts: ArrayLike, mean: ArrayLike) -> float:
    """2 Σ k ln(k/μ) - (k - μ) of counts and their expectation, of the same shape; inf where counts meet a mean of 0.

    Examples
    --------
    >>> poisson_deviance([3, 0], [3.0, 0.5])
    1.0
    """
    k, mu = _check_pair(counts, mean)
    return float(2 * np.sum(xlogy(k, k) - xlogy(k, mu) - k + mu))


def _check_pair(counts: ArrayLike, mean: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    k, mu = check_counts(counts), plain(mean, "mean").astype(np.float64)
    if k.shape != mu.shape:
        raise InputError(f"mean: must have the shape of counts, {k.shape}, got {mu.shape}")
    if not np.all(mu >= 0):
        raise InputError(f"mean: must not be negative or NaN, got {mu[~(mu >= 0)].flat[0]}")
    return k, mu


def log_factorials(counts: NDArray[np.integer]) -> Array:
    """Natural log of k! for every entry of `counts`, from a table where there are many small ones."""
    largest = int(counts.max(initial=0))
    if largest > min(counts.size, _LARGEST_TABLE):
        return np.asarray(gammaln(counts + 1.0))
    return np.asarray(gammaln(np.arange(largest + 1) + 1.0)[counts])


def check_templates(
    templates: ArrayLike,
    names: Sequence[str],
    argument: str = "templates",
    free: NDArray[np.bool_] | None = None,
) -> Array:
    """Templates (n_template, n_pix) as float64, if norms can be fitted to them.

    Parameters
    ----------
    templates : array (n_template, n_pix)
    names : sequence of str
    argument : str
        What the messages call them.
    free : array (n_template,), optional
        Which norms nothing but the counts decides: only those need be linearly independent. All by default.

    Raises
    ------
    InputError
        If one is negative, NaN or all zero, pixels are fewer than templates, or free ones are linearly dependent.
    """
    values = np.asarray(templates, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(names):
        raise InputError(f"{argument}: must have shape ({len(names)}, n_pix), got {values.shape}")
    if values.shape[1] < len(names):
        raise InputError(f"{argument}: need at least as many pixels as templates, got {values.shape[1]} < {len(names)}")
    for name, row in zip(names, values, strict=True):
        _check_template(name, row, argument)
    check_independent(values, names, argument, free)
    return values


def _check_template(name: str, row: Array, argument: str) -> None:
    if not np.isfinite(row).all():
        raise InputError(f"{argument}: {name!r} must be finite, has {np.count_nonzero(~np.isfinite(row))} bad pixels")
    if row.min() < 0:
        raise InputError(f"{argument}: {name!r} must not be negative, got {row.min()}")
    if not row.any():
        raise InputError(f"{argument}: {name!r} is zero in every pixel, its norm cannot be fitted")


def check_independent(
    values: Array, names: Sequence[str], argument: str = "templates", free: NDArray[np.bool_] | None = None
) -> None:
    """Raise InputError, naming every group of templates (n_template, n_pix) that are linearly dependent."""
    rows = np.arange(len(names)) if free is None else np.flatnonzero(free)
    if rows.size < 2:
        return
    unit = values[rows] / np.linalg.norm(values[rows], axis=1, keepdims=True)
    eigenvalues, vectors = np.linalg.eigh(unit @ unit.T)
    null = vectors[:, eigenvalues < _DEGENERATE]
    if not null.size:
        return
    _, label = connected_components(np.abs(null @ null.T) > 1e-3, directed=False)
    groups = [[names[rows[i]] for i in np.flatnonzero(label == group)] for group in np.unique(label)]
    said = "; ".join(", ".join(group) for group in groups if len(group) > 1)
    raise InputError(f"{argument}: {said} are linearly dependent, their norms cannot be told apart")


def check_covered(counts: NDArray[np.integer], templates: Array, argument: str = "templates") -> None:
    """Raise InputError if counts (n_pix,) are seen where all templates (n_template, n_pix) are zero."""
    bare = (counts > 0) & ~templates.any(axis=0)
    if bare.any():
        raise InputError(
            f"{argument}: must not all be zero where counts are seen, are in {np.count_nonzero(bare)} pixels"
        )
