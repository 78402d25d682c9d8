"""What the reports say of calibration, of any table of calibrations by name; and of training."""

from bisect import bisect_right
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from gcesbi import plots
from gcesbi.estimators import TrainingHistory
from gcesbi.evaluation.networks import Evaluation
from gcesbi.report.html import FigureBlock, Section, TableBlock
from gcesbi.report.parts import calibration_table, coverage_figure, distance_table
from gcesbi.report.words import label
from gcesbi.validation import MIN_MAPS, Calibration

__all__ = ["calibration_section", "calibration_verdict", "named_reports", "training_section", "trust_table"]

_PAIRS = (
    "Pairs of map and bin: of spectra and shapes all of them; of source counts, whose cumulative share may be 0 or 1, "
    "those in which the prediction leaves that open."
)


def named_reports(evaluation: Evaluation) -> dict[str, Calibration]:
    """Every set of error bars by its name in words: source counts, spectra, shapes."""
    counts = {label(f"source counts of {name}"): found.report for name, found in evaluation.source_counts.items()}
    spectra = {label(f"spectrum of {name}"): report for name, report in evaluation.spectra.items()}
    return counts | spectra | {f"shape {name}": report for name, report in evaluation.shapes.items()}


def calibration_verdict(evaluation: Evaluation) -> str:
    """Whether the error bars are true, in two sentences."""
    found = named_reports(evaluation)
    wrong = {name: each for name, each in found.items() if each.judgement not in ("calibrated", "too few maps")}
    first = next(iter(found.values()))
    if first.few_maps:
        return (
            f"{first.n_map} maps that training never saw are too few to judge error bars by; {MIN_MAPS} at least are "
            "needed."
        )
    if not wrong:
        return f"On {first.n_map} maps that training never saw, all {len(found)} sets of error bars are calibrated."
    name, worst = max(wrong.items(), key=lambda item: abs(np.log(item[1].dispersion.value)))
    return (
        f"On {first.n_map} maps that training never saw, {len(found) - len(wrong)} of {len(found)} sets of error bars "
        f"are calibrated. The worst, {name}: {worst.verdict[0].lower()}{worst.verdict[1:]}"
    )


def calibration_section(evaluation: Evaluation, before: Evaluation | None = None) -> Section:
    """Coverage, width and distance on held-out maps; `before` is that of networks not recalibrated."""
    reports = named_reports(evaluation)
    recalibrated = " Intervals were recalibrated on other maps, that neither train nor judge." if before else ""
    return Section(
        "Are the error bars true?",
        f"{evaluation.reports[0].n_map} maps drawn from the model, kept from training and recalibration.{recalibrated} "
        + _PAIRS,
        calibration_table(reports, None if before is None else named_reports(before)),
        coverage_figure(reports, "every set of intervals", open_only=True),
        distance_table({label(n): e for n, e in evaluation.source_counts.items()}),
    )


def trust_table(evaluation: Evaluation, *, refused: bool) -> TableBlock:
    """What of the networks' answers holds, by kind of number."""
    reports = named_reports(evaluation)
    spectra = {n: r for n, r in reports.items() if n.startswith("spectrum")}
    counts = {n: r for n, r in reports.items() if n.startswith("source counts")}
    skill = {} if evaluation.details is None else evaluation.details.skill_poisson
    worse = [label(name.removeprefix("spectrum of ")) for name, each in skill.items() if each.high < 0]
    sharp = f"worse than the Poisson fit: {', '.join(worse)}" if worse else "none scores worse than the Poisson fit"
    held = "no" if refused else "yes"
    rows = (
        ("flux fractions and spectra", _share(spectra, held), f"{_right(spectra)} sets calibrated; {sharp}"),
        ("counts of sources above one photon", _share(counts, held), f"{_right(counts)} sets calibrated"),
        (
            "counts of sources below one photon",
            "no",
            "the map hardly tells: intervals there, and so the number of all sources, are mostly the prior's",
        ),
    )
    return TableBlock(("numbers of the networks", "trust", "why"), rows, "If the map is one of the model's.")


def _right(reports: Mapping[str, Calibration]) -> str:
    return f"{sum(each.judgement == 'calibrated' for each in reports.values())} of {len(reports)}"


def _share(reports: Mapping[str, Calibration], held: str) -> str:
    right = [each.judgement == "calibrated" for each in reports.values()]
    if held == "no" or not any(right):
        return "no"
    return "yes" if all(right) else "mostly" if 2 * sum(right) > len(right) else "in part"


def training_section(histories: Mapping[str, TrainingHistory], started: Mapping[str, str] | None = None) -> Section:
    """What the networks started from, what they saw, and what stopped them; loss curves."""
    start = dict(started or {})
    blocks = tuple(
        FigureBlock(
            _losses(history),
            f"Loss of the network for {_WORDS.get(name, name)} against the number of maps presented.",
            f"Network for {_WORDS.get(name, name)}. {_story(history, start.get(name, ''))} Held-out loss should follow "
            "the training loss down.",
        )
        for name, history in histories.items()
    )
    return Section("Training", *blocks)


_WORDS = {"source_counts": "source counts", "spectra": "spectra", "shapes": "shapes of templates"}


def _story(history: TrainingHistory, started: str) -> str:
    told = f"Started from {started}. " if started else ""
    if started.endswith("as they are"):
        told += "Not trained in this run, whose sky is theirs. Before, "
    stopped = "all maps that were wanted"
    if history.ran_out_of_time:
        stopped = f"the clock, where {history.maps_wanted:,} maps were wanted"
    elif history.stopped_early:
        stopped = "a held-out loss that fell no more"
    return told + (
        f"{history.maps:,} maps were presented, each {history.presentations:.1f} times on average; what stopped it: "
        f"{stopped}." + (f" Its head was trained alone from {history.stages[0]:,} maps on." if history.stages else "")
    )


def _losses(history: TrainingHistory) -> Figure:
    n = bisect_right(history.maps_at, history.stages[0]) if history.stages else len(history.maps_at)
    curves = {"training": (history.maps_at[:n], history.train_loss[:n])}
    if history.validation_loss:
        curves["held out"] = (history.maps_at, history.validation_loss)
    return plots.training_curves(curves, axis="maps presented")
