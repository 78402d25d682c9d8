"""The steps of an analysis, each a function of a run: simulate, train, infer, fit, evaluate.

The command line, the quickstart and a user's own script call the same steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import NptfSettings
from gcesbi.baselines import NPTF, NptfPosterior, SamplingWarning
from gcesbi.errors import InputError
from gcesbi.estimators import (
    Estimator,
    PoissonFraction,
    PoissonFractionHistory,
    PoissonFractionPosterior,
    SourceCountEstimator,
    SourceCountPosterior,
    SpectralEstimator,
    SpectralPosterior,
    TrainingHistory,
    load_estimator,
    load_poisson_fraction,
    read_notes,
    save_estimator,
)
from gcesbi.estimators.neural_posterior import NeuralPosteriorEstimator
from gcesbi.estimators.poisson_fraction_maps import draw_poisson_shares, with_poisson_share
from gcesbi.estimators.source_counts import network_digest
from gcesbi.estimators.store import KINDS, add_notes, kinds_of
from gcesbi.estimators.training.devices import is_main_process
from gcesbi.estimators.training.loop import remove_checkpoints
from gcesbi.evaluation.networks import TAUS, Evaluation, SourceCountEvaluation, evaluate_networks
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.simulation.matching import SAME_EXPOSURE
from gcesbi.simulation.torch_maps import StoredMaps
from gcesbi.sky import Observation

__all__ = [
    "TAUS",
    "TRAINED",
    "Evaluation",
    "SourceCountEvaluation",
    "counts_at_exposure",
    "evaluate",
    "fit_nptf",
    "infer",
    "load",
    "load_networks",
    "mock_observation",
    "simulate",
    "train",
    "train_poisson_fraction",
    "training_histories",
]

TRAINED = (SpectralEstimator.kind, SourceCountEstimator.kind)
"""Kinds of estimators that every run trains; its settings may add a neural posterior."""


_MOCK_STREAM = 2**31  # a shard number that no store reaches
_POISSON_STREAM = _MOCK_STREAM + 1
_PRIOR_LABELS = 2048


def mock_observation(run: Run) -> tuple[Observation, Simulations]:
    """An observation drawn from the model's prior by the run's seed, from a stream of its own; and its labels."""
    sequence = np.random.SeedSequence(run.settings.seed, spawn_key=(_MOCK_STREAM,))
    theta = run.model.prior().draw(1, np.random.default_rng(sequence))[0]
    return run.simulator.observe(theta, seed=int(sequence.generate_state(1)[0]))


def simulate(
    run: Run,
    workers: int = 1,
    progress: bool = False,
    *,
    backend: str = "loky",
    scheduler: str | None = None,
    repair: bool = False,
) -> tuple[str, ...]:
    """Draw the maps that the run's settings ask for, only those held out if it trains on fresh ones; goes on.

    Parameters
    ----------
    run : Run
    workers, progress, backend, scheduler
        See :meth:`gcesbi.SimulationStore.fill`.
    repair : bool
        First read every shard that is there, and draw the damaged ones again.

    Returns
    -------
    tuple of str
        Names of the shards that were repaired.
    """
    wanted, store = run.settings.simulation, run.store
    repaired: tuple[str, ...] = ()
    if repair:
        repaired = store.repair(run.simulator, workers, progress, backend=backend, scheduler=scheduler)
    n = wanted.n_test + (wanted.n_train if run.settings.training.source == "store" else 0)
    store.fill(run.simulator, n, workers, progress, backend=backend, scheduler=scheduler)
    return repaired


def train(run: Run, progress: bool = False, only: Sequence[str] | None = None) -> dict[str, TrainingHistory]:
    """Train estimators on all stored maps but the held-out ones, or on fresh maps, and store their weights.

    A log of the losses lies beside the weights, as does a checkpoint while training is not over.

    Parameters
    ----------
    run : Run
    progress : bool
        Show progress bars.
    only : sequence of str, optional
        Kinds of estimators to train, of :func:`gcesbi.estimators.store.kinds_of`; :data:`TRAINED`, and the neural
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


def _wanted(run: Run) -> tuple[str, ...]:
    """Kinds of estimators that the settings of a run ask for."""
    neural = run.settings.neural_posterior.kind
    return TRAINED if neural == "none" else (*TRAINED, neural)


def _untrained(run: Run, kind: str) -> Estimator:
    """An estimator of the run's model, by the settings of its kind."""
    settings, chosen = run.settings, KINDS[kind]
    own: dict[str, Any] = {}
    if issubclass(chosen, NeuralPosteriorEstimator):
        neural = settings.neural_posterior
        own = {"quantities": neural.quantities, "hidden": neural.hidden, "n_layer": neural.n_layer}
    elif chosen is SpectralEstimator:
        own = {"covariance": settings.spectra.covariance, "rank": settings.spectra.rank}
    return chosen.for_model(run.model, network=settings.network, seed=settings.seed, **own)


def _training_maps(run: Run) -> Simulations | StoredMaps | Simulator:
    """What a run trains on: fresh maps, or those of its store, read at once where they fit into the memory allowed."""
    settings = run.settings
    if settings.training.source == "stream":
        return run.simulator
    n_test, n_train = settings.simulation.n_test, settings.simulation.n_train
    stored = StoredMaps(run.store, n_test, n_test + n_train)
    gibibytes = n_train * run.model.exposure.size * 2 / 2**30  # counts take two bytes
    return run.store.read(stored.start, stored.stop) if gibibytes <= settings.training.max_memory else stored


def training_histories(run: Run) -> dict[str, TrainingHistory]:
    """What the trainings of a run's stored networks did, by kind."""
    kinds = [kind for kind in KINDS if run.weights(kind).is_file()]
    return {kind: TrainingHistory.from_dict(read_notes(run.weights(kind))["history"]) for kind in kinds}


KindOfEstimator = TypeVar("KindOfEstimator", bound=Estimator)


def load_networks(run: Run) -> tuple[SpectralEstimator, SourceCountEstimator]:
    """The run's trained estimators.

    Raises
    ------
    InputError
        If the run is not trained, or its weights belong to another model.
    """
    return load(run, SpectralEstimator), load(run, SourceCountEstimator)


def load(run: Run, kind: type[KindOfEstimator]) -> KindOfEstimator:
    """The run's trained estimator of a kind; refusals are those of :func:`load_networks`."""
    path = run.weights(kind.kind)
    if not path.is_file():
        raise InputError(f"run: {str(run.folder)!r} is not trained (it holds no {path.name}); run `gcesbi train` first")
    model = run.model
    found = load_estimator(path, model=model)
    if not isinstance(found, kind):
        raise InputError(f"weights {path}: must be of kind {kind.kind!r}, got {found.kind!r}")
    return found


def infer(run: Run, observation: Observation, *, force: bool = False) -> JointPosterior:
    """Posterior of the networks on an observation: spectra, source counts, and the Poisson fraction if the run has it.

    Parameters
    ----------
    run : Run
    observation : Observation
    force : bool
        Take a map of another exposure too. Its counts are scaled to the exposure of the networks' maps: fluxes are then
        right, but the map's noise is not what the networks learnt, and their errors are not tested for it.

    Raises
    ------
    InputError
        If the observation's region, energies or exposure are not those that the networks were trained for.
    """
    model = run.model
    if model.for_observation(replace(observation, exposure=_model_exposure(model, observation))) is not model:
        raise InputError(
            f"observation: must have the {model.region.n_pix} pixels that the networks of {str(run.folder)!r} were "
            f"trained for, has {observation.region.n_pix} (mask, radius and band must be the model's)"
        )
    seen = counts_at_exposure(model, observation, force)
    spectra, source_counts = load_networks(run)
    spectral = SpectralPosterior.of(spectra, seen, model.coordinates, energy_edges=model.energy_edges)
    rows = [model.names.index(name) for name in model.point_sources]
    low, flux, high = spectral.quantiles("flux", [0.16, 0.5, 0.84])[:, rows]
    counts = SourceCountPosterior(source_counts, seen, model.coordinates, flux, template_flux_error=(high - low) / 2)
    parts: list[Posterior] = [spectral, counts]
    path = run.weights("poisson_fraction")
    if path.is_file():
        network = load_poisson_fraction(path, source_counts)
        median = counts.curves(0.5)["scd_cdf"][0, model.point_sources.index(network.name)]
        parts.append(PoissonFractionPosterior(network, median, model.coordinates))
    return JointPosterior("networks", parts)


def train_poisson_fraction(
    run: Run, n_maps: int = 16_384, workers: int = 1, progress: bool = False
) -> PoissonFractionHistory:
    """Train the network that says how much of the excess may be Poisson, behind the run's source-count network.

    Maps of known Poisson share are drawn from the variation of the run's model that has such a share, by the run's seed
    and from a stream of its own; see :mod:`gcesbi.estimators.poisson_fraction`.

    Parameters
    ----------
    run : Run
        With trained networks.
    n_maps : int
    workers : int
        Threads that simulate.
    progress : bool
        Show a progress bar.
    """
    source_counts = load(run, SourceCountEstimator)
    simulator = Simulator(with_poisson_share(run.model))
    sequence = np.random.SeedSequence(run.settings.seed, spawn_key=(_POISSON_STREAM,))
    drawn = draw_poisson_shares(simulator, source_counts, n_maps, int(sequence.generate_state(1)[0]), workers, progress)
    network = PoissonFraction(
        run.model.bins.centres,
        simulator.model.point_sources[simulator.model.poissonian[0]],
        source_counts=network_digest(source_counts),
        seed=run.settings.seed,
    )
    history = network.fit(drawn.cdf, drawn.share, seed=run.settings.seed)
    network.save(run.weights("poisson_fraction"), {"seed": run.settings.seed, "history": history.to_dict()})
    return history


def _model_exposure(model: SkyModel, observation: Observation) -> NDArray[np.float64]:
    """The model's exposure where it fits the observation's shape, else the observation's own."""
    return model.exposure if model.exposure.shape == observation.exposure.shape else observation.exposure


def counts_at_exposure(
    model: SkyModel, observation: Observation, force: bool = False
) -> NDArray[np.floating | np.integer]:
    """Counts of an observation, scaled to the model's exposure if it is another one and that is forced.

    Raises
    ------
    InputError
        If the exposure differs by more than :data:`SAME_EXPOSURE` in a pixel, unless forced.
    """
    ratio = observation.exposure / model.exposure
    if np.max(np.abs(ratio - 1)) <= SAME_EXPOSURE:
        return observation.counts
    if not force:
        mean = observation.exposure.mean() / model.exposure.mean() - 1
        raise InputError(
            f"observation: exposure must be that of the networks' maps within {SAME_EXPOSURE:.0%}; its mean differs by "
            f"{mean:+.1%}, single pixels by {ratio.min() - 1:+.1%} to {ratio.max() - 1:+.1%}; --force takes it anyway"
        )
    return observation.counts / ratio


def fit_nptf(
    model: SkyModel,
    observation: Observation,
    settings: NptfSettings,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> NptfPosterior:
    """Sample the NPTF's posterior; ``posterior.convergence.problems`` says what speaks against it: tell it.

    A fit that was killed goes on from `checkpoint`, which is removed at the end.
    """
    fit = NPTF(model.for_observation(observation), observation, settings.prior())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = fit.run(
            settings.sampling(),
            seed=seed,
            max_seconds=settings.max_seconds or math.inf,
            checkpoint=checkpoint,
            progress=progress,
        )
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return posterior


def evaluate(run: Run) -> Evaluation:
    """Judge both networks on the run's held-out maps, and note the figures beside their weights."""
    model, seed = run.model, run.settings.seed
    test = run.store.read(0, run.settings.simulation.n_test)
    spectra, source_counts = load_networks(run)
    evaluation = evaluate_networks(model, test, spectra, source_counts, _prior_labels(run), seed=seed)
    for kind, figures in evaluation.to_dict().items():
        add_notes(run.weights(kind), {"validation": figures})
    return evaluation


def _prior_labels(run: Run) -> Simulations | None:
    """Maps that are not held out, for their labels alone; None if the run has not stored any."""
    first = run.settings.simulation.n_test
    last = min(len(run.store), first + _PRIOR_LABELS)
    return run.store.read(first, last) if last - first >= 256 else None
