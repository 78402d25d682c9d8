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
from scipy.special import ndtr, ndtri

from gcesbi.errors import InputError

from .checks import Array, check_curves, check_pair
from .levels import central_interval

__all__ = ["KNOTS", "ConformalBand", "ScoreMap", "conformal_level"]

_LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95, 0.98, 0.99])
_UPPER = ndtri((1 + _LEVELS) / 2)

KNOTS = np.concatenate([-_UPPER[::-1], [0.0], _UPPER])
"""Normal scores between which a :class:`ScoreMap` is linear."""


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


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """Where a prediction is to be asked for a quantile so that it holds what it claims, on the scale of normal scores.

    With z = Φ⁻¹(PIT) the error of a truth in units of the claimed one, the quantile of level Φ(ζ) holds what it claims
    if it is taken at the score m + sign(ζ) (|ζ| + w(ζ)) of the prediction: m is the median of z, and w what
    :class:`ConformalBand` adds to the intervals ± |ζ| so that they hold z − m, on either side of m by itself. The
    promise is marginal, over all pairs of map and bin that z is of.

    Parameters
    ----------
    values : array (n_knot,)
        At :data:`KNOTS`, which they are for a calibrated prediction; linear between and beyond.
    """

    values: Array

    @classmethod
    def fit(cls, scores: ArrayLike) -> ScoreMap:
        """Measure it by the normal scores (n, ...) of truths that the prediction never saw.

        Raises
        ------
        InputError
            If there are fewer than 200, or one is not finite.
        """
        z = np.asarray(scores, dtype=np.float64).ravel()
        if z.size < 200 or not np.isfinite(z).all():
            raise InputError(f"scores: must be finite, at least 200, got {z.size}")
        middle = float(np.median(z))
        below, above = _reach(middle - z[z <= middle]), _reach(z[z >= middle] - middle)
        return cls(np.concatenate([middle - below[::-1], [middle], middle + above]))

    @property
    def trivial(self) -> bool:
        """Whether it leaves all as it is."""
        return bool(np.all(self.values == KNOTS))

    def __call__(self, scores: ArrayLike) -> Array:
        """Scores at which to ask, for those whose level is wanted."""
        return _linear(np.asarray(scores, dtype=np.float64), KNOTS, self.values)

    def inverse(self, scores: ArrayLike) -> Array:
        """Scores of truths after recalibration, from those before."""
        return _linear(np.asarray(scores, dtype=np.float64), self.values, KNOTS)

    def levels(self, levels: ArrayLike) -> Array:
        """Levels at which to ask, for those that are wanted."""
        return np.clip(ndtr(self(ndtri(np.asarray(levels, dtype=np.float64)))), 1e-6, 1 - 1e-6)


def _reach(distance: Array) -> Array:
    """How far from the median intervals must reach on one side, at the upper knots, to hold the truths there."""
    curves = np.broadcast_to(KNOTS[:, None], (len(KNOTS), distance.size))
    widening = [ConformalBand.fit(distance, curves, ndtr(KNOTS), alpha).widening for alpha in _LEVELS]
    return np.cumsum(np.maximum(np.diff(_UPPER + np.array(widening), prepend=0.0), 1e-4))


def _linear(x: Array, xp: Array, fp: Array) -> Array:
    """Values at x of the lines through (xp, fp), continued beyond the ends."""
    right = np.clip(np.searchsorted(xp, x), 1, len(xp) - 1)
    slope = (fp[right] - fp[right - 1]) / (xp[right] - xp[right - 1])
    return np.asarray(fp[right - 1] + slope * (x - xp[right - 1]))


def _interval(curves: Array, taus: Array, alpha: float) -> tuple[Array, Array]:
    if not 0 < alpha < 1:
        raise InputError(f"alpha: must lie in (0, 1), got {alpha}")
    return central_interval(curves, taus, alpha, "alpha")
