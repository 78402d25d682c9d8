"""A mean over (map, bin) pairs with its band: maps are the independent unit, bins of one map are correlated.

With s_m the sum over the pairs of map m and n_m their number, the mean is r = Σ s_m / Σ n_m. Its band comes from
resampled maps (:meth:`Estimate.mean`), or, at levels that resampling does not reach, from the linearised error of a
ratio, σ² = M/(M − 1) Σ (s_m − r n_m)² / (Σ n_m)², and Student's t (:meth:`Estimate.linear`; Cochran 1977, Sampling
Techniques). Squares of errors are skewed, and t = (r − ϱ)/σ with them. With γ the skewness of the residuals and
c = γ/√M,

    g(t) = ((1 + c t/3)³ − 1)/c + c/6

is nearly as Student's t is (Hall 1992, J. R. Stat. Soc. B 54, 221), and its inverse makes the band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from gcesbi.errors import InputError

from .bootstrap import bootstrap_band
from .checks import Array, check_finite

__all__ = ["Estimate"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A mean over maps with its band."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = (f"{round(x, 2) + 0.0:.2f}" for x in (self.value, self.low, self.high))  # no -0.00
        return f"{value} ({low} to {high})"

    @classmethod
    def mean(cls, values: Array, used: Mask | None = None, level: float = 0.95, seed: int = 0) -> Estimate:
        """Mean of values (n_map, ...) over the used pairs (all by default), maps resampled."""
        sums, counts = _per_map(values, used)
        low, high = bootstrap_band(sums, counts, level, seed=seed)
        return cls(float(sums.sum() / counts.sum()), float(low), float(high))

    @classmethod
    def linear(cls, values: Array, used: Mask | None = None, level: float = 0.95) -> Estimate:
        """As :meth:`mean`, with a linearised band that allows for skewness: any level, cheap; for a few dozen maps."""
        sums, counts = _per_map(values, used)
        n, total = len(sums), counts.sum()
        ratio = sums.sum() / total
        if n < 2:
            return cls(float(ratio), -np.inf, np.inf)
        rest = sums - ratio * counts
        error = np.sqrt(n / (n - 1) * np.sum(rest**2)) / total
        reach = stdtrit(n - 1, (1 + level) / 2)
        c = _skewness(rest) / np.sqrt(n)
        low, high = (float(ratio - error * _unskewed(x, c)) for x in (reach, -reach))
        return cls(float(ratio), low, high)

    def side(self, nominal: float) -> int:
        """Where the band lies: 1 above the nominal value, -1 below, 0 if it holds it."""
        return int(self.low > nominal) - int(self.high < nominal)

    @property
    def root(self) -> Estimate:
        """Square root of value and band."""
        return Estimate(*(float(np.sqrt(max(x, 0.0))) for x in (self.value, self.low, self.high)))


def _skewness(rest: Array) -> float:
    """Third moment of residuals (n_map,) over the second to the power 3/2; 0 where there is no scatter."""
    variance = np.mean(rest**2)
    return float(np.mean(rest**3) / variance**1.5) if variance > 0 else 0.0


def _unskewed(x: float, c: float) -> float:
    """The t whose g(t) is x."""
    return float(3 / c * (np.cbrt(1 + c * (x - c / 6)) - 1)) if abs(c) > 1e-6 else x


def _per_map(values: Array, used: Mask | None) -> tuple[Array, Array]:
    """Sums and numbers of the used pairs of every map, (n_map,) each."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or len(values) == 0:
        raise InputError("values: must hold at least one map, got none")
    pairs = np.ones(values.shape, bool) if used is None else np.asarray(used, dtype=bool)
    if pairs.shape != values.shape:
        raise InputError(f"used: must be a mask of shape {values.shape}, got {pairs.shape}")
    pairs = pairs.reshape(len(pairs), -1)
    counts = pairs.sum(axis=1).astype(np.float64)
    if counts.sum() == 0:
        raise InputError("used: no pair counts")
    return check_finite("values", np.where(pairs, values.reshape(pairs.shape), 0.0)).sum(axis=1), counts
