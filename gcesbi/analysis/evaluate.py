"""Judge the networks of a run on maps of known truth that they never learnt from."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.image_sets import ImageSets
from gcesbi.analysis.infer import load_networks, load_shapes
from gcesbi.analysis.recalibrate import as_stated
from gcesbi.errors import InputError
from gcesbi.estimators.images import ImageEstimator, ImageNpe, ShareEstimator, ShareQuantiles
from gcesbi.estimators.store import add_notes
from gcesbi.evaluation.images import (
    SHARES,
    TAUS,
    ImageNetworks,
    LearningCurve,
    judge_baselines,
    judge_images,
    judged,
    predict_shares,
    rmse,
)
from gcesbi.evaluation.networks import Evaluation, evaluate_networks
from gcesbi.evaluation.ring_moments import Comparison, RingRidge
from gcesbi.simulation import Simulations
from gcesbi.validation.binned_errors import BinnedErrors

__all__ = [
    "before_recalibration",
    "binned_errors",
    "evaluate",
    "evaluate_images",
    "held_out_images",
    "image_networks",
    "learning_curve",
    "not_learnt",
    "predict",
    "unseen_answers",
]

_PRIOR_LABELS = 2048
HELD_OUT = "held_out.json"
UNSEEN = "errors_testing.json"
"""File of a run with the errors on images of the testing models, by bin of the prediction."""


def evaluate(run: RunFolder) -> Evaluation:
    """Judge both networks on the run's held-out maps, and note the figures beside their weights."""
    model, seed = run.model, run.settings.seed
    test = run.store.read(0, run.settings.simulation.n_test)
    spectra, source_counts = load_networks(run)
    prior, shapes = _prior_labels(run), load_shapes(run)
    evaluation = evaluate_networks(model, test, spectra, source_counts, prior, shapes=shapes, seed=seed)
    with suppress(InputError):  # the answer comes first where nothing can be written
        for kind, figures in evaluation.to_dict().items():
            add_notes(run.weights(kind), {"validation": figures})
    return evaluation


def before_recalibration(run: RunFolder) -> Evaluation | None:
    """The headline figures of the same maps by what the networks stated; None if they are not recalibrated."""
    if run.settings.simulation.n_calibration == 0:
        return None
    test = run.store.read(0, run.settings.simulation.n_test)
    spectra, source_counts = load_networks(run)
    stated = as_stated(spectra), as_stated(source_counts)
    return evaluate_networks(run.model, test, *stated, details=False, seed=run.settings.seed)


def _prior_labels(run: RunFolder) -> Simulations | None:
    """Maps that are not held out, for their labels alone; None if the run has not stored any."""
    first = run.settings.simulation.n_test
    last = min(len(run.store), first + _PRIOR_LABELS)
    return run.store.read(first, last) if last - first >= 256 else None


def image_networks(run: RunFolder) -> ImageNetworks:
    """The trained networks of a run on images; refusals are those of :meth:`RunFolder.network`."""
    return ImageNetworks(_shares(run), run.network("quantiles", ShareQuantiles), run.network("npe", ImageNpe))


def predict(run: RunFolder, counts: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """f_src of counts by the five networks alone: :func:`gcesbi.evaluation.images.predict_shares`."""
    return predict_shares(_shares(run), counts)


def _shares(run: RunFolder) -> dict[str, ShareEstimator]:
    return {name: run.network(name, ShareEstimator) for name in SHARES}


def evaluate_images(run: RunFolder, images: ImageSets | None = None) -> dict[str, Any]:
    """Judge all methods of a trained run on its validation images and on those of every testing model.

    The errors by bin of the prediction are measured too, on either kind of image, and every network is compared with
    two baselines (:mod:`gcesbi.evaluation.ring_moments`). All is written into the run's folder.

    Parameters
    ----------
    run : RunFolder
    images : ImageSets, optional
        Of another run of the same settings, where this one holds none.

    Returns
    -------
    dict
        ``["fixed" or "free"]["validation" or a testing model][method]``: the figures of :func:`judge`. Methods are
        those of :class:`gcesbi.evaluation.images.ImageNetworks`, and ``"prior"`` and ``"ridge"``. "fixed": images with
        the sky's own slope, and ``"npe_slope"``, the joint posterior given that slope; "free": with that of the joint
        posterior, which only the latter was trained on.
    """
    networks, images = image_networks(run), images or run.images
    held_out = images.validation()
    run.write_json(HELD_OUT, _summary(held_out))
    errors = networks.errors(held_out.counts, images.f_src(held_out))
    unseen = Simulations.concatenate([images.test(name) for name in images.testing])
    for file, each in (("errors.json", errors), (UNSEEN, networks.errors(unseen.counts, images.f_src(unseen)))):
        run.write_json(file, {name: bands.to_dict() for name, bands in each.items()})
    found: dict[str, Any] = {}
    compared: dict[str, Comparison] = {}
    for free in (False, True):
        sets = {"validation": images.validation(free=free)}
        sets |= {name: images.test(name, free) for name in images.testing}
        gamma = None if free else images.known_slope
        figures: dict[str, dict[str, Any]] = {
            name: judge_images(networks, each.counts, images.f_src(each), errors, run.settings.seed, gamma)
            for name, each in sets.items()
        }
        ridges, prior = _ridges(images, networks, free)
        for name, each in _baselines(images, ridges["npe" if free else "full"], sets, prior).items():
            figures[name] |= each
        compared |= _compared(images, ridges, sets["validation"], figures["validation"])
        found["free" if free else "fixed"] = figures
    run.write_json("evaluation.json", found)
    run.write_json("baselines.json", {name: asdict(each) for name, each in compared.items()})
    return found


def _ridges(images: ImageSets, networks: ImageNetworks, free: bool) -> tuple[dict[str, RingRidge], NDArray[np.float64]]:
    """Regressions beside the networks that learnt from images of a fixed or free slope, and the shares learnt from."""
    learnt = images.learnt(free)
    truth = images.f_src(learnt)
    beside: dict[str, ImageEstimator] = {"npe": networks.joint} if free else dict(networks.shares)
    ridges = {name: RingRidge.learn(each, learnt.counts, truth) for name, each in beside.items()}
    return (ridges if free else ridges | {"quantiles": ridges["full"]}), truth


def _baselines(
    images: ImageSets, ridge: RingRidge, sets: Mapping[str, Simulations], prior: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """Figures of the baselines by set of images; the regression's errors are those of validation images."""
    held_out, truth = sets["validation"], images.f_src
    errors = BinnedErrors.measure(ridge.predict(held_out.counts), truth(held_out))
    return {name: judge_baselines(ridge, errors, each.counts, truth(each), prior) for name, each in sets.items()}


def _compared(
    images: ImageSets, ridges: Mapping[str, RingRidge], held_out: Simulations, figures: Mapping[str, Any]
) -> dict[str, Comparison]:
    """Every network beside the baselines, on the validation images that were judged."""
    chosen = judged(len(held_out))
    truth = images.f_src(held_out)[chosen]
    return {
        name: Comparison(
            network=figures[name]["rmse"],
            prior=figures["prior"]["rmse"],
            ridge=rmse(ridge.predict(held_out.counts[chosen]), truth),
        )
        for name, ridge in ridges.items()
    }


def unseen_answers(run: RunFolder) -> tuple[NDArray[np.float64], dict[str, tuple[NDArray[np.float64], ...]]]:
    """True f_src (n, 1) of images of the testing models; by method its quantiles (n_tau, n, 1), and levels (n_tau,)."""
    networks, images = image_networks(run), run.images
    unseen = Simulations.concatenate([images.test(name) for name in images.testing])
    chosen = judged(len(unseen))
    curves = networks.share_quantiles(
        unseen.counts[chosen], TAUS, binned_errors(run), run.settings.seed, images.known_slope
    )
    return images.f_src(unseen)[chosen, None], {name: (each[..., None], TAUS) for name, each in curves.items()}


def held_out_images(run: RunFolder) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Mean counts (n_energy, n_pix) of held-out images, and the fewest and most photons in one of them."""
    stored = (run.folder / HELD_OUT).is_file()
    told = run.read_json(HELD_OUT) if stored else _summary(run.images.validation())
    fewest, most = told["photons"]
    return np.array(told["mean"]), (fewest, most)


def _summary(images: Simulations) -> dict[str, Any]:
    photons = images.counts.sum(axis=(1, 2), dtype=np.int64)
    return {"mean": images.counts.mean(axis=0).tolist(), "photons": [int(photons.min()), int(photons.max())]}


def not_learnt(run: RunFolder) -> tuple[str, ...]:
    """Sentences about networks that do not beat both baselines; none of a run that was not compared with them."""
    if not (run.folder / "baselines.json").is_file():
        return ()
    compared = {name: Comparison(**each) for name, each in run.read_json("baselines.json").items()}
    return tuple(each.told(name) for name, each in compared.items() if not each.learnt)


def binned_errors(run: RunFolder, unseen: bool = False) -> dict[str, BinnedErrors]:
    """Stored errors of the predictions by bin: from validation images, or from those of the testing models."""
    told = run.read_json(UNSEEN if unseen else "errors.json")
    return {name: BinnedErrors.from_dict(each) for name, each in told.items()}


def learning_curve(run: RunFolder) -> LearningCurve:
    """Stored accuracy against the number of training images."""
    told = run.read_json("learning.json")
    return LearningCurve(tuple(told["n_train"]), {name: tuple(v) for name, v in told["rmse"].items()})
