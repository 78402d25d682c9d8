"""Fig. 6: the network, layer by layer."""

from pathlib import Path
from typing import NamedTuple

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
    "columns; the dense layers, that of the scores of smooth light among them where the network sees these; the "
    "sigmoid that gives f_src. Below: numbers of weights."
)


class Layer(NamedTuple):
    """What is drawn of a layer; `height` in pixels of the picture."""

    name: str
    told: str
    modules: tuple[nn.Module, ...]
    height: float
    colour: str

    @property
    def n_weight(self) -> int:
        """Number of its weights."""
        return sum(each.numel() for module in self.modules for each in module.parameters())


def layers(network: ShareEstimator) -> list[Layer]:
    """Layers of a network, the picture first."""
    embedding, (rows, columns) = network.embedding, network.embedding.inputs.shape
    found = [Layer("picture", f"{network.n_energy}×{rows}×{columns}", (), rows, "0.6")]
    for k, level in enumerate(embedding.encoder.levels):
        n_filter = next(each.out_channels for each in level.modules() if isinstance(each, nn.Conv2d))
        found.append(Layer(f"conv. {k + 1}", f"{n_filter}×{rows}×{columns}", (level,), rows, PALETTE[0]))
        rows, columns = -(-rows // 2), -(-columns // 2)
    (last,) = (each for each in network.head.modules() if isinstance(each, nn.Linear))
    dense = [
        ("dense", embedding.encoder.dense),
        ("light", embedding.hidden),
        ("dense", embedding.dense),
        ("f_src", last),
    ]
    for name, linear in dense:
        if linear is not None:
            found.append(Layer(name, str(linear.out_features), (linear,), linear.out_features / 4, PALETTE[1]))
    return found


def draw(images: Path) -> Figure:
    """Draw the layers of a run's network."""
    drawn = layers(Run.open(images).network("full", ShareEstimator))
    figure, axes = canvas(1, 1, height=2.2)
    panel, highest = axes[0, 0], max(layer.height for layer in drawn)
    for place, layer in enumerate(drawn):
        height = max(layer.height, highest / 30)
        panel.add_patch(Rectangle((place - 0.3, -height / 2), 0.6, height, color=layer.colour))
        panel.text(place, height / 2, layer.told, ha="center", va="bottom", fontsize=6)
        panel.text(place, -0.72 * highest, f"{layer.n_weight:,}" if layer.modules else "–", ha="center", fontsize=6)
    panel.set_xticks(np.arange(len(drawn)), [layer.name for layer in drawn])
    panel.set(xlim=(-0.6, len(drawn) - 0.4), ylim=(-0.8 * highest, 0.7 * highest), yticks=[])
    return figure
