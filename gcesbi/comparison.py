"""Methods side by side: one table of what each concludes about the same map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.scd import ScdBins, n_sources
from gcesbi.posterior import QUANTITIES, Posterior
from gcesbi.report import TableBlock
from gcesbi.simulation import Simulations

__all__ = ["DECADES", "FIGURE_LEVELS", "comparison_table", "cumulative_at", "posterior_figures", "spectra_table"]

DECADES = (-12.0, -11.0, -10.0, -9.0)
"""Fluxes, log₁₀ of photons cm⁻² s⁻¹, at which the table quotes the cumulative SCD."""

FIGURE_LEVELS = (0.025, 0.05, 0.16, 0.5, 0.84, 0.95, 0.975)
"""Levels of the quantiles that are stored as JSON."""

_LEVELS = (0.16, 0.5, 0.84)


def cumulative_at(cdf: NDArray[np.float64], bins: ScdBins, log_flux: Sequence[float]) -> NDArray[np.float64]:
    """Share of the flux below `log_flux` (n,), from CDFs (..., n_bin) given at the upper edges of bins: (..., n)."""
    flat = np.concatenate([np.zeros((*cdf.shape[:-1], 1)), cdf], axis=-1).reshape(-1, len(bins) + 1)
    values = np.stack([np.interp(log_flux, bins.edges, row) for row in flat])
    return values.reshape(*cdf.shape[:-1], len(log_flux))


def comparison_table(
    posteriors: Mapping[str, Posterior], bins: ScdBins, truth: Simulations | None = None
) -> TableBlock:
    """One row a number, one column a method: flux fractions, SCD and number of sources, median and 68 % interval.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        By the name of the column.
    bins : ScdBins
    truth : Simulations, optional
        Labels of a mock observation, a batch of one: a column of its own.
    """
    coordinates = next(iter(posteriors.values())).coordinates
    columns = {name: _column(posterior, bins) for name, posterior in posteriors.items()}
    if truth is not None:
        columns = {"truth": _true_column(truth, bins), **columns}
    labels = [f"flux fraction of {name} [%]" for name in coordinates.template]
    for source in coordinates.point_source:
        labels += [f"{source}: flux from sources below 1e{decade:.0f} [%]" for decade in DECADES]
        labels.append(f"{source}: number of sources")
    if any("poisson_fraction" in posterior.names for posterior in posteriors.values()):
        labels += ["Poisson share of the excess [%]", "Poisson share of the excess, 95 % upper limit [%]"]
    rows = tuple(
        (label, *(column[i] if i < len(column) else "–" for column in columns.values()))
        for i, label in enumerate(labels)
    )
    has_truth = "the truth of the mock map, and " if truth is not None else ""
    return TableBlock(
        ("quantity", *columns),
        rows,
        f"What each method concludes from the same map: {has_truth}median with the 68 % interval. A dash: the method "
        "does not know the quantity. Fluxes in photons / cm² / s. Numbers of sources follow from the binned SCD, in "
        "which sources too dim for a photon weigh most and priors decide.",
    )


def _column(posterior: Posterior, bins: ScdBins) -> list[str]:
    coordinates = posterior.coordinates
    cells = _cells(posterior, "flux_fraction", len(coordinates.template), 100)
    n_source, n_decade = len(coordinates.point_source), len(DECADES)
    if "scd_cdf" in posterior.names:
        curves = cumulative_at(posterior.quantiles("scd_cdf", _LEVELS), bins, DECADES)
        shares = [[_interval(100 * curves[:, j, i]) for i in range(n_decade)] for j in range(n_source)]
    else:
        shares = [["–"] * n_decade for _ in range(n_source)]
    numbers = _cells(posterior, "n_sources", n_source, 1)
    for j in range(n_source):
        cells += [*shares[j], numbers[j]]
    if "poisson_fraction" in posterior.names:
        cells.append(_interval(100 * posterior.quantiles("poisson_fraction", _LEVELS)))
        cells.append(_number(100 * float(posterior.quantiles("poisson_fraction", 0.95)[0])))
    return cells


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
    return {"version": version("gcesbi"), "method": posterior.method, "levels": list(levels), "quantities": quantities}


def _cells(posterior: Posterior, name: str, n: int, scale: float) -> list[str]:
    if name not in posterior.names:
        return ["–"] * n
    values = scale * posterior.quantiles(name, _LEVELS)
    return [_interval(values[:, i]) for i in range(n)]


def _true_column(truth: Simulations, bins: ScdBins) -> list[str]:
    flux = truth.flux[0].sum(axis=1)
    cells = [f"{100 * share:.1f}" for share in flux / flux.sum()]
    n_source = truth.scd.shape[1]
    curves = cumulative_at(np.cumsum(truth.scd[0], axis=-1), bins, DECADES)
    numbers = n_sources(truth.scd[0], flux[-n_source:], bins)
    for j in range(n_source):
        cells += [*(f"{100 * share:.1f}" for share in curves[j]), _number(numbers[j])]
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
