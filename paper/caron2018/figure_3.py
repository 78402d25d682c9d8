"""Fig. 3: images of the Galactic centre without and with sources."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper.caron2018.collect import Collected
from paper.style import canvas, letters

NEEDS = ("images",)
LARGEST = 6.0
"""Where the colours of the excess end, in units of the noise of the background."""
CAPTION = (
    "Simulated counts images, all energies together, with the interstellar model of the first testing set. Top: "
    "expected counts of the background; an image whose excess is smooth; one whose excess is sources. Bottom: "
    "expected counts of a smooth excess, and what the two images hold above the expected background, in units of the "
    "square root of the background; beyond ±6 the colours end."
)

Array = NDArray[np.float64]


def draw(images: Path) -> Figure:
    """Draw from the pair of images of the first testing model."""
    known = Collected.read(images)
    titles = [rf"$f_\mathrm{{src}}$ = {theta[0]:.2f}, α = {theta[1]:.2f}" for theta in known.pair_theta]
    figure, axes = canvas(2, 3, height=2.3, sharex=True, sharey=True)
    counts, noise = [known.background, *known.pair], np.sqrt(known.background)
    _row(axes[0], counts, known.extent, "counts per pixel", norm=PowerNorm(0.5, 0, np.nanmax(counts)), cmap="inferno")
    excess = [known.smooth / noise, *((known.pair - known.background) / noise)]
    _row(axes[1], excess, known.extent, "excess / √background", norm=Normalize(-LARGEST, LARGEST), cmap="RdBu_r")
    for row, names in zip(axes, (["background", *titles], ["smooth excess, expected", *titles]), strict=True):
        row[0].set_ylabel("glat (deg)")
        for panel, name in zip(row, names, strict=True):
            panel.set_title(name, loc="right")
    for panel in axes[1]:
        panel.set_xlabel("glon (deg)")
    letters(axes)
    return figure


def _row(panels: NDArray[np.object_], images: list[Array], extent: Array, unit: str, **colours: Any) -> None:
    """Images (n_lat, n_lon) side by side, in the same colours."""
    for panel, image in zip(panels, images, strict=True):
        shown = panel.imshow(image, origin="lower", extent=extent, interpolation="nearest", **colours)
    beyond = "both" if shown.norm.vmin < 0 else "neither"
    panels[0].figure.colorbar(shown, ax=panels.tolist(), label=unit, pad=0.01, extend=beyond)
