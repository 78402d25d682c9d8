"""Networks on maps of known truth: the headline figures of each quantity, and every other measure as details.

Truths are the maps' labels, flux fractions by template and energy bin, and CDFs of the source-count distributions.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gcesbi.estimators import ShapeEstimator, SourceCountEstimator, SpectralEstimator, true_shapes
from gcesbi.evaluation.details import Details, details_of
from gcesbi.evaluation.predictions import TAUS, Predictions, SourceCounts
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.validation import Calibration, emd, semd

__all__ = ["Evaluation", "SourceCountEvaluation", "evaluate_networks"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceCountEvaluation:
    """Source counts of one template on held-out maps.

    Parameters
    ----------
    report : Calibration
    sharpness : array (n_map, n_bin)
        Width of the 95 % interval of every CDF value.
    semd, emd : array (n_map,)
        (Signed) Earth mover's distance of the median, flux bins.
    """

    report: Calibration
    sharpness: Array
    semd: Array
    emd: Array


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Both networks on the maps that training never saw.

    Parameters
    ----------
    spectra : dict of str to Calibration
        By template, flux fractions in all energy bins.
    source_counts : dict of str to SourceCountEvaluation
        By point-source template.
    details : Details, optional
    shapes : dict of str to Calibration
        By shape parameter; empty where no template floats.
    widths : dict of str to array (n_map, n_energy)
        By template, width of the 68 % interval of every flux fraction.
    """

    spectra: dict[str, Calibration]
    source_counts: dict[str, SourceCountEvaluation]
    details: Details | None = None
    shapes: dict[str, Calibration] = field(default_factory=dict)
    widths: dict[str, Array] = field(default_factory=dict)

    @property
    def reports(self) -> tuple[Calibration, ...]:
        """All reports, spectra first, shapes last."""
        counts = (found.report for found in self.source_counts.values())
        return (*self.spectra.values(), *counts, *self.shapes.values())

    def to_dict(self) -> dict[str, object]:
        """The headline figures as plain numbers; the details by their own method."""
        shapes = {name: report.to_dict() for name, report in self.shapes.items()}
        return ({"shapes": shapes} if shapes else {}) | {
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


def evaluate_networks(
    model: SkyModel,
    maps: Simulations,
    spectra: SpectralEstimator,
    source_counts: SourceCountEstimator,
    prior: Simulations | None = None,
    *,
    shapes: ShapeEstimator | None = None,
    details: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Judge both networks on maps of known truth, and that of shapes if there is one.

    Parameters
    ----------
    model : SkyModel
        Of the networks; the maps may be another's.
    maps : Simulations
    prior : Simulations, optional
        Other maps, whose labels stand for the prior; their counts are not looked at.
    shapes : ShapeEstimator, optional
        Judged where the maps have its parameters, those of the model.
    details : bool
        Measure all, not only the headline figures.
    seed : int
        Of the resampled maps.
    """
    known = Predictions.of(model, maps, spectra, source_counts)
    return Evaluation(
        spectra={
            name: Calibration.from_gaussian(each.truth, each.mean, each.std, each.name, seed=seed, asked=each.asked)
            for name, each in zip(model.names, known.spectra, strict=True)
        },
        source_counts={
            name: _judge(maps.scd[:, j], known.source_counts[j], seed) for j, name in enumerate(model.point_sources)
        },
        details=details_of(known, prior, seed) if details else None,
        shapes={} if shapes is None else _judge_shapes(model, maps, shapes, seed),
        widths={name: each.width for name, each in zip(model.names, known.spectra, strict=True)},
    )


def _judge_shapes(model: SkyModel, maps: Simulations, network: ShapeEstimator, seed: int) -> dict[str, Calibration]:
    truth, curves = true_shapes(model, maps), network.quantiles(maps.counts, TAUS)
    return {
        name: Calibration.from_quantiles(truth[:, i, None], curves[..., i, None], TAUS, name, cdf=False, seed=seed)
        for i, name in enumerate(network.names)
    }


def _judge(pdf: Array, counts: SourceCounts, seed: int) -> SourceCountEvaluation:
    median = np.diff(counts.curves[len(TAUS) // 2], axis=-1, prepend=0.0)
    return SourceCountEvaluation(
        report=Calibration.from_quantiles(counts.truth, counts.curves, TAUS, counts.name, seed=seed),
        sharpness=counts.width,
        semd=semd(pdf, median),
        emd=emd(pdf, median),
    )
