"""Networks on maps of known truth: every measure of :mod:`gcesbi.validation` that a run's report shows.

Truths are the maps' labels, flux fractions by template and energy bin, and CDFs of the source-count distributions. The
references are the prior, known by labels of other maps, and the Poisson fit, the classical method that is cheap enough
to be made for every map: its flux fractions with Gaussian errors of the likelihood's curvature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson_optimum import maximise_many
from gcesbi.estimators import SourceCountEstimator, SpectralEstimator
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.validation import (
    CalibrationCurve,
    CalibrationReport,
    ConditionalCalibration,
    ConformalBand,
    Estimate,
    PitHistogram,
    SimultaneousCoverage,
    adversarial_groups,
    calibration_curve,
    conditional_mean,
    crps_from_quantiles,
    crps_gaussian,
    curves_along,
    emd,
    gaussian_covered,
    groups_by,
    pit,
    pit_gaussian,
    pit_histogram_band,
    prior_quantiles,
    quantiles_covered,
    semd,
    sharpness,
    sharpness_ratio,
    simultaneous_coverage,
    skill_estimate,
    within,
)
from gcesbi.validation.calibration import plain

__all__ = [
    "TAUS",
    "Details",
    "Evaluation",
    "SourceCountEvaluation",
    "evaluate_networks",
    "poisson_fractions",
    "true_cdf",
]

TAUS = np.arange(1, 80) / 80
"""Quantile levels at which source counts are evaluated."""

ALPHAS = np.array([0.5, 0.68, 0.95])
MIN_SEARCH = 200
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceCountEvaluation:
    """Source counts of one template on held-out maps.

    Parameters
    ----------
    report : CalibrationReport
    sharpness : array (n_map, n_bin)
        Width of the 95 % interval of every CDF value.
    semd, emd : array (n_map,)
        (Signed) Earth mover's distance of the median, flux bins.
    """

    report: CalibrationReport
    sharpness: Array
    semd: Array
    emd: Array


@dataclass(frozen=True, eq=False)
class Details:
    """Beyond the headline figures; keys are quantities, "source counts of gce" or "spectrum of pi".

    Parameters
    ----------
    bins : dict of str to tuple of CalibrationCurve or None
        Coverage for each flux bin or energy bin, at :data:`ALPHAS`; None where no pair counts.
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
        Coverage on one half of the maps, before and after split conformal widening measured on the other half.
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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Both networks on the maps that training never saw.

    Parameters
    ----------
    spectra : dict of str to CalibrationReport
        By template, flux fractions in all energy bins.
    source_counts : dict of str to SourceCountEvaluation
        By point-source template.
    details : Details, optional
    """

    spectra: dict[str, CalibrationReport]
    source_counts: dict[str, SourceCountEvaluation]
    details: Details | None = None

    @property
    def reports(self) -> tuple[CalibrationReport, ...]:
        """All reports, spectra first."""
        return (*self.spectra.values(), *(found.report for found in self.source_counts.values()))

    def to_dict(self) -> dict[str, object]:
        """The headline figures as plain numbers; the details by their own method."""
        return {
            "spectra": {name: report.to_dict() for name, report in self.spectra.items()},
            "source_counts": {
                name: {
                    **found.report.to_dict(),
                    "sharpness_95_median": float(np.median(found.sharpness)),
                    "semd_median": float(np.median(found.semd)),
                    "semd_half_width_68": float(np.diff(np.quantile(found.semd, [0.16, 0.84]))[0] / 2),
                    "emd_mean": float(found.emd.mean()),
                }
                for name, found in self.source_counts.items()
            },
        }


def true_cdf(scd: Array) -> Array:
    """CDFs of SCD histograms (..., n_bin) that end at exactly one."""
    found = np.minimum(np.cumsum(scd, axis=-1), 1.0)
    found[..., -1] = 1.0
    return found


def poisson_fractions(counts: NDArray[np.integer], model: SkyModel) -> tuple[Array, Array]:
    """Flux fractions of Poisson fits to many maps, norms free by bin: mean and error (n, n_template, n_energy)."""
    templates = np.asarray(model.templates, dtype=np.float64)
    means, errors = (np.empty((len(counts), *templates.shape[:2])) for _ in range(2))
    for e in range(templates.shape[1]):
        fitted = maximise_many(counts[:, e].astype(np.int64), np.ascontiguousarray(templates[:, e]))
        flux = fitted.norms * model.flux_per_norm[:, e]
        total = np.maximum(flux.sum(axis=1), 1e-300)[:, None]
        share = flux / total
        slope = (np.eye(flux.shape[1]) - share[:, :, None]) * (model.flux_per_norm[:, e] / total)[:, None, :]
        scale = 1 / np.sqrt(np.maximum(np.diagonal(fitted.information, axis1=1, axis2=2), 1e-12))
        unit = fitted.information * scale[:, :, None] * scale[:, None, :]
        covariance = np.linalg.pinv(unit, rcond=1e-8, hermitian=True) * scale[:, :, None] * scale[:, None, :]
        variance = np.einsum("nij,njk,nik->ni", slope, covariance, slope)
        means[:, :, e], errors[:, :, e] = share, np.sqrt(np.clip(variance, 1e-10, 0.25))
    return means, errors


def evaluate_networks(
    model: SkyModel,
    maps: Simulations,
    spectra: SpectralEstimator,
    source_counts: SourceCountEstimator,
    prior: Simulations | None = None,
    *,
    details: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Judge both networks on maps of known truth.

    Parameters
    ----------
    model : SkyModel
        Of the networks; the maps may be another's.
    maps : Simulations
    prior : Simulations, optional
        Other maps, whose labels stand for the prior; their counts are not looked at.
    details : bool
        Measure all, not only the headline figures.
    seed : int
        Of the resampled maps.
    """
    predicted = spectra.predict(maps.counts)
    quantiles = source_counts.quantiles(maps.counts, TAUS)
    fractions, cdfs = maps.flux_fractions, true_cdf(maps.scd)
    found = Evaluation(
        spectra={
            name: CalibrationReport.from_gaussian(
                fractions[:, i], predicted.mean[:, i], predicted.std[:, i], f"spectrum of {name}", seed=seed
            )
            for i, name in enumerate(model.names)
        },
        source_counts={
            name: _judge(maps.scd[:, j], cdfs[:, j], quantiles[:, :, j], name, seed)
            for j, name in enumerate(model.point_sources)
        },
    )
    if not details:
        return found
    job = _Detailed(model, maps, predicted.mean, predicted.std, quantiles, cdfs, prior, seed)
    return Evaluation(found.spectra, found.source_counts, job.run())


def _judge(pdf: Array, truth: Array, quantiles: Array, name: str, seed: int) -> SourceCountEvaluation:
    median = np.diff(quantiles[len(TAUS) // 2], axis=-1, prepend=0.0)
    return SourceCountEvaluation(
        report=CalibrationReport.from_quantiles(truth, quantiles, TAUS, f"source counts of {name}", seed=seed),
        sharpness=sharpness(quantiles, TAUS),
        semd=semd(pdf, median),
        emd=emd(pdf, median),
    )


@dataclass(frozen=True, eq=False)
class _Detailed:
    """What the details are computed from: predictions and truths of the same maps."""

    model: SkyModel
    maps: Simulations
    mean: Array
    std: Array
    quantiles: Array
    cdfs: Array
    prior: Simulations | None
    seed: int

    def run(self) -> Details:
        names = [f"spectrum of {name}" for name in self.model.names]
        sources = [f"source counts of {name}" for name in self.model.point_sources]
        squares, used = self._squares(sources, names)
        return Details(
            bins=self._bins(sources, names),
            whole={
                name: simultaneous_coverage(self.cdfs[:, j], self.quantiles[:, :, j], TAUS, ALPHAS, seed=self.seed)
                for j, name in enumerate(sources)
            },
            pit=self._pit(sources, names),
            groups={name: conditional_mean(squares[name], self._groups, 1.0, used[name]) for name in squares},
            searched=self._searched(squares, used),
            regions={name: conditional_mean(squares[name], self._regions, 1.0, used[name]) for name in squares},
            ratio=self._ratio(sources, names),
            skill=self._skill(sources, names),
            skill_poisson=self._skill_poisson(names),
            recalibration={name: self._recalibrated(j) for j, name in enumerate(sources)},
        )

    @property
    def _fractions(self) -> Array:
        return self.maps.flux_fractions

    @property
    def _total(self) -> Array:
        """Logarithm of the counts of every map."""
        return np.log(np.maximum(self.maps.counts.sum(axis=(1, 2), dtype=np.float64), 1.0))

    @property
    def _features(self) -> dict[str, Array]:
        """Quantities of every map that do not know the truth."""
        found = {"ln counts": self._total}
        for j, name in enumerate(self.model.point_sources):
            row = self.model.names.index(name)
            found[f"predicted fraction of {name}"] = self.mean[:, row].mean(axis=-1)
            found[f"predicted CDF of {name}"] = self.quantiles[len(TAUS) // 2, :, j].mean(axis=-1)
            found[f"width of {name}"] = sharpness(self.quantiles[:, :, j], TAUS).mean(axis=-1)
        return found

    @property
    def _groups(self) -> dict[str, NDArray[np.bool_]]:
        return {k: v for name, values in self._features.items() for k, v in groups_by(values, name).items()}

    @property
    def _regions(self) -> dict[str, NDArray[np.bool_]]:
        found: dict[str, NDArray[np.bool_]] = {}
        for j, name in enumerate(self.model.point_sources):
            row = self.model.names.index(name)
            found |= groups_by(self._fractions[:, row].mean(axis=-1), f"true fraction of {name}")
            found |= groups_by(self.cdfs[:, j].mean(axis=-1), f"true CDF of {name}")
        return found

    def _squares(self, sources: list[str], names: list[str]) -> tuple[dict[str, Array], dict[str, NDArray[np.bool_]]]:
        """Squared z of every pair, and which pairs count, by quantity."""
        from gcesbi.validation.pit import normal_scores, pit_bounds

        squares, used = {}, {}
        for j, name in enumerate(sources):
            truth = self.cdfs[:, j]
            squares[name] = normal_scores(*pit_bounds(truth, self.quantiles[:, :, j], TAUS))[1]
            used[name] = within(truth, 1e-5)
        for i, name in enumerate(names):
            squares[name] = ((self._fractions[:, i] - self.mean[:, i]) / self.std[:, i]) ** 2
            used[name] = np.ones(squares[name].shape, bool)
        return squares, used

    def _bins(self, sources: list[str], names: list[str]) -> dict[str, tuple[CalibrationCurve | None, ...]]:
        found = {}
        for j, name in enumerate(sources):
            covered = quantiles_covered(self.cdfs[:, j], self.quantiles[:, :, j], TAUS, ALPHAS)
            found[name] = curves_along(covered, ALPHAS, -1, within(self.cdfs[:, j], 1e-5), seed=self.seed)
        for i, name in enumerate(names):
            covered = gaussian_covered(self._fractions[:, i], self.mean[:, i], self.std[:, i], ALPHAS)
            found[name] = curves_along(covered, ALPHAS, -1, seed=self.seed)
        return found

    def _pit(self, sources: list[str], names: list[str]) -> dict[str, PitHistogram]:
        found = {}
        for j, name in enumerate(sources):
            values = pit(self.cdfs[:, j], self.quantiles[:, :, j], TAUS, seed=self.seed)
            found[name] = pit_histogram_band(values, within(self.cdfs[:, j], 1e-5))
        for i, name in enumerate(names):
            found[name] = pit_histogram_band(pit_gaussian(self._fractions[:, i], self.mean[:, i], self.std[:, i]))
        return found

    def _searched(
        self, squares: dict[str, Array], used: dict[str, NDArray[np.bool_]]
    ) -> dict[str, ConditionalCalibration]:
        if len(self.maps) < MIN_SEARCH:
            return {}
        features = self._features
        table = np.stack(list(features.values()), axis=1)
        found = {}
        for name, square in squares.items():
            pairs = np.maximum(used[name].sum(axis=-1), 1)
            each = np.where(used[name], square, 0.0).sum(axis=-1) / pairs
            groups = adversarial_groups(table, each, list(features), seed=self.seed)
            found[name] = conditional_mean(square, groups, 1.0, used[name])
        return found

    def _ratio(self, sources: list[str], names: list[str]) -> dict[str, float]:
        if self.prior is None:
            return dict.fromkeys((*sources, *names), float("nan"))
        found = {}
        before = true_cdf(self.prior.scd)
        for j, name in enumerate(sources):
            curves = prior_quantiles(before[:, j], TAUS, falling=True)
            ratio = sharpness_ratio(self.quantiles[:, :, j], TAUS, curves)
            found[name] = float(np.nanmedian(ratio))
        width = np.diff(np.quantile(self.prior.flux_fractions, [0.16, 0.84], axis=0), axis=0)[0]
        for i, name in enumerate(names):
            found[name] = float(np.median(2 * self.std[:, i] / np.maximum(width[i], 1e-12)))
        return found

    def _skill(self, sources: list[str], names: list[str]) -> dict[str, Estimate]:
        if self.prior is None:
            return {}
        found = {}
        before = true_cdf(self.prior.scd)
        for j, name in enumerate(sources):
            truth = self.cdfs[:, j]
            curves = prior_quantiles(before[:, j], TAUS, falling=True)[:, None] + np.zeros((1, len(truth), 1))
            own, reference = (crps_from_quantiles(truth, each, TAUS) for each in (self.quantiles[:, :, j], curves))
            found[name] = skill_estimate(own, reference, seed=self.seed)
        fractions = self.prior.flux_fractions
        for i, name in enumerate(names):
            truth = self._fractions[:, i]
            curves = prior_quantiles(fractions[:, i], TAUS)[:, None] + np.zeros((1, len(truth), 1))
            own = crps_gaussian(truth, self.mean[:, i], self.std[:, i])
            found[name] = skill_estimate(own, crps_from_quantiles(truth, curves, TAUS), seed=self.seed)
        return found

    def _skill_poisson(self, names: list[str]) -> dict[str, Estimate]:
        fitted, error = poisson_fractions(self.maps.counts, self.model)
        found = {}
        for i, name in enumerate(names):
            truth = self._fractions[:, i]
            own = crps_gaussian(truth, self.mean[:, i], self.std[:, i])
            found[name] = skill_estimate(own, crps_gaussian(truth, fitted[:, i], error[:, i]), seed=self.seed)
        return found

    def _recalibrated(self, j: int) -> tuple[CalibrationCurve, CalibrationCurve]:
        half = np.random.default_rng(self.seed).permutation(len(self.maps)) < len(self.maps) // 2
        truth, curves = self.cdfs[:, j], self.quantiles[:, :, j]
        used = within(truth, 1e-5)[~half]
        alphas = np.array([0.2, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95])
        before = quantiles_covered(truth[~half], curves[:, ~half], TAUS, alphas)
        after = []
        for alpha in alphas:
            low, high = ConformalBand.fit(truth[half], curves[:, half], TAUS, alpha).interval(curves[:, ~half], TAUS)
            after.append((low <= truth[~half]) & (truth[~half] <= high))
        return (
            calibration_curve(before, alphas, used, seed=self.seed),
            calibration_curve(np.stack(after), alphas, used, seed=self.seed),
        )
