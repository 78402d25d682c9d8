"""Proper scores: one number that rewards calibration and sharpness together. Smaller is better.

A score is proper if nobody can better it by stating other than their belief (Gneiting & Raftery 2007, J. Am. Stat.
Assoc. 102, 359). Scores rank predictions of the *same* maps; by themselves they do not say whether one is calibrated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from scipy.stats import norm

from gcesbi.errors import InputError

from .checks import Array, check_finite, check_pair
from .coverage import z_score
from .levels import is_decreasing

__all__ = [
    "crps_from_quantiles",
    "crps_from_samples",
    "crps_gaussian",
    "energy_score",
    "log_score_gaussian",
    "pinball",
    "skill",
]


def pinball(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike) -> Array:
    """Pinball loss max(t (y − q), (t − 1)(y − q)) of every curve, (n_tau, n_map, ...), in units of y.

    t = τ for curves that rise with τ, t = 1 − τ for those that fall (CDFs of source-count distributions).

    Parameters
    ----------
    truth : array (n_map, ...)
    quantiles : array (n_tau, n_map, ...)
    taus : array (n_tau,)
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    level = (1 - levels if is_decreasing(curves) else levels).reshape(-1, *(1,) * values.ndim)
    error = values - curves
    return np.maximum(level * error, (level - 1) * error)


def crps_from_quantiles(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike) -> Array:
    """Continuous ranked probability score (n_map, ...): 2 ∫ pinball dτ, each τ standing for the nearest levels."""
    levels = check_pair(truth, quantiles, taus)[2]
    middles = (levels[1:] + levels[:-1]) / 2
    weights = np.diff(np.concatenate([[0.0], middles, [1.0]]))
    return 2 * np.tensordot(weights, pinball(truth, quantiles, taus), axes=1)


def crps_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """CRPS of Gaussian predictions, σ (z (2 Φ(z) − 1) + 2 φ(z) − 1/√π) (Gneiting et al. 2005)."""
    z = z_score(truth, mean, std)
    return np.asarray(std) * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


def crps_from_samples(truth: ArrayLike, samples: ArrayLike) -> Array:
    """CRPS (n_map, ...) from samples (n_sample, n_map, ...), E|X − y| − ½ E|X − X'|, the unbiased estimate."""
    values, draws = _truth_and_samples(truth, samples)
    n = len(draws)
    ranks = (2 * np.arange(1, n + 1) - n - 1).reshape(-1, *(1,) * values.ndim)
    spread = (ranks * np.sort(draws, axis=0)).sum(axis=0) / (n * (n - 1))
    return np.abs(draws - values).mean(axis=0) - spread


def energy_score(truth: ArrayLike, samples: ArrayLike) -> Array:
    """Energy score (n_map,) of vectors: truth (n_map, d), samples (n_sample, n_map, d); the CRPS where d = 1.

    Scale the components first: the score is a Euclidean distance. Its time grows as n_sample².
    """
    values, draws = _truth_and_samples(truth, samples)
    if values.ndim != 2:
        raise InputError(f"truth: must have shape (n_map, d), got {values.shape}")
    miss = np.linalg.norm(draws - values, axis=-1).mean(axis=0)
    spread = np.array([pdist(draws[:, i]).mean() for i in range(len(values))])
    return miss - spread / 2


def log_score_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """Negative log density of Gaussian predictions, natural logarithm."""
    return 0.5 * z_score(truth, mean, std) ** 2 + np.log(np.asarray(std)) + 0.5 * np.log(2 * np.pi)


def skill(score: ArrayLike, reference: ArrayLike) -> float:
    """Skill 1 − mean(score) / mean(reference): 1 is perfect, 0 no better than the reference, below 0 worse."""
    values, against = check_finite("score", score), check_finite("reference", reference)
    if values.shape != against.shape:
        raise InputError(f"reference: must have the shape of score, {values.shape}, got {against.shape}")
    if against.mean() <= 0:
        raise InputError(f"reference: its mean must be above zero, got {against.mean():g}")
    return float(1 - values.mean() / against.mean())


def _truth_and_samples(truth: ArrayLike, samples: ArrayLike) -> tuple[Array, Array]:
    values, draws = check_finite("truth", truth), check_finite("samples", samples)
    if draws.shape[1:] != values.shape or len(draws) < 2:
        expected = f"(n_sample >= 2, *{values.shape})"
        raise InputError(f"samples: must have shape (n_sample, *truth.shape) = {expected}, got {draws.shape}")
    return values, draws
