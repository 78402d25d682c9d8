"""What a fit leaves: significance of the residuals on the sky, and the PIT of the counts."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gcesbi.sky import Grid

from .sky import draw_sky
from .style import PALETTE, check_shape

__all__ = ["residual_maps"]

_N_CELL = 20


def residual_maps(
    region: Grid,
    significance: ArrayLike,
    smoothed: ArrayLike,
    pit: ArrayLike,
    deviant: Sequence[tuple[float, float]] = (),
    sigma: float = 1.0,
) -> Figure:
    """Significance (n_pix,) of single pixels and of neighbourhoods, and a histogram of the PIT of the counts.

    Parameters
    ----------
    significance, smoothed : array (n_pix,)
        Standard deviations.
    pit : array (...)
        Values in [0, 1].
    deviant : sequence of (glon, glat)
        Pixels to circle, degrees.
    sigma : float
        Of the smoothing, degrees.
    """
    single, wide = (
        check_shape(name, values, (region.n_pix,))
        for name, values in (("significance", significance), ("smoothed", smoothed))
    )
    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    axes = figure.subplots(1, 3)
    for panel, values, title in zip(axes, (single, wide), ("Pixels", f"Smoothed, {sigma:g}°"), strict=False):
        draw_sky(panel, region, values, "standard deviations", title, "signed", (-6, 6), "bottom")
        for glon, glat in deviant:
            panel.plot(glon, glat, "o", markersize=10, fillstyle="none", color="black")
    levels = np.asarray(pit, dtype=np.float64).ravel()
    shares = np.histogram(levels, np.linspace(0, 1, _N_CELL + 1))[0] * _N_CELL / max(levels.size, 1)
    axes[2].stairs(shares, np.linspace(0, 1, _N_CELL + 1), fill=True, color=PALETTE[0], alpha=0.6)
    axes[2].axhline(1.0, color="black", linewidth=1)
    axes[2].set(xlabel="PIT of the counts", ylabel="density", title="PIT", xlim=(0, 1), ylim=(0, None))
    axes[2].set_box_aspect(0.8)
    return figure
