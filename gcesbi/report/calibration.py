"""What the reports say of calibration: verdict, coverage with and without atoms, sharpness, distances; training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from gcesbi import plots
from gcesbi.estimators import TrainingHistory
from gcesbi.evaluation.networks import Evaluation
from gcesbi.report.html import FigureBlock, Mood, Section, TableBlock
from gcesbi.validation import MIN_MAPS, Calibration, CalibrationCurve

__all__ = ["calibration_mood", "calibration_section", "calibration_verdict", "training_section"]


def calibration_verdict(evaluation: Evaluation) -> str:
    """Whether the error bars are true, in two sentences."""
    found = evaluation.reports
    wrong = [report for report in found if report.judgement not in ("calibrated", "too few maps")]
    n_map = found[0].n_map
    if found[0].few_maps:
        return (
            f"{n_map} maps that training never saw are too few to judge error bars by; {MIN_MAPS} at least are needed."
        )
    if not wrong:
        return f"On {n_map} maps that training never saw, every error bar of the networks holds its nominal share."
    worst = max(wrong, key=lambda report: abs(report.dispersion.value - 1))
    return (
        f"On {n_map} maps that training never saw, {len(found) - len(wrong)} of {len(found)} sets of error bars are "
        f"calibrated. The worst, {worst.name}: {worst.verdict[0].lower()}{worst.verdict[1:]}"
    )


def calibration_mood(evaluation: Evaluation) -> Mood:
    """Colour of the verdict: by the largest ratio of true to claimed errors; neutral with too few maps."""
    if evaluation.reports[0].few_maps:
        return "neutral"
    worst = max(abs(np.log(report.dispersion.value)) for report in evaluation.reports)
    return "good" if worst < np.log(1.1) else "caution" if worst < np.log(1.5) else "bad"


def calibration_section(evaluation: Evaluation) -> Section:
    """Coverage, sharpness and distance on held-out maps."""
    counts = {f"source counts: {name}": found.report for name, found in evaluation.source_counts.items()}
    spectra = {f"spectrum: {name}": report for name, report in evaluation.spectra.items()}
    shapes = {f"shape: {name}": report for name, report in evaluation.shapes.items()}
    return Section(
        "Calibration on held-out maps",
        f"{evaluation.reports[0].n_map} maps drawn from the model and kept from training. Coverage is pointwise: the "
        "share of (map, bin) pairs inside the interval, not of whole curves.",
        (
            _calibration_table({**counts, **spectra, **shapes}),
            *_coverage_figures(counts),
            FigureBlock(
                plots.coverage_curves({name: report.curve for name, report in spectra.items()}),
                "Measured coverage of the spectral intervals against their nominal level, with bands.",
                "As the first figure, for the share of every template in every energy bin.",
            ),
            *_shape_figures(shapes),
            *_distance_blocks(evaluation),
        ),
    )


def _shape_figures(reports: Mapping[str, Calibration]) -> tuple[FigureBlock, ...]:
    if not reports:
        return ()
    return (
        FigureBlock(
            plots.coverage_curves({name: report.curve for name, report in reports.items()}),
            "Measured coverage of the intervals of shape parameters against their nominal level, with bands.",
            "As the first figure, for what floats in templates.",
        ),
    )


def _calibration_table(reports: Mapping[str, Calibration]) -> TableBlock:
    rows = tuple(
        (
            name,
            str(report.dispersion),
            *(f"{report.curve.at(alpha)[0]:.3f}" for alpha in (0.5, 0.68, 0.95)),
            "–" if report.coverage_68 is None else str(report.coverage_68),
            f"{report.width_95:.3f}",
            report.judgement,
        )
        for name, report in reports.items()
    )
    return TableBlock(
        (
            "quantity",
            "true / claimed error",
            "coverage at 0.5",
            "at 0.68",
            "at 0.95",
            "at 0.68, judged",
            "width of 95 %",
            "judgement",
        ),
        rows,
        "Error bars are true where the second column is 1 and coverages equal their nominal levels. Of source counts "
        "the judgement and its columns, the second and the sixth, count pairs whatever their truth.",
    )


def _coverage_figures(reports: Mapping[str, Calibration]) -> tuple[FigureBlock, FigureBlock]:
    """Coverage of source counts: pairs chosen by their truth, as in the literature, and pairs whatever their truth."""
    whatever: dict[str, CalibrationCurve] = {}
    for name, report in reports.items():
        for kind, curve in (("all pairs", report.all_pairs), ("open predictions", report.undecided)):
            if curve is not None:
                whatever[f"{name.removeprefix('source counts: ')}, {kind}"] = curve
    return (
        FigureBlock(
            plots.coverage_curves({name: report.curve for name, report in reports.items()}),
            "Measured coverage of the source-count intervals against their nominal level, with bands.",
            "On the diagonal intervals are as wide as they should be; below it they are too narrow. Only pairs whose "
            "true CDF is neither 0 nor 1 count, which moves the curves of even exact predictions a little.",
        ),
        FigureBlock(
            plots.coverage_curves(whatever),
            "Coverage of the source-count intervals whatever the truth, over all pairs and over those whose prediction "
            "is open, with bands.",
            "Nothing is chosen by the truth here: exact predictions lie on the diagonal, CDFs that may be 0 or 1 "
            "included. Pairs about which the prediction is sure dilute the first curve of each template.",
        ),
    )


def _distance_blocks(evaluation: Evaluation) -> tuple[FigureBlock | TableBlock, ...]:
    counts = evaluation.source_counts
    rows = tuple(
        (
            name,
            f"{np.median(found.semd):+.2f}",
            f"{np.diff(np.quantile(found.semd, [0.16, 0.84]))[0] / 2:.2f}",
            f"{found.emd.mean():.2f}",
            f"{np.median(found.sharpness):.3f}",
        )
        for name, found in counts.items()
    )
    return (
        FigureBlock(
            plots.sharpness_histogram({name: found.sharpness for name, found in counts.items()}),
            "Histogram of the widths of the 95 % intervals of the cumulative source counts.",
            "Further left is sharper; sharp is worth something only where coverage is right.",
        ),
        TableBlock(
            ("template", "median SEMD", "half of its 68 % range", "mean EMD", "median width of 95 %"),
            rows,
            "(Signed) Earth mover's distance between true and median SCD, in flux bins of 0.27 decades; below "
            "zero: the prediction is too dim.",
        ),
        FigureBlock(
            plots.distance_histogram({name: found.semd for name, found in counts.items()}),
            "Histogram of the signed Earth mover's distance on held-out maps.",
            "Centred on zero there is no bias; left of it predictions are too dim, right of it too bright.",
        ),
    )


def training_section(histories: Mapping[str, TrainingHistory]) -> Section:
    """Loss curves."""
    blocks = tuple(
        FigureBlock(
            _losses(history),
            f"Loss of the {name} network against the number of maps presented.",
            f"{history.maps:,} maps presented, each {history.presentations:.1f} times on average and none more than "
            f"{history.most_presentations} times, at {history.maps_per_second:.0f} a second. Held-out loss should "
            "follow the training loss down." + _cut_short(history),
        )
        for name, history in histories.items()
    )
    return Section("Training", "", blocks)


def _cut_short(history: TrainingHistory) -> str:
    if not history.ran_out_of_time:
        return ""
    return f" Time ran out: {history.maps_wanted:,} were to be presented, and the network has learnt less than meant."


def _losses(history: TrainingHistory) -> Figure:
    curves = {"training": (history.maps_at, history.train_loss)}
    if history.validation_loss:
        curves["held out"] = (history.maps_at, history.validation_loss)
    return plots.training_curves(curves, axis="maps presented")
