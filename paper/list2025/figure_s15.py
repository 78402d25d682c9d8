"""Fig. S15: errors of energy-dependent against errors of energy-independent networks, map by map."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gcesbi.plots.style import PALETTE
from paper.panels import views
from paper.style import canvas, label, letters

NEEDS = ("ten", "summed")
CAPTION = (
    "Signed Earth mover's distance of the median source counts on the same held-out maps, networks with energies "
    "against networks without, and the correlation r of the two. Points on the diagonal: both err alike."
)


def draw(ten: Path, summed: Path) -> Figure:
    """Excess and disk, a point a map."""
    stored = [view.arrays("evaluation") for view in views({"with": ten, "without": summed}, "several").values()]
    figure, axes = canvas(1, 2, height=3.3)
    for panel, source in zip(axes[0], ("gce", "disk"), strict=True):
        x, y = (each[f"source counts/{source}/semd"] for each in stored)
        reach = 1.05 * float(np.max(np.abs([x, y])))
        panel.plot([-reach, reach], [-reach, reach], color="black", lw=0.8, ls="--")
        panel.plot(x, y, ".", ms=2.5, color=PALETTE[0], alpha=0.6)
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        panel.set(xlabel="SEMD with energies [flux bins]", ylabel="SEMD without [flux bins]")
        panel.set_title(f"{label(source)}: r = {np.corrcoef(x, y)[0, 1]:.2f}")
        panel.grid()
    letters(axes)
    return figure
