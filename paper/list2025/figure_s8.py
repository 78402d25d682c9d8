"""Fig. S8: spectra on held-out maps: nine examples, coverage and sharpness."""

from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcesbi.plots.style import PALETTE
from paper.panels import (
    ENERGY_UNIT,
    SPECTRUM_SCALE,
    SPECTRUM_UNIT,
    coverage_of,
    draw_curves,
    energy_axis,
    example_grid,
    histograms,
    shared_legend,
)
from paper.style import label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Spectra on held-out maps of the prior, energy-dependent networks. Upper three rows: E² dN/dE of all components "
    "on the first nine held-out maps, not chosen: median with 68 % interval (points), truth (steps). Below: coverage "
    "of the flux fractions in every energy bin, of diffuse and of point-source templates (shaded: 95 % band that "
    "finitely many maps leave), and width of the 68 % interval of the flux fractions of point-source templates.\n\n"
    "Differs from the paper's figure: other maps, and nside and training of this scale."
)


def draw(ten: Path) -> Figure:
    """Nine maps, then coverage and sharpness."""
    view = RunView.open(ten, "several")
    stored, found = view.arrays("evaluation"), view.arrays("examples")
    edges, by = np.asarray(view.sky["energy_edges"]), view.solid_angle * SPECTRUM_SCALE

    def example(axes: Axes, k: int) -> None:
        middle = np.sqrt(edges[1:] * edges[:-1])
        for row, colour in zip(range(len(view.names)), cycle(PALETTE), strict=False):
            low, median, high = found["spectrum"][k, :, row] / by
            axes.errorbar(middle, median, [median - low, high - median], fmt="o", ms=1.6, lw=0.6, color=colour)
            axes.stairs(found["true_spectrum"][k, row] / by, edges, baseline=None, color=colour, lw=0.8)
        top = 3 * found["true_spectrum"][k].max() / by
        energy_axis(axes, edges)
        axes.set(yscale="log", ylim=(top * 1e-4, top), xlabel=ENERGY_UNIT, ylabel=SPECTRUM_UNIT)

    figure, axes = example_grid(view, example)
    diffuse = [name for name in view.names if name not in view.point_sources]
    for panel, names in zip(axes[3], (diffuse, view.point_sources), strict=False):
        draw_curves(panel, {label(name): coverage_of(stored, f"spectrum/{name}") for name in names})
    widths = {label(name): stored[f"spectrum/{name}/sharpness"] for name in view.point_sources}
    histograms(axes[3, 2], widths, "width of the 68 % interval")
    letters(axes)
    shared_legend(figure, axes[3:, :2], 4)
    return figure
