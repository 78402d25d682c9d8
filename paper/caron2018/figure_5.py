"""Fig. 5: images of all interstellar models beside each other."""

from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.analysis.run import Run
from gcesbi.estimators.images import ShareEstimator
from paper.caron2018.collect import Collected, interstellar_label
from paper.style import canvas, letters

NEEDS = ("images",)
CAPTION = (
    "Simulated counts images, all energies together, one of each interstellar model: those that networks learn from "
    "and those that they never see. Each is the first image held out, with f_src and α as drawn from the prior."
)


def draw(images: Path) -> Figure:
    """Draw from the held-out images of a run."""
    run = Run.open(images)
    held = {name: run.images.validation(name)[:1] for name in run.images.training}
    held |= {name: run.images.test(name)[:1] for name in run.images.testing}
    known, network = Collected.read(images), run.network("full", ShareEstimator)
    pixels = np.asarray(network.region.pixels)
    shape = known.pair.shape[1:]
    shown: dict[str, NDArray[np.float64]] = {}
    for name, each in held.items():
        image = np.full(int(np.prod(shape)), np.nan)
        image[pixels] = each.counts[0].sum(axis=0)
        shown[name] = image.reshape(shape)
    most = max(float(np.nanmax(image)) for image in shown.values())
    figure, axes = canvas(1, len(shown), height=1.9, sharex=True, sharey=True)
    for panel, (name, image) in zip(axes[0], shown.items(), strict=True):
        colours = {"norm": LogNorm(0.5, most), "cmap": "inferno"}
        drawn = panel.imshow(np.maximum(image, 0.5), origin="lower", extent=known.extent, **colours)
        panel.set_title(interstellar_label(name), loc="right")
        panel.set_xlabel("glon (deg)")
    axes[0, 0].set_ylabel("glat (deg)")
    figure.colorbar(drawn, ax=axes[0].tolist(), label="counts per pixel", pad=0.01)
    letters(axes)
    return figure
