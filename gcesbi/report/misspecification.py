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

LINE_TAUS = TAUS[[7, 23, 39, 55, 71]]


def misspecification_report(found: MisspecificationResult, subtitle: str) -> Report:
    """The page of networks and gate on misspecified maps."""
    others = {name: area for name, area in found.area.items() if name != "nominal"}
    blind = [name for name, area in others.items() if area.low < 0.6]
    worst = max(
        (report.dispersion.value, sky, report.name)
        for sky, evaluation in found.evaluations.items()
        for report in evaluation.reports
    )
    noticed = (
        "The test of the map notices every one."
        if not blind
        else f"The test of the map hardly notices: {', '.join(blind)}."
    )
    return Report(
        title="What if the sky is another?",
        subtitle=subtitle,
        verdict=f"{len(others)} misspecified skies. Worst error bars, {worst[2]} on {worst[1]}: errors are "
        f"{worst[0]:.2f} times as large as claimed. {noticed}" + ("" if found.verdict is None else f" {found.verdict}"),
        mood="caution" if blind else "neutral",
        sections=_misspecified(found),
        data=found.to_dict(),
    )


def injection_report(model: SkyModel, found: Injection, smooth: NDArray[np.float64], subtitle: str) -> Report:
    """The page of injected populations, and of an exactly Poisson excess."""
    told = "; ".join(f"{name} {found.slope(name)}" for name in found.recovered)
    return Report(
        title="Is an injected population found?",
        subtitle=subtitle,
        verdict=f"Flux recovered per flux injected: {told}.",
        sections=(_injection(model, found, smooth),),
        data={**found.to_dict(), "poisson_excess": smooth.tolist()},
    )


def comparison_report(found: Mapping[str, Comparison], names: tuple[str, str]) -> Report:
    """The page of two runs' networks on the same maps."""
    better = [sum(each.better == name for each in found.values()) for name in names]
    return replace(
        calibration_page({label(what): CalibrationReport(each) for what, each in found.items()}),
        title="Which networks are better?",
        subtitle=" and ".join(names),
        verdict=f"Of {len(found)} quantities {names[0]} has the better score in {better[0]}, "
        f"{names[1]} in {better[1]}.",
        data={name: each.to_dict() for name, each in found.items()},
    )


def unseen_report(truth: ArrayLike, answers: Mapping[str, Any]) -> Report:
    """The page of every method's quantiles of f_src, (n, 1), on images of interstellar models that no network saw."""
    return report(truth, answers, labels=("f_src",)).page("Are the error bars of f_src true?")


def _misspecified(result: MisspecificationResult) -> tuple[Section, ...]:
    """A run on misspecified maps: what becomes of its error bars, whether the gate notices, and its twin's fate."""
    drawn = "as bright as the observation, template by template" if result.verdict else "of the whole prior"
    counts = {
        label(f"{sky}: source counts of {name}"): each
        for sky, evaluation in result.evaluations.items()
        for name, each in evaluation.source_counts.items()
    }
    errors = Section(
        "Error bars under another sky",
        f"{result.n_maps} maps of each sky, {drawn}; {result.counts:,.0f} photons in the median nominal one. The "
        "networks know only the nominal sky. Compare each row with the nominal one: coverage that falls is an error "
        "bar that cannot be trusted, intervals as narrow do not know that the sky is wrong, and distances that "
        "shift take sources for dimmer (below) or brighter.",
        calibration_table({name: each.report for name, each in counts.items()}),
        distance_table(counts),
        _spectrum_table(result),
        *_source_count_figures(result),
    )
    asked = () if result.verdict is None else (gate_section(result.verdict),)
    return (*asked, errors, _power_section(result), *_twin_sections(result))


def _spectrum_table(result: MisspecificationResult) -> TableBlock:
    rows = tuple(
        (sky, *(str(report.dispersion) for report in evaluation.spectra.values()))
        for sky, evaluation in result.evaluations.items()
    )
    return TableBlock(
        ("sky", *(label(f"spectrum of {name}") for name in result.evaluations["nominal"].spectra)),
        rows,
        "True over claimed error of the flux fractions, 1 if calibrated.",
    )


def _source_count_figures(result: MisspecificationResult) -> tuple[FigureBlock, ...]:
    return tuple(
        coverage_figure(
            {sky: evaluation.source_counts[name].report for sky, evaluation in result.evaluations.items()},
            f"source counts of {name} on maps of each sky",
            "Lines below that of the nominal sky: there the error bars are too narrow for a wrong sky.",
            name,
        )
        for name in result.evaluations["nominal"].source_counts
    )


def _power_section(result: MisspecificationResult) -> Section:
    names = list(next(iter(result.named.values())))
    rows = tuple(
        (sky, str(area), f"{result.detected[sky]:.2f}", *(f"{result.named[sky][n]:.2f}" for n in names))
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
        ),
        TableBlock(
            ("sky", "area", "turned away", *names),
            rows,
            "Area for all statistics together, share of maps that are turned away at the stated rate of false "
            "alarms, and area for each statistic alone.",
        ),
    )


def _twin_sections(result: MisspecificationResult) -> tuple[Section, ...]:
    """The run's networks and its twin's on the same maps, sky by sky."""
    if not result.twins:
        return ()
    table = pairs_table(
        {
            label(f"{sky}, twin against networks: {quantity}"): both.pairs[0]
            for sky, found in result.twins.items()
            for quantity, both in found.items()
        }
    )
    figures = tuple(
        coverage_figure(
            {f"{sky}, {each.name}": each for sky, found in result.twins.items() for each in found[quantity].reports},
            f"{quantity} on maps of each sky, by the networks and by their twin",
            "Where the twin's line falls less under another sky, what it ignores is what misled the networks. Errors "
            "whose correlation is near 1 under a wrong sky are the sky's.",
            quantity,
        )
        for quantity in next(iter(result.twins.values()))
        if quantity.startswith("source counts")
    )
    return (Section("The twin on the same maps", "Another run's networks, trained on the same sky.", table, *figures),)


def _injection(model: SkyModel, found: Injection, smooth: NDArray[np.float64] | None = None) -> Section:
    """Injected and recovered flux; and an exactly Poisson excess, curves `smooth` (n_tau, n_point_source, n_bin)."""
    rows = tuple(
        (name, f"{found.before[name]:.3g}", str(found.slope(name)), str(slope), _with_unit(offset, 1e-9))
        for name in found.recovered
        for slope, offset in (found.line(name),)
    )
    j = model.point_sources.index(found.template)
    blocks: list[FigureBlock | TableBlock] = [
        FigureBlock(
            plots.recovered_fluxes(found.injected, found.recovered, found.before, "photons / cm² / s"),
            "Flux recovered against flux injected, one colour a method, with 68 % error bars.",
            "On the diagonal all that was injected is found; below it, part went to other templates.",
        ),
        TableBlock(
            ("method", "flux before", "flux recovered / injected", "with an offset: slope", "offset [10⁻⁹]"),
            rows,
            f"Flux of {found.template} in photons / cm² / s on the observation alone; the slope through it; and slope "
            "and offset of a line that need not pass through it. 95 % bands by the scatter of the populations.",
        ),
    ]
    photon = float(1 / model.exposure.mean())
    blocks += _injected_curves(model, found, photon)
    if smooth is not None:
        blocks.append(_smooth_curves(model, found.template, smooth[:, j], photon))
    return Section(
        "Injected and recovered", "A simulated population of known flux added to the observed counts.", *blocks
    )


def _with_unit(estimate: Estimate, unit: float) -> str:
    return str(Estimate(estimate.value / unit, estimate.low / unit, estimate.high / unit))


def _injected_curves(model: SkyModel, found: Injection, photon: float) -> list[FigureBlock]:
    """Median prediction and truth of what was injected, one figure a flux."""
    return [
        FigureBlock(
            plots.cumulative_source_counts(
                model.scd_edges,
                np.median(curves, axis=0)[None],
                np.array([0.5]),
                truth.mean(axis=0),
                {},
                photon,
                title=f"{flux:.2g} injected",
            ),
            f"Predicted median source counts of {found.template} with {flux:.2g} injected, and those injected.",
            "The more is injected, the nearer the prediction should come to the injected curve; the observation's own "
            "sources are in it too.",
        )
        for flux, curves, truth in zip(found.injected.mean(axis=1), found.cdf, found.injected_cdf, strict=True)
    ]


def _smooth_curves(model: SkyModel, template: str, curves: NDArray[np.float64], photon: float) -> FigureBlock:
    """Median of every predicted quantile (n_tau, n_bin) where the excess is Poisson."""
    chosen = [int(np.argmin(np.abs(TAUS - tau))) for tau in LINE_TAUS]
    return FigureBlock(
        plots.cumulative_source_counts(
            model.scd_edges, curves[chosen], TAUS[chosen], None, {}, photon, title="exactly Poisson"
        ),
        f"Median of every predicted quantile of the source counts of {template} where the excess is exactly Poisson.",
        "No source is there to be seen: what rises left of one photon is dim beyond telling, and where the curves rise "
        "to its right sources are imagined.",
    )
