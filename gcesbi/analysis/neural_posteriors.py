"""Neural posteriors of sbi's as steps of a run: ask them about an observation, judge them on held-out maps.

Train them with ``run.train(only=("npe",))``, or by the setting ``neural_posterior.kind``.
"""

from contextlib import suppress

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.infer import counts_at_exposure, infer
from gcesbi.errors import InputError
from gcesbi.estimators import FmpeEstimator, NpeEstimator, SbiPosterior
from gcesbi.estimators.neural_posterior import NeuralPosteriorEstimator
from gcesbi.estimators.store import add_notes
from gcesbi.evaluation.neural_posteriors import NeuralPosteriorEvaluation, judge_neural_posterior
from gcesbi.posterior import Posterior
from gcesbi.sky import Observation

__all__ = ["evaluate_neural_posteriors", "infer_all", "infer_neural_posteriors"]

MAPS = 256
"""Held-out maps on which neural posteriors are judged, at most."""

SAMPLES = 400
"""Samples of each map's posterior."""


def infer_neural_posteriors(run: RunFolder, observation: Observation, *, force: bool = False) -> dict[str, Posterior]:
    """Posteriors of sbi's estimators on an observation, by method, of those that the run has trained.

    Arguments and refusals are those of :func:`gcesbi.analysis.infer.infer`.
    """
    model = run.model
    found: dict[str, Posterior] = {}
    for estimator in _trained(run):
        seen = counts_at_exposure(model, observation, force, estimator.exposure_range)
        posterior = SbiPosterior.of(estimator, seen, model.coordinates, seed=run.settings.seed, model=model)
        found[posterior.method] = posterior
    return found


def infer_all(run: RunFolder, observation: Observation, *, force: bool = False) -> dict[str, Posterior]:
    """The posterior of the run's networks, and of sbi's estimators that it has trained, by method."""
    return {
        "networks": infer(run, observation, force=force),
        **infer_neural_posteriors(run, observation, force=force),
    }


def evaluate_neural_posteriors(
    run: RunFolder, n_maps: int | None = None, n_sample: int | None = None
) -> dict[str, NeuralPosteriorEvaluation]:
    """Judge the run's neural posteriors on its first held-out maps, by method; figures go beside their weights.

    Numbers are ``MAPS`` and ``SAMPLES`` if not given.
    """
    found = {}
    for estimator in _trained(run):
        maps = run.store.read(0, min(n_maps or MAPS, run.settings.simulation.n_test))
        judged = judge_neural_posterior(estimator, maps, n_sample or SAMPLES, run.settings.seed)
        with suppress(InputError):  # the answer comes first where nothing can be written
            add_notes(run.weights(estimator.kind), {"validation": judged.to_dict()})
        found[estimator.kind.upper()] = judged
    return found


def _trained(run: RunFolder) -> list[NeuralPosteriorEstimator]:
    kinds = (NpeEstimator, FmpeEstimator)
    return [run.network(kind.kind, kind) for kind in kinds if run.weights(kind.kind).is_file()]
