"""What the reports say of misspecified maps, injected populations, and two runs side by side."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi import plots
from gcesbi.evaluation.injection import Injection
from gcesbi.evaluation.misspecified_maps import MisspecificationResult
from gcesbi.evaluation.predictions import TAUS
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock
from gcesbi.report.methods import CalibrationReport, calibration_page, report
from gcesbi.report.parts import calibration_table, coverage_figure, distance_table, gate_section, pairs_table
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel
from gcesbi.validation import Comparison, Estimate

__all__ = ["comparison_report", "injection_report", "misspecification_report", "unseen_report"]


def misspecification_report(found: MisspecificationResult, subtitle: str) -> Report:
    """The page of networks and gate on misspecified maps."""
    others = {name: area for name, area in found.area.items() if name != "nominal"}
    blind = [name for name, area in others.items() if area.low < 0.6]
    ratio, sky, worst = max(
        (report.dispersion.value, sky, report.name)
        for sky, evaluation in found.evaluations.items()
        for report in evaluation.reports
    )
    noticed = f"hardly notices: {', '.join(blind)}." if blind else "notices every one."
    return Report(
        title="What if the sky is another?",
        subtitle=subtitle,
        verdict=f"{len(others)} misspecified skies. Worst error bars, {label(worst)} on {sky}: errors are {ratio:.2f} "
        f"times as large as claimed. The test of the map {noticed}"
        + ("" if found.verdict is None else f" {found.verdict}"),
        mood="caution" if blind else "neutral",
        sections=(gate_section(found.verdict), _errors_section(found), _power_section(found), _twin_section(found)),
        data=found.to_dict(),
    )


def injection_report(model: SkyModel, found: Injection, smooth: NDArray[np.float64], subtitle: str) -> Report:
    """The page of injected populations, and of an exactly Poisson excess, curves (n_tau, n_point_source, n_bin)."""
    told = "; ".join(f"{name} {found.slope(name)}" for name in found.recovered)
    return Report(
        title="Is an injected population found?",
        subtitle=subtitle,
        verdict=f"Flux recovered per flux injected: {told}.",
        sections=(_injection_section(model, found, smooth[:, model.point_sources.index(found.template)]),),
        data={**found.to_dict(), "poisson_excess": smooth.tolist()},
    )


def comparison_report(found: Mapping[str, Comparison], names: tuple[str, str]) -> Report:
    """The page of two runs' networks on the same maps."""
    one, two = (sum(each.better == name for each in found.values()) for name in names)
    return replace(
        calibration_page({label(what): CalibrationReport(each) for what, each in found.items()}),
        title="Which networks are better?",
        subtitle=" and ".join(names),
        verdict=f"Of {len(found)} quantities {names[0]} has the better score in {one}, {names[1]} in {two}.",
        data={name: each.to_dict() for name, each in found.items()},
    )


def unseen_report(truth: ArrayLike, answers: Mapping[str, Any]) -> Report:
    """The page of every method's quantiles of f_src, (n, 1), on images of interstellar models that no network saw."""
    return report(truth, answers, labels=("f_src",)).page("Are the error bars of f_src true?")


def _errors_section(result: MisspecificationResult) -> Section:
    """What becomes of the error bars."""
    drawn = "as bright as the observation, template by template" if result.verdict else "of the whole prior"
    counts = {
        label(f"{sky}: source counts of {name}"): each
        for sky, evaluation in result.evaluations.items()
        for name, each in evaluation.source_counts.items()
    }
    spectra = (
        {"sky": sky} | {label(f"spectrum of {name}"): each.dispersion for name, each in evaluation.spectra.items()}
        for sky, evaluation in result.evaluations.items()
    )
    figures = (
        coverage_figure(
            {sky: evaluation.source_counts[name].report for sky, evaluation in result.evaluations.items()},
            f"source counts of {label(name)} on maps of each sky",
            "Lines below that of the nominal sky: there the error bars are too narrow for a wrong sky.",
            label(name),
        )
        for name in result.evaluations["nominal"].source_counts
    )
    return Section(
        "Error bars under another sky",
        f"{result.n_maps} maps of each sky, {drawn}; {result.counts:,.0f} photons in the median nominal one. The "
        "networks know only the nominal sky. Compare each row with the nominal one: coverage that falls is an error "
        "bar that cannot be trusted, intervals as narrow do not know that the sky is wrong, and distances that "
        "shift take sources for dimmer (below) or brighter.",
        calibration_table({name: each.report for name, each in counts.items()}),
        distance_table(counts),
        TableBlock.of(spectra, "True over claimed error of the flux fractions, 1 if calibrated."),
        *figures,
    )


def _power_section(result: MisspecificationResult) -> Section:
    records = (
        {"sky": sky, "area": area, "turned away": f"{result.detected[sky]:.2f}"}
        | {name: f"{alone:.2f}" for name, alone in result.named[sky].items()}
        for sky, area in result.area.items()
    )
    return Section(
        "Is it noticed that the map is another's?",
        "The gate is the test whether the model could have produced a map. Area under the curve: the probability that "
        "a map of the sky looks stranger to it than one of the nominal sky.",
        FigureBlock(
            plots.estimates(result.area, "area under the curve", 0.5),
            "Area under the curve of the gate for each sky, with bands; 0.5 is dashed.",
            "At 0.5 the gate is blind to the change, at 1 it sees it on every map.",
            together=True,
        ),
        TableBlock.of(
            records,
            "Area for all statistics together, share of maps that are turned away at the stated rate of false alarms, "
            "and area for each statistic alone.",
        ),
    )


def _twin_section(result: MisspecificationResult) -> Section | None:
    """The run's networks and its twin's on the same maps, sky by sky."""
    if not result.twins:
        return None
    pairs = {
        label(f"{sky}, twin against networks: {quantity}"): both.pairs[0]
        for sky, found in result.twins.items()
        for quantity, both in found.items()
    }
    figures = (
        coverage_figure(
            {f"{sky}, {each.name}": each for sky, found in result.twins.items() for each in found[quantity].reports},
            f"{label(quantity)} on maps of each sky, by the networks and by their twin",
            "Where the twin's line falls less under another sky, what it ignores is what misled the networks. Errors "
            "whose correlation is near 1 under a wrong sky are the sky's.",
            label(quantity),
        )
        for quantity in next(iter(result.twins.values()))
        if quantity.startswith("source counts")
    )
    told = "Another run's networks, trained on the same sky."
    return Section("The twin on the same maps", told, pairs_table(pairs), *figures)


def _injection_section(model: SkyModel, found: Injection, smooth: NDArray[np.float64]) -> Section:
    """Injected and recovered flux; and an exactly Poisson excess, curves `smooth` (n_tau, n_bin)."""
    subject = label(found.template)

    def record(method: str) -> dict[str, object]:
        slope, offset = found.line(method)
        return {
            "method": method,
            "flux before": f"{found.before[method]:.3g}",
            "flux recovered / injected": found.slope(method),
            "with an offset: slope": slope,
            "offset [10⁻⁹]": Estimate(*(1e9 * end for end in (offset.value, offset.low, offset.high))),
        }

    fluxes = FigureBlock(
        plots.recovered_fluxes(found.injected, found.recovered, found.before, "photons / cm² / s"),
        "Flux recovered against flux injected, one colour a method, with 68 % error bars.",
        "On the diagonal all that was injected is found; below it, part went to other templates.",
    )
    table = TableBlock.of(
        map(record, found.recovered),
        f"Flux of {subject} in photons / cm² / s on the observation alone; the slope through it; and slope and offset "
        "of a line that need not pass through it. 95 % bands by the scatter of the populations.",
    )
    edges, photon = model.scd_edges, float(1 / model.exposure.mean())
    injected = (
        FigureBlock(
            plots.cumulative_source_counts(
                edges,
                np.median(curves, axis=0)[None],
                np.array([0.5]),
                truth.mean(axis=0),
                {},
                photon,
                title=f"{flux:.2g} injected",
            ),
            f"Predicted median source counts of {subject} with {flux:.2g} injected, and those injected.",
            "The more is injected, the nearer the prediction should come to the injected curve; the observation's own "
            "sources are in it too.",
        )
        for flux, curves, truth in zip(found.injected.mean(axis=1), found.cdf, found.injected_cdf, strict=True)
    )
    lines = [7, 23, 39, 55, 71]
    poisson = FigureBlock(
        plots.cumulative_source_counts(edges, smooth[lines], TAUS[lines], None, {}, photon, title="exactly Poisson"),
        f"Median of every predicted quantile of the source counts of {subject} where the excess is exactly Poisson.",
        "No source is there to be seen: what rises left of one photon is dim beyond telling, and where the curves rise "
        "to its right sources are imagined.",
    )
    told = "A simulated population of known flux added to the observed counts."
    return Section("Injected and recovered", told, fluxes, table, *injected, poisson)
