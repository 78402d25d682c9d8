"""Proper scores: one number that rewards calibration and sharpness together. Smaller is better.

A score is proper if nobody can better it by stating other than their belief (Gneiting & Raftery 2007, J. Am. Stat.
Assoc. 102, 359). Scores rank predictions of the *same* maps; they do not say whether one is calibrated.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from gcesbi.errors import InputError

from .bootstrap import bootstrap_band
from .checks import Array, check_draws, check_finite, check_pair, is_decreasing
from .coverage import z_score
from .estimate import Estimate
from .pit import normal_density

__all__ = [
    "crps_from_quantiles",
    "crps_from_samples",
    "crps_gaussian",
    "pinball",
    "skill",
    "skill_estimate",
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
    values, curves, levels = check_pair(truth, quantiles, taus)
    return _crps(values, *_rising(curves, levels))


def crps_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """CRPS of Gaussian predictions, σ (z (2 Φ(z) − 1) + 2 φ(z) − 1/√π) (Gneiting et al. 2005)."""
    z = z_score(truth, mean, std)
    return np.asarray(std) * (z * (2 * ndtr(z) - 1) + 2 * normal_density(z) - 1 / np.sqrt(np.pi))


def crps_from_samples(truth: ArrayLike, samples: ArrayLike) -> Array:
    """CRPS (n_map, ...) from samples (n_sample, n_map, ...), E|X − y| − ½ E|X − X'|, the unbiased estimate."""
    values, draws = check_draws(truth, samples)
    if len(draws) < 2:
        raise InputError(f"samples: must be at least 2 along the first axis, got {draws.shape}")
    return np.abs(draws - values).mean(axis=0) - _half_spread(draws)


def skill(score: ArrayLike, reference: ArrayLike) -> float:
    """Skill 1 − mean(score) / mean(reference): 1 is perfect, 0 no better than the reference, below 0 worse."""
    values, against = _two_scores(score, reference)
    return float(1 - values.mean() / against.mean())


def skill_estimate(score: ArrayLike, reference: ArrayLike, level: float = 0.95, seed: int = 0) -> Estimate:
    """Skill with its band: scores and reference (n_map, ...), the same maps resampled in both."""
    values, against = (array.reshape(len(array), -1).sum(axis=1) for array in _two_scores(score, reference))
    low, high = bootstrap_band(values, against, level, seed=seed)
    return Estimate(float(1 - values.sum() / against.sum()), float(1 - high), float(1 - low))


def _two_scores(score: ArrayLike, reference: ArrayLike) -> tuple[Array, Array]:
    values, against = check_finite("score", score), check_finite("reference", reference)
    if values.shape != against.shape:
        raise InputError(f"reference: must have the shape of score, {values.shape}, got {against.shape}")
    if against.mean() <= 0:
        raise InputError(f"reference: its mean must be above zero, got {against.mean():g}")
    return values, against


def _rising(curves: Array, levels: Array) -> tuple[Array, Array]:
    """Curves in rising order and the probability below each."""
    return (curves[::-1], (1 - levels)[::-1]) if is_decreasing(curves) else (curves, levels)


def _weights(levels: Array) -> Array:
    """Share of (0, 1) that is nearest to each level."""
    return np.diff(np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]]))


def _crps(values: Array, curves: Array, levels: Array) -> Array:
    """2 Σ weight × pinball loss, for curves that rise with their level."""
    total = np.zeros(values.shape)
    for weight, level, curve in zip(_weights(levels), levels, curves, strict=True):
        error = values - curve
        total += 2 * weight * np.maximum(level * error, (level - 1) * error)
    return total


def _half_spread(draws: Array) -> Array:
    """½ E|X − X'| of samples (n_sample, ...), unbiased."""
    n = len(draws)
    ranks = (2 * np.arange(1, n + 1) - n - 1).reshape(-1, *(1,) * (draws.ndim - 1))
    return (ranks * np.sort(draws, axis=0)).sum(axis=0) / (n * (n - 1))
