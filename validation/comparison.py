"""Posterior against posterior: any number of methods judged on the same maps.

Which is calibrated, which is sharper, and where; how much of their errors they share. Errors are those of the medians.
Two methods that read the same photons have correlated errors; a correlation well below one leaves room for combining
them (List et al. 2025, 2507.17804, Fig. S15). Medians, widths and scores are compared pair by pair, bands resample
maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from gcesbi.errors import InputError, checked_seed

from .bootstrap import binomial_band, divide, map_weights
from .calibration import Calibration, plain
from .checks import Array, check_finite, check_taus
from .coverage import Mask, within
from .estimate import Estimate
from .predictions import Given, Prediction, read_predictions
from .scores import skill_estimate

__all__ = ["Comparison", "Pair", "c2st", "error_correlation", "gaussian_quantiles"]

#: Relative differences of widths and scores that finitely many draws or levels leave open.
RESOLUTION = 0.005


def gaussian_quantiles(mean: ArrayLike, std: ArrayLike, taus: ArrayLike) -> Array:
    """Quantile curves (n_tau, ...) of Gaussian predictions."""
    centre, width = check_finite("mean", mean), check_finite("std", std)
    if centre.shape != width.shape or np.any(width <= 0):
        raise InputError(f"std: must be above zero and have the shape of mean, {centre.shape}, got {width.shape}")
    return centre + ndtri(check_taus(taus)).reshape(-1, *(1,) * centre.ndim) * width


@dataclass(frozen=True, eq=False)
class Pair:
    """Two methods on the same maps.

    Parameters
    ----------
    first, second : Calibration
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

    first: Calibration
    second: Calibration
    width_ratio: Estimate
    skill: Estimate
    shift: Estimate
    correlation: Estimate
    bin_width_ratio: Array
    bin_skill: Array

    @property
    def sharper(self) -> str | None:
        """Name of the sharper method; None if the band of the ratio reaches to within :data:`RESOLUTION` of one."""
        return {1: self.first.name, -1: self.second.name}.get(_clear_side(self.width_ratio, 1.0))

    @property
    def better(self) -> str | None:
        """Name of the method with the better score; None if the band of the skill reaches to within that of zero."""
        return {-1: self.first.name, 1: self.second.name}.get(_clear_side(self.skill, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the two calibrations as plain numbers, for JSON."""
        estimates = {key: plain(vars(getattr(self, key))) for key in ("width_ratio", "skill", "shift", "correlation")}
        bins = {key: plain(getattr(self, key)) for key in ("bin_width_ratio", "bin_skill")}
        return {"first": self.first.name, "second": self.second.name, **estimates, **bins}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Any number of methods on the same maps: each by itself, and each pair.

    Parameters
    ----------
    reports : tuple of Calibration
        One a method.
    pairs : tuple of Pair
        Every method with every later one, those with the first method leading.
    """

    reports: tuple[Calibration, ...]
    pairs: tuple[Pair, ...]

    @classmethod
    def of(
        cls,
        truth: ArrayLike,
        methods: Mapping[str, Given],
        taus: ArrayLike | None = None,
        cdf: bool = False,
        epsilon: float = 1e-5,
        seed: int = 0,
    ) -> Comparison:
        """Compare methods on the same truths.

        Parameters
        ----------
        truth : array (n_map, ..., n_bin)
        methods : mapping of str to array (n, n_map, ..., n_bin)
            Independent draws, or quantile curves, at `taus` or as a pair (curves, their levels): see
            :func:`~gcesbi.validation.predictions.read_predictions`. Gaussian predictions: see
            :func:`gaussian_quantiles`.
        taus : array (n_tau,), optional
        cdf : bool
            The values are CDFs of source-count distributions; pairs with truth outside (ε, 1 − ε) do not count.
        epsilon : float
        seed : int
            Of the resampled maps.
        """
        values, predictions = read_predictions(truth, methods, taus)
        return cls.of_predictions(values, predictions, cdf, epsilon, seed)

    @classmethod
    def of_predictions(
        cls, truth: Array, predictions: Sequence[Prediction], cdf: bool = False, epsilon: float = 1e-5, seed: int = 0
    ) -> Comparison:
        """Compare what was read before; truth (n_map, ..., n_bin)."""
        seed = checked_seed(seed)
        reports = tuple(each.calibration(truth, cdf, epsilon, seed) for each in predictions)
        if len(reports) < 2:
            return cls(reports, ())
        used = within(truth, epsilon) if cdf else np.ones(truth.shape, bool)
        both = zip(reports, predictions, strict=True)
        known = [_Known(report, *each.median_and_width(), each.crps(truth)) for report, each in both]
        return cls(reports, tuple(_pair(truth, *two, used, seed) for two in combinations(known, 2)))

    @property
    def names(self) -> tuple[str, ...]:
        """Methods."""
        return tuple(report.name for report in self.reports)

    @property
    def sharper(self) -> str | None:
        """Name of the method that is sharper than every other; None if there is none."""
        return self._above_all([pair.sharper for pair in self.pairs])

    @property
    def better(self) -> str | None:
        """Name of the method whose score is better than every other's; None if there is none."""
        return self._above_all([pair.better for pair in self.pairs])

    def _above_all(self, winners: list[str | None]) -> str | None:
        n = len(self.reports) - 1
        return next((name for name in self.names if n and winners.count(name) == n), None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of :attr:`rows`."""
        return ("measure", *self.names)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The table for a statistician: one row a measure, one column a method."""
        each = self.reports
        against = self.pairs[: len(each) - 1]
        alone = (
            ("judgement", *(r.judgement for r in each)),
            ("true / claimed error", *(str(r.dispersion) for r in each)),
            ("mean z (bias)", *(str(r.bias) for r in each)),
            ("coverage at 0.68", *(f"{r.curve.at(0.68)[0]:.3f}" for r in each)),
            ("median width of 68 %", *(f"{r.width_68:.3g}" for r in each)),
            ("CRPS", *(f"{r.crps.value:.4g}" for r in each)),
        )
        if not against:
            return alone
        return (
            *alone,
            (f"width / that of {self.names[0]}", "1", *(str(pair.width_ratio) for pair in against)),
            (f"skill over {self.names[0]}", "0", *(str(pair.skill) for pair in against)),
            (f"shift of medians from {self.names[0]}, half-widths", "0", *(str(pair.shift) for pair in against)),
            (f"correlation of errors with {self.names[0]}", "1", *(str(pair.correlation) for pair in against)),
        )

    @property
    def verdict(self) -> str:
        """Who is calibrated; then who is sharper and who scores better."""
        told = "; ".join(f"{report.name}: {report.judgement}" for report in self.reports)
        if not self.pairs:
            return f"{told}."
        two = len(self.reports) == 2
        none = ("neither is sharper", "scores do not differ") if two else ("none is sharpest", "none scores best")
        sharper = f"{self.sharper} is {'sharper' if two else 'sharpest'}" if self.sharper else none[0]
        better = f"{self.better} has the {'better' if two else 'best'} score" if self.better else none[1]
        told += f". {sharper[0].upper()}{sharper[1:]}"
        if not two:
            return f"{told}, {better}."
        (pair,) = self.pairs
        common = 100 * pair.correlation.value**2
        return (
            f"{told} (width ratio {pair.width_ratio}), {better}, and {common:.0f} % of the variance of their errors "
            "is common."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        return {
            "methods": {report.name: report.to_dict() for report in self.reports},
            "pairs": [pair.to_dict() for pair in self.pairs],
            "verdict": self.verdict,
        }


@dataclass(frozen=True, eq=False)
class _Known:
    """What a pair asks of a method; arrays (n_map, ...)."""

    report: Calibration
    median: Array
    width: Array
    score: Array


def _clear_side(found: Estimate, nominal: float) -> int:
    sides = {found.side(nominal + step) for step in (-RESOLUTION, RESOLUTION)}
    return sides.pop() if len(sides) == 1 else 0


def _pair(truth: Array, first: _Known, second: _Known, used: Mask, seed: int) -> Pair:
    open_ = np.asarray(used & (first.width > 0) & (second.width > 0))
    if not open_.any():
        names = f"{first.report.name} and {second.report.name}"
        raise InputError(f"methods: no pair has intervals of some width by both {names}")
    narrow = np.where(open_, first.width, 1.0)
    log_ratio = np.log(np.where(open_, second.width, 1.0) / narrow)
    shift = np.where(open_, 2 * (second.median - first.median) / narrow, 0.0)
    ratio = Estimate.mean(log_ratio, open_, seed=seed)
    maps = tuple(range(truth.ndim - 1))
    return Pair(
        first=first.report,
        second=second.report,
        width_ratio=Estimate(*(float(np.exp(x)) for x in (ratio.value, ratio.low, ratio.high))),
        skill=skill_estimate(second.score, first.score, seed=seed),
        shift=Estimate.mean(shift, open_, seed=seed),
        correlation=error_correlation(first.median - truth, second.median - truth, used, seed=seed),
        bin_width_ratio=np.exp(_last_axis_mean(log_ratio, open_)),
        bin_skill=1 - divide(second.score.mean(axis=maps), first.score.mean(axis=maps)),
    )


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
