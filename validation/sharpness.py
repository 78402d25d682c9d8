"""Sharpness: how wide the intervals are. Narrower is better, among predictions that are calibrated.

The width between the (1 − L)/2 and (1 + L)/2 quantile curves (Gneiting et al. 2007, J. R. Stat. Soc. B 69, 243);
L = 95 % for CDFs of source-count distributions, 68 % for spectra (List et al. 2025, 2507.17804).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from gcesbi.errors import InputError

from .checks import Array, check_finite, check_taus
from .levels import central_interval

__all__ = ["gaussian_sharpness", "sharpness"]


def sharpness(quantiles: ArrayLike, taus: ArrayLike, level: float = 0.95) -> Array:
    """Inter-quantile range of every map and bin.

    Parameters
    ----------
    quantiles : array (n_tau, n_map, n_bin)
        Predicted curves; they may rise or fall with τ. Further axes are allowed.
    taus : array (n_tau,)
        Quantile levels, increasing within (0, 1).
    level : float
        Level of the central interval.

    Returns
    -------
    array (n_map, n_bin)

    Raises
    ------
    InputError
        If taus are unsorted or outside (0, 1), the level needs quantiles beyond them, or a value is NaN.

    Examples
    --------
    >>> float(sharpness([[[0.1]], [[0.4]], [[0.9]]], [0.025, 0.5, 0.975])[0, 0])
    0.8
    """
    levels, curves = check_taus(taus), check_finite("quantiles", quantiles)
    if len(curves) != len(levels):
        raise InputError(f"quantiles: must have one curve per tau, {len(levels)}, got {len(curves)}")
    if not 0 < level < 1:
        raise InputError(f"level: must lie in (0, 1), got {level}")
    low, high = central_interval(curves, levels, level, "level")
    return high - low


def gaussian_sharpness(std: ArrayLike, level: float = 0.68) -> Array:
    """Width of the central interval of Gaussian predictions with standard deviations `std`, of the same shape."""
    if not 0 < level < 1:
        raise InputError(f"level: must lie in (0, 1), got {level}")
    width = check_finite("std", std)
    if np.any(width <= 0):
        raise InputError(f"std: must be above zero, got {width.min():g}")
    return 2 * norm.ppf((1 + level) / 2) * width
