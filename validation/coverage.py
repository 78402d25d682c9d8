"""Coverage: how often the truth lies inside the intervals that claim to hold it.

At nominal level α, the share of (map, bin) pairs whose true value lies between the (1 − α)/2 and the (1 + α)/2 quantile
curves (List et al. 2025, 2507.17804). For CDFs of source-count distributions only pairs with ε < P < 1 − ε count: where
the true CDF is 0 or 1, nothing is left to be predicted. Coverage is *pointwise*: a band that covers 95 % of the pairs
does not hold 95 % of whole curves. It is also blind to sharpness: the prior covers as well as any posterior.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from gcesbi.errors import InputError

from .bootstrap import MIN_MAPS, divide, share_band
from .checks import Array, check_alphas, check_cdfs, check_finite, check_pair
from .levels import central_interval

__all__ = [
    "CalibrationCurve",
    "calibration_curve",
    "coverage",
    "coverage_by",
    "curves_along",
    "gaussian_coverage",
    "gaussian_covered",
    "interval_coverage",
    "quantiles_covered",
    "within",
]

Mask = NDArray[np.bool_]


def coverage(
    truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, alphas: ArrayLike, epsilon: float = 1e-5
) -> Array:
    """Share of (map, bin) pairs whose true CDF value lies inside the central interval of level α.

    For values that are no CDFs see :func:`interval_coverage`.

    Parameters
    ----------
    truth : array (n_map, ..., n_bin)
        True CDF values.
    quantiles : array (n_tau, n_map, ..., n_bin)
        Predicted CDFs at the quantile levels `taus`; they may rise or fall with τ. Linear in τ in between.
    taus : array (n_tau,)
        Quantile levels, increasing within (0, 1).
    alphas : array (n_alpha,)
        Nominal levels; (1 ∓ α)/2 must lie within the range of `taus`.
    epsilon : float
        Pairs with truth outside (ε, 1 − ε) do not count.

    Returns
    -------
    array (n_alpha,)
        NaN if no pair counts.

    Raises
    ------
    InputError
        If shapes differ, a value is NaN, taus are unsorted or outside (0, 1), an α needs levels beyond them, curves
        cross, or CDFs leave [0, 1] or do not end at 1.

    Examples
    --------
    >>> import numpy as np
    >>> rng, taus = np.random.default_rng(0), np.linspace(0.01, 0.99, 99)
    >>> truth = rng.uniform(size=(4000, 5))
    >>> quantiles = np.broadcast_to(taus[:, None, None], (99, 4000, 5))
    >>> [f"{share:.2f}" for share in coverage(truth, quantiles, taus, [0.5, 0.95])]
    ['0.50', '0.95']
    """
    covered = quantiles_covered(truth, quantiles, taus, alphas, cdf=True)
    used = within(truth, epsilon)
    return _share(covered, used, axis=None)


def interval_coverage(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, alphas: ArrayLike) -> Array:
    """Share (n_alpha,) of values inside their central intervals of level α: any real numbers, every pair counts.

    Parameters
    ----------
    truth : array (n_map, ...)
        True values, in any unit.
    quantiles : array (n_tau, n_map, ...)
        Predicted quantiles in the unit of `truth`; of samples (n_sample, n_map, ...) they are
        ``numpy.quantile(samples, taus, axis=0)``.
    taus, alphas : array (n_tau,), (n_alpha,)
        As in :func:`coverage`.

    Raises
    ------
    InputError
        As :func:`coverage`, except of CDFs.

    Examples
    --------
    >>> import numpy as np
    >>> rng, taus = np.random.default_rng(0), np.linspace(0.01, 0.99, 99)
    >>> truth = rng.exponential(size=(4000, 5))
    >>> quantiles = np.broadcast_to(-np.log(1 - taus)[:, None, None], (99, 4000, 5))
    >>> [f"{share:.2f}" for share in interval_coverage(truth, quantiles, taus, [0.5, 0.95])]
    ['0.50', '0.95']
    """
    return _share(quantiles_covered(truth, quantiles, taus, alphas), np.ones(np.shape(truth), bool), axis=None)


def gaussian_coverage(truth: ArrayLike, mean: ArrayLike, std: ArrayLike, alphas: ArrayLike) -> Array:
    """Coverage (n_alpha,) of Gaussian predictions, truth, mean and std (n_map, ...); every pair counts."""
    return gaussian_covered(truth, mean, std, alphas).reshape(len(check_alphas(alphas)), -1).mean(axis=1)


def quantiles_covered(
    truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, alphas: ArrayLike, cdf: bool = False
) -> Mask:
    """Whether each value lies in its central interval, bounds included: (n_alpha, n_map, ...).

    `cdf` asks that truth and quantiles be CDFs along the last axis.
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    nominal = check_alphas(alphas)
    if cdf:
        check_cdfs(values, curves)
    bounds = (central_interval(curves, levels, alpha) for alpha in nominal)
    return np.stack([(low <= values) & (values <= high) for low, high in bounds])


def gaussian_covered(truth: ArrayLike, mean: ArrayLike, std: ArrayLike, alphas: ArrayLike) -> Mask:
    """Whether each value lies within the central Gaussian interval, (n_alpha, n_map, ...).

    Raises
    ------
    InputError
        If shapes differ, a value is NaN, or a standard deviation is not above zero.
    """
    score = np.abs(z_score(truth, mean, std))
    reach = ndtri((1 + check_alphas(alphas)) / 2)
    return score <= reach.reshape(-1, *(1,) * score.ndim)


def z_score(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Array:
    """Error in units of its claimed standard deviation, (truth − mean) / std, checked."""
    values, centre, width = (check_finite(n, v) for n, v in (("truth", truth), ("mean", mean), ("std", std)))
    if not (values.shape == centre.shape == width.shape):
        raise InputError(f"truth, mean, std: must share a shape, got {values.shape}, {centre.shape}, {width.shape}")
    if np.any(width <= 0):
        raise InputError(f"std: must be above zero, got {width.min():g}")
    return (values - centre) / width


def within(truth: ArrayLike, epsilon: float) -> Mask:
    """Pairs that count: ε < truth < 1 − ε."""
    values, threshold = np.asarray(truth), check_epsilon(epsilon)
    return (values > threshold) & (values < 1 - threshold)


def check_epsilon(epsilon: float) -> float:
    """The threshold; raise InputError unless it lies in [0, 0.5)."""
    if not 0 <= epsilon < 0.5:
        raise InputError(f"epsilon: must lie in [0, 0.5), got {epsilon}")
    return epsilon


def coverage_by(covered: Mask | Array, used: Mask | None = None, keep: int | tuple[int, ...] = -1) -> Array:
    """Coverage (n_alpha, *kept axes) per flux bin, template or energy bin.

    Parameters
    ----------
    covered : array (n_alpha, n_map, ...)
        From :func:`quantiles_covered` or :func:`gaussian_covered`.
    used : array (n_map, ...), optional
        Pairs that count, from :func:`within`; all by default.
    keep : int or tuple of int
        Axes of the *values* (n_map, ...) that are kept, for instance 1 for templates of (n_map, n_template, n_energy).

    Returns
    -------
    array (n_alpha, ...)
        NaN where no pair counts.
    """
    n_axis = covered.ndim - 1
    kept = {axis % n_axis for axis in np.atleast_1d(keep)}
    summed = tuple(axis + 1 for axis in range(n_axis) if axis not in kept)
    return _share(covered, np.ones(covered.shape[1:], bool) if used is None else used, summed)


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Coverage against nominal level, with the band that finitely many maps leave.

    Parameters
    ----------
    alphas, coverage : array (n_alpha,)
    low, high : array (n_alpha,)
        Pointwise band of the measured coverage, at `level`: Clopper-Pearson's, for as many independent pairs as the
        scatter between maps stands for (:func:`~gcesbi.validation.bootstrap.share_band`).
    n_map, n_pair : int
        Maps, and pairs that count.
    level : float
        Level of the band.
    """

    alphas: Array
    coverage: Array
    low: Array
    high: Array
    n_map: int
    n_pair: int
    level: float = 0.95

    @property
    def few_maps(self) -> bool:
        """Whether fewer maps than :data:`~gcesbi.validation.bootstrap.MIN_MAPS` were there: do not judge by it."""
        return self.n_map < MIN_MAPS

    def at(self, alpha: float) -> tuple[float, float, float]:
        """Coverage, low, high at the nearest α of the curve."""
        at = int(np.argmin(np.abs(self.alphas - alpha)))
        return float(self.coverage[at]), float(self.low[at]), float(self.high[at])


def calibration_curve(
    covered: Mask | Array,
    alphas: ArrayLike,
    used: Mask | None = None,
    level: float = 0.95,
) -> CalibrationCurve:
    """Coverage curve over all pairs, with its band.

    Parameters
    ----------
    covered : array (n_alpha, n_map, ...)
        From :func:`quantiles_covered` or :func:`gaussian_covered`, or shares from
        :func:`~gcesbi.validation.atoms.share_inside`; take a slice for one template, bin or energy.
    used : array (n_map, ...), optional
        Pairs that count; all by default.
    """
    nominal = check_alphas(alphas)
    used = np.ones(covered.shape[1:], bool) if used is None else used
    if covered.shape != (len(nominal), *used.shape):
        raise InputError(f"covered: must have shape {(len(nominal), *used.shape)}, got {covered.shape}")
    n_map = used.shape[0]
    hits = np.where(used, covered, 0.0).reshape(len(nominal), n_map, -1).sum(axis=-1).T
    pairs = used.reshape(n_map, -1).sum(axis=-1).astype(np.float64)
    low, high = share_band(hits, pairs, level)
    return CalibrationCurve(nominal, _share(covered, used, None), low, high, n_map, int(pairs.sum()), level)


def curves_along(
    covered: Mask | Array,
    alphas: ArrayLike,
    axis: int = -1,
    used: Mask | None = None,
    level: float = 0.95,
) -> tuple[CalibrationCurve | None, ...]:
    """One calibration curve, with its band, for each flux bin, energy bin or template.

    Parameters
    ----------
    covered : array (n_alpha, n_map, ...)
        As in :func:`calibration_curve`.
    axis : int
        Axis of the *values* (n_map, ...) along which curves are made, as in :func:`coverage_by`; not the maps'.
    used : array (n_map, ...), optional

    Returns
    -------
    tuple of CalibrationCurve or None
        None where no pair counts.
    """
    counting = np.ones(covered.shape[1:], bool) if used is None else used
    at = axis % counting.ndim
    if at == 0:
        raise InputError("axis: must not be that of the maps, 0")
    parts = ((np.take(covered, i, at + 1), np.take(counting, i, at)) for i in range(counting.shape[at]))
    return tuple(calibration_curve(c, alphas, u, level) if u.any() else None for c, u in parts)


def _share(covered: Mask | Array, used: Mask, axis: tuple[int, ...] | None) -> Array:
    """Share of used pairs that are covered, over `axis` of (n_alpha, n_map, ...); all but the first by default."""
    axis = tuple(range(1, covered.ndim)) if axis is None else axis
    hits = np.where(used, covered, 0.0).sum(axis=axis)
    pairs = np.broadcast_to(used, covered.shape).sum(axis=axis)
    return divide(hits, pairs)
