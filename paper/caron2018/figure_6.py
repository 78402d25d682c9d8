"""Fig. 6: the network, layer by layer."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from gcesbi.analysis.run import Run
from gcesbi.estimators.images import ShareEstimator
from gcesbi.plots import PALETTE
from paper.style import canvas

NEEDS = ("images",)
CAPTION = (
    "The network of the full image, from left to right: the picture; every convolution of 3 x 3 pixels with its "
    "rectifier, as high as its image before it is halved by a maximum over 2 x 2 pixels, and labelled filters x rows x "
    "columns; the dense layers; the sigmoid that gives f_src. Below: numbers of weights."
)


def draw(images: Path) -> Figure:
    """Draw the layers of a run's network."""
    network = Run.open(images).network("full", ShareEstimator)
    embedding, (rows, columns) = network.embedding, network.embedding.inputs.shape
    layers: list[tuple[str, int, float, str]] = [(f"{network.n_energy}×{rows}×{columns}", 0, rows, "0.6")]
    for level in embedding.encoder.levels:
        weights = sum(each.numel() for each in level.parameters())
        n_filter = next(each.out_channels for each in level.modules() if isinstance(each, nn.Conv2d))
        layers.append((f"{n_filter}×{rows}×{columns}", weights, rows, PALETTE[0]))
        rows, columns = -(-rows // 2), -(-columns // 2)
    linear = [each for each in (*embedding.modules(), *network.head.modules()) if isinstance(each, nn.Linear)]
    for dense in linear:
        weights = sum(each.numel() for each in dense.parameters())
        layers.append((str(dense.out_features), weights, dense.out_features / 4, PALETTE[1]))
    figure, axes = canvas(1, 1, height=2.2)
    panel, highest = axes[0, 0], max(height for _, _, height, _ in layers)
    for place, (told, weights, height, colour) in enumerate(layers):
        height = max(height, highest / 30)
        panel.add_patch(Rectangle((place - 0.3, -height / 2), 0.6, height, color=colour))
        panel.text(place, height / 2, told, ha="center", va="bottom", fontsize=6)
        panel.text(place, -0.72 * highest, f"{weights:,}" if weights else "–", ha="center", fontsize=6)
    names = ["picture", *(f"conv. {k + 1}" for k in range(len(embedding.encoder.levels))), "dense", "dense", "f_src"]
    panel.set_xticks(np.arange(len(layers)), names)
    panel.set(xlim=(-0.6, len(layers) - 0.4), ylim=(-0.8 * highest, 0.7 * highest), yticks=[])
    return figure
