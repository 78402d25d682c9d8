"""Fig. S2: one posterior of the excess' source counts in four representations."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.plots.source_counts import THRESHOLD_3FGL, dim_to_bright
from paper.panels import FLUX_RANGE, FLUX_UNIT, cumulative, density, finish, thin
from paper.style import canvas
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "One posterior in four representations: source counts of the excess by the energy-dependent networks. (a) F² "
    "dN/dF, (b) dN/dF, (c) cumulative share of the flux, (d) number of sources N brighter than F, whose left end is "
    "the whole number N_sources. Each curve of (a), (b) and (d) follows from that of its level in (c), at the median "
    "flux of the excess. Dashed: the sources that were drawn, of a mock.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, a mock sky of its composition is "
    "looked at."
)


def brighter(view: RunView) -> NDArray[np.float64]:
    """Number of the excess' sources in a bin and all brighter ones (n_tau, n_bin), by the curves of a run."""
    f2dndf = view.curves["f2dndf"][:, view.source("gce")]
    return _number_above(view, f2dndf)


def _number_above(view: RunView, f2dndf: NDArray[np.float64]) -> NDArray[np.float64]:
    width = np.log(10) * np.diff(view.scd_edges)
    number = f2dndf * width / 10**view.scd_centres
    return np.asarray(number[..., ::-1].cumsum(axis=-1)[..., ::-1])


def draw(ten: Path) -> Figure:
    """Two by two panels."""
    view = RunView.open(ten, "several")
    figure, axes = canvas(2, 2, height=2.6, sharex=True)
    density(axes[0, 0], view, "gce")
    dndf = view.curves["dndf"][:, view.source("gce")] / view.solid_angle
    _lines(axes[0, 1], view, dndf, "dN/dF [photons⁻¹ cm² s sr⁻¹]", 1e-11)
    cumulative(axes[1, 0], view, "gce")
    _lines(axes[1, 1], view, brighter(view), "number of sources brighter than F", 1e-6)
    for panel in axes[0]:
        panel.set_xlabel("")
    finish(figure, axes)
    return figure


def _lines(axes: Axes, view: RunView, curves: NDArray[np.float64], unit: str, depth: float) -> None:
    """A line a level; `depth` is the lowest value that is shown, in terms of the highest."""
    axes.axvline(view.photon_flux, color="0.35", ls=":", lw=1.4)
    axes.axvspan(*THRESHOLD_3FGL, color="0.75", alpha=0.8, lw=0)
    taus = view.curves["taus"]
    for tau, curve, colour in zip(taus, curves, dim_to_bright()(taus), strict=True):
        middle = bool(np.isclose(tau, 0.5))
        axes.plot(
            10**view.scd_centres,
            curve,
            color="black" if middle else colour,
            lw=2.2 if middle else 1.0,
            zorder=3 + middle,
        )
    axes.set(xscale="log", yscale="log", xlim=FLUX_RANGE, xlabel=FLUX_UNIT, ylabel=unit)
    axes.set_ylim(curves.max() * depth, curves.max() * 3)
    thin(axes)
    axes.grid()
