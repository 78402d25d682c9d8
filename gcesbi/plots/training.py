"""How a training went: losses against what was presented."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gcesbi.errors import InputError

from .calibration import LINES
from .style import PALETTE, blank, legend

__all__ = ["training_curves"]


def training_curves(
    losses: Mapping[str, tuple[ArrayLike, ArrayLike]],
    unit: str = "loss",
    title: str = "",
    axis: str = "training step",
) -> Figure:
    """Loss against training step, one line per name: (steps, values) each, for instance training and held-out maps.

    `axis` says what the steps count.
    """
    if not losses:
        raise InputError("nothing to draw: needs at least one named entry, got none")
    figure, axes = blank(6.4, 4.0)
    for i, (name, (steps, values)) in enumerate(losses.items()):
        colour, line = PALETTE[i % len(PALETTE)], LINES[i % len(LINES)]
        marker = "." if np.size(steps) < 30 else ""
        axes.plot(np.asarray(steps), np.asarray(values), color=colour, ls=line, lw=1.6, marker=marker, label=name)
    axes.set(xlabel=axis, ylabel=unit, title=title)
    axes.grid(color="0.93")
    legend(axes)
    return figure
