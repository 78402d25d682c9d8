"""Probability integral transform: the level at which a prediction places the truth.

For a calibrated prediction the PIT is uniform on [0, 1] (Dawid 1984, J. R. Stat. Soc. A 147, 278). Here it lives on
the scale of τ: for CDFs of source-count distributions, whose curves fall with τ, a PIT above ½ is a truth *brighter*
than the predicted median. A ∪-shaped histogram is over-confident, a ∩-shaped one under-confident, a tilted one biased.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from gcesbi.errors import InputError

from .checks import Array, check_finite, check_pair
from .coverage import z_score
from .levels import is_decreasing, rearrange

__all__ = ["normal_scores", "pit", "pit_bounds", "pit_from_samples", "pit_gaussian", "pit_histogram"]


def pit_bounds(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike) -> tuple[Array, Array]:
    """Lowest and highest level (n_map, ...) at which the predicted curves pass the truth.

    The two agree where the truth lies between two curves (linear in between). They differ where several curves pass
    through the truth, and beyond the outermost curves, where the PIT is only known to lie between 0 and the first
    level, or between the last and 1. Crossing curves are sorted first.

    Parameters
    ----------
    truth : array (n_map, ...)
    quantiles : array (n_tau, n_map, ...)
    taus : array (n_tau,)
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    sign = -1.0 if is_decreasing(curves) else 1.0
    curves, values = sign * rearrange(curves), sign * values
    below, up_to = (curves < values).sum(axis=0), (curves <= values).sum(axis=0)
    low = np.where(below == 0, 0.0, _level_at(below, values, curves, levels))
    high = np.where(up_to == len(levels), 1.0, _level_at(up_to, values, curves, levels))
    return low, high


def pit(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, seed: int | None = None) -> Array:
    """PIT (n_map, ...) from quantile curves: the middle of :func:`pit_bounds`, or a uniform draw in them, given a seed.

    Only the draw is uniform for a calibrated prediction; the middle piles up in the outer cells.
    """
    low, high = pit_bounds(truth, quantiles, taus)
    share = 0.5 if seed is None else np.random.default_rng(seed).uniform(size=low.shape)
    return low + share * (high - low)


def pit_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """PIT of Gaussian predictions, all of shape (n_map, ...)."""
    return norm.cdf(z_score(truth, mean, std))


def pit_from_samples(truth: ArrayLike, samples: ArrayLike, seed: int = 0) -> Array:
    """PIT (n_map, ...) from samples (n_sample, n_map, ...): the rank of the truth, spread uniformly within its cell.

    Samples must be independent draws (thin a chain first); then the result is exactly uniform for an exact posterior.
    """
    values, draws = check_finite("truth", truth), check_finite("samples", samples)
    if draws.shape[1:] != values.shape:
        raise InputError(f"samples: must have shape (n_sample, *truth.shape), got {draws.shape} for {values.shape}")
    rng = np.random.default_rng(seed)
    ties = (draws == values).sum(axis=0)
    rank = (draws < values).sum(axis=0) + rng.integers(0, ties + 1)
    return (rank + rng.uniform(size=values.shape)) / (len(draws) + 1)


def pit_histogram(values: ArrayLike, n_bin: int = 20) -> tuple[Array, Array]:
    """Density (n_bin,) and edges (n_bin + 1,) of PIT values; 1 everywhere for a calibrated prediction."""
    density, edges = np.histogram(check_finite("values", values), bins=n_bin, range=(0.0, 1.0), density=True)
    return density, edges


def normal_scores(low: Array, high: Array) -> tuple[Array, Array]:
    """Mean of z and of z², z = Φ⁻¹(PIT), given that the PIT lies in [low, high]: 0 and 1 on average if calibrated.

    The z of a Gaussian prediction is its error in units of the claimed one, so that the root of the mean z² tells how
    many times larger errors are than claimed. Where only bounds are known, the mean within them stands in.
    """
    left, right = norm.ppf(low), norm.ppf(high)
    width = high - low
    known = width < 1e-9
    span = np.where(known, 1.0, width)
    first = (norm.pdf(left) - norm.pdf(right)) / span
    second = (width + _finite_product(left) - _finite_product(right)) / span
    return np.where(known, left, first), np.where(known, left**2, second)


def _finite_product(z: Array) -> Array:
    """Value of z φ(z), with its limit 0 at infinity."""
    finite = np.where(np.isfinite(z), z, 0.0)
    return finite * norm.pdf(finite)


def _level_at(right: NDArray[np.intp], values: Array, curves: Array, levels: Array) -> Array:
    """Level at which the value is met between the curves right - 1 and right; the nearest level beyond the ends."""
    inner = np.minimum(np.maximum(right, 1), len(levels) - 1)
    before = np.maximum(inner - 1, 0)
    low, high = (np.take_along_axis(curves, at[None], axis=0)[0] for at in (before, inner))
    gap = high - low
    share = np.divide(values - low, gap, out=np.zeros_like(values), where=gap > 0)
    return levels[before] + np.clip(share, 0, 1) * (levels[inner] - levels[before])
