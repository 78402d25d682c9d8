"""Split conformal recalibration of quantile bands: measure on some maps how far they miss, widen others by that.

With E = max(low − y, y − high) on n calibration maps, bands widened by the ⌈(n + 1) α⌉-th smallest E hold a fresh
exchangeable truth with probability at least α, whatever the predictor (Romano, Patterson & Candès 2019, 1905.03222).
The promise is marginal, averaged over maps like the calibration maps: not for any one map, nor for another model. Maps
may be chosen by their predictions, on both sides, and the promise is then about such maps (Vovk 2012, 1209.2673); not
by their truths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

from .checks import Array, check_curves, check_pair
from .levels import central_interval

__all__ = ["ConformalBand", "conformal_level"]


@dataclass(frozen=True, eq=False)
class ConformalBand:
    """Widening that makes bands of level `alpha` hold what they claim.

    Parameters
    ----------
    alpha : float
        Nominal level.
    widening : array (...)
        Added on either side, per bin; negative where bands were too wide, infinite where `n_map` is too small to
        promise the level.
    n_map : int
        Calibration maps.
    simultaneous : bool
        Whether the band shall hold whole curves (one widening for all bins) rather than each bin by itself.
    """

    alpha: float
    widening: Array
    n_map: int
    simultaneous: bool = False

    @property
    def few_maps(self) -> bool:
        """Whether there were too few calibration maps for the level: the widening is infinite."""
        return bool(np.isinf(self.widening).any())

    @classmethod
    def fit(
        cls,
        truth: ArrayLike,
        quantiles: ArrayLike,
        taus: ArrayLike,
        alpha: float,
        simultaneous: bool = False,
        used: ArrayLike | None = None,
    ) -> ConformalBand:
        """Measure the widening on calibration maps.

        Parameters
        ----------
        truth : array (n_map, ...)
        quantiles : array (n_tau, n_map, ...)
        taus : array (n_tau,)
        alpha : float
        simultaneous : bool
        used : array (n_map, ...), optional
            Pairs that count, chosen without knowing the truth, as by :func:`gcesbi.validation.undecided`; all by
            default. The promise is about such pairs.
        """
        values, curves, levels = check_pair(truth, quantiles, taus)
        counting = np.ones(values.shape, bool) if used is None else np.asarray(used, dtype=bool)
        if counting.shape != values.shape:
            raise InputError(f"used: must be a mask of shape {values.shape}, got {counting.shape}")
        low, high = _interval(curves, levels, alpha)
        miss = np.maximum(low - values, values - high)
        if simultaneous:
            miss = np.where(counting, miss, -np.inf).reshape(len(miss), -1).max(axis=1)
            counting = np.asarray(counting.reshape(len(miss), -1).any(axis=1))
        return cls(alpha, conformal_level(miss, alpha, counting), len(miss), simultaneous)

    def interval(self, quantiles: ArrayLike, taus: ArrayLike) -> tuple[Array, Array]:
        """Recalibrated lower and upper bound (n_map, ...) for the curves (n_tau, n_map, ...) of other maps.

        Where a negative widening would turn a band inside out, both bounds are its middle.
        """
        low, high = _interval(*check_curves(quantiles, taus), self.alpha)
        reach = np.maximum(self.widening, -(high - low) / 2)
        return low - reach, high + reach


def conformal_level(scores: Array, alpha: float, used: NDArray[np.bool_] | None = None) -> Array:
    """The ⌈(n + 1) α⌉-th smallest of the n used scores (n_map, ...), along the first axis; infinite if n is too small.

    A fresh exchangeable score is at most as large with probability α or more.
    """
    counting = np.ones(scores.shape, bool) if used is None else used
    n = counting.sum(axis=0)
    rank = np.maximum(np.ceil((n + 1) * alpha - 1e-9).astype(np.intp), 1)
    ordered = np.sort(np.where(counting, scores, np.inf), axis=0)
    ordered = np.concatenate([ordered, np.full((1, *ordered.shape[1:]), np.inf)])
    found = np.take_along_axis(ordered, np.minimum(rank, len(scores))[None] - 1, axis=0)[0]
    return np.where(rank > n, np.inf, found)


def _interval(curves: Array, taus: Array, alpha: float) -> tuple[Array, Array]:
    if not 0 < alpha < 1:
        raise InputError(f"alpha: must lie in (0, 1), got {alpha}")
    return central_interval(curves, taus, alpha, "alpha")
