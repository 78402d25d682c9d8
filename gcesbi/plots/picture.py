"""Figures as pictures."""

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from numpy.typing import NDArray

__all__ = ["png"]

_MOST_STEPS = 6
_STILL = 1e-3
"""Of the figure's size; the step after one so small moves nothing at all."""


def png(figure: Figure, dots_per_inch: float) -> bytes:
    """A figure as a PNG on white, drawn once, after all that it holds has found its place.

    Matplotlib's own `savefig` draws twice where panels are placed by a layout, and stops placing after one step: colour
    bars, and panels whose shape is fixed, then depend on where they were.
    """
    before, layout = figure.get_dpi(), figure.get_layout_engine()
    try:
        figure.set_dpi(dots_per_inch)
        if layout is not None:
            _place(figure, layout)
        figure.set_layout_engine(None)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    finally:
        figure.set_dpi(before)
        figure.set_layout_engine(layout)
    return buffer.getvalue()


def _place(figure: Figure, layout: LayoutEngine) -> None:
    """Lay out step by step what does not find its place at once."""
    in_steps = any(axes.get_subplotspec() is None or axes.get_aspect() != "auto" for axes in figure.axes)
    found = _places(figure)
    for _ in range(_MOST_STEPS if in_steps else 1):
        layout.execute(figure)
        last, found = found, _places(figure)
        if np.abs(found - last).max() < _STILL:
            return


def _places(figure: Figure) -> NDArray[np.float64]:
    return np.array([axes.get_position(original=True).bounds for axes in figure.axes])
