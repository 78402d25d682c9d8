"""Parts of pages made of measures alone: tables of calibrations by name, and of methods in pairs; figures of coverage.

Arrays of any origin make these: nothing here needs torch or a sky.
"""

from collections.abc import Callable, Mapping

from gcesbi.plots.calibration import coverage_curves
from gcesbi.report.html import FigureBlock, TableBlock
from gcesbi.validation.calibration import Calibration
from gcesbi.validation.comparison import Pair
from gcesbi.validation.estimate import Estimate

__all__ = ["calibration_table", "coverage_figure", "pairs_table"]

_ALPHAS = (0.68, 0.95)


def calibration_table(
    reports: Mapping[str, Calibration], before: Mapping[str, Calibration] | None = None, rows: str = "error bars of"
) -> TableBlock:
    """One row a set of error bars, of any quantity by any method; `before` those of the same name, unrecalibrated."""
    stated = dict(before or {})
    cells = tuple(
        (
            name,
            *((f"{stated[name].judgement}, {stated[name].dispersion}",) if stated else ()),
            each.judgement,
            str(each.dispersion),
            str(each.bias),
            *map(_inside(each), _ALPHAS),
        )
        for name, each in reports.items()
    )
    return TableBlock(
        (
            rows,
            *(("before recalibration",) if stated else ()),
            "judgement",
            "true / claimed error",
            "mean error / claimed",
            *(f"inside {100 * a:.0f} %" for a in _ALPHAS),
        ),
        cells,
        "Error bars are true where true / claimed error is 1, the mean error 0, and intervals hold their nominal "
        "share; in brackets what finitely many maps leave open. Over-confident: too small; under-confident: too large; "
        "misshapen: too small in the tails and too large in the core, or the reverse.",
    )


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


def pairs_table(pairs: Mapping[str, Pair], rows: str, names: tuple[str, str]) -> TableBlock:
    """One row a pair of methods, which `names` name, on the same maps."""
    first, second = names
    cells = tuple(
        (
            name,
            *(f"{each.judgement}, {each.curve.at(0.68)[0]:.2f}" for each in (pair.first, pair.second)),
            *map(str, (pair.width_ratio, pair.skill, pair.correlation)),
        )
        for name, pair in pairs.items()
    )
    columns = (f"{first}: 68 % hold", f"{second}: 68 % hold", f"width, {second} / {first}")
    return TableBlock(
        (rows, *columns, f"skill of {second}", "correlation of errors"),
        cells,
        f"Both on the same maps. Width below 1: {second} is sharper; skill above 0: it is better by CRPS. 95 % bands "
        "from resampled maps.",
    )


def _inside(each: Calibration) -> Callable[[float], str]:
    """Share of truths inside the central interval of a level, with its band, where levels reach."""
    curve = each.undecided or each.curve
    return lambda alpha: str(Estimate(*curve.at(alpha))) if alpha <= curve.alphas[-1] + 1e-9 else "–"
