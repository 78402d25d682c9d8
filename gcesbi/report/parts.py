"""The parts of every page that judges: calibrations by name, methods in pairs, distances of source counts, the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gcesbi.plots.calibration import coverage_curves
from gcesbi.report.html import FigureBlock, Mood, Section, TableBlock
from gcesbi.validation.calibration import Calibration
from gcesbi.validation.comparison import Pair
from gcesbi.validation.estimate import Estimate
from gcesbi.validation.misspecification import GateVerdict

if TYPE_CHECKING:
    from gcesbi.evaluation.networks import SourceCountEvaluation

__all__ = [
    "calibration_mood",
    "calibration_table",
    "coverage_figure",
    "distance_table",
    "gate_section",
    "number",
    "pairs_table",
]

_STATISTICS = {
    "embedding": "Embedding: what the networks condense the map into before they answer; how far it is from those of "
    "the model's maps (MMD²), how improbable among them (−ln p), how much of it is of no kind that they have "
    "(remainder).",
    "kurtosis": "Kurtosis: more strong residuals than chance makes.",
    "power": "Angular power: residuals of neighbouring pixels together.",
    "north-south": "North-south, left-right: the difference of the residuals of two halves.",
    "towards": "Towards another sky: whether residuals look like its difference from the model.",
    "lorimer": "Interstellar models by the cosmic rays' sources, the height of their halo [kpc], and the spin "
    "temperature of the gas [K].",
}
_WIDTHS = (
    " Median widths of the central intervals, and the score, in the unit of the truth; smaller is better, for widths "
    "only among calibrated methods."
)


def number(value: float, form: str = ".3g") -> str:
    """A number in a cell; a dash for NaN."""
    return "–" if np.isnan(value) else format(value, form)


def calibration_table(
    reports: Mapping[str, Calibration],
    before: Mapping[str, Calibration] | None = None,
    rows: str = "error bars of",
    *,
    widths: bool = False,
) -> TableBlock:
    """One row a set of error bars, of any quantity by any method.

    `before` are those of the same name, unrecalibrated; `widths`: how wide intervals are and how they score, too.
    """

    def record(name: str, each: Calibration) -> dict[str, object]:
        first = None if before is None else before[name]
        return {
            rows: name,
            **({} if first is None else {"before recalibration": f"{first.judgement}, {first.dispersion}"}),
            "judgement": each.judgement,
            "true / claimed error": each.dispersion,
            "mean error / claimed": each.bias,
            "inside 68 %": _inside(each, 0.68),
            "inside 95 %": _inside(each, 0.95),
            **({"width of 68 %": number(each.width_68), "width of 95 %": number(each.width_95)} if widths else {}),
            **({"CRPS": f"{each.crps.value:.4g} ({each.crps.low:.4g} to {each.crps.high:.4g})"} if widths else {}),
        }

    return TableBlock.of(
        (record(name, each) for name, each in reports.items()),
        "Error bars are true where true / claimed error is 1, the mean error 0, and intervals hold their nominal "
        "share; in brackets what finitely many maps leave open. Over-confident: too small; under-confident: too large; "
        "misshapen: too small in the tails and too large in the core, or the reverse." + (_WIDTHS if widths else ""),
    )


def calibration_mood(reports: Sequence[Calibration]) -> Mood:
    """Colour of a verdict: by the largest ratio of true to claimed errors; neutral with too few maps."""
    if reports[0].few_maps:
        return "neutral"
    if all(each.judgement == "calibrated" for each in reports):
        return "good"
    return "caution" if max(abs(np.log(each.dispersion.value)) for each in reports) < np.log(1.5) else "bad"


def coverage_figure(
    reports: Mapping[str, Calibration], of: str, caption: str = "", title: str = "", *, open_only: bool = False
) -> FigureBlock:
    """Coverage curves by name: what they are `of` in words, how to read them; of open predictions where CDFs are."""
    curves = {n: (each.undecided if open_only else None) or each.curve for n, each in reports.items()}
    return FigureBlock(
        coverage_curves(curves, title=title),
        f"Measured coverage against nominal level, with bands: {of}.",
        caption or "On the diagonal intervals hold what they claim; below it they are too narrow.",
    )


def pairs_table(pairs: Mapping[str, Pair]) -> TableBlock:
    """One row a pair of methods on the same maps, by a name that says which against which."""
    records = (
        {
            "pair": name,
            "width, quotient": each.width_ratio,
            "skill": each.skill,
            "shift of medians": each.shift,
            "correlation of errors": each.correlation,
        }
        for name, each in pairs.items()
    )
    return TableBlock.of(
        records,
        "Width below 1: the first named is sharper. Skill, by CRPS, above 0: it scores better. Shift in half-widths of "
        "the other's 68 % interval. Both on the same maps; 95 % bands from resampled ones.",
    )


def distance_table(found: Mapping[str, SourceCountEvaluation]) -> TableBlock:
    """How far median source counts are from the true ones, and how wide their intervals, by name."""
    records = (
        {
            "source counts of": name,
            "median signed distance": f"{np.median(each.semd):+.2f}",
            "half of its 68 % range": f"{np.diff(np.quantile(each.semd, [0.16, 0.84]))[0] / 2:.2f}",
            "mean distance": f"{each.emd.mean():.2f}",
            "median width of 95 %": f"{np.median(each.sharpness):.3f}",
        }
        for name, each in found.items()
    )
    return TableBlock.of(
        records,
        "(Signed) Earth mover's distance between true and median source counts, in flux bins of 0.27 decades; below "
        "zero the prediction is too dim. Widths are of intervals of the cumulative share in all bins, "
        "also in those where it is surely 0 or 1.",
    )


def gate_section(verdict: GateVerdict | None) -> Section | None:
    """What the gate says of the observation, if it was asked."""
    if verdict is None:
        return None
    found = sorted(zip(verdict.names, verdict.values, verdict.z, verdict.p_values, strict=True), key=lambda row: row[3])
    records = (
        {"statistic": name, "value": f"{value:.3g}", "deviation from like maps": f"{z:+.1f}", "p-value": f"{p:.2g}"}
        for name, value, z, p in found
    )
    caption = (
        "Each statistic against maps of the model to which the networks give the same answers, in standard deviations, "
        f"the most unusual first. With {len(found)} statistics the smallest p-value is small by chance; the verdict "
        f"allows for it.{''.join(f' {told}' for word, told in _STATISTICS.items() if word in ' '.join(verdict.names))}"
    )
    return Section("Could the model have produced the map?", str(verdict), TableBlock.of(records, caption))


def _inside(each: Calibration, alpha: float) -> str:
    """Share of truths inside the central interval of a level, with its band, where levels reach."""
    curve = each.undecided or each.curve
    return str(Estimate(*curve.at(alpha))) if alpha <= curve.alphas[-1] + 1e-9 else "–"
