"""Probability integral transform: the level at which a prediction places the truth.

For a calibrated prediction the PIT is uniform on [0, 1] (Dawid 1984, J. R. Stat. Soc. A 147, 278). Here it lives on
the scale of τ: for CDFs of source-count distributions, whose curves fall with τ, a PIT above ½ is a truth *brighter*
than the predicted median. A ∪-shaped histogram is over-confident, a ∩-shaped one under-confident, a tilted one biased.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from gcesbi.errors import InputError

from .bootstrap import MIN_MAPS, binomial_band
from .checks import Array, check_draws, check_finite, check_pair, is_decreasing
from .coverage import Mask, z_score

__all__ = [
    "PitHistogram",
    "normal_density",
    "normal_scores",
    "pit",
    "pit_bounds",
    "pit_gaussian",
    "pit_histogram_band",
    "rank_bounds",
]


def pit_bounds(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike) -> tuple[Array, Array]:
    """Lowest and highest level (n_map, ...) at which the predicted curves pass the truth.

    The two agree where the truth lies between two curves (linear in between). They differ where several curves pass
    through the truth, and beyond the outermost curves, where the PIT is only known to lie between 0 and the first
    level, or between the last and 1.

    Parameters
    ----------
    truth : array (n_map, ...)
    quantiles : array (n_tau, n_map, ...)
    taus : array (n_tau,)
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    sign = -1.0 if is_decreasing(curves) else 1.0
    curves, values = sign * curves, sign * values
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


@np.errstate(under="ignore")
def normal_density(z: ArrayLike) -> Array:
    """Standard normal density at z (...)."""
    return np.asarray(np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi))


def pit_gaussian(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """PIT of Gaussian predictions, all of shape (n_map, ...)."""
    return ndtr(z_score(truth, mean, std))


def rank_bounds(truth: ArrayLike, samples: ArrayLike) -> tuple[Array, Array]:
    """Bounds (n_map, ...) between which the PIT is uniform: the cell of the truth's rank among the samples, with ties.

    Samples (n_sample, n_map, ...) must be independent draws (thin a chain first); then the PIT is exactly uniform for
    an exact posterior, whatever their number.
    """
    values, draws = check_draws(truth, samples)
    n = len(draws) + 1
    return (draws < values).sum(axis=0) / n, ((draws <= values).sum(axis=0) + 1) / n


@dataclass(frozen=True, eq=False)
class PitHistogram:
    """Density of PIT values with bands that hold 1 in all bins together, with probability `level`, if calibrated.

    Parameters
    ----------
    density, low, high : array (n_bin,)
    edges : array (n_bin + 1,)
    n_map : int
    level : float
    """

    density: Array
    low: Array
    high: Array
    edges: Array
    n_map: int
    level: float

    @property
    def few_maps(self) -> bool:
        """Whether there are too few maps to judge by."""
        return self.n_map < MIN_MAPS

    @property
    def flat(self) -> bool:
        """Whether all bands hold 1."""
        return bool(np.all((self.low <= 1) & (self.high >= 1)))


def pit_histogram_band(
    values: ArrayLike, used: Mask | None = None, n_bin: int = 20, level: float = 0.95
) -> PitHistogram:
    """Histogram of PIT values (n_map, ...), maps being the independent unit; bands are corrected for the bins.

    Bands are Clopper and Pearson's, for as many independent pairs as the scatter between maps stands for (Korn &
    Graubard 1998, Surv. Methodol. 24, 193): the pairs over the design effect, which is common to all bins.
    """
    array = check_finite("values", values)
    counting = np.ones(array.shape, bool) if used is None else np.asarray(used, dtype=bool)
    if counting.shape != array.shape or not counting.any():
        raise InputError(f"used: must be a mask of shape {array.shape} with some pair that counts")
    n, pairs = len(array), counting.reshape(len(array), -1).sum(axis=1)
    place = np.clip((array * n_bin).astype(np.intp), 0, n_bin - 1).reshape(n, -1)
    hits = np.stack([((place == k) & counting.reshape(n, -1)).sum(axis=1) for k in range(n_bin)])
    share = hits.sum(axis=1) / pairs.sum()
    scatter = np.sum((hits - share[:, None] * pairs) ** 2) * n / max(n - 1, 1)
    effect = max(scatter / (pairs.sum() * np.sum(share * (1 - share))), 1e-9)
    trials = np.full(n_bin, max(pairs.sum() / effect, 1.0))
    low, high = binomial_band(share * trials, trials, 1 - (1 - level) / n_bin)
    return PitHistogram(share * n_bin, low * n_bin, high * n_bin, np.arange(n_bin + 1) / n_bin, n, level)


def normal_scores(low: Array, high: Array) -> tuple[Array, Array]:
    """Mean of z and of z², z = Φ⁻¹(PIT), given that the PIT lies in [low, high]: 0 and 1 on average if calibrated.

    The z of a Gaussian prediction is its error in units of the claimed one, so that the root of the mean z² tells how
    many times larger errors are than claimed. Where only bounds are known, the mean within them stands in.
    """
    left, right = ndtri(low), ndtri(high)
    width = high - low
    known = width < 1e-9
    span = np.where(known, 1.0, width)
    first = (normal_density(left) - normal_density(right)) / span
    second = (width + _finite_product(left) - _finite_product(right)) / span
    return np.where(known, left, first), np.where(known, left**2, second)


def _finite_product(z: Array) -> Array:
    """Value of z φ(z), with its limit 0 at infinity."""
    finite = np.where(np.isfinite(z), z, 0.0)
    return finite * normal_density(finite)


def _level_at(right: NDArray[np.intp], values: Array, curves: Array, levels: Array) -> Array:
    """Level at which the value is met between the curves right - 1 and right; the nearest level beyond the ends."""
    inner = np.minimum(np.maximum(right, 1), len(levels) - 1)
    before = np.maximum(inner - 1, 0)
    low, high = (np.take_along_axis(curves, at[None], axis=0)[0] for at in (before, inner))
    gap = high - low
    share = np.divide(values - low, gap, out=(values > low).astype(np.float64), where=gap > 0)
    return levels[before] + np.clip(share, 0, 1) * (levels[inner] - levels[before])
