"""Train the networks of a run on maps."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

from gcesbi.analysis.error_correlations import measure_errors, relate_spectra
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.start import AS_SHIPPED, FROM_SCRATCH, adopt_shipped, shipped_with, start_from_shipped
from gcesbi.errors import InputError
from gcesbi.estimators import (
    Estimator,
    ShapeEstimator,
    SourceCountEstimator,
    SpectralEstimator,
    TrainingHistory,
    TrainingSettings,
    read_notes,
    save_estimator,
)
from gcesbi.estimators.neural_posterior import NeuralPosteriorEstimator
from gcesbi.estimators.store import KINDS, KINDS_OF_MAPS
from gcesbi.estimators.training.devices import is_main_process
from gcesbi.estimators.training.loop import remove_checkpoints
from gcesbi.io.files import make_folder
from gcesbi.simulation import Simulations, Simulator
from gcesbi.simulation.torch_maps import StoredMaps

__all__ = ["TRAINED", "train", "training_histories"]

TRAINED = (SpectralEstimator.kind, SourceCountEstimator.kind)
"""Kinds of estimators that every run on maps trains; templates that float add one, settings a neural posterior."""


def train(
    run: RunFolder, progress: bool = False, only: Sequence[str] | None = None, start: RunFolder | None = None
) -> dict[str, TrainingHistory]:
    """Train estimators on all stored maps but the held-out ones, or on fresh maps, and store their weights.

    How their errors go together is then measured on fresh maps (:mod:`gcesbi.analysis.error_correlations`). A log of
    the losses lies beside the weights, as does a checkpoint while training is not over. What was trained just so, on
    these maps by these settings, is not trained again.

    Parameters
    ----------
    run : RunFolder
    progress : bool
        Show progress bars.
    only : sequence of str, optional
        Kinds of estimators to train, among :data:`gcesbi.estimators.store.KINDS_OF_MAPS`; :data:`TRAINED`, shapes
        where templates float, and the neural posterior of the settings if they name one, if not given.
    start : RunFolder, optional
        A run of the same pixels and networks, from whose weights the training starts, in place of random ones.

    Raises
    ------
    InputError
        If a kind is unknown, maps are missing, or another process writes the run.

    Returns
    -------
    dict of str to TrainingHistory
        By kind; of what was trained before too.
    """
    kinds = tuple(dict.fromkeys(_wanted(run) if only is None else only))
    settings = run.settings
    for kind in kinds:
        if kind not in KINDS_OF_MAPS:
            raise InputError(f"only: must be among {', '.join(KINDS_OF_MAPS)}, got {kind!r}")
    main = is_main_process(settings.training.devices)
    with run.writing() if main else nullcontext():
        histories = {kind: _train_one(run, kind, progress, main, start) for kind in kinds}
        if main:
            measure_errors(run)
        return histories


def _train_one(
    run: RunFolder, kind: str, progress: bool, main: bool, start: RunFolder | None = None
) -> TrainingHistory:
    estimator, training = _untrained(run, kind), replace(run.settings.training, seed=run.settings.seed)
    history = _finished(run, kind, estimator, training)
    if history is None and (adopted := adopt_shipped(run, kind)) is not None:
        notes = adopted[1] | {"started": AS_SHIPPED, "training": asdict(training), "maps": _maps_of(run)}
        save_estimator(adopted[0], run.weights(kind), notes, model=run.model)
        return TrainingHistory.from_dict(notes["history"])
    if history is None:
        if start is not None:
            estimator.load_state_dict(start.network(kind).state_dict())
        make_folder(run.weights(kind).parent)
        started = start_from_shipped(run, estimator)
        asked = training if started == FROM_SCRATCH else training.shorter(1 / 4)
        maps, checkpoint, log = _training_maps(run), run.checkpoint(kind), run.training_log(kind)
        history = estimator.fit(maps, asked, progress=progress, checkpoint=checkpoint, log=log)
        if main:
            if isinstance(estimator, SpectralEstimator):
                relate_spectra(run, estimator, history.maps)
            made_of = {
                "started": started,
                "seed": run.settings.seed,
                "training": asdict(training),
                "maps": _maps_of(run),
            }
            notes = {**made_of, "history": history.to_dict()}
            save_estimator(estimator, run.weights(kind), notes, model=run.model)
    if main:
        remove_checkpoints(run.checkpoint(kind))
    return history


def _finished(run: RunFolder, kind: str, estimator: Estimator, training: TrainingSettings) -> TrainingHistory | None:
    """What the training of stored weights did, if it was just this training."""
    if not run.weights(kind).is_file():
        return None
    try:
        stored: Estimator = run.network(kind)
        notes = read_notes(run.weights(kind))
        made_by = TrainingSettings(**notes["training"])
        same = (made_by.law(), made_by.head_maps) == (training.law(), training.head_maps)
        shipped = shipped_with(run) if notes.get("started") == AS_SHIPPED else None  # of sizes of its own
        wanted = estimator if shipped is None else shipped.network(kind)
        if same and stored.identity() == wanted.identity() and notes["maps"] == _maps_of(run):
            return TrainingHistory.from_dict(notes["history"])
    except (InputError, KeyError, TypeError):  # damaged, or of another version: it is made anew
        pass
    return None


def _maps_of(run: RunFolder) -> list[int]:
    """First and last of the stored maps that a run trains on; none of them where it trains on fresh ones."""
    wanted = run.settings.simulation
    return [] if run.settings.training.source == "stream" else [wanted.n_test, wanted.n_test + wanted.n_train]


def _wanted(run: RunFolder) -> tuple[str, ...]:
    """Kinds of estimators that the sky and the settings of a run ask for."""
    shapes = (ShapeEstimator.kind,) if run.model.parameters.shapes else ()
    neural = run.settings.neural_posterior.kind
    return (*TRAINED, *shapes, *(() if neural == "none" else (neural,)))


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
    stored = StoredMaps(run.store, *_maps_of(run))
    gibibytes = settings.simulation.n_train * run.model.exposure.size * 2 / 2**30  # counts take two bytes
    return run.store.read(stored.start, stored.stop) if gibibytes <= settings.training.max_memory else stored


def training_histories(run: RunFolder) -> dict[str, TrainingHistory]:
    """What the trainings of a run's stored networks did, by kind."""
    kinds = [kind for kind in KINDS if run.weights(kind).is_file()]
    return {kind: TrainingHistory.from_dict(read_notes(run.weights(kind))["history"]) for kind in kinds}
