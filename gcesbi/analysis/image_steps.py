"""The steps of a run on images, each a function of the run: simulate, train, infer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gcesbi.analysis.image_run import ALL_NETWORKS, ImageRun
from gcesbi.errors import InputError
from gcesbi.estimators import TrainingHistory, TrainingSettings, save_estimator
from gcesbi.estimators.images import ImageEstimator, ImageNpe, ShareEstimator, ShareQuantiles
from gcesbi.estimators.training.loop import remove_checkpoints
from gcesbi.evaluation.images import evaluate, rmse
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.observation import Observation

__all__ = ["measure_learning", "mock_observation", "simulate", "train", "training_settings"]

_MOCK_STREAM = 2**31


def simulate(run: ImageRun, workers: int = 1, progress: bool = False) -> int:
    """Draw all images that the settings ask for, goes on where it was interrupted; returns their number.

    Parameters
    ----------
    run : ImageRun
    workers : int
        Threads that draw.
    progress : bool
        Show progress bars.
    """
    total = 0
    for free in (False, True):
        for name, n in run.n_images(free).items():
            run.new_store(name, free).fill(run.simulator(name, free), n, workers, progress)
            total += n
    return total


def train(run: ImageRun, only: Sequence[str] | None = None, progress: bool = False) -> dict[str, TrainingHistory]:
    """Train the networks that are not there yet, or those named, and judge all of them when all are there.

    A log of the losses lies beside the weights, as does a checkpoint while training is not over: a training that was
    killed goes on.

    Parameters
    ----------
    run : ImageRun
    only : sequence of str, optional
        Among :data:`gcesbi.analysis.image_run.ALL_NETWORKS`; these are trained, anew if they are there.
    progress : bool
        Show progress bars.

    Raises
    ------
    InputError
        If a name is unknown, or images are missing.
    """
    names = tuple(name for name in ALL_NETWORKS if not run.weights(name).is_file()) if only is None else tuple(only)
    for name in names:
        if name not in ALL_NETWORKS:
            raise InputError(f"only: must be among {', '.join(ALL_NETWORKS)}, got {name!r}")
    images: dict[bool, tuple[Simulations, Simulations]] = {}
    histories = {}
    for name in names:
        free = name == "npe"
        if free not in images:
            images = {free: (run.learnt(free), run.validation(free=free))}
        histories[name] = _train_one(run, name, *images[free], progress)
        run._kept.pop(("network", name), None)
    judged = not names and (run.folder / "evaluation.json").is_file()
    if not judged and all(run.weights(name).is_file() for name in ALL_NETWORKS):
        measure_learning(run, progress)
        evaluate(run)
    return histories


def training_settings(run: ImageRun, name: str) -> TrainingSettings:
    """How a network is trained: the joint posterior for longer, and to the end of a cosine, where settings say so."""
    joint, settings = run.settings.joint, replace(run.settings.training, seed=run.settings.seed)
    if name != "npe":
        return settings
    return replace(settings, max_maps=joint.max_maps or settings.max_maps, schedule=joint.schedule)


def mock_observation(run: ImageRun) -> tuple[Observation, dict[str, float]]:
    """An image of the first testing model, drawn by the run's seed from a stream of its own, and its parameters."""
    simulator = run.simulator(run.testing[0])
    prior = simulator.model.prior()
    sequence = np.random.SeedSequence(run.settings.seed, spawn_key=(_MOCK_STREAM,))
    theta = prior.draw(1, np.random.default_rng(sequence))[0]
    seen, _ = simulator.observe(theta, seed=int(sequence.generate_state(1)[0]))
    return seen, dict(zip(prior.names, theta.tolist(), strict=True))


def measure_learning(run: ImageRun, progress: bool = False) -> None:
    """Train the full network on shares of the training images, judge each, and write ``learning.json``.

    Every training has as many steps as that of the full network itself: a smaller share is seen more often. With every
    image seen as often instead, the smallest shares would be left with too few steps to learn anything.
    """
    learnt, held_out = run.learnt(), run.validation()
    tests = {"validation": held_out, **{name: run.test(name) for name in run.testing}}
    found: dict[str, list[float]] = {name: [] for name in tests}
    numbers = []
    for share in (*sorted(run.settings.learning_shares), 1.0):
        rows = np.sort(np.random.default_rng(run.settings.seed).permutation(len(learnt))[: round(share * len(learnt))])
        network = _full(run) if share == 1 else _learnt_from(run, learnt[rows], held_out, progress)
        numbers.append(len(rows))
        for name, images in tests.items():
            found[name].append(rmse(network.predict(images.counts), run.f_src(images)))
    run.write_json("learning.json", {"n_train": numbers, "rmse": found})


def _train_one(run: ImageRun, name: str, learnt: Simulations, held_out: Simulations, progress: bool) -> TrainingHistory:
    network, settings = _untrained(run, name), training_settings(run, name)
    run.weights(name).parent.mkdir(exist_ok=True)
    history = network.fit(
        learnt, settings, held_out, progress=progress, checkpoint=run.checkpoint(name), log=run.training_log(name)
    )
    if isinstance(network, ShareEstimator):
        network.rescale(held_out.counts)
    if isinstance(network, ShareQuantiles):
        network.calibrate(held_out.counts, run.f_src(held_out))
    if isinstance(network, ImageNpe):
        network.calibrate(held_out.counts, held_out.theta)
        _calibrate_at_slope(run, network)
    save_estimator(network, run.weights(name), _notes(settings, history))
    remove_checkpoints(run.checkpoint(name))
    return history


def _calibrate_at_slope(run: ImageRun, network: ImageNpe) -> None:
    """Where the sky's own slope is one that the joint posterior knows, make the share given that slope true."""
    gamma = run.settings.known_slope
    if gamma is not None:
        held_out = run.validation()
        network.calibrate_at_slope(held_out.counts, run.f_src(held_out), gamma)


def _notes(settings: TrainingSettings, history: TrainingHistory) -> dict[str, Any]:
    return {"seed": settings.seed, "training": asdict(settings), "history": history.to_dict()}


def _untrained(run: ImageRun, name: str) -> ImageEstimator:
    settings, free = run.settings, name == "npe"
    model, joint = run.model(run.learning[0], free), settings.joint
    common: dict[str, Any] = {
        "fingerprint": run.fingerprint(free),
        "network": settings.network,
        "seed": settings.seed,
    }
    if name == "npe":
        return ImageNpe.for_model(model, hidden=joint.hidden, n_layer=joint.n_layer, **common)
    if name == "quantiles":
        return ShareQuantiles.for_model(model, **common)
    return ShareEstimator.for_model(model, part=name, **common)


def _learnt_from(run: ImageRun, learnt: Simulations, held_out: Simulations, progress: bool) -> ShareEstimator:
    """The full network, trained on part of the images, in as many steps as on all."""
    settings, full = replace(run.settings.training, seed=run.settings.seed), _full(run)
    network = ShareEstimator(full.region, full.exposure, network=run.settings.network)  # type: ignore[arg-type]
    network.fit(learnt, settings, held_out, progress=progress)
    network.rescale(held_out.counts)
    return network


def _full(run: ImageRun) -> ShareEstimator:
    return run.typed_network("full", ShareEstimator)
