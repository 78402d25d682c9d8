"""Table 3 as a figure: errors of predictions, from validation images, in ten bins."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gcesbi.analysis.evaluate import binned_errors
from gcesbi.analysis.run import Run
from gcesbi.plots import PALETTE
from paper.caron2018.collect import TITLES, Collected
from paper.style import canvas, letters

NEEDS = ("images",)
SHOWN = ("full", "halves", "all")
LEVELS = ("1σ", "2σ", "3σ", "largest")
CAPTION = (
    "Errors |predicted - true| of f_src of validation images in ten bins of the prediction: those that hold 68.3 %, "
    "95.4 % and 99.7 % of the images of a bin, and the largest. Points are the images themselves. A prediction's "
    "error is read off in its bin. Columns: the network of the full image, the mean of the halves, the mean of all "
    "five."
)


def draw(images: Path) -> Figure:
    """Draw the binned errors of a run."""
    errors, held = binned_errors(Run.open(images)), Collected.read(images).sets[0]
    figure, axes = canvas(1, len(SHOWN), height=2.6, sharex=True, sharey=True)
    for panel, network in zip(axes[0], SHOWN, strict=True):
        found = errors[network]
        panel.plot(
            held.predicted[network],
            np.abs(held.error(network)),
            ".",
            color="0.8",
            ms=1,
            zorder=0,
            rasterized=True,
        )
        for level, values, colour in zip(LEVELS, found.errors, PALETTE, strict=False):
            panel.stairs(values, found.edges, baseline=None, color=colour, label=level, lw=1.4, zorder=3)
        panel.set(xlabel=r"predicted $f_\mathrm{src}$", xlim=(0, 1))
        panel.set_title(TITLES[network], loc="right")
    axes[0, 0].set_ylim(0, None)
    axes[0, 0].set_ylabel(r"error of $f_\mathrm{src}$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LEVELS))
    letters(axes)
    return figure
