"""Whether predictions may be believed: coverage, and histograms of any measure."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from gcesbi.errors import InputError

from .measures import Curve
from .style import PALETTE, blank, legend

__all__ = [
    "coverage_curves",
    "draw_coverage",
    "draw_histograms",
]

T = TypeVar("T")
LINES = ("-", "--", "-.", ":")


def coverage_curves(curves: Mapping[str, Curve], title: str = "") -> Figure:
    """Measured coverage against nominal level with its band; calibrated predictions follow the diagonal."""
    figure, axes = blank(5.6, 5.2)
    draw_coverage(axes, curves)
    axes.text(0.97, 0.06, "over-confident", ha="right", color="0.4", transform=axes.transAxes, style="italic")
    axes.text(0.03, 0.46, "under-\nconfident", color="0.4", transform=axes.transAxes, style="italic")
    axes.set_title(title)
    if len(curves) > 4:
        figure.set_figheight(6.6)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    else:
        legend(axes, loc="upper left")
    return figure


def draw_coverage(axes: Axes, curves: Mapping[str, Curve]) -> None:
    """Draw :func:`coverage_curves` into a panel of a figure, without title and legend."""
    axes.plot([0, 1], [0, 1], color="black", lw=1, ls="--", label="calibrated")
    for i, (name, curve) in enumerate(_some(curves).items()):
        colour = PALETTE[i % len(PALETTE)]
        axes.fill_between(curve.alphas, curve.low, curve.high, color=colour, alpha=0.2, lw=0)
        axes.plot(curve.alphas, curve.coverage, color=colour, lw=2, ls=LINES[i % len(LINES)], label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal level α", ylabel="share of truths inside")
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(color="0.93")


def draw_histograms(
    axes: Axes, samples: Mapping[str, ArrayLike], unit: str, origin: float | None = None, n_bin: int = 40
) -> None:
    """Draw histograms of several samples into a panel, medians marked, a line at `origin`; no title, no legend."""
    arrays = {name: np.ravel(np.asarray(sample, dtype=np.float64)) for name, sample in _some(samples).items()}
    bins = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins=n_bin)
    if origin is not None:
        axes.axvline(origin, color="black", lw=1)
    for i, (name, sample) in enumerate(arrays.items()):
        colour, line = PALETTE[i % len(PALETTE)], LINES[i % len(LINES)]
        median = np.median(sample)
        heights = np.histogram(sample, bins)[0] / len(sample)
        axes.stairs(heights, bins, color=colour, fill=True, alpha=0.18)
        axes.stairs(heights, bins, color=colour, lw=1.8, ls=line, label=f"{name} (median {median:.2g})")
        axes.axvline(median, color=colour, ls=line, lw=1.2)
    axes.set(xlabel=unit, ylabel="share", ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _some(items: Mapping[str, T]) -> Mapping[str, T]:
    if not items:
        raise InputError("nothing to draw: needs at least one named entry, got none")
    return items
