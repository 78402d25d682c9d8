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

_WORDS = {"source_counts": "source counts", "spectra": "spectra", "shapes": "shapes of templates"}


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
    maps = f"{first.n_map} maps that training never saw"
    if first.few_maps:
        return f"{maps} are too few to judge error bars by; {MIN_MAPS} at least are needed."
    if not wrong:
        return f"On {maps}, all {len(found)} sets of error bars are calibrated."
    name, worst = max(wrong.items(), key=lambda item: abs(np.log(item[1].dispersion.value)))
    return (
        f"On {maps}, {len(found) - len(wrong)} of {len(found)} sets of error bars are calibrated. The worst, {name}: "
        f"{worst.verdict[0].lower()}{worst.verdict[1:]}"
    )


def calibration_section(evaluation: Evaluation, before: Evaluation | None = None) -> Section:
    """Coverage, width and distance on held-out maps; `before` is that of networks not recalibrated."""
    reports = named_reports(evaluation)
    recalibrated = " Intervals were recalibrated on other maps, that neither train nor judge." if before else ""
    return Section(
        "Are the error bars true?",
        f"{evaluation.reports[0].n_map} maps drawn from the model, kept from training and recalibration.{recalibrated} "
        "Pairs of map and bin: of spectra and shapes all of them; of source counts, whose cumulative share may be 0 or "
        "1, those in which the prediction leaves that open.",
        calibration_table(reports, None if before is None else named_reports(before)),
        coverage_figure(reports, "every set of intervals", open_only=True),
        distance_table({label(n): e for n, e in evaluation.source_counts.items()}),
    )


def trust_table(evaluation: Evaluation, *, refused: bool) -> TableBlock:
    """What of the networks' answers holds, by kind of number."""
    skill = {} if evaluation.details is None else evaluation.details.skill_poisson
    worse = [label(name.removeprefix("spectrum of ")) for name, each in skill.items() if each.high < 0]
    sharp = f"worse than the Poisson fit: {', '.join(worse)}" if worse else "none scores worse than the Poisson fit"

    def trusted(what: str, kind: str, more: str = "") -> tuple[str, str, str]:
        right = [each.judgement == "calibrated" for n, each in named_reports(evaluation).items() if n.startswith(kind)]
        told = "yes" if all(right) else "mostly" if 2 * sum(right) > len(right) else "in part"
        return what, "no" if refused or not any(right) else told, f"{sum(right)} of {len(right)} sets calibrated{more}"

    rows = (
        trusted("flux fractions and spectra", "spectrum", f"; {sharp}"),
        trusted("counts of sources above one photon", "source counts"),
        (
            "counts of sources below one photon",
            "no",
            "the map hardly tells: intervals there, and so the number of all sources, are mostly the prior's",
        ),
    )
    return TableBlock(("numbers of the networks", "trust", "why"), rows, "If the map is one of the model's.")


def training_section(histories: Mapping[str, TrainingHistory], started: Mapping[str, str] | None = None) -> Section:
    """What the networks started from, what they saw, and what stopped them; loss curves."""
    blocks = []
    for name, history in histories.items():
        network = f"network for {_WORDS.get(name, name)}"
        story = _story(history, (started or {}).get(name, ""))
        blocks.append(
            FigureBlock(
                _losses(history),
                f"Loss of the {network} against the number of maps presented.",
                f"{network.capitalize()}. {story} Held-out loss should follow the training loss down.",
            )
        )
    return Section("Training", *blocks)


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
    thousands = [maps / 1000 for maps in history.maps_at]
    curves = {"training": (thousands[:n], history.train_loss[:n])}
    if history.validation_loss:
        curves["held out"] = (thousands, history.validation_loss)
    return plots.training_curves(curves, axis="maps presented, in thousands")
