"""Methods side by side: one table of what each concludes about the same map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcesbi.evaluation.prior_quantities import prior_quantities
from gcesbi.physics.scd import ScdBins
from gcesbi.posterior import QUANTITIES, Posterior, Quantity
from gcesbi.report.html import TableBlock
from gcesbi.report.populations import cumulative_at, drawn_from, smooth_share
from gcesbi.report.prior_mark import PRIOR_NOTE, marked
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = [
    "DECADES",
    "FIGURE_LEVELS",
    "comparison_table",
    "interval",
    "methods_table",
    "missed",
    "posterior_figures",
    "spectra_table",
]

DECADES = (-12.0, -11.0, -10.0, -9.0)
"""Fluxes, log₁₀ of photons cm⁻² s⁻¹, at which the table quotes the cumulative SCD."""

FIGURE_LEVELS = (0.025, 0.05, 0.16, 0.5, 0.84, 0.95, 0.975)
"""Levels of the quantiles that are stored as JSON."""

_LEVELS = (0.16, 0.5, 0.84)
_BESIDE = (
    " Where a fit has a smooth part of the excess beside its sources, its Poisson share, the flux from sources below a "
    "limit is a share of the sources' flux alone."
)
_OTHER_SKY = " Another sky's are those of networks that ship: see gcesbi infer --pretrained list, by their name."


def comparison_table(
    posteriors: Mapping[str, Posterior],
    bins: ScdBins,
    truth: Posterior | None = None,
    prior: Posterior | None = None,
    priors: Mapping[str, str] | None = None,
) -> TableBlock:
    """One row a number, one column a method: flux fractions, shapes, SCDs, numbers of sources, with 68 % intervals.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        By the name of the column.
    bins : ScdBins
    truth : Posterior, optional
        What is true of a mock map (:func:`gcesbi.evaluation.prior_quantities.true_quantities`): a column of its own.
        Intervals that it lies outside of are marked, those that hold it counted.
    prior : Posterior, optional
        What the model says without the map (:func:`gcesbi.evaluation.prior_quantities.prior_quantities`): intervals
        that are as wide are marked.
    priors : mapping of str to str, optional
        Under which priors each method ran: a row of its own.
    """
    found = {name: _column(posterior, bins) for name, posterior in posteriors.items()}
    true = {} if truth is None else _column(truth, bins)
    before = {} if prior is None else _column(prior, bins)
    rows = sorted({row for column in found.values() for row in column})
    columns = {n: [_quoted(each.get(row), true.get(row), before.get(row)) for row in rows] for n, each in found.items()}
    headings, missing, other = [row.heading for row in rows], "", ""
    if truth is not None:
        columns = {"truth": ["–" if (cell := true.get(row)) is None else cell.alone for row in rows]} | columns
        missing = " ✗ marks intervals that the truth lies outside of, to the digits shown: one in three does by chance."
        headings.append("truth inside")
        for name, column in columns.items():
            out, n = _missed(found[name], true) if name in found else ([], 0)
            column.append(f"{n - len(out)} of {n}" if name in found else "–")
    beside = _BESIDE if any("point_source_flux_fraction" in each.names for each in posteriors.values()) else ""
    if priors is not None:
        other = _OTHER_SKY if "another sky's" in priors.values() else ""
        headings.insert(0, "priors")
        for name, column in columns.items():
            column.insert(0, priors.get(name, "the model's") if name in found else "–")
    return TableBlock(
        ("quantity", *columns),
        tuple(zip(headings, *columns.values(), strict=True)),
        "What each method concludes from the same map: median with the 68 % interval; a dash where the method does not "
        "know the quantity. Fluxes in photons / cm² / s. The model's priors are those that simulations are drawn from."
        f"{beside}{missing}{other} Numbers of sources count those too dim for a photon, of which the prior decides."
        + ("" if prior is None else f" {PRIOR_NOTE}"),
    )


def methods_table(
    model: SkyModel,
    posteriors: Mapping[str, Posterior],
    truth: Posterior | None = None,
    priors: Mapping[str, str] | None = None,
) -> TableBlock:
    """:func:`comparison_table` of posteriors of a model; what they repeat from its prior is marked."""
    return comparison_table(posteriors, model.bins, truth, prior_quantities(model), priors)


def missed(posterior: Posterior, bins: ScdBins, truth: Posterior) -> tuple[list[str], int]:
    """Quantities of a table whose 68 % interval does not hold the truth, and of how many that are known."""
    return _missed(_column(posterior, bins), _column(truth, bins))


class _Row(NamedTuple):
    """A row of the table: rows are in the order of their places."""

    place: tuple[int, ...]
    heading: str


@dataclass(frozen=True)
class _Interval:
    """A number with its interval, low, median and high, as it is quoted; of a limit there is only one."""

    quantiles: tuple[float, ...]
    decimals: int

    @property
    def median(self) -> float:
        return self.quantiles[len(self.quantiles) // 2]

    @property
    def alone(self) -> str:
        return _number(self.median, self.decimals)

    def holds(self, true: "_Interval") -> bool:
        """Whether the truth lies inside, to the digits that are shown: 0.0 is inside 0.0–0.0."""
        low, high = min(self.quantiles), max(self.quantiles)
        return low <= true.median <= high or true.alone in {_number(end, self.decimals) for end in (low, high)}


_Column = dict[_Row, _Interval | None]


def _quoted(cell: _Interval | None, true: _Interval | None, prior: _Interval | None) -> str:
    """A cell, marked where the truth lies outside of it, and where it is as wide as the prior's."""
    if cell is None:
        return "–"
    if len(cell.quantiles) == 1:
        return cell.alone
    text = interval(np.array(cell.quantiles), cell.decimals)
    text += "" if true is None or cell.holds(true) else " ✗"
    return text if prior is None else marked(text, sorted(cell.quantiles)[::2], sorted(prior.quantiles)[::2])


def _missed(column: _Column, true: _Column) -> tuple[list[str], int]:
    known = [(row.heading, cell.holds(t)) for row, cell in column.items() if cell and (t := true.get(row))]
    return [heading for heading, holds in known if not holds], len(known)


def _column(posterior: Posterior, bins: ScdBins) -> _Column:
    """Cells of a method by row; None where it does not know what most do, no row for what few know."""
    axes, known = posterior.coordinates, set(posterior.names)
    templates, sources, subject = [*map(label, axes.template)], [*map(label, axes.point_source)], label(axes.subject)
    column: _Column = {}

    def quote(rows: Sequence[tuple[tuple[int, ...], str]], values: NDArray[np.float64] | None, decimals: int) -> None:
        told: list[_Interval | None] = [None] * len(rows)
        if values is not None:
            told = [_Interval(tuple(each), decimals) for each in values.reshape(len(values), -1).T]
        column.update(zip((_Row(*row) for row in rows), told, strict=True))

    def asked(name: str, scale: float = 1) -> NDArray[np.float64] | None:
        return scale * posterior.quantiles(name, _LEVELS) if name in known else None

    quote(
        [((0, i), f"flux fraction of {name} [%]") for i, name in enumerate(templates)], asked("flux_fraction", 100), 1
    )
    for i, name in enumerate(axes.shape):
        if name in known:
            quote([((1, i), name)], asked(name), 3)
    curves = asked("scd_cdf", 100)
    quote(
        [
            ((2, j, k), f"{name}: flux from sources below 1e{decade:.0f} [%]")
            for j, name in enumerate(sources)
            for k, decade in enumerate(DECADES)
        ],
        None if curves is None else cumulative_at(curves, bins, DECADES),
        1,
    )
    quote([((2, j, 7), f"{name}: number of sources") for j, name in enumerate(sources)], asked("n_sources"), 1)
    for k, (name, words) in enumerate({"scd_mean": "mean of log₁₀ F", "scd_width": "width of log₁₀ F"}.items(), 8):
        if name in known:
            quote([((2, j, k), f"{source}: {words}") for j, source in enumerate(sources)], asked(name), 2)
    if (share := _poisson_share(posterior)) is not None:
        quote([((3, 0), f"Poisson share of {subject} [%]")], share[:3], 1)
        quote([((3, 1), f"Poisson share of {subject}, 95 % upper limit [%]")], share[3:], 1)
    return column


def _poisson_share(posterior: Posterior) -> NDArray[np.float64] | None:
    """Quantiles [%] of the share of the subject that is exactly smooth: asked for, or beside its sources in a fit."""
    names, axes, levels = posterior.names, posterior.coordinates, [*_LEVELS, 0.95]
    if "poisson_fraction" in names:
        return 100 * posterior.quantiles("poisson_fraction", levels)
    if "point_source_flux_fraction" not in names or axes.subject not in axes.point_source:
        return None
    share = smooth_share(
        drawn_from(posterior), axes.template.index(axes.subject), axes.point_source.index(axes.subject)
    )
    return 100 * np.quantile(share, levels) if share.any() else None


def spectra_table(posterior: Posterior) -> TableBlock:
    """One row an energy bin, one column a template: E² dN/dE of the region, median and 68 % interval.

    Raises
    ------
    InputError
        If the posterior does not know ``spectrum``.
    """
    axes, values = posterior.coordinates, posterior.quantiles("spectrum", _LEVELS)
    power = int(np.floor(np.log10(values[1].max()))) if values[1].max() > 0 else 0
    records = (
        {f"in 1e{power}": f"{energy:.2f} GeV"}
        | {label(name): interval(values[:, t, e] / 10.0**power, 2) for t, name in enumerate(axes.template)}
        for e, energy in enumerate(axes.energy)
    )
    return TableBlock.of(
        records,
        f"E² dN/dE of the region at the centres of the energy bins, in 1e{power} GeV / cm² / s: median with the 68 % "
        "interval. Intervals of one column go together where the networks were trained with a covariance.",
    )


def posterior_figures(posterior: Posterior, levels: Sequence[float] = FIGURE_LEVELS) -> dict[str, Any]:
    """Quantiles of every named quantity as plain numbers, with units and the labels of axes, ready for JSON."""
    axes = posterior.coordinates
    known = {**QUANTITIES, **dict.fromkeys(axes.shape, Quantity((), "", "shape of a template"))}
    quantities = {
        name: {
            "meaning": known[name].meaning,
            "unit": known[name].unit,
            "axes": {axis: list(getattr(axes, axis)) for axis in known[name].axes},
            "quantiles": posterior.quantiles(name, levels).tolist(),
        }
        for name in posterior.names
        if name in known
    }
    return {"version": version("gcesbi"), "method": posterior.method, "levels": list(levels), "quantities": quantities}


def interval(quantiles: NDArray[np.float64], decimals: int = 1) -> str:
    """Median with its interval, as the tables quote it, from low, median and high."""
    low, median, high = (_number(value, decimals) for value in np.sort(quantiles))
    return f"{median} ({low}–{high})"


def _number(value: float, decimals: int = 1) -> str:
    """So many decimals below a hundred and fifty, then three significant digits."""
    if value < 150:
        return f"{value:.{decimals}f}"
    digits = int(np.floor(np.log10(value))) - 2
    return f"{round(value / 10**digits) * 10**digits:,.0f}"
