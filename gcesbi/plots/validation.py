"""Where predictions may be believed: coverage by bin, PIT with bands, groups of maps, power of the gate, injections."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from gcesbi.errors import InputError

from .measures import Band, Curve, Density, Groups
from .style import PALETTE, blank, legend, method_styles, panels

__all__ = ["bin_coverage", "estimates", "group_means", "pit_bands", "recovered_fluxes"]


def bin_coverage(
    curves: Sequence[Curve | None], positions: ArrayLike, unit: str, alphas: Sequence[float] = (0.68, 0.95)
) -> Figure:
    """Coverage with its band for each flux or energy bin at `positions` (n_bin,); dashed lines are nominal."""
    figure, axes = blank(6.4, 4.2)
    places = np.asarray(positions, dtype=np.float64)
    known = [(x, curve) for x, curve in zip(places, curves, strict=True) if curve is not None]
    if not known:
        raise InputError("curves: needs at least one bin in which a pair counts, got none")
    for i, alpha in enumerate(alphas):
        colour = PALETTE[i % len(PALETTE)]
        value, low, high = np.array([curve.at(alpha) for _, curve in known]).T
        x = np.array([place for place, _ in known])
        axes.axhline(alpha, color=colour, lw=1, ls="--")
        spread = [np.maximum(value - low, 0), np.maximum(high - value, 0)]
        axes.errorbar(x, value, yerr=spread, fmt="o", ms=4, color=colour, label=f"{100 * alpha:.0f} % intervals")
    axes.set(xlabel=unit, ylabel="share of truths inside", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(color="0.93")
    legend(axes, loc="lower right")
    return figure


def pit_bands(histograms: Mapping[str, Density]) -> Figure:
    """One panel a quantity: density of the PIT with bands that hold 1 in all bins together if calibrated."""
    if not histograms:
        raise InputError("histograms: needs at least one, got none")
    figure, axes = panels(len(histograms), columns=4, width=2.5, height=2.2)
    for (name, found), panel in zip(histograms.items(), axes, strict=True):
        panel.axhline(1, color="black", lw=1, ls="--")
        panel.stairs(found.high, found.edges, baseline=found.low, fill=True, color=PALETTE[0], alpha=0.25)
        panel.stairs(found.density, found.edges, color=PALETTE[0], lw=1.6, baseline=None)
        panel.set_title(name)
        panel.set(xlim=(0, 1), ylim=(0, max(2.0, 1.05 * float(found.high.max()))))
    axes[0].set_ylabel("density")
    return figure


def group_means(found: Groups, unit: str = "mean square of z", most: int = 24) -> Figure:
    """Mean of each group with its band, corrected for the number of groups; those farthest from nominal if many."""
    groups = sorted(found.groups, key=lambda group: abs(group.estimate.value - found.nominal))[-most:]
    figure, axes = blank(7.0, 0.6 + 0.32 * len(groups) + 0.6)
    for row, group in enumerate(groups):
        value, low, high = (float(np.clip(getattr(group.estimate, key), -1e3, 1e3)) for key in ("value", "low", "high"))
        colour = "0.55" if group.few_maps else PALETTE[1] if group.estimate.side(found.nominal) else PALETTE[0]
        axes.errorbar(value, row, xerr=[[value - low], [high - value]], fmt="o", ms=4, color=colour)
    axes.axvline(found.nominal, color="black", lw=1, ls="--")
    axes.set_yticks(range(len(groups)), [f"{group.name} ({group.n_map})" for group in groups])
    axes.set(xlabel=unit, ylim=(-0.6, len(groups) - 0.4))
    axes.grid(color="0.93", axis="x")
    return figure


def estimates(values: Mapping[str, Band], unit: str, nominal: float) -> Figure:
    """One line a name: value with band, the nominal value dashed."""
    if not values:
        raise InputError("values: needs at least one, got none")
    figure, axes = blank(6.6, 1.1 + 0.36 * len(values))
    for row, each in enumerate(list(values.values())[::-1]):
        spread = [[max(each.value - each.low, 0)], [max(each.high - each.value, 0)]]
        axes.errorbar(each.value, row, xerr=spread, fmt="o", ms=5, color=PALETTE[0])
    axes.axvline(nominal, color="black", lw=1, ls="--")
    axes.set_yticks(range(len(values)), list(values)[::-1])
    axes.set(xlabel=unit, ylim=(-0.6, len(values) - 0.4))
    axes.grid(color="0.93", axis="x")
    return figure


def recovered_fluxes(
    injected: ArrayLike, recovered: Mapping[str, ArrayLike], before: Mapping[str, float], unit: str
) -> Figure:
    """Flux recovered less flux before, against flux injected, by method; the diagonal recovers all.

    Parameters
    ----------
    injected : array (n_flux, n_repeat)
    recovered : mapping of str to array (n_flux, n, 3)
        16 %, 50 % and 84 % quantiles for the first n repetitions.
    before : mapping of str to float
    unit : str
    """
    fluxes = np.asarray(injected, dtype=np.float64)
    figure, axes = blank(6.4, 4.8)
    end = 1.08 * float(fluxes.max())
    axes.plot([0, end], [0, end], color="black", lw=1, ls="--", label="all recovered")
    for k, (name, (colour, marker)) in enumerate(method_styles(recovered).items()):
        values = np.asarray(recovered[name], dtype=np.float64) - before[name]
        low, middle, high = values.reshape(-1, 3).T
        place = fluxes[:, : values.shape[1]].ravel() * (1 + 0.012 * k)
        spread = [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]
        axes.errorbar(place, middle, yerr=spread, fmt=marker, ms=4, lw=1, color=colour, label=name)
    axes.set(xlabel=f"flux injected [{unit}]", ylabel=f"flux recovered, less that before [{unit}]", xlim=(0, end))
    axes.grid(color="0.93")
    legend(axes, loc="upper left")
    return figure
