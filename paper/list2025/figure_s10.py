"""Fig. S10: the excess' source counts on the real map in four representations."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcesbi.plots.source_counts import THRESHOLD_3FGL, dim_to_bright
from paper.panels import FLUX_UNIT, cumulative, density, finish, thin
from paper.style import canvas
from paper.view import RunView

NEEDS = ("real_o",)
CAPTION = (
    "One posterior in four representations: source counts of the excess on the real 573-week map, one energy bin, "
    "Model O. (a) F² dN/dF, (b) dN/dF, (c) cumulative share of the flux, (d) share of the flux in every bin. "
    "NPTF: median and 68 % band in (a) and (c)."
)


def draw(real_o: Path) -> Figure:
    """Two by two panels."""
    view = RunView.open(real_o, "one")
    figure, axes = canvas(2, 2, height=2.6, sharex=True)
    density(axes[0, 0], view, "gce", nptf=view)
    _lines(axes[0, 1], view, "dndf", view.solid_angle)
    axes[0, 1].set(yscale="log", ylabel="dN/dF [photons⁻¹ cm² s sr⁻¹]")
    peak = view.curves["dndf"][:, view.source("gce")].max() / view.solid_angle
    axes[0, 1].set_ylim(peak * 1e-11, peak * 3)
    cumulative(axes[1, 0], view, "gce", nptf=view)
    _lines(axes[1, 1], view, "scd_pdf", 1.0)
    axes[1, 1].set(xlabel=FLUX_UNIT, ylabel="share of the flux per bin", ylim=(0, None))
    axes[0, 0].set_xlabel("")
    finish(figure, axes)
    return figure


def _lines(axes: Axes, view: RunView, quantity: str, by: float) -> None:
    taus, curves = view.curves["taus"], view.curves[quantity][:, view.source("gce")] / by
    fluxes = 10**view.scd_centres
    axes.axvline(view.photon_flux, color="0.35", ls=":", lw=1.4)
    axes.axvspan(*THRESHOLD_3FGL, color="0.75", alpha=0.8, lw=0)
    for tau, curve, colour in zip(taus, curves, dim_to_bright()(taus), strict=True):
        middle = bool(np.isclose(tau, 0.5))
        axes.plot(fluxes, curve, color="black" if middle else colour, lw=2.2 if middle else 1.0, zorder=3 + middle)
    axes.set_xscale("log")
    thin(axes)
    axes.grid()
