"""Methods side by side: one table of what each concludes about the same map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.evaluation.prior_quantities import prior_quantities
from gcesbi.physics.scd import ScdBins
from gcesbi.posterior import QUANTITIES, Coordinates, Posterior, Quantity
from gcesbi.report.html import TableBlock
from gcesbi.report.prior_mark import PRIOR_NOTE, marked
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = [
    "DECADES",
    "FIGURE_LEVELS",
    "N_SAMPLE",
    "comparison_table",
    "cumulative_at",
    "interval",
    "methods_table",
    "missed",
    "posterior_figures",
    "smooth_share",
    "spectra_table",
]

DECADES = (-12.0, -11.0, -10.0, -9.0)
"""Fluxes, log₁₀ of photons cm⁻² s⁻¹, at which the table quotes the cumulative SCD."""

FIGURE_LEVELS = (0.025, 0.05, 0.16, 0.5, 0.84, 0.95, 0.975)
"""Levels of the quantiles that are stored as JSON."""

N_SAMPLE = 2000
"""Samples of a posterior that tables and figures draw."""
_LEVELS = (0.16, 0.5, 0.84)

_OTHER = "the model's"
_OTHER_SKY = " Another sky's are those of networks that ship: see gcesbi infer --pretrained list, by their name."
_FRACTION = "flux fraction of {} [%]"
_BELOW = "{}: flux from sources below 1e{:.0f} [%]"
_NUMBER = "{}: number of sources"
_MOMENTS = {"scd_mean": "{}: mean of log₁₀ F", "scd_width": "{}: width of log₁₀ F"}
_POISSON = ("Poisson share of {} [%]", "Poisson share of {}, 95 % upper limit [%]")


def cumulative_at(cdf: NDArray[np.float64], bins: ScdBins, log_flux: Sequence[float]) -> NDArray[np.float64]:
    """Share of the flux below `log_flux` (n,), from CDFs (..., n_bin) given at the upper edges of bins: (..., n)."""
    flat = np.concatenate([np.zeros((*cdf.shape[:-1], 1)), cdf], axis=-1).reshape(-1, len(bins) + 1)
    values = np.stack([np.interp(log_flux, bins.edges, row) for row in flat])
    return values.reshape(*cdf.shape[:-1], len(log_flux))


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
    coordinates = next(iter(posteriors.values())).coordinates
    found = {name: _column(posterior, bins) for name, posterior in posteriors.items()}
    before = {} if prior is None else _column(prior, bins)
    labels = _labels(coordinates, {label for column in found.values() for label in column})
    true = {} if truth is None else _column(truth, bins)
    columns = {
        name: {k: cell.quoted(true.get(k), before.get(k)) for k, cell in column.items()}
        for name, column in found.items()
    }
    columns = (
        {} if truth is None else {"truth": {k: _number(cell.median, cell.decimals) for k, cell in true.items()}}
    ) | columns
    head = () if priors is None else (("priors", *("–" if n == "truth" else priors.get(n, _OTHER) for n in columns)),)
    foot = (
        ()
        if truth is None
        else (("truth inside", *("–" if n == "truth" else _inside(found[n], true) for n in columns)),)
    )
    rows = tuple((label, *(column.get(label, "–") for column in columns.values())) for label in labels)
    other = _OTHER_SKY if "another sky's" in (priors or {}).values() else ""
    missing = "" if truth is None else " ✗ marks intervals that the truth lies outside of: one in three does by chance."
    return TableBlock(
        ("quantity", *columns),
        (*head, *rows, *foot),
        "What each method concludes from the same map: median with the 68 % interval; a dash where the method does not "
        "know the quantity. Fluxes in photons / cm² / s. The model's priors are those that simulations are drawn from."
        f"{missing}{other} Numbers of sources count those too dim for a photon, of which the prior decides."
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
    true = _column(truth, bins)
    known = {label: cell for label, cell in _column(posterior, bins).items() if label in true}
    return [label for label, cell in known.items() if not cell.holds(true[label])], len(known)


@dataclass(frozen=True)
class _Interval:
    """A number with its interval, low, median and high, as it is quoted; of a limit there is only one."""

    quantiles: tuple[float, ...]
    decimals: int = 1

    @property
    def median(self) -> float:
        return self.quantiles[len(self.quantiles) // 2]

    def holds(self, true: "_Interval") -> bool:
        return min(self.quantiles) <= true.median <= max(self.quantiles)

    def quoted(self, true: "_Interval | None", prior: "_Interval | None") -> str:
        """Marked where the truth lies outside of it, and where it is as wide as the prior's."""
        if len(self.quantiles) == 1:
            return _number(self.quantiles[0], self.decimals)
        ends, text = sorted(self.quantiles), interval(np.array(self.quantiles), self.decimals)
        text += "" if true is None or self.holds(true) else " ✗"
        return text if prior is None else marked(text, ends[::2], sorted(prior.quantiles)[::2])


def _inside(column: Mapping[str, _Interval], true: Mapping[str, _Interval]) -> str:
    known = [cell.holds(true[label]) for label, cell in column.items() if label in true]
    return f"{sum(known)} of {len(known)}"


def _labels(coordinates: Coordinates, known: set[str]) -> list[str]:
    """First column of the table; shapes, moments of SCDs and the Poisson share only if a method knows them."""
    labels = [_FRACTION.format(label(name)) for name in coordinates.template]
    labels += [each for each in coordinates.shape if each in known]
    for source in map(label, coordinates.point_source):
        labels += [_BELOW.format(source, decade) for decade in DECADES]
        moments = (words.format(source) for words in _MOMENTS.values())
        labels += [_NUMBER.format(source), *(each for each in moments if each in known)]
    return [*labels, *(each for each in _poisson_labels(coordinates) if each in known)]


def _poisson_labels(coordinates: Coordinates) -> tuple[str, ...]:
    return tuple(each.format(label(coordinates.subject)) for each in _POISSON)


def _column(posterior: Posterior, bins: ScdBins) -> dict[str, _Interval]:
    """Cells of a method, by label, of what it knows."""
    coordinates = posterior.coordinates
    template, source = map(label, coordinates.template), tuple(map(label, coordinates.point_source))
    cells = _cells(posterior, "flux_fraction", [_FRACTION.format(name) for name in template], 100)
    for name in set(coordinates.shape) & set(posterior.names):
        cells[name] = _Interval(tuple(posterior.quantiles(name, _LEVELS)), 3)
    if "scd_cdf" in posterior.names:
        curves = 100 * cumulative_at(posterior.quantiles("scd_cdf", _LEVELS), bins, DECADES)
        for j, name in enumerate(source):
            cells |= {_BELOW.format(name, d): _Interval(tuple(curves[:, j, i])) for i, d in enumerate(DECADES)}
    cells |= _cells(posterior, "n_sources", [_NUMBER.format(name) for name in source], 1)
    for quantity, words in _MOMENTS.items():
        cells |= _cells(posterior, quantity, [words.format(name) for name in source], 1, 2)
    if (values := _poisson_share(posterior)) is not None:
        told = (_Interval(tuple(values[:3])), _Interval((float(values[3]),)))
        cells |= dict(zip(_poisson_labels(coordinates), told, strict=True))
    return cells


def _poisson_share(posterior: Posterior) -> NDArray[np.float64] | None:
    """Quantiles [%] of the share of the subject that is exactly smooth: asked for, or beside its sources in a fit."""
    names, axes, levels = posterior.names, posterior.coordinates, [*_LEVELS, 0.95]
    if "poisson_fraction" in names:
        return 100 * posterior.quantiles("poisson_fraction", levels)
    if "point_source_flux_fraction" not in names or axes.subject not in axes.point_source:
        return None
    drawn = posterior.sample(N_SAMPLE, seed=0)
    share = smooth_share(drawn, axes.template.index(axes.subject), axes.point_source.index(axes.subject))
    return 100 * np.quantile(share, levels) if share.any() else None


def smooth_share(drawn: Mapping[str, NDArray[np.float64]], row: int, j: int) -> NDArray[np.float64]:
    """Share (n,) of a template's flux that is exactly smooth, where a method has such a part beside its sources."""
    if "point_source_flux_fraction" not in drawn:
        return np.zeros(len(next(iter(drawn.values()))))
    total, sources = drawn["flux_fraction"][:, row], drawn["point_source_flux_fraction"][:, j]
    return 1 - np.divide(sources, total, out=np.zeros_like(total), where=total > 0)


def spectra_table(posterior: Posterior) -> TableBlock:
    """One row an energy bin, one column a template: E² dN/dE of the region, median and 68 % interval.

    Raises
    ------
    InputError
        If the posterior does not know ``spectrum``.
    """
    coordinates = posterior.coordinates
    values = posterior.quantiles("spectrum", _LEVELS)
    power = int(np.floor(np.log10(values[1].max()))) if values[1].max() > 0 else 0
    rows = tuple(
        (f"{energy:.2f} GeV", *(interval(values[:, t, e] / 10.0**power, 2) for t in range(len(coordinates.template))))
        for e, energy in enumerate(coordinates.energy)
    )
    return TableBlock(
        (f"in 1e{power}", *map(label, coordinates.template)),
        rows,
        f"E² dN/dE of the region at the centres of the energy bins, in 1e{power} GeV / cm² / s: median with the 68 % "
        "interval. Intervals of one column go together where the networks were trained with a covariance.",
    )


def posterior_figures(posterior: Posterior, levels: Sequence[float] = FIGURE_LEVELS) -> dict[str, Any]:
    """Quantiles of every named quantity as plain numbers, with units and the labels of axes, ready for JSON."""
    coordinates = posterior.coordinates
    known = {**QUANTITIES, **dict.fromkeys(coordinates.shape, Quantity((), "", "shape of a template"))}
    quantities = {
        name: {
            "meaning": known[name].meaning,
            "unit": known[name].unit,
            "axes": {axis: list(getattr(coordinates, axis)) for axis in known[name].axes},
            "quantiles": posterior.quantiles(name, levels).tolist(),
        }
        for name in posterior.names
        if name in known
    }
    return {"version": version("gcesbi"), "method": posterior.method, "levels": list(levels), "quantities": quantities}


def _cells(
    posterior: Posterior, name: str, labels: Sequence[str], scale: float, decimals: int = 1
) -> dict[str, _Interval]:
    if name not in posterior.names:
        return {}
    values = scale * posterior.quantiles(name, _LEVELS)
    return {each: _Interval(tuple(values[:, i]), decimals) for i, each in enumerate(labels)}


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
