"""How good a posterior is: coverage, sharpness, distance, scores. Arrays in, numbers out; no file is touched.

>>> import numpy as np
>>> rng, taus = np.random.default_rng(0), np.arange(1, 200) / 200
>>> samples, truth = rng.normal(size=(1000, 300, 4)), rng.normal(size=(300, 4))
>>> report = Calibration.from_quantiles(truth, np.quantile(samples, taus, axis=0), taus, cdf=False)
>>> report.judgement
'calibrated'
"""

from importlib import import_module
from typing import Any

from .atoms import atom_bounds, coverage_with_atoms, pit_with_atoms, share_inside, undecided
from .bootstrap import MIN_MAPS, binomial_band, bootstrap_band
from .calibration import Calibration
from .comparison import Comparison, Pair, c2st, error_correlation, gaussian_quantiles
from .conditional import ConditionalCalibration, Group, adversarial_groups, conditional_mean, groups_by
from .coverage import (
    CalibrationCurve,
    calibration_curve,
    coverage,
    coverage_by,
    curves_along,
    gaussian_coverage,
    gaussian_covered,
    interval_coverage,
    quantiles_covered,
    within,
)
from .distance import emd, pdf_from_cdf, semd
from .estimate import Estimate
from .levels import rearrange
from .pit import PitHistogram, pit, pit_gaussian, pit_histogram_band
from .recalibration import ConformalBand, ScoreMap
from .scores import (
    crps_from_quantiles,
    crps_from_samples,
    crps_gaussian,
    pinball,
    skill,
    skill_estimate,
)
from .sharpness import (
    gaussian_sharpness,
    prior_quantiles,
    prior_width_ratio,
    sharpness,
    sharpness_ratio,
    tells_the_prior,
)
from .simultaneous import SimultaneousCoverage, simultaneous_coverage

__all__ = [
    "MIN_MAPS",
    "Calibration",
    "CalibrationCurve",
    "CalibrationReport",
    "Comparison",
    "ConditionalCalibration",
    "ConformalBand",
    "Estimate",
    "Group",
    "Pair",
    "PitHistogram",
    "ScoreMap",
    "SimultaneousCoverage",
    "adversarial_groups",
    "atom_bounds",
    "binomial_band",
    "bootstrap_band",
    "c2st",
    "calibration_curve",
    "calibration_page",
    "conditional_mean",
    "coverage",
    "coverage_by",
    "coverage_with_atoms",
    "crps_from_quantiles",
    "crps_from_samples",
    "crps_gaussian",
    "curves_along",
    "emd",
    "error_correlation",
    "gaussian_coverage",
    "gaussian_covered",
    "gaussian_quantiles",
    "gaussian_sharpness",
    "groups_by",
    "interval_coverage",
    "pdf_from_cdf",
    "pinball",
    "pit",
    "pit_gaussian",
    "pit_histogram_band",
    "pit_with_atoms",
    "prior_quantiles",
    "prior_width_ratio",
    "quantiles_covered",
    "rearrange",
    "report",
    "semd",
    "share_inside",
    "sharpness",
    "sharpness_ratio",
    "simultaneous_coverage",
    "skill",
    "skill_estimate",
    "tells_the_prior",
    "undecided",
    "within",
]


def __getattr__(name: str) -> Any:
    """What makes tables, figures and pages of these measures: offered here, at home in the rooms above."""
    if name in ("CalibrationReport", "calibration_page", "report"):
        return getattr(import_module("gcesbi.report.methods"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
