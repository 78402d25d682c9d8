"""Fig. 7: what the convolutions make of an image."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper.caron2018.collect import Collected, within
from paper.style import canvas

NEEDS = ("images",)
CAPTION = (
    "What the network of the full image makes of the two images of Fig. 3: left half, a smooth excess; right half, an "
    "excess of sources. First row: the input, all channels summed. Below: each convolution's answer after its "
    "rectifier, before pooling, for the filters whose answer varies most over the two images (the same for both). "
    "Colours go from the smallest to the largest value of a filter over the two images, the outermost pixels left "
    "out."
)

Array = NDArray[np.float64]


def draw(images: Path) -> Figure:
    """Draw from two images of the first testing model."""
    known = Collected.read(images)
    width = max(layer.shape[1] for layer in known.layers)
    widths = [1.0] * width + [0.15] + [1.0] * width  # a gap between the images
    figure, axes = canvas(len(known.layers) + 1, 2 * width + 1, height=0.98, width_ratios=widths)
    figure.set_layout_engine("constrained", hspace=0.2, rect=(0, 0, 1, 0.97))
    for panel in axes.ravel().tolist():
        panel.set_axis_off()
    starts = (0, width + 1)
    for picture, start, theta in zip(known.inputs, starts, known.pair_theta, strict=True):
        _show(axes[0, start], picture, known.inputs)
        _name(axes[0, start], rf"input, $f_\mathrm{{src}}$ = {theta[0]:.2f}, α = {theta[1]:.2f}")
    for k, (row, layer) in enumerate(zip(axes[1:], known.layers, strict=True)):
        for column in range(layer.shape[1]):
            for image, start in zip(layer[:, column], starts, strict=True):
                _show(row[start + column], image, layer[:, column])
        size = f"{layer.shape[2]} × {layer.shape[3]}"
        _name(row[0], f"convolution {k + 1}: {layer.shape[1]} of {known.n_filters[k]} filters, {size}")
    return figure


def _name(panel: Axes, name: str) -> None:
    """A title that may be wider than its panel."""
    panel.annotate(name, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points").set_in_layout(False)


def _show(panel: Axes, image: Array, both: Array) -> None:
    inner = within(both)
    limits = {"vmin": inner.min(), "vmax": inner.max()}
    panel.imshow(image, origin="lower", cmap="inferno", **limits, interpolation="nearest")
