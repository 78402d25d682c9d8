"""How good a posterior is: coverage, sharpness, distance, scores. Arrays in, numbers out; no file is touched.

>>> import numpy as np
>>> rng, taus = np.random.default_rng(0), np.arange(1, 200) / 200
>>> samples, truth = rng.normal(size=(1000, 300, 4)), rng.normal(size=(300, 4))
>>> report = CalibrationReport.from_quantiles(truth, np.quantile(samples, taus, axis=0), taus, cdf=False)
>>> report.judgement
'calibrated'
"""

from .bootstrap import MIN_MAPS, binomial_band, bootstrap_band
from .calibration import CalibrationReport, Estimate
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
from .pit import pit, pit_from_samples, pit_gaussian, pit_histogram
from .recalibration import ConformalBand
from .scores import (
    crps_from_quantiles,
    crps_from_samples,
    crps_gaussian,
    energy_score,
    log_score_gaussian,
    pinball,
    skill,
)
from .sharpness import gaussian_sharpness, sharpness

__all__ = [
    "MIN_MAPS",
    "CalibrationCurve",
    "CalibrationReport",
    "ConformalBand",
    "Estimate",
    "binomial_band",
    "bootstrap_band",
    "calibration_curve",
    "coverage",
    "coverage_by",
    "crossing_share",
    "crps_from_quantiles",
    "crps_from_samples",
    "crps_gaussian",
    "emd",
    "energy_score",
    "gaussian_coverage",
    "gaussian_covered",
    "gaussian_sharpness",
    "interval_coverage",
    "log_score_gaussian",
    "pdf_from_cdf",
    "pinball",
    "pit",
    "pit_from_samples",
    "pit_gaussian",
    "pit_histogram",
    "quantiles_covered",
    "rearrange",
    "semd",
    "sharpness",
    "skill",
    "within",
]
