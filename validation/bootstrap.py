"""Bands by resampling maps: the bins of one map are correlated, maps are not."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import beta

from gcesbi.errors import InputError

from .checks import Array, check_finite

__all__ = ["MIN_MAPS", "binomial_band", "bootstrap_band", "map_weights"]

#: Below this many maps a result is marked as resting on few maps.
MIN_MAPS = 100


@lru_cache(maxsize=1)
def map_weights(n_map: int, n_bootstrap: int = 1000, seed: int = 0) -> Array:
    """How often each map enters each bootstrap draw, (n_bootstrap, n_map); every row sums to n_map.

    The last result is kept, read-only: a report resamples the same maps several times.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_map, np.full(n_map, 1 / n_map), size=n_bootstrap).astype(np.float64)
    weights.setflags(write=False)
    return weights


def bootstrap_band(
    numerator: Array, denominator: Array, level: float = 0.95, n_bootstrap: int = 1000, seed: int = 0
) -> tuple[Array, Array]:
    """Central `level` band of Σ numerator / Σ denominator over maps, by resampling maps.

    Parameters
    ----------
    numerator, denominator : array (n_map, ...)
        Sums over the pairs of each map; a mean over maps has denominator one.

    Returns
    -------
    low, high : array (...)
        NaN where no draw holds a pair.
    """
    numerator, denominator = (check_finite(n, v) for n, v in (("numerator", numerator), ("denominator", denominator)))
    weights = map_weights(len(numerator), n_bootstrap, seed)
    below = np.tensordot(weights, denominator, axes=1)
    above = np.tensordot(weights, numerator, axes=1)
    below, above = np.broadcast_arrays(_align(below, above.ndim), above)
    # A draw that holds no pair says nothing; the quotient of the whole stands in for it.
    total = _divide(numerator.sum(axis=0), _align(denominator, numerator.ndim).sum(axis=0))
    ratio = np.where(below > 0, _divide(above, below), total)
    low, high = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def binomial_band(successes: Array, trials: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Clopper-Pearson band of a share, for independent trials (one per map); [0, 1] where there are none."""
    successes, trials = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if np.any((successes < 0) | (successes > trials)):
        raise InputError("successes: must lie between 0 and the number of trials")
    tail = (1 - level) / 2
    failures = trials - successes
    low = beta.ppf(tail, np.maximum(successes, 1), failures + 1)
    high = beta.ppf(1 - tail, successes + 1, np.maximum(failures, 1))
    return np.where(successes == 0, 0.0, low), np.where(failures == 0, 1.0, high)


def _align(values: Array, ndim: int) -> Array:
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def _divide(above: Array, below: Array) -> Array:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
