"""Sharpness: how wide the intervals are. Narrower is better, among predictions that are calibrated.

The width between the (1 − L)/2 and (1 + L)/2 quantile curves (Gneiting et al. 2007, J. R. Stat. Soc. B 69, 243);
L = 95 % for CDFs of source-count distributions, 68 % for spectra (List et al. 2025, 2507.17804). A width means little
by itself; its ratio to the prior's width tells how much was learnt: 1 is nothing.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from gcesbi.errors import InputError

from .checks import Array, check_curves, check_finite, check_taus
from .levels import central_interval

__all__ = [
    "AS_WIDE",
    "gaussian_sharpness",
    "prior_quantiles",
    "prior_width_ratio",
    "sharpness",
    "sharpness_ratio",
    "tells_the_prior",
]

AS_WIDE = 0.9
"""An interval at least so wide, in terms of the prior's, tells the prior."""


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
        If taus are unsorted or outside (0, 1), the level needs quantiles beyond them, curves cross, or a value is NaN.

    Examples
    --------
    >>> float(sharpness([[[0.1]], [[0.4]], [[0.9]]], [0.025, 0.5, 0.975])[0, 0])
    0.8
    """
    curves, levels = check_curves(quantiles, taus)
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
    return 2 * ndtri((1 + level) / 2) * width


def prior_quantiles(labels: ArrayLike, taus: ArrayLike, falling: bool = False) -> Array:
    """Quantile curves (n_tau, ...) of labels (n_label, ...) drawn from the prior: the forecast without data.

    `falling` gives curves that fall with τ, as CDFs of source-count distributions do. Take labels of other maps than
    those that are judged, a few hundred at least.
    """
    levels, values = check_taus(taus), check_finite("labels", labels)
    return np.quantile(values, 1 - levels if falling else levels, axis=0)


def sharpness_ratio(quantiles: ArrayLike, taus: ArrayLike, prior: ArrayLike, level: float = 0.95) -> Array:
    """Width of every interval as a share of the prior's, (n_map, ...); NaN where the prior has no width.

    Parameters
    ----------
    quantiles : array (n_tau, n_map, ...)
    taus : array (n_tau,)
    prior : array (n_tau, ...)
        From :func:`prior_quantiles`, at the same levels.
    """
    widths = sharpness(quantiles, taus, level)
    curves = np.asarray(prior, dtype=np.float64)
    if curves.shape[1:] != widths.shape[1:]:
        raise InputError(f"prior: must have shape (n_tau, *{widths.shape[1:]}), got {curves.shape}")
    before = np.broadcast_to(sharpness(curves, taus, level), widths.shape)
    return np.divide(widths, before, out=np.full(widths.shape, np.nan), where=before > 0)


def prior_width_ratio(interval: ArrayLike, prior: ArrayLike) -> float:
    """Width of an interval (low, high) in terms of that of the prior at the same level; NaN where that has no width."""
    (low, high), (first, last) = check_finite("interval", interval), check_finite("prior", prior)
    return float((high - low) / (last - first)) if last > first else float("nan")


def tells_the_prior(interval: ArrayLike, prior: ArrayLike) -> bool:
    """Whether an interval (low, high) is as wide as the prior's, nearly: then no table may quote it as a result.

    Examples
    --------
    >>> tells_the_prior((1.05, 1.25), (1.048, 1.252)), tells_the_prior((1.10, 1.13), (1.048, 1.252))
    (True, False)
    """
    return prior_width_ratio(interval, prior) >= AS_WIDE
