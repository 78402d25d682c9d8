"""Train the networks of a run on images, and measure how much they learn from how many."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np

from gcesbi.analysis.evaluate import evaluate_images
from gcesbi.analysis.folder import RunFolder
from gcesbi.errors import InputError
from gcesbi.estimators import TrainingHistory, TrainingSettings, save_estimator
from gcesbi.estimators.images import ImageEstimator, ImageNetworkSettings, ImageNpe, ShareEstimator, ShareQuantiles
from gcesbi.estimators.training.loop import remove_checkpoints
from gcesbi.evaluation.images import ALL_NETWORKS, rmse
from gcesbi.io.files import make_folder
from gcesbi.simulation.light_scores import light_scores
from gcesbi.simulation.simulations import Simulations

__all__ = ["measure_learning", "train_images", "training_settings"]


def train_images(
    run: RunFolder, only: Sequence[str] | None = None, progress: bool = False
) -> dict[str, TrainingHistory]:
    """Train the networks that are not there yet, or those named, and judge all of them when all are there.

    A log of the losses lies beside the weights, as does a checkpoint while training is not over: a training that was
    killed goes on.

    Parameters
    ----------
    run : RunFolder
    only : sequence of str, optional
        Among :data:`gcesbi.evaluation.images.ALL_NETWORKS`; these are trained, anew if they are there.
    progress : bool
        Show progress bars.

    Raises
    ------
    InputError
        If a name is unknown, images are missing, or others are to start from the full network and it is not there.
    """
    names = tuple(name for name in ALL_NETWORKS if not run.weights(name).is_file()) if only is None else tuple(only)
    for name in names:
        if name not in ALL_NETWORKS:
            raise InputError(f"only: must be among {', '.join(ALL_NETWORKS)}, got {name!r}")
    with run.writing():
        return _train(run, names, progress)


def _train(run: RunFolder, names: Sequence[str], progress: bool) -> dict[str, TrainingHistory]:
    images: dict[bool, tuple[Simulations, Simulations]] = {}
    histories = {}
    for name in names:
        free = name == "npe"
        if free not in images:
            images = {free: (run.images.learnt(free), run.images.validation(free=free))}
        histories[name] = _train_one(run, name, *images[free], progress)
    judged = not names and (run.folder / "evaluation.json").is_file()
    if not judged and all(run.weights(name).is_file() for name in ALL_NETWORKS):
        measure_learning(run, progress)
        evaluate_images(run)
    return histories


def training_settings(run: RunFolder, name: str) -> TrainingSettings:
    """How a network is trained: the joint posterior for longer, and to the end of a cosine, where settings say so."""
    joint, settings = run.settings.joint, replace(run.settings.training, seed=run.settings.seed)
    if name == "npe":
        return replace(settings, max_maps=joint.max_maps or settings.max_maps, schedule=joint.schedule)
    return settings.shorter(1 / 8) if settings.start == "full" and name != "full" else settings


def measure_learning(run: RunFolder, progress: bool = False) -> None:
    """Train the full network on shares of the training images, judge each, and write ``learning.json``.

    Every training has as many steps as that of the full network itself: a smaller share is seen more often. With every
    image seen as often instead, the smallest shares would be left with too few steps to learn anything.
    """
    learnt, held_out = run.images.learnt(), run.images.validation()
    tests = {"validation": held_out, **{name: run.images.test(name) for name in run.images.testing}}
    found: dict[str, list[float]] = {name: [] for name in tests}
    numbers = []
    for share in (*sorted(run.settings.learning_shares), 1.0):
        rows = np.sort(np.random.default_rng(run.settings.seed).permutation(len(learnt))[: round(share * len(learnt))])
        network = _full(run) if share == 1 else _learnt_from(run, learnt[rows], held_out, progress)
        numbers.append(len(rows))
        for name, images in tests.items():
            found[name].append(rmse(network.predict(images.counts), run.images.f_src(images)))
    run.write_json("learning.json", {"n_train": numbers, "rmse": found})


def _train_one(
    run: RunFolder, name: str, learnt: Simulations, held_out: Simulations, progress: bool
) -> TrainingHistory:
    network, settings = _untrained(run, name), training_settings(run, name)
    make_folder(run.weights(name).parent)
    if settings.start == "full" and name != "full":
        network.see_with(_full(run))
    history = network.fit(
        learnt, settings, held_out, progress=progress, checkpoint=run.checkpoint(name), log=run.training_log(name)
    )
    if isinstance(network, ShareEstimator):
        network.rescale(held_out.counts, run.images.f_src(held_out))
    if isinstance(network, ShareQuantiles):
        network.calibrate(held_out.counts, run.images.f_src(held_out))
    if isinstance(network, ImageNpe):
        network.calibrate(held_out.counts, held_out.theta)
        _calibrate_at_slope(run, network)
    save_estimator(network, run.weights(name), _notes(settings, history))
    remove_checkpoints(run.checkpoint(name))
    return history


def _calibrate_at_slope(run: RunFolder, network: ImageNpe) -> None:
    """Where the sky's own slope is one that the joint posterior knows, make the share given that slope true."""
    gamma = run.images.known_slope
    if gamma is not None:
        held_out = run.images.validation()
        network.calibrate_at_slope(held_out.counts, run.images.f_src(held_out), gamma)


def _notes(settings: TrainingSettings, history: TrainingHistory) -> dict[str, Any]:
    return {"seed": settings.seed, "training": asdict(settings), "history": history.to_dict()}


def _untrained(run: RunFolder, name: str) -> ImageEstimator:
    settings, free = run.settings, name == "npe"
    network = cast(ImageNetworkSettings, settings.network)
    model, joint = run.images.model(run.images.learning[0], free), settings.joint
    common: dict[str, Any] = {
        "fingerprint": run.images.fingerprint(free),
        "network": network,
        "seed": settings.seed,
    }
    if joint.light if free else network.light:
        light = light_scores([run.images.model(each, free) for each in run.images.learning])
        common["n_light"] = len(light)
    found: ImageEstimator
    if free:
        found = ImageNpe.for_model(model, hidden=joint.hidden, n_layer=joint.n_layer, **common)
    elif name == "quantiles":
        found = ShareQuantiles.for_model(model, **common)
    else:
        found = ShareEstimator.for_model(model, part=name, **common)
    if found.n_light:
        found.see_light(light)
    return found


def _learnt_from(run: RunFolder, learnt: Simulations, held_out: Simulations, progress: bool) -> ShareEstimator:
    """The full network, trained on part of the images, in as many steps as on all."""
    settings = replace(run.settings.training, seed=run.settings.seed)
    network = cast(ShareEstimator, _untrained(run, "full"))
    network.fit(learnt, settings, held_out, progress=progress)
    network.rescale(held_out.counts, run.images.f_src(held_out))
    return network


def _full(run: RunFolder) -> ShareEstimator:
    return run.network("full", ShareEstimator)
