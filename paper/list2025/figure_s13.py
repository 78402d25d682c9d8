"""Fig. S13: source counts on maps of skies that the networks were not trained for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper.list2025.skies import NOMINAL, WITH, stored_skies
from paper.panels import coverage_of, draw_curves, intervals, shared_legend
from paper.style import canvas, label, letters
from paper.view import Array

NEEDS = ("skies",)
CAPTION = (
    "Source counts on the maps of Fig. S12, excess (upper row) and disk, by networks that know the nominal sky "
    "alone: coverage of the CDF, width of its 95 % interval, and signed Earth mover's distance of the median, in "
    "flux bins (shifted from the nominal row to the left: sources are taken for dimmer than they are); median and "
    "central 68 % over maps.\n\n"
    "Differs from the paper's figure as Fig. S12 does."
)


def draw(skies: Path) -> Figure:
    """Coverage, sharpness and distance."""
    return misspecified(skies, "source counts", "width of the 95 % interval", distance=True)


def misspecified(skies: Path, quantity: str, width: str, *, distance: bool = False) -> Figure:
    """Coverage and sharpness of a quantity of excess and disk, a line a sky; distances of source counts."""
    stored = stored_skies(skies)
    figure, axes = canvas(2, 2 + distance, height=2.9)
    for row, name in zip(axes, ("gce", "disk"), strict=True):
        head = f"{WITH}/{quantity}/{name}"
        curves = {sky: coverage_of(arrays, head) for sky, arrays in stored.items()}
        bare = {sky: replace(each, low=each.coverage, high=each.coverage) for sky, each in curves.items()}
        draw_curves(row[0], bare | {NOMINAL: curves[NOMINAL]}, label(name))
        _rows(row[1], {sky: np.ravel(arrays[f"{head}/sharpness"]) for sky, arrays in stored.items()}, width)
        if distance:
            unit = "SEMD [flux bins]"
            _rows(row[2], {sky: arrays[f"{head}/semd"] for sky, arrays in stored.items()}, unit)
            row[2].axvline(0, color="black", lw=0.8)
            row[2].set_yticklabels([])
    letters(axes)
    shared_legend(figure, axes[:, :1], 4)
    return figure


def _rows(axes: Axes, samples: dict[str, Array], unit: str) -> None:
    intervals(axes, list(samples), {"": list(samples.values())}, unit)
