"""Simultaneous coverage: how often a band holds a whole curve, and how much wider it must be to do so as it says.

A pointwise band of level α holds each bin's value with probability α, and a whole curve less often: with B independent
bins α^B. Two remedies are measured on maps with known truth. The *level*: the pointwise level whose bands hold a share
α of whole curves. The *widening*: the factor λ by which the band of level α must be stretched about the median, bin by
bin, to hold a share α of whole curves; λ is the ⌈(n + 1) α⌉-th smallest of the factors that the n known curves would
have needed, hence also valid for a fresh exchangeable curve (see :mod:`.recalibration`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .checks import Array, check_alphas, check_cdfs, check_pair
from .coverage import CalibrationCurve, Mask, calibration_curve, quantiles_covered, within
from .levels import at_level, central_interval
from .pit import pit_bounds
from .recalibration import conformal_level

__all__ = ["SimultaneousCoverage", "simultaneous_coverage"]


@dataclass(frozen=True, eq=False)
class SimultaneousCoverage:
    """Coverage of whole curves by pointwise bands.

    Parameters
    ----------
    curve : CalibrationCurve
        Share of whole curves inside the bands of pointwise level α, with its band: below α without being a fault.
    pointwise_level : array (n_alpha,)
        Pointwise level whose bands hold a share α of whole curves; NaN where the quantile levels do not reach.
    widening : array (n_alpha,)
        Factor by which bands of level α must be stretched about the median to hold a share α of whole curves; infinite
        where there are too few curves for the level, or the predicted band has no width where the truth differs.
    """

    curve: CalibrationCurve
    pointwise_level: Array
    widening: Array

    def at(self, alpha: float) -> tuple[float, float, float]:
        """Coverage of whole curves, pointwise level and widening at the nearest α."""
        i = int(np.argmin(np.abs(self.curve.alphas - alpha)))
        return float(self.curve.coverage[i]), float(self.pointwise_level[i]), float(self.widening[i])


def simultaneous_coverage(
    truth: ArrayLike,
    quantiles: ArrayLike,
    taus: ArrayLike,
    alphas: ArrayLike,
    *,
    cdf: bool = True,
    epsilon: float = 1e-5,
) -> SimultaneousCoverage:
    """Coverage of whole curves, by bands of pointwise level α.

    Parameters
    ----------
    truth : array (n_map, ..., n_bin)
        A curve is the last axis; those of one map (templates) belong together.
    quantiles : array (n_tau, n_map, ..., n_bin)
    taus : array (n_tau,)
    alphas : array (n_alpha,)
    cdf : bool
        Whether curves are CDFs: then only bins with ε < truth < 1 − ε count, and curves without any do not.
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    nominal = check_alphas(alphas)
    if cdf:
        check_cdfs(values, curves)
    used = within(values, epsilon) if cdf else np.ones(values.shape, bool)
    held = np.asarray((quantiles_covered(values, curves, levels, nominal) | ~used).all(axis=-1))
    counting = np.asarray(used.any(axis=-1))
    needed = np.where(used, _level_needed(values, curves, levels), 0.0).max(axis=-1)[counting]
    return SimultaneousCoverage(
        curve=calibration_curve(held, nominal, counting),
        pointwise_level=np.array([_reached(float(conformal_level(needed, alpha))) for alpha in nominal]),
        widening=np.array([conformal_level(_stretch(values, curves, levels, a, used)[counting], a) for a in nominal]),
    )


def _level_needed(values: Array, curves: Array, levels: Array) -> Array:
    """Smallest pointwise level whose interval holds the value; 1 beyond the outermost curves."""
    low, high = pit_bounds(values, curves, levels)
    middle = np.clip(0.5, low, high)
    outside = (high <= levels[0]) | (low >= levels[-1])
    return np.where(outside, 1.0, np.abs(2 * middle - 1))


def _reached(level: float) -> float:
    return level if level < 1 else float("nan")


def _stretch(values: Array, curves: Array, levels: Array, alpha: float, used: Mask) -> Array:
    """Factor about the median that the band of level α needs to hold each whole curve, (n_map, ...)."""
    median = at_level(curves, levels, 0.5, "taus")
    low, high = central_interval(curves, levels, alpha)
    error = values - median
    room = np.where(error > 0, high - median, median - low)
    missed = np.abs(error)
    factor = np.divide(missed, room, out=np.where(missed > 0, np.inf, 0.0), where=room > 0)
    return np.where(used, factor, 0.0).max(axis=-1)
