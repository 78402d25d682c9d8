"""What is learnt: spectra and source counts, with their training, storage and posteriors."""

from gcesbi.estimators.base import Estimator, NetworkSettings
from gcesbi.estimators.map_flux import flux_error, total_flux
from gcesbi.estimators.network_posteriors import SourceCountPosterior, SpectralPosterior
from gcesbi.estimators.neural_posterior import (
    FmpeEstimator,
    NeuralPosteriorEstimator,
    NpeEstimator,
    SbiPosterior,
    map_embedding,
)
from gcesbi.estimators.neural_posterior_quantities import NEURAL_QUANTITIES, NamedQuantities, scd_moments
from gcesbi.estimators.poisson_fraction import (
    PoissonFraction,
    PoissonFractionHistory,
    PoissonFractionPosterior,
    load_poisson_fraction,
)
from gcesbi.estimators.shapes import ShapeEstimator, ShapePosterior, true_shapes
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.estimators.spectra import SpectralEstimator, SpectralPrediction
from gcesbi.estimators.store import load_estimator, read_notes, save_estimator
from gcesbi.estimators.training.loop import TrainingError
from gcesbi.estimators.training.settings import TrainingHistory, TrainingSettings

__all__ = [
    "NEURAL_QUANTITIES",
    "Estimator",
    "FmpeEstimator",
    "NamedQuantities",
    "NetworkSettings",
    "NeuralPosteriorEstimator",
    "NpeEstimator",
    "PoissonFraction",
    "PoissonFractionHistory",
    "PoissonFractionPosterior",
    "SbiPosterior",
    "ShapeEstimator",
    "ShapePosterior",
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
    "load_poisson_fraction",
    "map_embedding",
    "read_notes",
    "save_estimator",
    "scd_moments",
    "total_flux",
    "true_shapes",
]
