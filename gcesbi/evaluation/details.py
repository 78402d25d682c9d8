"""Every measure of :mod:`gcesbi.validation` beyond the headline figures, for each quantity that the networks predict.

The references are the prior, known by labels of other maps, and for spectra the Poisson fit, the classical method that
is cheap enough to be made for every map.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson.many_maps import poisson_fractions
from gcesbi.evaluation.predictions import ALPHAS, TAUS, Predictions, Quantity, SourceCounts, Spectrum
from gcesbi.physics.scd import true_cdf
from gcesbi.simulation import Simulations
from gcesbi.validation import (
    CalibrationCurve,
    ConditionalCalibration,
    ConformalBand,
    Estimate,
    PitHistogram,
    SimultaneousCoverage,
    adversarial_groups,
    calibration_curve,
    conditional_mean,
    crps_gaussian,
    curves_along,
    pit_histogram_band,
    prior_quantiles,
    quantiles_covered,
    sharpness,
    simultaneous_coverage,
    skill_estimate,
)
from gcesbi.validation.atoms import snapped
from gcesbi.validation.calibration import plain

__all__ = ["Details", "details_of"]

MIN_SEARCH = 200
"""Fewer maps are not searched for groups."""

RECALIBRATED = np.array([0.2, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95])
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Details:
    """Beyond the headline figures; keys are quantities, "source counts of gce" or "spectrum of pi".

    Pairs of map and bin are those whose prediction is open (:func:`gcesbi.validation.undecided`), whatever their truth.

    Parameters
    ----------
    bins : dict of str to tuple of CalibrationCurve or None
        Coverage for each flux bin or energy bin, at :data:`gcesbi.evaluation.predictions.ALPHAS`; None where no pair
        counts.
    whole : dict of str to SimultaneousCoverage
        Of whole CDFs.
    pit : dict of str to PitHistogram
    groups : dict of str to ConditionalCalibration
        Mean square z (nominal 1) in groups of maps that do not know the truth.
    searched : dict of str to ConditionalCalibration
        In groups that a tree found on one half of the maps, judged on the other; empty with too few maps.
    regions : dict of str to ConditionalCalibration
        In groups of the truth, where no posterior has mean square 1: where a method is strong or weak.
    ratio : dict of str to float
        Median width as a share of the prior's (95 % of CDFs, 68 % of spectra); NaN without a prior.
    skill : dict of str to Estimate
        CRPS against the prior's.
    skill_poisson : dict of str to Estimate
        CRPS of spectra against the Poisson fit's, the best classical method made for every map.
    recalibration : dict of str to (CalibrationCurve, CalibrationCurve)
        Coverage on one half of the maps, before and after split conformal widening measured on the other half; ends of
        intervals included, so that intervals that end on an atom at 0 or 1 may hold more than they claim.
    """

    bins: dict[str, tuple[CalibrationCurve | None, ...]]
    whole: dict[str, SimultaneousCoverage]
    pit: dict[str, PitHistogram]
    groups: dict[str, ConditionalCalibration]
    searched: dict[str, ConditionalCalibration]
    regions: dict[str, ConditionalCalibration]
    ratio: dict[str, float]
    skill: dict[str, Estimate]
    skill_poisson: dict[str, Estimate]
    recalibration: dict[str, tuple[CalibrationCurve, CalibrationCurve]]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            "bins": {
                name: [None if c is None else plain(vars(c)) for c in curves] for name, curves in self.bins.items()
            },
            "whole": {
                name: {"curve": plain(vars(w.curve)), "level": plain(w.pointwise_level), "widening": plain(w.widening)}
                for name, w in self.whole.items()
            },
            "pit": {name: plain(vars(found)) for name, found in self.pit.items()},
            **{
                key: {name: found.to_dict() for name, found in getattr(self, key).items()}
                for key in ("groups", "searched", "regions")
            },
            "ratio_to_prior": plain(self.ratio),
            "skill_against_prior": {name: plain(vars(found)) for name, found in self.skill.items()},
            "skill_against_poisson_fit": {name: plain(vars(found)) for name, found in self.skill_poisson.items()},
            "recalibration": {
                name: {"before": plain(vars(before)), "after": plain(vars(after))}
                for name, (before, after) in self.recalibration.items()
            },
        }


def details_of(known: Predictions, prior: Simulations | None = None, seed: int = 0) -> Details:
    """Measure all.

    Parameters
    ----------
    known : Predictions
    prior : Simulations, optional
        Other maps, whose labels stand for the prior; their counts are not looked at.
    seed : int
        Of resampled maps, random halves and draws.
    """
    quantities = known.quantities
    squares = {each.name: each.square for each in quantities}
    used = {each.name: each.used for each in quantities}
    before = {} if prior is None else _prior_curves(known, prior)

    def grouped(groups: dict[str, NDArray[np.bool_]]) -> dict[str, ConditionalCalibration]:
        return {name: conditional_mean(square, groups, 1.0, used[name]) for name, square in squares.items()}

    return Details(
        bins={each.name: curves_along(each.covered, ALPHAS, -1, each.used) for each in quantities},
        whole={each.name: simultaneous_coverage(each.truth, each.curves, TAUS, ALPHAS) for each in known.source_counts},
        pit={each.name: _pit(each, seed) for each in quantities},
        groups=grouped(known.groups),
        searched=_searched(known, squares, used, seed),
        regions=grouped(known.regions),
        ratio={each.name: _ratio(each, before.get(each.name)) for each in quantities},
        skill={each.name: skill_estimate(each.crps, each.crps_of(before[each.name]), seed=seed) for each in quantities}
        if before
        else {},
        skill_poisson=_skill_poisson(known, seed),
        recalibration={each.name: _recalibrated(each, seed) for each in known.source_counts},
    )


def _prior_curves(known: Predictions, prior: Simulations) -> dict[str, Array]:
    """Quantile curves (n_tau, n_bin) of the prior, which is all that is known before a map is seen."""
    cdfs = true_cdf(prior.scd)
    counts = {each.name: prior_quantiles(cdfs[:, j], TAUS, True) for j, each in enumerate(known.source_counts)}
    return counts | {
        each.name: prior_quantiles(prior.flux_fractions[:, i], TAUS) for i, each in enumerate(known.spectra)
    }


def _pit(quantity: Quantity, seed: int) -> PitHistogram:
    low, high = quantity.bounds
    draw = np.random.default_rng(seed).uniform(size=low.shape)
    return pit_histogram_band(low + draw * (high - low), quantity.used)


def _searched(
    known: Predictions, squares: dict[str, Array], used: dict[str, NDArray[np.bool_]], seed: int
) -> dict[str, ConditionalCalibration]:
    if len(known.maps) < MIN_SEARCH:
        return {}
    table = np.stack(list(known.features.values()), axis=1)
    found = {}
    for name, square in squares.items():
        pairs = np.maximum(used[name].sum(axis=-1), 1)
        each = np.where(used[name], square, 0.0).sum(axis=-1) / pairs
        groups = adversarial_groups(table, each, list(known.features), seed=seed)
        found[name] = conditional_mean(square, groups, 1.0, used[name])
    return found


def _ratio(quantity: SourceCounts | Spectrum, before: Array | None) -> float:
    """Median width over the prior's, in bins where that has any."""
    if before is None:
        return float("nan")
    level = 0.68 if isinstance(quantity, Spectrum) else 0.95
    prior = sharpness(before, TAUS, level)
    open_ = prior > 0
    return float(np.median(quantity.width[:, open_] / prior[open_]))


def _skill_poisson(known: Predictions, seed: int) -> dict[str, Estimate]:
    fitted, error = poisson_fractions(known.maps.counts, known.model)
    found = {}
    for i, each in enumerate(known.spectra):
        reference = crps_gaussian(each.truth, fitted[:, i], error[:, i])
        found[each.name] = skill_estimate(each.crps, reference, seed=seed)
    return found


def _recalibrated(quantity: SourceCounts, seed: int) -> tuple[CalibrationCurve, CalibrationCurve]:
    truth, curves, used = snapped(quantity.truth), snapped(quantity.curves), quantity.used
    half = np.random.default_rng(seed).permutation(len(truth)) < len(truth) // 2
    before = quantiles_covered(truth[~half], curves[:, ~half], TAUS, RECALIBRATED)
    after = [_widened(truth, curves, used, half, alpha) for alpha in RECALIBRATED]
    return (
        calibration_curve(before, RECALIBRATED, used[~half]),
        calibration_curve(np.stack(after), RECALIBRATED, used[~half]),
    )


def _widened(
    truth: Array, curves: Array, used: NDArray[np.bool_], half: NDArray[np.bool_], alpha: float
) -> NDArray[np.bool_]:
    """Whether intervals widened by what one half of the maps asks for hold the truths of the other half."""
    band = ConformalBand.fit(truth[half], curves[:, half], TAUS, alpha, used=used[half])
    low, high = band.interval(curves[:, ~half], TAUS)
    return np.asarray((low <= truth[~half]) & (truth[~half] <= high))
