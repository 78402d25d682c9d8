"""Proper scores: one number that rewards calibration and sharpness together. Smaller is better.

A score is proper if nobody can better it by stating other than their belief (Gneiting & Raftery 2007, J. Am. Stat.
Assoc. 102, 359). Scores rank predictions of the *same* maps; by themselves they do not say whether one is calibrated.
Their *excess* over what the prediction itself expects does: it is zero on average if the prediction is calibrated,
positive if errors are larger than claimed (Held, Rufibach & Balabdaoui 2010, Stat. Med. 29, 3104).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from scipy.stats import norm

from gcesbi.errors import InputError

from .bootstrap import bootstrap_band
from .checks import Array, check_finite, check_pair
from .coverage import z_score
from .estimate import Estimate
from .levels import is_decreasing

__all__ = [
    "crps_excess_from_quantiles",
    "crps_excess_from_samples",
    "crps_excess_gaussian",
    "crps_from_quantiles",
    "crps_from_samples",
    "crps_gaussian",
    "energy_excess",
    "energy_score",
    "log_score_gaussian",
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


def crps_excess_from_quantiles(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike) -> Array:
    """CRPS (n_map, ...) less its own expectation under the predicted curves; mean zero if calibrated.

    Beyond the outermost curves a prediction says nothing: truths there are taken as lying on them, in score and
    expectation alike.
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    if len(levels) < 2:
        raise InputError("taus: needs at least two levels, got one")
    curves, levels = _rising(curves, levels)
    score = _crps(np.clip(values, curves[0], curves[-1]), curves, levels)
    return score - _expected_crps(curves, levels)


def crps_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """CRPS of Gaussian predictions, σ (z (2 Φ(z) − 1) + 2 φ(z) − 1/√π) (Gneiting et al. 2005)."""
    z = z_score(truth, mean, std)
    return np.asarray(std) * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


def crps_excess_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """CRPS of Gaussian predictions less its own expectation σ/√π; mean zero if calibrated."""
    return crps_gaussian(truth, mean, std) - np.asarray(std) / np.sqrt(np.pi)


def crps_from_samples(truth: ArrayLike, samples: ArrayLike) -> Array:
    """CRPS (n_map, ...) from samples (n_sample, n_map, ...), E|X − y| − ½ E|X − X'|, the unbiased estimate."""
    values, draws = _truth_and_samples(truth, samples)
    return np.abs(draws - values).mean(axis=0) - _half_spread(draws)


def crps_excess_from_samples(truth: ArrayLike, samples: ArrayLike) -> Array:
    """CRPS (n_map, ...) less its own expectation ½ E|X − X'|, from samples (n_sample, n_map, ...)."""
    return crps_from_samples(truth, samples) - _half_spread(np.asarray(samples, dtype=np.float64))


def energy_score(truth: ArrayLike, samples: ArrayLike) -> Array:
    """Energy score (n_map,) of vectors: truth (n_map, d), samples (n_sample, n_map, d); the CRPS where d = 1.

    Scale the components first: the score is a Euclidean distance. Its time grows as n_sample².
    """
    values, draws = _truth_and_samples(truth, samples)
    if values.ndim != 2:
        raise InputError(f"truth: must have shape (n_map, d), got {values.shape}")
    return np.linalg.norm(draws - values, axis=-1).mean(axis=0) - _half_distance(draws)


def energy_excess(truth: ArrayLike, samples: ArrayLike) -> Array:
    """Energy score (n_map,) less its own expectation ½ E|X − X'|; mean zero if calibrated."""
    return energy_score(truth, samples) - _half_distance(np.asarray(samples, dtype=np.float64))


def log_score_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """Negative log density of Gaussian predictions, natural logarithm."""
    return 0.5 * z_score(truth, mean, std) ** 2 + np.log(np.asarray(std)) + 0.5 * np.log(2 * np.pi)


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


def _expected_crps(curves: Array, levels: Array) -> Array:
    """Mean of :func:`_crps` for values distributed as the curves say, linear in between, the ends holding the tails."""
    gaps = np.diff(curves, axis=0)
    middle = ((levels[1:] + levels[:-1]) / 2).reshape(-1, *(1,) * (curves.ndim - 1))
    below = np.concatenate([np.zeros((1, *gaps.shape[1:])), np.cumsum(gaps * middle, axis=0)])
    above = np.concatenate([np.cumsum((gaps * (1 - middle))[::-1], axis=0)[::-1], np.zeros((1, *gaps.shape[1:]))])
    weights = 2 * _weights(levels)
    return np.tensordot(weights * levels, above, axes=1) + np.tensordot(weights * (1 - levels), below, axes=1)


def _half_spread(draws: Array) -> Array:
    """½ E|X − X'| of samples (n_sample, ...), unbiased."""
    n = len(draws)
    ranks = (2 * np.arange(1, n + 1) - n - 1).reshape(-1, *(1,) * (draws.ndim - 1))
    return (ranks * np.sort(draws, axis=0)).sum(axis=0) / (n * (n - 1))


def _half_distance(draws: Array) -> Array:
    """½ E|X − X'| of vectors (n_sample, n_map, d), (n_map,)."""
    return np.array([pdist(draws[:, i]).mean() for i in range(draws.shape[1])]) / 2


def _truth_and_samples(truth: ArrayLike, samples: ArrayLike) -> tuple[Array, Array]:
    values, draws = check_finite("truth", truth), check_finite("samples", samples)
    if draws.shape[1:] != values.shape or len(draws) < 2:
        expected = f"(n_sample >= 2, *{values.shape})"
        raise InputError(f"samples: must have shape (n_sample, *truth.shape) = {expected}, got {draws.shape}")
    return values, draws
