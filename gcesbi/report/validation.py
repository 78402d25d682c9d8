"""What the validation page says beyond the headline: four questions, sharpness, bins, groups, recalibration, gate."""

from collections.abc import Mapping

import numpy as np

from gcesbi import plots
from gcesbi.errors import InputError
from gcesbi.estimators import TrainingHistory
from gcesbi.evaluation.details import Details
from gcesbi.evaluation.networks import Evaluation
from gcesbi.evaluation.neural_posteriors import NeuralPosteriorEvaluation
from gcesbi.report.calibration import calibration_section, calibration_verdict, named_reports, training_section
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock
from gcesbi.report.parts import calibration_mood, calibration_table, gate_section, number
from gcesbi.report.words import in_words, label
from gcesbi.simulation import SkyModel
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["four_questions", "neural_posterior_section", "validation_report"]


def validation_report(
    model: SkyModel,
    evaluation: Evaluation,
    gate: GateVerdict | None,
    neural: Mapping[str, NeuralPosteriorEvaluation],
    histories: Mapping[str, TrainingHistory],
    subtitle: str,
) -> Report:
    """The page of a run's networks on held-out maps, with the gate's verdict on an observation, if it was asked.

    Raises
    ------
    InputError
        If the evaluation was made without details.
    """
    details = evaluation.details
    if details is None:
        raise InputError("evaluation: was made without details, which this page shows")
    return Report(
        title="Are the error bars true?",
        subtitle=subtitle,
        verdict=calibration_verdict(evaluation) + ("" if gate is None else f" {gate}"),
        mood="bad" if gate is not None and not gate.accepted else calibration_mood(evaluation.reports),
        summary=four_questions(evaluation, gate),
        sections=(
            gate_section(gate),
            calibration_section(evaluation),
            _sharpness_section(details),
            _bins_section(model, details),
            _groups_section(details),
            neural_posterior_section(neural),
            _recalibration_section(details),
            training_section(histories),
        ),
        data={
            **evaluation.to_dict(),
            "details": details.to_dict(),
            "gate": None if gate is None else gate.to_dict(),
            "neural_posteriors": {name: each.to_dict() for name, each in neural.items()},
        },
    )


def four_questions(evaluation: Evaluation, gate: GateVerdict | None = None) -> TableBlock:
    """Calibrated? Sharp? Biased? Trustworthy on this observation? One row a question."""
    reports, skill = named_reports(evaluation), {} if evaluation.details is None else evaluation.details.skill_poisson
    right = sum(each.judgement == "calibrated" for each in reports.values())
    biased = sum(bool(each.bias.side(0.0)) for each in reports.values())
    name, worst = max(reports.items(), key=lambda item: abs(np.log(item[1].dispersion.value)))
    strayed, most = max(reports.items(), key=lambda item: abs(item[1].bias.value))
    rows = [
        (
            "Calibrated?",
            "yes" if right == len(reports) else f"{right} of {len(reports)}",
            f"{name}: errors {worst.dispersion} times the claimed ones",
        )
    ]
    if skill:
        name, low = min(skill.items(), key=lambda item: item[1].value)
        sharp = f"{sum(each.low > 0 for each in skill.values())} of {len(skill)} spectra"
        gained = f"least gained over it, {label(name)}: {100 * low.value:.0f} % of its score"
        rows.append(("Sharper than the Poisson fit?", sharp, gained))
    share = f"{biased} of {len(reports)}" if biased else "no"
    rows.append(("Biased?", share, f"{strayed}: mean z {most.bias.value:+.2f}"))
    told = ("not asked", "no observation was given")
    if gate is not None:
        unusual = f"p = {gate.p_value:.2g} that a map of the model is as unusual; strangest: {gate.worst}"
        told = ("not refused" if gate.accepted else "no", unusual)
    rows.append(("Trustworthy on this observation?", *told))
    return TableBlock(
        ("question", "answer", "the worst of it"),
        tuple(rows),
        "Sets of error bars: one for each template's spectrum and source counts. Sharp: better than the Poisson "
        "fit, the best classical method made for every map, by the continuous ranked probability score (CRPS), which "
        "rewards calibrated and narrow answers. Mean z: the mean error in units of the claimed one.",
    )


def neural_posterior_section(judged: Mapping[str, NeuralPosteriorEvaluation]) -> Section | None:
    """Neural posteriors of sbi's, by method: components one by one, and all together; nothing where there is none."""
    reports = {f"{method}: {each.name}": each for method, found in judged.items() for each in found.reports}
    if not reports:
        return None
    together = " ".join(
        f"{method}: p = {found.joint.p_value:.2g} that an exact joint posterior strays as far in TARP's coverage."
        for method, found in judged.items()
    )
    n_map = next(iter(reports.values())).n_map
    return Section(
        "Neural posteriors", f"{n_map} held-out maps. {together}", calibration_table(reports, rows="quantity")
    )


def _sharpness_section(details: Details) -> Section:
    """What was learnt beyond the prior, and beyond the Poisson fit."""
    records = (
        {
            "quantity": label(name),
            "width / the prior's": number(width, ".2f"),
            "skill against the prior": details.skill.get(name, "–"),
            "skill against the Poisson fit": details.skill_poisson.get(name, "–"),
        }
        for name, width in details.ratio.items()
    )
    return Section(
        "Sharper than what?",
        "A calibrated posterior may still say nothing: the prior is calibrated too. These figures compare with it, and "
        "with a Poisson fit to the same maps.",
        TableBlock.of(
            records,
            "Width: 1 is nothing learnt. Skill, by CRPS: 1 is perfect, 0 no better, below 0 worse than the reference; "
            "with 95 % bands. The Poisson fit knows no source counts.",
        ),
    )


def _bins_section(model: SkyModel, details: Details) -> Section:
    """Where coverage holds: by flux bin and energy bin; PIT; whole curves."""
    pit = FigureBlock(
        plots.pit_bands({label(name).replace(" of ", "\n"): found for name, found in details.pit.items()}),
        "Histograms of the level at which each truth lies in its prediction, with bands, one panel a quantity.",
        "Flat within the bands is calibrated; heaped at both ends is over-confident, in the middle under-confident, at "
        "one end biased.",
    )
    axes = {"spectrum": (np.sqrt(model.energy_edges[:-1] * model.energy_edges[1:]), "energy [GeV]")}
    axes["source"] = (model.bins.centres, "log₁₀ of flux")
    bins = [
        FigureBlock(
            plots.bin_coverage(curves, *axes[name.split()[0]]),
            f"Coverage of 68 % and 95 % intervals of the {label(name)} for each bin, with bands.",
            f"{name[0].upper()}{label(name)[1:]}: each point should meet its dashed line within its band; one in "
            "twenty misses by chance."
            + (" Maps count whose prediction does not say 0 or 1 there." if name.startswith("source") else ""),
        )
        for name, curves in details.bins.items()
        if len(curves) > 1
    ]
    words = ("whole curves held", "level needed", "stretch needed")
    whole = TableBlock.of(
        (
            {"quantity": label(name)}
            | {
                f"{100 * alpha:.0f} %: {word}": number(value)
                for alpha in (0.68, 0.95)
                for word, value in zip(words, each.at(alpha), strict=False)
            }
            for name, each in details.whole.items()
        ),
        "Intervals hold bin by bin. Share of maps whose whole cumulative curve lies within them (below nominal without "
        "being a fault); the level at which intervals hold the nominal share of whole curves; and the factor by which "
        "those of the level must be stretched about the median to do the same.",
    )
    told = "Coverage bin by bin, with bands; maps are the independent unit."
    return Section("Where it holds", told, pit, *bins, whole)


def _groups_section(details: Details) -> Section:
    """Conditional calibration: by groups of maps, searched groups, and regions of the truth."""

    def record(name: str) -> dict[str, object]:
        worst, searched = details.groups[name].worst, details.searched.get(name)
        return {
            "quantity": label(name),
            "worst group": label(worst.name),
            "maps": worst.n_map,
            "mean square z": worst.estimate,
            "worst group of a search": label(searched.worst.name) if searched else "–",
            "mean square z there": searched.worst.estimate if searched else "–",
        }

    table = TableBlock.of(
        map(record, details.groups),
        "Mean square z, of errors in units of the claimed ones, is 1 if they are as claimed, above if larger. "
        "Bands hold for all groups of a quantity together with 95 %. The search looks for groups on one half of "
        "the maps and judges on the other.",
    )
    blind = (
        "what is known of them",
        "Bands that hold 1 are right in their group. The groups do not know the truth: a band that misses is a fault.",
    )
    knowing = (
        "their truth",
        "Where a method is strong or weak: even an exact posterior strays from 1 here, because it leans towards the "
        "prior.",
    )
    figures = (
        FigureBlock(
            plots.group_means(in_words(found[name])),
            f"Mean square z of the {label(name)} in groups of maps by {by}, with bands.",
            caption,
            together=True,
        )
        for name in details.groups
        if name.startswith("source counts")
        for found, (by, caption) in ((details.groups, blind), (details.regions, knowing))
    )
    told = "Right on average may be wrong both ways; so maps are put into groups."
    return Section("On which maps", told, table, *figures)


def _recalibration_section(details: Details) -> Section:
    """Conformal recalibration, before and after."""
    figures = (
        FigureBlock(
            plots.coverage_curves({"before": before, "after": after}, title=label(name)),
            f"Coverage of the {label(name)} before and after recalibration, with bands.",
            "How much wider was measured on one half of the held-out maps and is judged on the other, over pairs whose "
            "prediction leaves the cumulative share open: afterwards bands hold at least what they claim, on average "
            "over maps of this model. An interval that ends at 0 or 1 holds all that lies there, so that either curve "
            "may lie above the diagonal.",
        )
        for name, (before, after) in details.recalibration.items()
    )
    told = "Intervals made wider bin by bin (split conformal prediction), with a guarantee for maps of the model."
    return Section("Recalibrated", told, *figures)
