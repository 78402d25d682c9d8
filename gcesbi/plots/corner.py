"""Joint posteriors of a few quantities: two-dimensional contours below the marginals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from .style import Array, method_styles, shared_legend

__all__ = ["corner"]

_N_BIN = 40
_HELD = (0.95, 0.68)
_IN_SIGHT = 4.0  # inches of the left side: what a phone shows of a figure that is scrolled


def corner(
    samples: Mapping[str, ArrayLike],
    labels: Sequence[str],
    truth: ArrayLike | None = None,
    order: Sequence[str] | None = None,
) -> Figure:
    """Contours that hold 68 % and 95 % of each method's samples (n, n_quantity), marginals on the diagonal.

    Parameters
    ----------
    labels : sequence of str
        Of the quantities.
    truth : array (n_quantity,), optional
        Drawn as black lines.
    order : sequence of str, optional
        All methods of the page, so that each has one colour in all figures; by default those of `samples`.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in samples.items()}
    together = np.concatenate(list(arrays.values()))
    low, high = np.quantile(together, [0.002, 0.998], axis=0)
    if truth is not None:
        low, high = np.minimum(low, truth), np.maximum(high, truth)
    margin = 0.05 * np.maximum(high - low, 1e-12)
    styles = method_styles(arrays if order is None else order)
    ends, n = np.stack([low - margin, high + margin], axis=1), len(labels)
    figure = Figure(figsize=(1.75 * n + 0.4, 1.75 * n + 0.7), layout="constrained")
    axes = figure.subplots(n, n, squeeze=False, sharex="col")
    for i in range(n):
        for j in range(n):
            _panel(axes[i, j], arrays, styles, i, j, ends, truth)
        axes[-1, i].set_xlabel(labels[i])
        if i:
            axes[i, 0].set_ylabel(labels[i])
    shared_legend(figure, axes[0, 0], _IN_SIGHT)
    return figure


def _panel(
    axes: Axes,
    arrays: Mapping[str, Array],
    styles: Mapping[str, tuple[str, str]],
    i: int,
    j: int,
    ends: Array,
    truth: ArrayLike | None,
) -> None:
    if j > i:
        axes.remove()
        return
    true = None if truth is None else np.asarray(truth, dtype=np.float64)
    for name, values in arrays.items():
        colour = styles[name][0]
        if i == j:
            density, edges = np.histogram(values[:, i], _N_BIN, tuple(ends[i]), density=True)
            axes.stairs(gaussian_filter(density, 1.0), edges, color=colour, lw=1.6, label=name)
        else:
            _contours(axes, values[:, j], values[:, i], ends[[j, i]], colour)
    if true is not None:
        axes.axvline(true[j], color="black", lw=1.2, label="truth")
        if i != j:
            axes.axhline(true[i], color="black", lw=1.2)
    axes.set_xlim(*ends[j])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="x", labelrotation=30)
    if i == j:
        axes.set_yticks([])
    else:
        axes.set_ylim(*ends[i])
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.tick_params(axis="y", labelleft=j == 0)


def _contours(axes: Axes, x: Array, y: Array, ends: Array, colour: str) -> None:
    counts, x_edges, y_edges = np.histogram2d(x, y, _N_BIN, ends.tolist())
    density = gaussian_filter(counts, 1.6)
    ordered = np.sort(density, axis=None)[::-1]
    reached = np.cumsum(ordered) / max(ordered.sum(), 1e-300)
    levels = [float(ordered[np.searchsorted(reached, share)]) for share in _HELD]
    if levels[0] < levels[1]:
        centres = (x_edges[1:] + x_edges[:-1]) / 2, (y_edges[1:] + y_edges[:-1]) / 2
        axes.contour(*centres, density.T, levels=levels, colors=colour, linewidths=(1.0, 1.8))
