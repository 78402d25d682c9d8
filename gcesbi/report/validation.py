"""What the validation page says beyond the headline: four questions, sharpness, bins, groups, recalibration, gate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gcesbi import plots
from gcesbi.errors import InputError
from gcesbi.estimators import TrainingHistory
from gcesbi.evaluation.details import Details
from gcesbi.evaluation.networks import Evaluation
from gcesbi.evaluation.neural_posteriors import NeuralPosteriorEvaluation
from gcesbi.report.calibration import calibration_section, calibration_verdict, training_section
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock
from gcesbi.report.parts import calibration_mood, calibration_table, gate_section
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel
from gcesbi.validation.misspecification import GateVerdict

__all__ = [
    "bins_section",
    "four_questions",
    "groups_section",
    "neural_posterior_section",
    "recalibration_section",
    "sharpness_section",
]


def four_questions(evaluation: Evaluation, gate: GateVerdict | None = None) -> TableBlock:
    """Calibrated? Sharp? Biased? Trustworthy on this observation? One row a question."""
    reports, details = evaluation.reports, evaluation.details
    right = sum(report.judgement == "calibrated" for report in reports)
    worst = max(reports, key=lambda report: abs(np.log(report.dispersion.value)))
    biased = [report for report in reports if report.bias.side(0.0)]
    most = max(reports, key=lambda report: abs(report.bias.value))
    answers = {
        "Calibrated?": (
            "yes" if right == len(reports) else f"{right} of {len(reports)}",
            f"{worst.name}: errors {worst.dispersion} times the claimed ones",
        )
    }
    if details is not None and details.skill_poisson:
        name, low = min(details.skill_poisson.items(), key=lambda item: item[1].value)
        sharp = sum(each.low > 0 for each in details.skill_poisson.values())
        answers["Sharper than the Poisson fit?"] = (
            f"{sharp} of {len(details.skill_poisson)} spectra",
            f"least gained over it, {name}: {100 * low.value:.0f} % of its score",
        )
    share = f"{len(biased)} of {len(reports)}" if biased else "no"
    answers["Biased?"] = (share, f"{most.name}: mean z {most.bias.value:+.2f}")
    answers["Trustworthy on this observation?"] = (
        ("not asked", "no observation was given")
        if gate is None
        else (
            "not refused" if gate.accepted else "no",
            f"p = {gate.p_value:.2g} that a map of the model is as unusual; strangest: {gate.worst}",
        )
    )
    return TableBlock(
        ("question", "answer", "the worst of it"),
        tuple((asked, *told) for asked, told in answers.items()),
        "Sets of error bars: one for each template's spectrum and source counts. Sharp: better than the Poisson "
        "fit, the best classical method made for every map, by the continuous ranked probability score (CRPS), which "
        "rewards calibrated and narrow answers. Mean z: the mean error in units of the claimed one.",
    )


def validation_report(
    model: SkyModel,
    evaluation: Evaluation,
    gate: GateVerdict | None,
    neural: Mapping[str, NeuralPosteriorEvaluation],
    histories: Mapping[str, TrainingHistory],
    subtitle: str,
) -> Report:
    """The page of a run's networks on held-out maps, with the gate's verdict on an observation, if it was asked."""
    details = evaluation.details
    return Report(
        title="Are the error bars true?",
        subtitle=subtitle,
        verdict=calibration_verdict(evaluation) + ("" if gate is None else f" {gate}"),
        mood="bad" if gate is not None and not gate.accepted else calibration_mood(evaluation.reports),
        summary=four_questions(evaluation, gate),
        sections=(
            *(() if gate is None else (gate_section(gate),)),
            calibration_section(evaluation),
            sharpness_section(evaluation),
            bins_section(model, evaluation),
            groups_section(evaluation),
            *((neural_posterior_section(neural),) if neural else ()),
            recalibration_section(evaluation),
            training_section(histories),
        ),
        data={
            **evaluation.to_dict(),
            "details": None if details is None else details.to_dict(),
            "gate": None if gate is None else gate.to_dict(),
            "neural_posteriors": {name: each.to_dict() for name, each in neural.items()},
        },
    )


def sharpness_section(evaluation: Evaluation) -> Section:
    """What was learnt beyond the prior, and beyond the Poisson fit."""
    details = _details(evaluation)
    table = TableBlock.of(
        details.ratio.items(),
        {
            "quantity": lambda row: label(row[0]),
            "width / the prior's": lambda row: "–" if np.isnan(row[1]) else f"{row[1]:.2f}",
            "skill against the prior": lambda row: details.skill.get(row[0], "–"),
            "skill against the Poisson fit": lambda row: details.skill_poisson.get(row[0], "–"),
        },
        "Width: 1 is nothing learnt. Skill, by CRPS: 1 is perfect, 0 no better, below 0 worse than the reference; with "
        "95 % bands. The Poisson fit knows no source counts.",
    )
    return Section(
        "Sharper than what?",
        "A calibrated posterior may still say nothing: the prior is calibrated too. These figures compare with it, and "
        "with a Poisson fit to the same maps.",
        table,
    )


def bins_section(model: SkyModel, evaluation: Evaluation) -> Section:
    """Where coverage holds: by flux bin and energy bin; PIT; whole curves."""
    details = _details(evaluation)
    energies = np.sqrt(model.energy_edges[:-1] * model.energy_edges[1:])
    blocks: list[FigureBlock | TableBlock] = [
        FigureBlock(
            plots.pit_bands({name.replace(" of ", "\n"): found for name, found in details.pit.items()}),
            "Histograms of the level at which each truth lies in its prediction, with bands, one panel a quantity.",
            "Flat within the bands is calibrated; heaped at both ends is over-confident, in the middle "
            "under-confident, "
            "at one end biased.",
        )
    ]
    for name, curves in details.bins.items():
        source = name.startswith("source counts")
        if not source and len(energies) == 1:
            continue
        positions, unit = (model.bins.centres, "log₁₀ of flux") if source else (energies, "energy [GeV]")
        blocks.append(
            FigureBlock(
                plots.bin_coverage(curves, positions, unit),
                f"Coverage of 68 % and 95 % intervals of the {name} for each bin, with bands.",
                f"{name[0].upper()}{name[1:]}: each point should meet its dashed line within its band; one in twenty "
                "misses by chance." + (" Maps count whose prediction does not say 0 or 1 there." if source else ""),
            )
        )
    columns: dict[str, Callable[[tuple[str, Any]], object]] = {"quantity": lambda row: label(row[0])}
    for alpha in (0.68, 0.95):
        at = f"{100 * alpha:.0f} %"
        for i, words in enumerate(("whole curves", "level needed", "widening")):
            columns[f"{at}: {words}"] = partial(_whole, alpha, i)
    blocks.append(
        TableBlock.of(
            details.whole.items(),
            columns,
            "Share of whole CDFs that the pointwise band holds (below nominal without being a fault), the pointwise "
            "level whose band holds the nominal share of them, and the factor about the median that does the same.",
        )
    )
    return Section("Where it holds", "Coverage bin by bin, with bands; maps are the independent unit.", *blocks)


def groups_section(evaluation: Evaluation) -> Section:
    """Conditional calibration: by groups of maps, searched groups, and regions of the truth."""
    details = _details(evaluation)
    blocks: list[FigureBlock | TableBlock] = [
        TableBlock(
            ("quantity", "worst group", "maps", "mean square z", "worst group of a search", "mean square z there"),
            tuple(_worst(details, name) for name in details.groups),
            "Mean square z, of errors in units of the claimed ones, is 1 if they are as claimed, above if larger. "
            "Bands hold for all groups of a quantity together with 95 %. The search looks for groups on one half of "
            "the maps and judges on the other.",
        )
    ]
    for name, found in details.groups.items():
        if name.startswith("source counts"):
            blocks += [
                FigureBlock(
                    plots.group_means(found),
                    f"Mean square z of the {name} in groups of maps by what is known of them, with bands.",
                    "Bands that hold 1 are right in their group. The groups do not know the truth: a band that misses "
                    "is a fault.",
                ),
                FigureBlock(
                    plots.group_means(details.regions[name]),
                    f"Mean square z of the {name} in groups of maps by their truth, with bands.",
                    "Where a method is strong or weak: even an exact posterior strays from 1 here, because it leans "
                    "towards the prior.",
                ),
            ]
    return Section("On which maps", "Right on average may be wrong both ways; so maps are put into groups.", *blocks)


def recalibration_section(evaluation: Evaluation) -> Section:
    """Conformal recalibration, before and after."""
    details = _details(evaluation)
    blocks = tuple(
        FigureBlock(
            plots.coverage_curves({"before": before, "after": after}, title=name),
            f"Coverage of the {name} before and after conformal widening, with bands.",
            "The widening was measured on one half of the held-out maps and is judged on the other, over pairs whose "
            "prediction leaves the cumulative share open: afterwards bands hold at least what they claim, on average "
            "over maps of this model. An interval that ends at 0 or 1 holds all that lies there, so that either curve "
            "may lie above the diagonal.",
        )
        for name, (before, after) in details.recalibration.items()
    )
    return Section(
        "Recalibrated", "Split conformal widening, bin by bin, with its guarantee for maps of the model.", *blocks
    )


def neural_posterior_section(judged: Mapping[str, NeuralPosteriorEvaluation]) -> Section:
    """Neural posteriors of sbi's, by method: components one by one, and all together."""
    reports = {f"{method}: {each.name}": each for method, found in judged.items() for each in found.reports}
    together = " ".join(
        f"{method}: p = {found.joint.p_value:.2g} that an exact joint posterior strays as far in TARP's coverage."
        for method, found in judged.items()
    )
    return Section(
        "Neural posteriors",
        f"{next(iter(judged.values())).reports[0].n_map} held-out maps. {together}",
        calibration_table(reports, rows="quantity"),
    )


def _whole(alpha: float, which: int, row: tuple[str, Any]) -> str:
    value = row[1].at(alpha)[which]
    return "–" if np.isnan(value) else f"{value:.3g}"


def _details(evaluation: Evaluation) -> Details:
    if evaluation.details is None:
        raise InputError("evaluation: was made without details, which this section shows")
    return evaluation.details


def _worst(details: Details, name: str) -> tuple[str, ...]:
    worst = details.groups[name].worst
    found = details.searched.get(name)
    searched = ("–", "–") if found is None else (found.worst.name, str(found.worst.estimate))
    return (name, worst.name, str(worst.n_map), str(worst.estimate), *searched)
