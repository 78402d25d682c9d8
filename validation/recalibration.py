"""Split conformal recalibration of quantile bands: measure on some maps how far they miss, widen others by that.

With E = max(low − y, y − high) on n calibration maps, bands widened by the ⌈(n + 1) α⌉-th smallest E hold a fresh
exchangeable truth with probability at least α, whatever the predictor (Romano, Patterson & Candès 2019, 1905.03222).
The promise is marginal, averaged over maps like the calibration maps: not for any one map, nor for another model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gcesbi.errors import InputError

from .checks import Array, check_curves, check_pair
from .levels import central_interval

__all__ = ["ConformalBand"]


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
        cls, truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, alpha: float, simultaneous: bool = False
    ) -> ConformalBand:
        """Measure the widening on calibration maps: truth (n_map, ...), quantiles (n_tau, n_map, ...)."""
        values, curves, levels = check_pair(truth, quantiles, taus)
        low, high = _interval(curves, levels, alpha)
        miss = np.maximum(low - values, values - high)
        if simultaneous:
            miss = miss.reshape(len(miss), -1).max(axis=1)
        rank = int(np.ceil((len(miss) + 1) * alpha))
        if rank > len(miss):
            return cls(alpha, np.full(miss.shape[1:], np.inf), len(miss), simultaneous)
        return cls(alpha, np.partition(miss, rank - 1, axis=0)[rank - 1], len(miss), simultaneous)

    def interval(self, quantiles: ArrayLike, taus: ArrayLike) -> tuple[Array, Array]:
        """Recalibrated lower and upper bound (n_map, ...) for the curves (n_tau, n_map, ...) of other maps.

        Where a negative widening would turn a band inside out, both bounds are its middle.
        """
        low, high = _interval(*check_curves(quantiles, taus), self.alpha)
        reach = np.maximum(self.widening, -(high - low) / 2)
        return low - reach, high + reach


def _interval(curves: Array, taus: Array, alpha: float) -> tuple[Array, Array]:
    if not 0 < alpha < 1:
        raise InputError(f"alpha: must lie in (0, 1), got {alpha}")
    return central_interval(curves, taus, alpha, "alpha")
