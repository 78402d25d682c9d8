"""The parts of every page that judges: calibrations by name, methods in pairs, distances of source counts, the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["calibration_mood", "calibration_table", "coverage_figure", "distance_table", "gate_section", "pairs_table"]

_STATISTICS = {
    "embedding": "Embedding: what the networks condense the map into before they answer; how far it is from those of "
    "the model's maps (MMD²), how improbable among them (−ln p), how much of it is of no kind that they have "
    "(remainder).",
    "kurtosis": "Kurtosis: more strong residuals than chance makes.",
    "power": "Angular power: residuals of neighbouring pixels together.",
    "north-south": "North-south, left-right: the difference of the residuals of two halves.",
    "towards": "Towards another sky: whether residuals look like its difference from the model.",
}
_WIDTHS = (
    " Median widths of the central intervals, and the score, in the unit of the truth; smaller is better, for widths "
    "only among calibrated methods."
)


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
    stated = dict(before or {})
    columns: dict[str, Callable[[tuple[str, Calibration]], object]] = {rows: lambda row: row[0]}
    if stated:
        columns["before recalibration"] = lambda row: f"{stated[row[0]].judgement}, {stated[row[0]].dispersion}"
    columns |= {
        "judgement": lambda row: row[1].judgement,
        "true / claimed error": lambda row: row[1].dispersion,
        "mean error / claimed": lambda row: row[1].bias,
        "inside 68 %": lambda row: _inside(row[1], 0.68),
        "inside 95 %": lambda row: _inside(row[1], 0.95),
    }
    if widths:
        columns |= {
            "width of 68 %": lambda row: _short(row[1].width_68),
            "width of 95 %": lambda row: _short(row[1].width_95),
            "CRPS": lambda row: "{0.value:.4g} ({0.low:.4g} to {0.high:.4g})".format(row[1].crps),
        }
    return TableBlock.of(
        reports.items(),
        columns,
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
    return TableBlock.of(
        pairs.items(),
        {
            "pair": lambda row: row[0],
            "width, quotient": lambda row: row[1].width_ratio,
            "skill": lambda row: row[1].skill,
            "shift of medians": lambda row: row[1].shift,
            "correlation of errors": lambda row: row[1].correlation,
        },
        "Width below 1: the first named is sharper. Skill, by CRPS, above 0: it scores better. Shift in half-widths of "
        "the other's 68 % interval. Both on the same maps; 95 % bands from resampled ones.",
    )


def distance_table(found: Mapping[str, SourceCountEvaluation]) -> TableBlock:
    """How far median source counts are from the true ones, and how wide their intervals, by name."""
    return TableBlock.of(
        found.items(),
        {
            "source counts of": lambda row: row[0],
            "median signed distance": lambda row: f"{np.median(row[1].semd):+.2f}",
            "half of its 68 % range": lambda row: f"{np.diff(np.quantile(row[1].semd, [0.16, 0.84]))[0] / 2:.2f}",
            "mean distance": lambda row: f"{row[1].emd.mean():.2f}",
            "median width of 95 %": lambda row: f"{np.median(row[1].sharpness):.3f}",
        },
        "(Signed) Earth mover's distance between true and median source counts, in flux bins of 0.27 decades; below "
        "zero the prediction is too dim.",
    )


def gate_section(verdict: GateVerdict) -> Section:
    """What the gate says of the observation."""
    found = sorted(zip(verdict.names, verdict.values, verdict.z, verdict.p_values, strict=True), key=lambda row: row[3])
    columns: dict[str, Callable[[tuple[str, float, float, float]], object]] = {
        "statistic": lambda row: row[0],
        "value": lambda row: f"{row[1]:.3g}",
        "deviation from like maps": lambda row: f"{row[2]:+.1f}",
        "p-value": lambda row: f"{row[3]:.2g}",
    }
    caption = (
        "Each statistic against maps of the model to which the networks give the same answers, in standard deviations, "
        f"the most unusual first. With {len(found)} statistics the smallest p-value is small by chance; the verdict "
        f"allows for it.{''.join(f' {told}' for word, told in _STATISTICS.items() if word in ' '.join(verdict.names))}"
    )
    return Section("Could the model have produced the map?", str(verdict), TableBlock.of(found, columns, caption))


def _inside(each: Calibration, alpha: float) -> str:
    """Share of truths inside the central interval of a level, with its band, where levels reach."""
    curve = each.undecided or each.curve
    return str(Estimate(*curve.at(alpha))) if alpha <= curve.alphas[-1] + 1e-9 else "–"


def _short(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"
