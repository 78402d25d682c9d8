"""Fig. S1: spectra of all components, one by one."""

from itertools import cycle
from pathlib import Path

from matplotlib.figure import Figure

from gcesbi.plots.style import PALETTE
from paper.panels import ENERGY_UNIT, SPECTRUM_UNIT, spectrum
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Spectra E² dN/dE of all components, one a panel: energy-dependent networks (median and 68 % band) and a Poisson "
    "fit in every bin (points). Dashed: the truth of a mock.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, a mock sky of its composition is "
    "looked at."
)


def draw(ten: Path) -> Figure:
    """One panel a component."""
    view = RunView.open(ten, "several")
    figure, axes = canvas(-(-len(view.names) // 3), 3, height=1.9)
    for panel, name, colour in zip(axes.ravel(), view.names, cycle(PALETTE), strict=False):
        spectrum(panel, view, name, colour, label(name))
        panel.set_ylim(bottom=0)
    for panel in axes.ravel()[len(view.names) :]:
        panel.remove()
    figure.supxlabel(ENERGY_UNIT)
    figure.supylabel(SPECTRUM_UNIT)
    letters(axes)
    return figure
