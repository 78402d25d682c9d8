"""Fig. S14: energy-dependent against energy-independent networks on the same maps."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paper.panels import bare_legend, coverage_of, draw_curves, histograms, views
from paper.style import canvas, label, letters

NEEDS = ("ten", "summed")
CAPTION = (
    "Networks that see ten energy bins and their twins that see the sum, trained and judged on the same maps: "
    "coverage, width of the 95 % interval of the CDF (mean over flux bins), and signed Earth mover's distance, "
    "for excess (upper row) and disk."
)


def draw(ten: Path, summed: Path) -> Figure:
    """One row a template: coverage, sharpness, distance."""
    stored = {
        name: view.arrays("evaluation") for name, view in views({"with": ten, "without": summed}, "several").items()
    }
    figure, axes = canvas(2, 3, height=2.4)
    for row, source in zip(axes, ("gce", "disk"), strict=True):
        key = f"source counts/{source}"
        draw_curves(row[0], {name: coverage_of(each, key) for name, each in stored.items()}, label(source))
        widths = {name: np.mean(each[f"{key}/sharpness"], axis=1) for name, each in stored.items()}
        histograms(row[1], widths, "width of the 95 % interval")
        distances = {name: each[f"{key}/semd"] for name, each in stored.items()}
        histograms(row[2], distances, "SEMD [flux bins]", 0.0)
        bare_legend(row[0], "upper left")
    letters(axes)
    return figure
