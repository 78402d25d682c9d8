"""What a fit leaves: significance of the residuals on the sky, and the histogram of the counts."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gcesbi.errors import InputError
from gcesbi.sky import Grid

from .sky import draw_sky
from .style import blank, check_shape, decades, legend, method_styles

__all__ = ["counts_histogram", "residual_maps"]


def residual_maps(
    region: Grid,
    counts: ArrayLike,
    significance: ArrayLike,
    smoothed: ArrayLike,
    deviant: Sequence[tuple[float, float]] = (),
    sigma: float = 1.0,
) -> Figure:
    """Counts (n_pix,), and how significantly single pixels and neighbourhoods depart from a fit.

    Parameters
    ----------
    counts : array (n_pix,)
    significance, smoothed : array (n_pix,)
        Standard deviations.
    deviant : sequence of (glon, glat)
        Pixels to circle, degrees.
    sigma : float
        Of the smoothing, degrees.
    """
    given = {"counts": counts, "significance": significance, "smoothed": smoothed}
    seen, single, wide = (check_shape(name, values, (region.n_pix,)) for name, values in given.items())
    figure = Figure(figsize=(10.5, 5.0), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    draw_sky(axes[0], region, seen, "photons per pixel", "Counts", "log", bar="bottom")
    titles = ("Residuals of pixels", f"Residuals smoothed, {sigma:g}°")
    for panel, values, title in zip(axes[1:], (single, wide), titles, strict=True):
        draw_sky(panel, region, values, "standard deviations", title, "signed", (-6, 6), "bottom")
        for glon, glat in deviant:
            panel.plot(glon, glat, "o", markersize=10, fillstyle="none", color="black")
        panel.set_ylabel("")
    return figure


def counts_histogram(
    counts: ArrayLike, predicted: Mapping[str, ArrayLike], order: Sequence[str] | None = None
) -> Figure:
    """How many pixels hold how many photons (n_pix,), beside maps (n_map, n_pix) that each method predicts.

    Bins grow with the counts, and each is divided by its width. Bands hold 95 % of the predicted maps, bin by bin.
    `order` names all methods.
    """
    if not predicted:
        raise InputError("predicted: needs at least one method, got none")
    seen = np.asarray(counts, dtype=np.float64).ravel()
    edges = np.unique(np.round(np.geomspace(max(seen.min(), 1), max(seen.max(), 2) * 1.3, 32))) - 0.5
    edges = np.concatenate([[-0.5], edges]) if seen.min() < 1 else edges
    widths, styles = np.diff(edges), method_styles(predicted if order is None else order)
    figure, axes = blank(6.4, 4.2)
    for name, maps in predicted.items():
        numbers = np.stack([np.histogram(each, edges)[0] for each in np.asarray(maps)])
        low, high = np.maximum(np.quantile(numbers, [0.025, 0.975], axis=0), 0.3) / widths
        colour = styles[name][0]
        axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.35, label=name)
    axes.stairs(np.histogram(seen, edges)[0] / widths, edges, color="black", lw=1.6, label="observed", baseline=None)
    axes.set(xlabel="photons in a pixel", ylabel="pixels for each number of photons", yscale="log")
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0.5 / widths.max(), None))
    axes.set_xscale("symlog", linthresh=10)
    ticks = [n * 10**k for k in range(7) for n in (1, 2, 5) if edges[0] < n * 10**k < edges[-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    decades(axes.yaxis)
    axes.grid(color="0.93")
    legend(axes)
    return figure
