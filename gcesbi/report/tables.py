"""Methods side by side: one table of what each concludes about the same map."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.estimators.neural_posterior_quantities import scd_moments
from gcesbi.evaluation.prior_quantities import prior_quantities
from gcesbi.physics.scd import ScdBins, n_sources
from gcesbi.posterior import QUANTITIES, Coordinates, Posterior
from gcesbi.report.html import TableBlock
from gcesbi.report.prior_mark import PRIOR_NOTE, marked
from gcesbi.simulation import Simulations, SkyModel

__all__ = [
    "DECADES",
    "FIGURE_LEVELS",
    "comparison_table",
    "cumulative_at",
    "methods_table",
    "posterior_figures",
    "spectra_table",
]

Numbers = tuple[NDArray[np.float64], int]

DECADES = (-12.0, -11.0, -10.0, -9.0)
"""Fluxes, log₁₀ of photons cm⁻² s⁻¹, at which the table quotes the cumulative SCD."""

FIGURE_LEVELS = (0.025, 0.05, 0.16, 0.5, 0.84, 0.95, 0.975)
"""Levels of the quantiles that are stored as JSON."""

_LEVELS = (0.16, 0.5, 0.84)

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
    truth: Simulations | None = None,
    true_shapes: Sequence[float] = (),
    prior: Posterior | None = None,
) -> TableBlock:
    """One row a number, one column a method: flux fractions, shapes, SCDs, numbers of sources, with 68 % intervals.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        By the name of the column.
    bins : ScdBins
    truth : Simulations, optional
        Labels of a mock observation, a batch of one: a column of its own.
    true_shapes : sequence of float
        Its shape parameters, in the order of the coordinates.
    prior : Posterior, optional
        What the model says without the map (:func:`gcesbi.evaluation.prior_quantities.prior_quantities`): intervals
        that are as wide are marked.
    """
    coordinates = next(iter(posteriors.values())).coordinates
    known = {} if prior is None else _numbers(prior, bins)
    columns = {name: _column(posterior, bins, known) for name, posterior in posteriors.items()}
    labels = _labels(coordinates, {label for column in columns.values() for label in column})
    if truth is not None:
        shapes = {name: _number(v, 3) for name, v in zip(coordinates.shape, true_shapes, strict=True)}
        columns = {"truth": _true_column(truth, coordinates, bins) | shapes, **columns}
    rows = tuple((label, *(column.get(label, "–") for column in columns.values())) for label in labels)
    has_truth = "the truth of the mock map, and " if truth is not None else ""
    return TableBlock(
        ("quantity", *columns),
        rows,
        f"What each method concludes from the same map: {has_truth}median with the 68 % interval. A dash: the method "
        "does not know the quantity. Fluxes in photons / cm² / s. Numbers of sources follow from the binned SCD, in "
        "which sources too dim for a photon weigh most and priors decide."
        + ("" if prior is None else f" {PRIOR_NOTE}"),
    )


def methods_table(
    model: SkyModel,
    posteriors: Mapping[str, Posterior],
    truth: Simulations | None = None,
    true_shapes: Sequence[float] = (),
) -> TableBlock:
    """:func:`comparison_table` of posteriors of a model; what they repeat from its prior is marked."""
    return comparison_table(posteriors, model.bins, truth, true_shapes, prior_quantities(model))


def _labels(coordinates: Coordinates, known: set[str]) -> list[str]:
    """First column of the table; moments of SCDs and the Poisson share only if a method knows them."""
    labels = [*(_FRACTION.format(name) for name in coordinates.template), *coordinates.shape]
    for source in coordinates.point_source:
        labels += [_BELOW.format(source, decade) for decade in DECADES]
        moments = (words.format(source) for words in _MOMENTS.values())
        labels += [_NUMBER.format(source), *(label for label in moments if label in known)]
    return [*labels, *(label for label in _poisson_labels(coordinates) if label in known)]


def _poisson_labels(coordinates: Coordinates) -> tuple[str, ...]:
    return tuple(label.format(coordinates.subject) for label in _POISSON)


def _column(posterior: Posterior, bins: ScdBins, prior: Mapping[str, Numbers]) -> dict[str, str]:
    """Cells of a method, by label, of what it knows; marked where it is the prior that is told."""
    cells = {}
    for label, (values, decimals) in _numbers(posterior, bins).items():
        told = _interval(values, decimals)
        cells[label] = marked(told, values[[0, 2]], prior[label][0][[0, 2]]) if label in prior else told
    if "poisson_fraction" in posterior.names:
        limit = 100 * float(posterior.quantiles("poisson_fraction", [0.95])[0])
        cells[_poisson_labels(posterior.coordinates)[1]] = _number(limit)
    return cells


def _numbers(posterior: Posterior, bins: ScdBins) -> dict[str, Numbers]:
    """Quantiles (3,) at 16, 50 and 84 % and decimals, by label, of what a posterior knows."""
    coordinates = posterior.coordinates
    template, source = coordinates.template, coordinates.point_source
    found = _rows(posterior, "flux_fraction", [_FRACTION.format(name) for name in template], 100)
    for name in set(coordinates.shape) & set(posterior.names):
        found[name] = (np.sort(posterior.quantiles(name, _LEVELS)), 3)
    if "scd_cdf" in posterior.names:
        curves = cumulative_at(posterior.quantiles("scd_cdf", _LEVELS), bins, DECADES)
        for j, name in enumerate(source):
            for i, decade in enumerate(DECADES):
                found[_BELOW.format(name, decade)] = (np.sort(100 * curves[:, j, i]), 1)
    found |= _rows(posterior, "n_sources", [_NUMBER.format(name) for name in source], 1)
    for quantity, words in _MOMENTS.items():
        found |= _rows(posterior, quantity, [words.format(name) for name in source], 1, 2)
    if "poisson_fraction" in posterior.names:
        values = 100 * posterior.quantiles("poisson_fraction", _LEVELS)
        found[_poisson_labels(coordinates)[0]] = (np.sort(values), 1)
    return found


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
        (f"{energy:.2f} GeV", *(_interval(values[:, t, e] / 10.0**power, 2) for t in range(len(coordinates.template))))
        for e, energy in enumerate(coordinates.energy)
    )
    return TableBlock(
        (f"in 1e{power}", *coordinates.template),
        rows,
        f"E² dN/dE of the region at the centres of the energy bins, in 1e{power} GeV / cm² / s: median with the 68 % "
        "interval. Intervals of one column go together where the networks were trained with a covariance.",
    )


def posterior_figures(posterior: Posterior, levels: Sequence[float] = FIGURE_LEVELS) -> dict[str, Any]:
    """Quantiles of every named quantity as plain numbers, with units and the labels of axes, ready for JSON."""
    coordinates = posterior.coordinates
    quantities = {
        name: {
            "meaning": QUANTITIES[name].meaning,
            "unit": QUANTITIES[name].unit,
            "axes": {axis: list(getattr(coordinates, axis)) for axis in QUANTITIES[name].axes},
            "quantiles": posterior.quantiles(name, levels).tolist(),
        }
        for name in posterior.names
        if name in QUANTITIES
    }
    quantities |= {
        name: {
            "meaning": "shape of a template",
            "unit": "",
            "axes": {},
            "quantiles": posterior.quantiles(name, levels).tolist(),
        }
        for name in coordinates.shape
        if name in posterior.names
    }
    return {"version": version("gcesbi"), "method": posterior.method, "levels": list(levels), "quantities": quantities}


def _rows(
    posterior: Posterior, name: str, labels: Sequence[str], scale: float, decimals: int = 1
) -> dict[str, Numbers]:
    if name not in posterior.names:
        return {}
    values = np.sort(scale * posterior.quantiles(name, _LEVELS), axis=0)
    return {label: (values[:, i], decimals) for i, label in enumerate(labels)}


def _true_column(truth: Simulations, coordinates: Coordinates, bins: ScdBins) -> dict[str, str]:
    flux, scd = truth.flux[0].sum(axis=1), truth.scd[0]
    shares = flux / flux.sum()
    cells = {_FRACTION.format(n): f"{100 * share:.1f}" for n, share in zip(coordinates.template, shares, strict=True)}
    curves = cumulative_at(np.cumsum(scd, axis=-1), bins, DECADES)
    numbers = n_sources(scd, flux[-len(scd) :], bins)
    moments = dict(zip(_MOMENTS, scd_moments(scd, bins.centres), strict=True))
    for j, name in enumerate(coordinates.point_source):
        cells |= {_BELOW.format(name, d): f"{100 * share:.1f}" for d, share in zip(DECADES, curves[j], strict=True)}
        cells[_NUMBER.format(name)] = _number(numbers[j])
        cells |= {words.format(name): f"{moments[quantity][j]:.2f}" for quantity, words in _MOMENTS.items()}
    return cells


def _interval(quantiles: NDArray[np.float64], decimals: int = 1) -> str:
    low, median, high = (_number(value, decimals) for value in np.sort(quantiles))
    return f"{median} ({low}–{high})"


def _number(value: float, decimals: int = 1) -> str:
    """So many decimals below a hundred and fifty, then three significant digits."""
    if value < 150:
        return f"{value:.{decimals}f}"
    digits = int(np.floor(np.log10(value))) - 2
    return f"{round(value / 10**digits) * 10**digits:,.0f}"
