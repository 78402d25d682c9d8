"""Fig. S4: NPTFs of today and of 2016: source counts, and number of sources."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.plots.source_counts import BAND_COLOURS
from gcesbi.plots.style import PALETTE
from paper.panels import density, finish
from paper.style import canvas
from paper.view import RunView

NEEDS = ("real_o", "nptf_o", "p6v11")
CAPTION = (
    "The real 573-week map, one energy bin: networks with Model O (lines), NPTF with Model O and two breaks, and "
    "NPTF (2016) with p6v11, one break and log-flat amplitudes (bands: median and 68 %). F² dN/dF of (a) the excess, "
    "(b) the disk; (c) cumulative posterior of the number of sources of the excess, by the same three. Numbers of "
    "sources depend on what lies below one photon, where priors decide.\n\n"
    "Differs from the paper's figure: NPTF (2016) is fitted to the 573-week map with the 3FGL mask and point sources "
    "of excess and disk; the fit of 2016 had less data, and isotropic point sources too."
)


def draw(real_o: Path, nptf_o: Path, p6v11: Path) -> Figure:
    """Source counts of both templates, and the number of sources."""
    real = RunView.open(real_o, "one")
    fitted = {"NPTF (68 %)": RunView.open(nptf_o), "NPTF (2016)": RunView.open(p6v11)}
    figure, axes = canvas(1, 3, height=2.9)
    density(axes[0, 0], real, "gce", fitted, "excess")
    density(axes[0, 1], real, "disk", fitted, "disk")
    axes[0, 1].set_ylabel("")
    panel = axes[0, 2]
    answer = real.answer()
    _line(panel, answer.quantities["n_sources"][:, real.source("gce")], answer.levels, "networks", PALETTE[0])
    for (name, view), colour in zip(fitted.items(), BAND_COLOURS, strict=False):
        found = view.arrays("nptf")
        _line(panel, found["n_sources"][:, view.source("gce")], found["taus"], name, colour)
    panel.set(xscale="log", xlabel="number of sources of the excess", ylabel="cumulative probability", ylim=(0, 1))
    panel.grid()
    finish(figure, axes)
    return figure


def _line(axes: Axes, values: NDArray[np.float64], levels: NDArray[np.float64], name: str, colour: str) -> None:
    axes.plot(values, levels, color=colour, label=name)
