"""Any number of methods judged on the same truths: arrays in; a table, a figure and a page out.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> truth, draws = rng.normal(size=(300, 4)), rng.normal(size=(999, 300, 4))
>>> found = report(truth, {"mine": draws, "theirs": 0.7 * draws})
>>> found.to_dataframe()["judgement"].to_dict()
{'mine': 'calibrated', 'theirs': 'over-confident'}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gcesbi.errors import InputError, checked_seed
from gcesbi.plots.validation import pit_bands
from gcesbi.report.html import FigureBlock, Mood, Report, Section, TableBlock
from gcesbi.report.parts import calibration_mood, calibration_table, coverage_figure, number, pairs_table
from gcesbi.validation.bootstrap import MIN_MAPS
from gcesbi.validation.calibration import Calibration
from gcesbi.validation.comparison import Comparison
from gcesbi.validation.estimate import Estimate
from gcesbi.validation.pit import PitHistogram, pit_histogram_band
from gcesbi.validation.predictions import Given, read_predictions

if TYPE_CHECKING:
    import pandas

__all__ = ["CalibrationReport", "calibration_page", "report"]

#: Most entries of the last axis in the table by entry.
MOST_ENTRIES = 32
GLOSSARY = (
    "A map is one independent data set with known truth; the entries of one map may be correlated, and all bands allow "
    "for it.\n\n"
    "True / claimed error is the root mean square of z = Φ⁻¹(PIT), the error in units of the claimed one: 1 if error "
    "bars are true, above 1 if they are too small (over-confident), below 1 if they are too large (under-confident). "
    "Mean z is above zero if truths lie above the predictions (biased). Misshapen: too small in the tails and too "
    "large in the core, or the reverse. A judgement rests on three bands that hold together with 95 %.\n\n"
    "Coverage is the share of truths inside the central interval, pointwise: each entry by itself, not whole curves. "
    "It is blind to sharpness: the prior covers as well as any posterior. The continuous ranked probability score "
    "(CRPS), in the unit of the truth, rewards both; smaller is better. Skill is 1 less the quotient of two scores.\n\n"
    "PIT is the level at which a prediction places the truth, drawn at random where only bounds of it are known: flat "
    "at 1 if calibrated, ∪ if over-confident, ∩ if under-confident, tilted if biased."
)


def report(
    truth: ArrayLike,
    methods: Mapping[str, Given],
    taus: ArrayLike | None = None,
    *,
    cdf: bool = False,
    labels: Sequence[str] | None = None,
    epsilon: float = 1e-5,
    seed: int = 0,
) -> CalibrationReport:
    """Judge any number of methods on the same truths.

    Parameters
    ----------
    truth : array (n_map, ...)
        True values, in any unit; the first axis counts independent data sets.
    methods : mapping of str to array (n, n_map, ...)
        Independent draws of the posterior, or quantile curves; the first axis counts draws or levels. Curves are
        ordered along it, which tells them from draws. Their levels are k / (n + 1) unless `taus` says otherwise, or
        the method is a pair (curves, levels).
    taus : array (n,), optional
        Levels of all curves that come without.
    cdf : bool
        The values are CDFs of source-count distributions along the last axis: they have atoms at 0 and 1.
    labels : sequence of str, optional
        Names of the entries of the last axis.
    epsilon : float
        With `cdf`: pairs with truth outside (ε, 1 − ε) do not count in the coverage that is shown.
    seed : int
        Of resampled maps and randomised PIT.

    Raises
    ------
    InputError
        Naming the method, if shapes do not match (the message states the order of axes, and what would mend it), values
        are not finite, curves cross, or fewer than 9 curves come without levels.
    """
    values, predictions = read_predictions(truth, methods, taus)
    seed = checked_seed(seed)
    names = tuple(map(str, range(values.shape[-1]) if labels is None else labels))
    if len(names) != values.shape[-1]:
        raise InputError(f"labels: must name the {values.shape[-1]} entries of the last axis, got {len(names)}")
    pits = {each.name: each.pit(values, cdf, seed) for each in predictions}
    return CalibrationReport(
        Comparison.of_predictions(values, predictions, cdf, epsilon, seed),
        {name: pit_histogram_band(found, n_bin=10) for name, found in pits.items()},
        {each.name: each.kind for each in predictions},
        names,
    )


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """Calibration and sharpness of any number of methods on the same truths, side by side.

    Parameters
    ----------
    comparison : Comparison
        Each method by itself, and each pair.
    histograms : dict of str to PitHistogram
    kinds : dict of str to str
        How each array was read.
    labels : tuple of str
        Entries of the last axis. What is not given is not shown.
    """

    comparison: Comparison
    histograms: dict[str, PitHistogram] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Calibration:
        """Calibration of one method."""
        if name not in self.comparison.names:
            raise InputError(f"method: must be one of {', '.join(self.comparison.names)}, got {name!r}")
        return self.comparison.reports[self.comparison.names.index(name)]

    def __repr__(self) -> str:
        """The verdict."""
        return f"<{type(self).__name__}: {self.verdict}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Methods."""
        return self.comparison.names

    @property
    def verdict(self) -> str:
        """Whose error bars are true, and who scores best."""
        first = self.comparison.reports[0]
        if first.few_maps:
            return f"{first.n_map} maps are too few to judge error bars by; {MIN_MAPS} at least are needed."
        told = "; ".join(f"{each.name}: {_judged(each)}" for each in self.comparison.reports)
        if not self.comparison.pairs:
            return f"{told}."
        return f"{told}. {self.comparison.better or 'No method'} scores better than every other."

    @property
    def mood(self) -> Mood:
        """Colour of the verdict."""
        return calibration_mood(self.comparison.reports)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        pit = {name: {"density": h.density.tolist(), "edges": h.edges.tolist()} for name, h in self.histograms.items()}
        return {**self.comparison.to_dict(), "pit": pit, "read_as": self.kinds, "labels": list(self.labels)}

    def to_dataframe(self) -> pandas.DataFrame:
        """One row a method, one column a number; bands are in ``…_low`` and ``…_high``.

        ``width_ratio``, ``skill``, ``shift`` and ``correlation`` are against the first method, at
        ``attrs["reference"]``.
        """
        import pandas

        against = {pair.second.name: pair for pair in self.comparison.pairs[: len(self.names) - 1]}
        same = {"width_ratio": 1.0, "skill": 0.0, "shift": 0.0, "correlation": 1.0}
        rows = []
        for each in self.comparison.reports:
            row: dict[str, Any] = {"read_as": self.kinds.get(each.name, ""), "judgement": each.judgement}
            row |= {"n_map": each.n_map, "n_pair": each.n_pair}
            row |= _banded("dispersion", each.dispersion) | _banded("bias", each.bias)
            for alpha in (0.5, 0.68, 0.95):
                row |= _banded(f"coverage_{100 * alpha:.0f}", _coverage(each, alpha))
            row |= {"width_68": each.width_68, "width_95": each.width_95} | _banded("crps", each.crps)
            for key, value in same.items() if against else ():
                itself = Estimate(value, value, value)
                row |= _banded(key, getattr(against[each.name], key) if each.name in against else itself)
            rows.append(row)
        frame = pandas.DataFrame(rows, index=pandas.Index(self.names, name="method"))
        frame.attrs["reference"] = self.names[0]
        return frame

    def plot(self) -> Figure:
        """Measured coverage of every method against its nominal level, with bands."""
        return coverage_figure(self._by_name(), "").figure

    def _by_name(self) -> dict[str, Calibration]:
        return {each.name: each for each in self.comparison.reports}

    def to_html(self, path: str | Path, title: str = "Calibration report") -> Path:
        """Write one self-contained page to `path`: verdict, tables, figures, numbers to download."""
        return self.page(title).write(path)

    def page(self, title: str = "Calibration report") -> Report:
        """The page that :meth:`to_html` writes."""
        return calibration_page({"": self}, title)

    def _coverage(self, what: str) -> tuple[FigureBlock, ...]:
        """Whether intervals hold their share, of the methods' answers to `what`."""
        names, of = ", ".join(self.names), f" of {what}" if what else ""
        coverage = coverage_figure(self._by_name(), f"{what} by {names}" if what else names, title=what)
        if not self.histograms:
            return (coverage,)
        pit = FigureBlock(
            pit_bands(self.histograms),
            f"Histogram of the level at which each prediction places the truth{of}, by {names}.",
            "Flat if calibrated: the shaded bands then hold the dashed line in all bins together, with 95 %.",
        )
        return coverage, pit

    def _entries(self, what: str) -> TableBlock | None:
        """Coverage by entry of the last axis, of those farthest from nominal if many; None of a single one."""
        if len(self.labels) < 2:
            return None
        found = np.stack([_bin_coverage(each) for each in self.comparison.reports], axis=1)
        far = np.nanmax(np.where(np.isnan(found), 0.0, np.abs(found - 0.68)), axis=1)
        shown = np.sort(np.argsort(-far, kind="stable")[:MOST_ENTRIES])
        left = f" The {len(shown)} of {len(found)} that are farthest from it." if len(shown) < len(found) else ""
        entry = f"entry of {what}" if what else "entry"
        records = (
            {entry: self.labels[i]} | {name: number(x, ".3f") for name, x in zip(self.names, found[i], strict=True)}
            for i in shown
        )
        caption = f"Share of truths inside the 68 % interval, by entry of the last axis; 0.68 is nominal.{left}"
        return TableBlock.of(records, caption)


def calibration_page(found: Mapping[str, CalibrationReport], title: str = "Calibration report") -> Report:
    """One page of any table of reports, by the name of what their methods answer; a report alone needs none.

    Raises
    ------
    InputError
        If it is no mapping of names to reports.
    """
    if not isinstance(found, Mapping) or not found or not all(isinstance(x, CalibrationReport) for x in found.values()):
        raise InputError("found: must map names to CalibrationReports, at least one")
    each = {_joined(what, name): report[name] for what, report in found.items() for name in report.names}
    pairs = {
        _joined(what, f"{pair.second.name} against {pair.first.name}"): pair
        for what, report in found.items()
        for pair in report.comparison.pairs
    }
    entries = tuple(filter(None, (report._entries(what) for what, report in found.items())))
    given = {_joined(what, n): (r[n], kind) for what, r in found.items() for n, kind in r.kinds.items()}
    records = (
        {"method": name, "read as": kind, "maps": of.n_map, "pairs that count": f"{of.n_pair:,}"}
        for name, (of, kind) in given.items()
    )
    told = (
        "What was given. A pair is one entry of one map. Draws are judged by the truth's rank among them, which is "
        "exact for any number of independent draws."
    )
    n_map, n = next(iter(each.values())).n_map, max(len(report.names) for report in found.values())
    data = {what: report.to_dict() for what, report in found.items()}
    return Report(
        title=title,
        subtitle=f"{n} method{'s' * (n > 1)} on {n_map} maps of known truth",
        verdict="\n".join(_joined(what, report.verdict) for what, report in found.items()),
        mood=calibration_mood(list(each.values())),
        summary=calibration_table({n: replace(c, undecided=None) for n, c in each.items()}, rows="method", widths=True),
        sections=(
            Section(
                "Do intervals hold their share?",
                *(block for what, report in found.items() for block in report._coverage(what)),
            ),
            Section("Which is better?", pairs_table(pairs)) if pairs else None,
            Section("Entry by entry", *entries) if entries else None,
            Section("How to read this page", GLOSSARY, TableBlock.of(records, told) if given else None),
        ),
        data=next(iter(data.values())) if len(data) == 1 else data,
    )


def _joined(what: str, told: str) -> str:
    return f"{what}: {told}" if what else told


def _judged(each: Calibration) -> str:
    if each.judgement == "calibrated":
        return "calibrated"
    if each.judgement == "biased":
        return f"biased, by {each.bias} of its claimed error"
    share = each.coverage_68
    if share is not None and not each.dispersion.side(1.0):
        return f"{each.judgement}, its 68 % intervals hold a share of {share} of the truths"
    return f"{each.judgement}, errors are {each.dispersion} times as large as claimed"


def _coverage(each: Calibration, alpha: float) -> Estimate | None:
    """Coverage with its band; None where the quantile levels do not reach."""
    return Estimate(*each.curve.at(alpha)) if np.any(np.isclose(each.curve.alphas, alpha)) else None


def _bin_coverage(each: Calibration) -> np.ndarray[Any, np.dtype[np.float64]]:
    at = np.flatnonzero(np.isclose(each.curve.alphas, 0.68))
    return each.bin_coverage[at[0]] if at.size else np.full(each.bin_coverage.shape[1:], np.nan)


def _banded(name: str, found: Estimate | None) -> dict[str, float]:
    nan = float("nan")
    value, low, high = (nan, nan, nan) if found is None else (found.value, found.low, found.high)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
