"""Fig. 9: how predictions answer to another inner slope than the one that was learnt."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.analysis.run import Run
from gcesbi.plots import PALETTE
from paper.caron2018.collect import Collected, HeldOut
from paper.style import canvas, letters

NEEDS = ("images",)
NETWORK = "halves"
N_GAMMA, N_SHARE = 4, 5
CAPTION = (
    "Response to the inner slope γ of the halo. The networks learnt from images of one slope, named in the legend's "
    "title; here they see images of the interstellar models that they never saw, with other slopes. Mean of predicted "
    "less true share of sources, by the mean of the four halves, against the true share, in four ranges of γ; bars "
    "are the error of the mean, the grey band is the standard deviation of single images in the range that holds the "
    "slope that was learnt."
)

Array = NDArray[np.float64]


def draw(images: Path) -> Figure:
    """Draw from the images of a run whose slope is free."""
    sets = Collected.read(images).response
    learnt = Run.open(images).images.sky.gamma[0]
    figure, axes = canvas(1, len(sets), height=2.8, sharex=True, sharey=True)
    for panel, held in zip(axes[0], sets, strict=True):
        _panel(panel, held, learnt)
        panel.set_title(held.name, loc="right")
        panel.set(xlabel=r"true $f_\mathrm{src}$", xlim=(0, 1))
    axes[0, 0].set_ylabel(r"predicted less true $f_\mathrm{src}$")
    known = axes[0, 0].get_legend_handles_labels()
    figure.legend(*known, title=f"learnt: γ = {learnt:g}", loc="outside lower center", ncols=len(known[0]))
    letters(axes)
    return figure


def bins_of_gamma(gamma: Array) -> list[tuple[float, float]]:
    """Ranges of γ, of equal width, over all of γ (n,)."""
    return list(pairwise(np.linspace(gamma.min(), gamma.max(), N_GAMMA + 1).tolist()))


def means(held: HeldOut, kept: NDArray[np.bool_]) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Middles of bins of true f_src with two images or more; mean and spread of predicted less true there; how many."""
    error = held.error(NETWORK)[kept]
    at = np.minimum((held.truth[kept] * N_SHARE).astype(int), N_SHARE - 1)
    number = np.bincount(at, minlength=N_SHARE)
    filled = np.flatnonzero(number > 1)
    mean, spread = np.array([(error[at == k].mean(), error[at == k].std(ddof=1)) for k in filled]).T
    return (filled + 0.5) / N_SHARE, mean, spread, number[filled]


def _panel(panel: Axes, held: HeldOut, learnt: float) -> None:
    gamma = held.parameters["gamma"]
    panel.axhline(0, color="black", lw=0.8)
    for k, (low, high) in enumerate(bins_of_gamma(gamma)):
        kept = (gamma >= low) & (gamma <= high)
        x, mean, spread, number = means(held, kept)
        if low <= learnt < high:
            panel.fill_between(x, mean - spread, mean + spread, color="0.9", lw=0, label="scatter")
        shift = (k - (N_GAMMA - 1) / 2) * 0.012
        error, label = spread / np.sqrt(number), f"γ {low:.2f}–{high:.2f}"
        panel.errorbar(x + shift, mean, error, fmt="o-", ms=3, lw=1, color=PALETTE[k], label=label)
