"""Fig. S3: what the networks make of an excess that is exactly Poisson."""

from pathlib import Path

from matplotlib.figure import Figure

from gcesbi.plots.source_counts import draw_cumulative_source_counts
from paper.panels import CDF_UNIT, FLUX_RANGE, FLUX_UNIT, THRESHOLD, finish, thin
from paper.style import canvas, label
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Maps whose excess is exactly Poisson emission, and nothing else, as bright as the best Poisson fit to the mock "
    "sky makes it: cumulative source counts by the energy-dependent networks, median over the maps of every "
    "quantile. Poisson emission has no source counts: the networks should place it below one photon (dotted).\n\n"
    "Differs from the paper's figure, which draws the disk's sources from its best fit; here their counts are the "
    "prior's, at the flux of the fit."
)


def draw(ten: Path) -> Figure:
    """Excess and disk."""
    view = RunView.open(ten, "several")
    stored = view.arrays("poisson_excess")
    taus, curves = stored["taus"][3::4], stored["scd_cdf"][3::4]
    figure, axes = canvas(1, 2, height=2.9, sharey=True)
    for panel, name in zip(axes[0], ("gce", "disk"), strict=True):
        lines = curves[:, view.source(name)]
        draw_cumulative_source_counts(panel, view.scd_edges, lines, taus, None, None, view.photon_flux, THRESHOLD)
        panel.set(xlabel=FLUX_UNIT, ylabel=CDF_UNIT, title=label(name), xlim=FLUX_RANGE)
        thin(panel)
    axes[0, 1].set_ylabel("")
    finish(figure, axes)
    return figure
