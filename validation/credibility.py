"""Expected coverage of posteriors known by samples: how often credible regions hold the whole truth vector.

For each map the truth gets its credibility level: the share of posterior samples that lie deeper inside than it does.
A credible region of level α holds the truth when that is at most α; over maps of the model the level is uniform for an
exact posterior, whatever order "deeper" means (Hermans et al. 2022, 2110.06581; Deistler et al. 2022, 2210.04815).
Orders:

- ``"density"``: highest density, by a Gaussian kernel estimate that leaves out the point itself;
- ``"ellipsoid"``: Mahalanobis distance, the highest-density regions of a Gaussian;
- ``"band"``: the largest deviation from the median, in units of each component's own spread: simultaneous bands.

Truth and samples enter centre, covariance and kernels alike, so that the level is exactly uniform at any number of
samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from gcesbi.errors import InputError

from .checks import Array, check_alphas, check_finite
from .coverage import CalibrationCurve, calibration_curve

__all__ = ["Order", "credibility", "credibility_from_density", "expected_coverage"]

Order = Literal["density", "ellipsoid", "band"]


def credibility(truth: ArrayLike, samples: ArrayLike, order: Order = "density", seed: int = 0) -> Array:
    """Credibility level (n_map,) of each true vector: uniform on (0, 1) if the posterior is exact.

    Parameters
    ----------
    truth : array (n_map, d)
    samples : array (n_sample, n_map, d)
        Independent draws of the *joint* posterior; more than d + 1.
    order : {"density", "ellipsoid", "band"}
    seed : int
        Of the uniform draw within the rank's cell.
    """
    values, draws = check_finite("truth", truth), check_finite("samples", samples)
    if values.ndim != 2 or draws.shape[1:] != values.shape:
        raise InputError(f"samples: must have shape (n_sample, n_map, d) for truth (n_map, d), got {draws.shape}")
    if len(draws) <= values.shape[1] + 1:
        raise InputError(f"samples: must be more than d + 1 = {values.shape[1] + 1}, got {len(draws)}")
    if order not in _DEPTHS:
        raise InputError(f"order: must be one of {', '.join(_DEPTHS)}, got {order!r}")
    pool = np.concatenate([values[None], draws])
    outwards = np.stack([_DEPTHS[order](pool[:, i]) for i in range(len(values))], axis=1)
    return _spread((outwards[1:] < outwards[0]).sum(axis=0), len(draws), seed)


def credibility_from_density(truth: ArrayLike, samples: ArrayLike, seed: int = 0) -> Array:
    """Credibility level (n_map,) from the posterior's log density at truth (n_map,) and samples (n_sample, n_map)."""
    values, draws = check_finite("truth", truth), check_finite("samples", samples)
    if values.ndim != 1 or draws.ndim != 2 or draws.shape[1:] != values.shape:
        raise InputError(f"samples: must have shape (n_sample, {values.size}), got {draws.shape}")
    return _spread((draws > values).sum(axis=0), len(draws), seed)


def expected_coverage(levels: ArrayLike, alphas: ArrayLike, level: float = 0.95) -> CalibrationCurve:
    """Share of maps whose credibility `levels` (n_map,) are at most α, with its binomial band."""
    values, nominal = check_finite("levels", levels), check_alphas(alphas)
    if values.ndim != 1 or np.any((values < 0) | (values > 1)):
        raise InputError("levels: must be a vector of numbers in [0, 1]")
    return calibration_curve(values <= nominal[:, None], nominal, level=level)


def _spread(rank: Array, n_sample: int, seed: int) -> Array:
    return (rank + np.random.default_rng(seed).uniform(size=rank.shape)) / (n_sample + 1)


def _whitened(pool: Array) -> Array:
    """Points (n, d) in units of their own covariance; directions without spread are left out."""
    centred = pool - pool.mean(axis=0)
    scale = centred.std(axis=0)
    centred = centred / np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(pool))
    kept = values > 1e-10 * max(values[-1], 1e-300)
    return centred @ (vectors[:, kept] / np.sqrt(values[kept]))


def _ellipsoid(pool: Array) -> Array:
    return np.sum(_whitened(pool) ** 2, axis=1)


def _density(pool: Array) -> Array:
    """Minus the log of the leave-one-out kernel density, with Silverman's bandwidth."""
    points = _whitened(pool)
    n, d = points.shape
    width = (n * (d + 2) / 4) ** (-1 / (d + 4))
    exponent = -0.5 * cdist(points, points, "sqeuclidean") / width**2
    np.fill_diagonal(exponent, -np.inf)
    return -logsumexp(exponent, axis=1)


def _band(pool: Array) -> Array:
    low, middle, high = np.quantile(pool, [0.16, 0.5, 0.84], axis=0)
    room = np.where(pool > middle, high - middle, middle - low)
    away = np.abs(pool - middle)
    return np.divide(away, room, out=np.where(away > 0, np.inf, 0.0), where=room > 0).max(axis=1)


_DEPTHS: dict[str, Callable[[Array], Array]] = {"density": _density, "ellipsoid": _ellipsoid, "band": _band}
