"""What one method says of every map: independent draws, or quantile curves at known levels.

Both come as arrays (n, n_map, ...), and tell themselves apart: quantile curves are ordered along the first axis, draws
move against their main direction in half of the steps. A bare array of ordered curves is taken to be at the levels
k / (n + 1), which are also those that n sorted draws stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

from .atoms import pit_with_atoms
from .calibration import Calibration
from .checks import CROSSING_TOLERANCE, Array, check_draws, check_pair
from .levels import at_level, central_interval, draw_quantiles
from .pit import pit, rank_bounds
from .scores import crps_from_quantiles, crps_from_samples

__all__ = ["Given", "Prediction", "read_predictions"]

#: Arrays (n, n_map, ...) of draws or quantile curves, or curves with their levels.
Given = ArrayLike | tuple[ArrayLike, ArrayLike]
#: Levels at which draws of CDFs are judged.
CDF_TAUS = np.arange(1, 200) / 200
#: Fewest ordered curves whose levels are not asked for.
MIN_CURVES = 9


@dataclass(frozen=True, eq=False)
class Prediction:
    """One method's predictions of truths (n_map, ...).

    Parameters
    ----------
    name : str
    values : array (n, n_map, ...)
    taus : array (n,) or None
        Quantile levels of the values; None for independent draws.
    """

    name: str
    values: Array
    taus: Array | None = None

    @property
    def kind(self) -> str:
        """How the values were read, in words."""
        if self.taus is None:
            return f"{len(self.values)} draws"
        return f"{len(self.values)} quantile curves, {self.taus[0]:.3g} to {self.taus[-1]:.3g}"

    def calibration(self, truth: Array, cdf: bool = False, epsilon: float = 1e-5, seed: int = 0) -> Calibration:
        """Calibration and sharpness: of draws by the truths' ranks, of draws of CDFs and curves by quantiles."""
        if self.taus is None and not cdf:
            return Calibration.from_samples(truth, self.values, self.name, seed)
        return Calibration.from_quantiles(truth, *self._curves(), self.name, cdf, epsilon, seed)

    def pit(self, truth: Array, cdf: bool = False, seed: int = 0) -> Array:
        """Randomised PIT (n_map, ...), uniform on (0, 1) if calibrated."""
        if cdf:
            return pit_with_atoms(truth, *self._curves(), seed=seed)
        if self.taus is not None:
            return pit(truth, self.values, self.taus, seed)
        low, high = rank_bounds(truth, self.values)
        return low + np.random.default_rng(seed).uniform(size=low.shape) * (high - low)

    def median_and_width(self) -> tuple[Array, Array]:
        """Median and width of the 68 % interval, (n_map, ...) each."""
        if self.taus is None:
            low, median, high = draw_quantiles(self.values, [0.16, 0.5, 0.84])
        else:
            low, high = central_interval(self.values, self.taus, 0.68, "taus")
            median = at_level(self.values, self.taus, 0.5, "taus")
        return median, high - low

    def crps(self, truth: Array) -> Array:
        """Continuous ranked probability score (n_map, ...)."""
        if self.taus is None:
            return crps_from_samples(truth, self.values)
        return crps_from_quantiles(truth, self.values, self.taus)

    def _curves(self) -> tuple[Array, Array]:
        """Quantile curves and levels; those of draws fall with τ, as CDFs of source-count distributions do."""
        if self.taus is None:
            return draw_quantiles(self.values, 1 - CDF_TAUS), CDF_TAUS
        return self.values, self.taus


def read_predictions(
    truth: ArrayLike, methods: Mapping[str, Given], taus: ArrayLike | None = None
) -> tuple[Array, tuple[Prediction, ...]]:
    """Truth (n_map, ..., n_bin), and the prediction of every method.

    Parameters
    ----------
    truth : array (n_map, ...)
        A vector is one quantity of many maps, and gets a last axis of length one.
    methods : mapping of str to array (n, n_map, ...), or to a pair of such an array and its levels (n,)
        The first axis counts draws or quantile levels.
    taus : array (n,), optional
        Levels of all quantile curves that come without.

    Raises
    ------
    InputError
        Naming the method, if shapes do not match (the axis order is stated, and what would mend it), values are not
        finite, curves cross, or few curves come without levels.
    """
    if not isinstance(methods, Mapping) or not methods:
        raise InputError(f"methods: must map names to arrays, at least one, got {methods!r:.60}")
    read = [_read(str(name), given, truth, taus) for name, given in methods.items()]
    values = np.asarray(truth, dtype=np.float64)
    if values.ndim == 1:
        return values[:, None], tuple(Prediction(p.name, p.values[..., None], p.taus) for p in read)
    return values, tuple(read)


def _read(name: str, given: Given, truth: ArrayLike, taus: ArrayLike | None) -> Prediction:
    try:
        if isinstance(given, tuple) or _is_pair(given):
            if len(given) != 2:
                raise InputError(f"quantiles: a tuple must be (quantiles, taus), got {len(given)} entries")
            _, curves, levels = check_pair(truth, *given)
            return Prediction(name, curves, levels)
        values, draws = check_draws(truth, given, first="n_sample or n_tau")
        if len(draws) < 2:
            raise InputError(f"samples: must be at least 2 along the first axis, got shape {draws.shape}")
        if not _ordered(draws):
            return Prediction(name, draws)
        _, curves, levels = check_pair(values, draws, _levels(len(draws)) if taus is None else taus)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Prediction(name, curves, levels)


def _is_pair(given: object) -> TypeGuard[tuple[ArrayLike, ArrayLike]]:
    """Whether a list is one of curves and their levels, and not one of draws."""
    return isinstance(given, list) and len(given) == 2 and np.ndim(given[1]) == 1 < np.ndim(given[0])


def _ordered(draws: Array) -> bool:
    """Whether values (n, ...) are ordered along the first axis, but for some crossings; each entry in its own unit."""
    steps, tolerance = np.diff(draws, axis=0), CROSSING_TOLERANCE * np.abs(draws).max(axis=0)
    up, down = np.count_nonzero(steps > tolerance), np.count_nonzero(steps < -tolerance)
    return bool(len(draws) > 1 and min(up, down) <= 0.25 * (up + down))


def _levels(n: int) -> NDArray[np.float64]:
    if n < MIN_CURVES:
        raise InputError(f"quantiles: {n} ordered curves need their levels stated, as (quantiles, taus)")
    return np.arange(1, n + 1) / (n + 1)
