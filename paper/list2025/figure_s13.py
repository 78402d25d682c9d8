"""Fig. S13: sharpness and distance of the source counts on misspecified maps."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paper.list2025.figure_s12 import skies, title_of
from paper.panels import intervals, shared_legend
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Networks that know the nominal sky alone, on misspecified maps (see Fig. S12): median and central 68 % "
    "over maps of (a) the width of the 95 % interval of the CDF, mean over flux bins, and (b) the signed Earth "
    "mover's distance of the median: shifted from the nominal row to the left, sources are taken for dimmer than "
    "they are."
)


def draw(ten: Path) -> Figure:
    """One row a sky."""
    view = RunView.open(ten, "several")
    stored, rows = view.arrays("misspecification"), skies(view)
    kinds = {label(name): f"source counts/{name}" for name in ("gce", "disk")}
    figure, axes = canvas(1, 2, height=0.8 + 0.3 * len(rows), sharey=True)
    widths = {k: [np.mean(stored[f"{sky}/{key}/sharpness"], axis=1) for sky in rows] for k, key in kinds.items()}
    distances = {k: [stored[f"{sky}/{key}/semd"] for sky in rows] for k, key in kinds.items()}
    titles = [title_of(sky) for sky in rows]
    intervals(axes[0, 0], titles, widths, "width of the 95 % interval of the CDF")
    intervals(axes[0, 1], titles, distances, "signed Earth mover's distance [flux bins]")
    axes[0, 1].axvline(0, color="black", lw=0.8)
    letters(axes)
    shared_legend(figure, axes)
    return figure
