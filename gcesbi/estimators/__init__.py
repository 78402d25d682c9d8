"""What is learnt: spectra and source counts, with their training, storage and posteriors."""

from gcesbi.estimators.base import Estimator, NetworkSettings
from gcesbi.estimators.map_flux import flux_error, total_flux
from gcesbi.estimators.posterior import SourceCountPosterior, SpectralPosterior
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.estimators.spectra import SpectralEstimator, SpectralPrediction
from gcesbi.estimators.store import load_estimator, read_notes, save_estimator
from gcesbi.estimators.training import TrainingError, TrainingHistory, TrainingSettings

__all__ = [
    "Estimator",
    "NetworkSettings",
    "SourceCountEstimator",
    "SourceCountPosterior",
    "SpectralEstimator",
    "SpectralPosterior",
    "SpectralPrediction",
    "TrainingError",
    "TrainingHistory",
    "TrainingSettings",
    "flux_error",
    "load_estimator",
    "read_notes",
    "save_estimator",
    "total_flux",
]
