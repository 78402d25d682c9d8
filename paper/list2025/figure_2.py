"""Fig. 2: how many sources the excess has, and how much of it may be smooth."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.plots.style import PALETTE
from paper.style import canvas, letters
from paper.view import RunView

NEEDS = ("real_o",)
CAPTION = (
    "Posteriors on the real 573-week map, one energy bin, as cumulative probability. (a) Number of sources of the "
    "excess in the region, from its binned source counts: networks and NPTF. (b) Share of the excess that may be "
    "exactly Poisson emission: by the network that reads the median source counts, and the smooth share of the "
    "NPTF's excess. Dotted: 95 %. Numbers of sources depend on what lies below one photon, where priors decide."
)


def draw(real_o: Path) -> Figure:
    """Cumulative posteriors, a line a method."""
    view = RunView.open(real_o, "one")
    row, nptf = view.source("gce"), view.arrays("nptf")
    answer = view.answer()
    figure, axes = canvas(1, 2, height=2.6, sharey=True)
    left, right = axes[0]
    _line(left, answer.quantities["n_sources"][:, row], answer.levels, "networks", 0)
    _line(left, nptf["n_sources"][:, row], nptf["taus"], "NPTF", 1)
    left.set(xscale="log", xlabel="number of sources N", ylabel="cumulative probability", ylim=(0, 1))
    share = answer.more["poisson_share"]
    _line(right, np.array(share["quantiles"]), np.array(share["levels"]), "networks", 0)
    smooth = 1 - nptf["point_sources_of_flux"][::-1, row]
    _line(right, smooth, 1 - answer.levels[::-1], "NPTF, smooth template", 1)
    right.axhline(0.95, color="0.5", lw=0.8, ls=":")
    right.set(xlabel="Poisson share of the excess", xlim=(0, 1))
    letters(axes)
    for panel in axes.ravel().tolist():
        panel.grid()
        panel.legend(loc="best")
    return figure


def _line(axes: Axes, values: NDArray[np.float64], levels: NDArray[np.float64], name: str, k: int) -> None:
    axes.plot(values, levels, color=PALETTE[k], ls=("-", "--")[k], label=name)
