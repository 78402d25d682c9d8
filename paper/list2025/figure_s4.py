"""Fig. S4: source counts of the disk on the real map, beside the NPTF."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import cumulative, density, finish
from paper.style import canvas
from paper.view import RunView

NEEDS = ("real_o",)
CAPTION = (
    "Source counts of the disk on the real 573-week map, one energy bin, Model O: networks and NPTF (median and 68 % "
    "band). (a) F² dN/dF, (b) cumulative share of the flux."
)


def draw(real_o: Path) -> Figure:
    """Density and cumulative share."""
    view = RunView.open(real_o, "one")
    figure, axes = canvas(1, 2, height=2.9)
    density(axes[0, 0], view, "disk", nptf=view, title="disk, real map")
    cumulative(axes[0, 1], view, "disk", nptf=view, title="disk, real map")
    finish(figure, axes)
    return figure
