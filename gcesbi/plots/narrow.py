"""Figures for a narrow page, as a phone's: the panels of any figure one below the other."""

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from .style import shared_legend

__all__ = ["narrowed"]


@contextmanager
def narrowed(figure: Figure, width: float) -> Iterator[None]:
    """While it lasts, the figure is of a width, inches, and its panels in one column, each with numbers on its axes."""
    before, wide = figure.get_size_inches(), list(figure.legends)
    held = {axes: spec for axes in figure.axes if (spec := axes.get_subplotspec()) is not None}
    rows = max(spec.get_gridspec().nrows for spec in held.values())
    labelled = {axes: (_has_labels(axes.xaxis), _has_labels(axes.yaxis)) for axes in held}
    grid = figure.add_gridspec(len(held), 1)
    try:
        figure.set_size_inches(width, before[1] * (len(held) / rows if len(held) > 1 else 0.8))
        for legend in wide:
            _show(legend, False)
            shared_legend(figure, next(iter(held)))
        for row, axes in enumerate(held):
            axes.set_subplotspec(grid[row])
            axes.tick_params(labelbottom=True, labelleft=True)
        yield
    finally:
        figure.set_size_inches(*before)
        for legend in figure.legends[len(wide) :]:
            legend.remove()
        for legend in wide:
            _show(legend, True)
        for axes, spec in held.items():
            axes.set_subplotspec(spec)
            axes.tick_params(labelbottom=labelled[axes][0], labelleft=labelled[axes][1])


def _show(legend: Legend, whether: bool) -> None:
    legend.set_visible(whether)
    legend.set_in_layout(whether)


def _has_labels(axis: Axis) -> bool:
    return axis.get_major_ticks(1)[0].label1.get_visible()
