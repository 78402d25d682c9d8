"""Figures: pure functions from arrays to a ``matplotlib.figure.Figure``. No pyplot, no global style, no files.

Save one with ``figure.savefig(path)``, or hand it to :class:`gcesbi.report.html.FigureBlock`.
"""

from .calibration import coverage_curves
from .corner import corner
from .narrow import narrowed
from .picture import png
from .residuals import counts_histogram, residual_maps
from .sky import counts_and_residuals, sky_image
from .source_counts import THRESHOLD_3FGL, cumulative_source_counts, number_densities, source_counts
from .spectra import flux_fractions, spectra
from .style import PALETTE, Summary
from .training import training_curves
from .validation import bin_coverage, estimates, group_means, pit_bands, recovered_fluxes

__all__ = [
    "PALETTE",
    "THRESHOLD_3FGL",
    "Summary",
    "bin_coverage",
    "corner",
    "counts_and_residuals",
    "counts_histogram",
    "coverage_curves",
    "cumulative_source_counts",
    "estimates",
    "flux_fractions",
    "group_means",
    "narrowed",
    "number_densities",
    "pit_bands",
    "png",
    "recovered_fluxes",
    "residual_maps",
    "sky_image",
    "source_counts",
    "spectra",
    "training_curves",
]
