"""Fig. 8: predicted against true shares of sources, network by network."""

from pathlib import Path

from matplotlib.figure import Figure

from gcesbi.plots import PALETTE
from paper.caron2018.collect import TITLES, Collected
from paper.style import canvas

NEEDS = ("images",)
SHOWN = ("full", "left", "right", "top", "bottom", "halves")
TICKS = (0.0, 0.5, 1.0)
CAPTION = (
    "Predicted against true share f_src of sources in the excess, one point an image that no training saw. Rows: "
    "images of the interstellar models that the networks learnt from, and of the two that they never saw. Columns: "
    "the network of the full image, those of its halves, and the mean of the four halves. Lines: equality; numbers: "
    "the root-mean-square error."
)


def draw(images: Path) -> Figure:
    """Draw from the held-out images of a run."""
    sets = Collected.read(images).sets
    figure, axes = canvas(len(sets), len(SHOWN), height=1.25, sharex=True, sharey=True)
    for row, held in zip(axes, sets, strict=True):
        for panel, network in zip(row, SHOWN, strict=True):
            panel.plot(held.truth, held.predicted[network], ".", color=PALETTE[0], ms=1.2, alpha=0.5, rasterized=True)
            panel.plot([0, 1], [0, 1], color="black", lw=0.8)
            panel.text(0.05, 0.95, f"{held.rmse(network):.3f}", transform=panel.transAxes, va="top", fontsize=6.5)
            panel.set(xlim=(0, 1), ylim=(0, 1), xticks=TICKS, yticks=TICKS)
            panel.set(xticklabels=("0", "0.5", "1"), yticklabels=("0", "0.5", "1"))
        row[-1].annotate(held.name, (1.08, 0.5), xycoords="axes fraction", rotation=-90, va="center")
    for panel, network in zip(axes[0], SHOWN, strict=True):
        panel.set_title(TITLES[network])
    figure.supxlabel(r"true $f_\mathrm{src}$", fontsize=8)
    figure.supylabel(r"predicted $f_\mathrm{src}$", fontsize=8)
    return figure
