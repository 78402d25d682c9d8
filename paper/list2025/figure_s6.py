"""Fig. S6: sharpness of the source counts on held-out maps."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paper.panels import histograms
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Sharpness of the source counts on held-out maps, energy-dependent networks. (a) Width of the central 95 % "
    "interval of every CDF value, (b) the same averaged over the flux bins of a map. Narrower is better, if calibrated."
)


def draw(ten: Path) -> Figure:
    """All pairs of map and bin, and means of maps."""
    view = RunView.open(ten, "several")
    stored = view.arrays("evaluation")
    widths = {label(name): stored[f"source counts/{name}/sharpness"] for name in ("gce", "disk")}
    figure, axes = canvas(1, 2)
    histograms(axes[0, 0], widths, "width of the 95 % interval of the CDF")
    means = {name: np.mean(values, axis=1) for name, values in widths.items()}
    histograms(axes[0, 1], means, "the same, mean over the flux bins of a map")
    letters(axes)
    return figure
