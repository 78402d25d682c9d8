"""Posterior against posterior: two methods judged on the same maps.

Which is calibrated, which is sharper, and where; how much of their errors they share. Errors are those of the medians.
Two methods that read the same photons have correlated errors; a correlation well below one leaves room for combining
them (List et al. 2025, 2507.17804, Fig. S15). Medians, widths and scores are compared pair by pair, bands resample
maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from gcesbi.errors import InputError

from .bootstrap import binomial_band, divide, map_weights
from .calibration import CalibrationReport, plain
from .checks import Array, check_finite, check_pair, check_taus
from .coverage import Mask, within
from .estimate import Estimate
from .levels import at_level, central_interval
from .scores import crps_from_quantiles, skill_estimate

__all__ = ["Comparison", "c2st", "error_correlation", "gaussian_quantiles"]


def gaussian_quantiles(mean: ArrayLike, std: ArrayLike, taus: ArrayLike) -> Array:
    """Quantile curves (n_tau, ...) of Gaussian predictions."""
    centre, width = check_finite("mean", mean), check_finite("std", std)
    if centre.shape != width.shape or np.any(width <= 0):
        raise InputError(f"std: must be above zero and have the shape of mean, {centre.shape}, got {width.shape}")
    return centre + norm.ppf(check_taus(taus)).reshape(-1, *(1,) * centre.ndim) * width


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two methods on the same maps.

    Parameters
    ----------
    first, second : CalibrationReport
    width_ratio : Estimate
        Width of the second's 68 % intervals over the first's, geometric mean over pairs: below one, the second is
        sharper.
    skill : Estimate
        Of the second against the first, by CRPS: above zero, the second is better. All pairs count, of CDFs too: pairs
        chosen by their truth would not make a proper score.
    shift : Estimate
        Mean difference of the medians, second less first, in units of the first's 68 % half-width.
    correlation : Estimate
        Of the errors of the two medians.
    bin_width_ratio, bin_skill : array (n_bin,)
        As above for each entry of the last axis; NaN where no pair counts, or the first has no error at all.
    """

    first: CalibrationReport
    second: CalibrationReport
    width_ratio: Estimate
    skill: Estimate
    shift: Estimate
    correlation: Estimate
    bin_width_ratio: Array
    bin_skill: Array

    @classmethod
    def from_quantiles(
        cls,
        truth: ArrayLike,
        first: ArrayLike,
        second: ArrayLike,
        taus: ArrayLike,
        names: tuple[str, str] = ("first", "second"),
        cdf: bool = False,
        epsilon: float = 1e-5,
        seed: int = 0,
    ) -> Comparison:
        """Compare quantile curves (n_tau, n_map, ..., n_bin) of the same truth (n_map, ..., n_bin), at the same levels.

        Gaussian predictions: see :func:`gaussian_quantiles`; samples: ``np.quantile(samples, taus, axis=0)``.
        """
        values, one, levels = check_pair(truth, first, taus)
        _, two, _ = check_pair(values, second, levels)
        used = within(values, epsilon) if cdf else np.ones(values.shape, bool)
        reports = [
            CalibrationReport.from_quantiles(values, curves, levels, name, cdf, epsilon, seed)
            for name, curves in zip(names, (one, two), strict=True)
        ]
        medians = [at_level(curves, levels, 0.5, "taus") for curves in (one, two)]
        widths = [np.subtract(*central_interval(curves, levels, 0.68, "taus")[::-1]) for curves in (one, two)]
        open_ = np.asarray(used & (widths[0] > 0) & (widths[1] > 0))
        if not open_.any():
            raise InputError("quantiles: no pair has intervals of some width by both methods")
        log_ratio = np.log(np.where(open_, widths[1], 1.0) / np.where(open_, widths[0], 1.0))
        shift = np.where(open_, 2 * (medians[1] - medians[0]) / np.where(open_, widths[0], 1.0), 0.0)
        scores = [crps_from_quantiles(values, curves, levels) for curves in (one, two)]
        ratio = Estimate.mean(log_ratio, open_, seed=seed)
        return cls(
            first=reports[0],
            second=reports[1],
            width_ratio=Estimate(*(float(np.exp(x)) for x in (ratio.value, ratio.low, ratio.high))),
            skill=skill_estimate(scores[1], scores[0], seed=seed),
            shift=Estimate.mean(shift, open_, seed=seed),
            correlation=error_correlation(medians[0] - values, medians[1] - values, used, seed=seed),
            bin_width_ratio=np.exp(_last_axis_mean(log_ratio, open_)),
            bin_skill=1 - divide(*(score.mean(axis=tuple(range(values.ndim - 1))) for score in scores[::-1])),
        )

    @property
    def sharper(self) -> str | None:
        """Name of the sharper method; None if the band of the ratio holds one."""
        return {1: self.first.name, -1: self.second.name}.get(self.width_ratio.side(1.0))

    @property
    def better(self) -> str | None:
        """Name of the method with the better score; None if the band of the skill holds zero."""
        return {-1: self.first.name, 1: self.second.name}.get(self.skill.side(0.0))

    @property
    def columns(self) -> tuple[str, str, str]:
        """Headings of :attr:`rows`."""
        return ("measure", self.first.name, self.second.name)

    @property
    def rows(self) -> tuple[tuple[str, str, str], ...]:
        """The table for a statistician: one row a measure, one column a method."""
        one, two = self.first, self.second
        return (
            ("judgement", one.judgement, two.judgement),
            ("true / claimed error", str(one.dispersion), str(two.dispersion)),
            ("mean z (bias)", str(one.bias), str(two.bias)),
            ("coverage at 0.68", f"{one.curve.at(0.68)[0]:.3f}", f"{two.curve.at(0.68)[0]:.3f}"),
            ("median width of 68 %", f"{one.width_68:.3g}", f"{two.width_68:.3g}"),
            ("CRPS", f"{one.crps.value:.4g}", f"{two.crps.value:.4g}"),
            ("width, second / first", "1", str(self.width_ratio)),
            ("skill of the second over the first", "0", str(self.skill)),
            ("shift of medians, in half-widths", "0", str(self.shift)),
            ("correlation of errors", "1", str(self.correlation)),
        )

    @property
    def verdict(self) -> str:
        """Two sentences: who is calibrated, who is sharper, who scores better."""
        one, two = self.first, self.second
        sharper = f"{self.sharper} is sharper" if self.sharper else "neither is sharper"
        better = f"{self.better} has the better score" if self.better else "scores do not differ"
        return (
            f"{one.name}: {one.judgement}; {two.name}: {two.judgement}. {sharper[0].upper()}{sharper[1:]} "
            f"(width ratio {self.width_ratio}), {better}, and {100 * self.correlation.value**2:.0f} % of the variance "
            "of their errors is common."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        estimates = {
            name: plain(vars(getattr(self, name))) for name in ("width_ratio", "skill", "shift", "correlation")
        }
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            **estimates,
            "bin_width_ratio": plain(self.bin_width_ratio),
            "bin_skill": plain(self.bin_skill),
            "verdict": self.verdict,
        }


def error_correlation(
    first: ArrayLike, second: ArrayLike, used: ArrayLike | None = None, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Correlation of the errors (n_map, ...) of two methods over the used pairs, with its band from resampled maps."""
    one, two = check_finite("first", first), check_finite("second", second)
    if one.shape != two.shape:
        raise InputError(f"second: must have the shape of first, {one.shape}, got {two.shape}")
    pairs = np.ones(one.shape, bool) if used is None else np.asarray(used, dtype=bool)
    one, two = one - one[pairs].mean(), two - two[pairs].mean()
    terms = [np.where(pairs, t, 0.0).reshape(len(one), -1).sum(axis=1) for t in (one * 0 + 1, one, two)]
    terms += [np.where(pairs, t, 0.0).reshape(len(one), -1).sum(axis=1) for t in (one**2, two**2, one * two)]
    sums = np.stack(terms, axis=1)
    drawn = _correlation(map_weights(len(one), seed=seed) @ sums)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(_correlation(sums.sum(axis=0))), float(low), float(high))


def c2st(first: ArrayLike, second: ArrayLike, seed: int = 0, classifier: str = "rf") -> Estimate:
    """Accuracy of a classifier that tells two sets of samples (n, d) of one map apart, by sbi: ½ if they are alike.

    The band is binomial, for 2 n held-out guesses taken as independent (they share training sets: it is a little
    narrow).
    """
    from sbi.utils.metrics import c2st as accuracy

    one, two = check_finite("first", first), check_finite("second", second)
    if one.ndim != 2 or one.shape != two.shape:
        raise InputError(f"second: both must have the same shape (n, d), got {one.shape} and {two.shape}")
    import torch

    both = (torch.as_tensor(values, dtype=torch.float32) for values in (one, two))
    share = float(accuracy(*both, seed=seed + 1, classifier=classifier))
    trials = np.array(2.0 * len(one))
    low, high = binomial_band(np.rint(share * trials), trials)
    return Estimate(share, float(low), float(high))


def _correlation(sums: Array) -> Array:
    """Pearson's r from sums (..., 6): n, x, y, x², y², xy."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    scale = np.sqrt(np.maximum((n * xx - x**2) * (n * yy - y**2), 1e-300))
    return (n * xy - x * y) / scale


def _last_axis_mean(values: Array, used: Mask) -> Array:
    axes = tuple(range(values.ndim - 1))
    return divide(np.where(used, values, 0.0).sum(axis=axes), used.sum(axis=axes).astype(np.float64))
