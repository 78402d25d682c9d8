"""How good a posterior is: coverage, sharpness, distance, scores. Arrays in, arrays out."""

from .coverage import (
    CalibrationCurve,
    calibration_curve,
    coverage,
    coverage_by,
    gaussian_coverage,
    gaussian_covered,
    interval_coverage,
    quantiles_covered,
    within,
)
from .distance import emd, pdf_from_cdf, semd
from .levels import crossing_share, rearrange
from .sharpness import gaussian_sharpness, sharpness

__all__ = [
    "CalibrationCurve",
    "calibration_curve",
    "coverage",
    "coverage_by",
    "crossing_share",
    "emd",
    "gaussian_coverage",
    "gaussian_covered",
    "gaussian_sharpness",
    "interval_coverage",
    "pdf_from_cdf",
    "quantiles_covered",
    "rearrange",
    "semd",
    "sharpness",
    "within",
]
