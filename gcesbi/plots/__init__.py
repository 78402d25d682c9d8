"""Figures: pure functions from arrays to a ``matplotlib.figure.Figure``. No pyplot, no global style, no files.

Save one with ``figure.savefig(path)``, or hand it to :class:`gcesbi.report.FigureBlock`.
"""

from .calibration import coverage_curves, distance_histogram, pit_histogram, sharpness_histogram
from .sky import counts_and_residuals, sky_image, sky_map
from .source_counts import THRESHOLD_3FGL, cumulative_source_counts, source_counts
from .spectra import flux_fractions, spectra
from .style import PALETTE, Summary, label
from .training import training_curves

__all__ = [
    "PALETTE",
    "THRESHOLD_3FGL",
    "Summary",
    "counts_and_residuals",
    "coverage_curves",
    "cumulative_source_counts",
    "distance_histogram",
    "flux_fractions",
    "label",
    "pit_histogram",
    "sharpness_histogram",
    "sky_image",
    "sky_map",
    "source_counts",
    "spectra",
    "training_curves",
]
