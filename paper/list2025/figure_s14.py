"""Fig. S14: networks with energies and without on maps of Model A, and on nominal ones."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paper.list2025.skies import PAIRED, WITH, WITHOUT, stored_skies
from paper.panels import coverage_of, draw_curves, histograms, shared_legend
from paper.style import canvas, label, letters

NEEDS = ("skies",)
CAPTION = (
    "Networks that see ten energy bins and their twins that see the sum, trained on the same nominal maps and judged "
    "on the same maps of Model A, and of the nominal sky: coverage, width of the 95 % interval of the CDF (mean over "
    "flux bins), and signed Earth mover's distance, for excess (upper row) and disk.\n\n"
    "Differs from the paper's figure: Model A as in Fig. S12."
)


def draw(skies: Path) -> Figure:
    """One row a template: coverage, sharpness, distance."""
    stored = stored_skies(skies, PAIRED)
    shown = {f"{key}, {sky}": (arrays, key) for sky, arrays in reversed(stored.items()) for key in (WITH, WITHOUT)}
    figure, axes = canvas(2, 3, height=2.4)
    for row, source in zip(axes, ("gce", "disk"), strict=True):
        found = {name: (arrays, f"{key}/source counts/{source}") for name, (arrays, key) in shown.items()}
        draw_curves(row[0], {name: coverage_of(*each) for name, each in found.items()}, label(source))
        widths = {name: np.mean(arrays[f"{key}/sharpness"], axis=1) for name, (arrays, key) in found.items()}
        histograms(row[1], widths, "width of the 95 % interval")
        histograms(row[2], {n: arrays[f"{key}/semd"] for n, (arrays, key) in found.items()}, "SEMD [flux bins]", 0.0)
        for panel in row[1:]:
            panel.get_legend().remove()
    letters(axes)
    shared_legend(figure, axes[:, :1], 5)
    return figure
