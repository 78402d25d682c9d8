"""Train the networks of a run on maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from gcesbi.analysis.folder import RunFolder
from gcesbi.errors import InputError
from gcesbi.estimators import (
    Estimator,
    SourceCountEstimator,
    SpectralEstimator,
    TrainingHistory,
    read_notes,
    save_estimator,
)
from gcesbi.estimators.neural_posterior import NeuralPosteriorEstimator
from gcesbi.estimators.store import KINDS, kinds_of
from gcesbi.estimators.training.devices import is_main_process
from gcesbi.estimators.training.loop import remove_checkpoints
from gcesbi.simulation import Simulations, Simulator
from gcesbi.simulation.torch_maps import StoredMaps

__all__ = ["TRAINED", "train", "training_histories"]

TRAINED = (SpectralEstimator.kind, SourceCountEstimator.kind)
"""Kinds of estimators that every run on maps trains; its settings may add a neural posterior."""


def train(run: RunFolder, progress: bool = False, only: Sequence[str] | None = None) -> dict[str, TrainingHistory]:
    """Train estimators on all stored maps but the held-out ones, or on fresh maps, and store their weights.

    A log of the losses lies beside the weights, as does a checkpoint while training is not over.

    Parameters
    ----------
    run : RunFolder
    progress : bool
        Show progress bars.
    only : sequence of str, optional
        Kinds of estimators to train, among :func:`gcesbi.estimators.store.kinds_of`; :data:`TRAINED`, and the neural
        posterior of the settings if they name one, if not given.

    Raises
    ------
    InputError
        If a kind is unknown, or maps are missing.
    """
    kinds = tuple(dict.fromkeys(_wanted(run) if only is None else only))
    settings, model = run.settings, run.model
    known = kinds_of(model.region)
    for kind in kinds:
        if kind not in known:
            raise InputError(f"only: must be among {', '.join(known)}, got {kind!r}")
    training = replace(settings.training, seed=settings.seed)
    maps = _training_maps(run)
    histories = {}
    for kind in kinds:
        estimator = _untrained(run, kind)
        run.weights(kind).parent.mkdir(exist_ok=True)
        history = estimator.fit(
            maps, training, progress=progress, checkpoint=run.checkpoint(kind), log=run.training_log(kind)
        )
        notes = {"seed": settings.seed, "training": asdict(training), "history": history.to_dict()}
        if is_main_process():
            save_estimator(estimator, run.weights(kind), notes, model=model)
            remove_checkpoints(run.checkpoint(kind))
        histories[kind] = history
    return histories


def _wanted(run: RunFolder) -> tuple[str, ...]:
    """Kinds of estimators that the settings of a run ask for."""
    neural = run.settings.neural_posterior.kind
    return TRAINED if neural == "none" else (*TRAINED, neural)


def _untrained(run: RunFolder, kind: str) -> Estimator:
    """An estimator of the run's model, by the settings of its kind."""
    settings, chosen = run.settings, KINDS[kind]
    own: dict[str, Any] = {}
    if issubclass(chosen, NeuralPosteriorEstimator):
        neural = settings.neural_posterior
        own = {"quantities": neural.quantities, "hidden": neural.hidden, "n_layer": neural.n_layer}
    elif chosen is SpectralEstimator:
        own = {"covariance": settings.spectra.covariance, "rank": settings.spectra.rank}
    return chosen.for_model(run.model, network=settings.network, seed=settings.seed, **own)


def _training_maps(run: RunFolder) -> Simulations | StoredMaps | Simulator:
    """What a run trains on: fresh maps, or those of its store, read at once where they fit into the memory allowed."""
    settings = run.settings
    if settings.training.source == "stream":
        return run.simulator
    n_test, n_train = settings.simulation.n_test, settings.simulation.n_train
    stored = StoredMaps(run.store, n_test, n_test + n_train)
    gibibytes = n_train * run.model.exposure.size * 2 / 2**30  # counts take two bytes
    return run.store.read(stored.start, stored.stop) if gibibytes <= settings.training.max_memory else stored


def training_histories(run: RunFolder) -> dict[str, TrainingHistory]:
    """What the trainings of a run's stored networks did, by kind."""
    kinds = [kind for kind in KINDS if run.weights(kind).is_file()]
    return {kind: TrainingHistory.from_dict(read_notes(run.weights(kind))["history"]) for kind in kinds}
