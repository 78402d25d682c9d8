"""The gate of a run: calibrated on fresh maps of its model, kept in its folder, asked about observations."""

from contextlib import suppress

import numpy as np

from gcesbi.analysis.evaluate import image_networks
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.infer import counts_at_exposure, load_networks
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.analysis.variations import models_of_variations
from gcesbi.errors import InputError
from gcesbi.evaluation.image_gate import ImageGate
from gcesbi.evaluation.misspecification import MisspecificationTest
from gcesbi.evaluation.score_tests import alternatives
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import GateVerdict

__all__ = [
    "GATE_MAPS",
    "calibrate_gate",
    "calibrate_image_gate",
    "fresh_gate",
    "image_gate",
    "judge",
    "judge_image",
    "save_gate",
    "stored_gate",
]

GATE_MAPS = 3072
"""Fresh maps on which a gate is calibrated."""


def calibrate_gate(
    run: RunFolder,
    n_maps: int = GATE_MAPS,
    false_alarm: float = 0.01,
    workers: int = 1,
    progress: bool = False,
    *,
    keep: bool = True,
) -> MisspecificationTest:
    """Draw fresh maps of the run's model, calibrate the gate on them and store it in the run folder.

    The gate looks for the run's :func:`variations` by name, beside all that is strange.

    Parameters
    ----------
    run : RunFolder
        With trained networks.
    n_maps : int
        At least 1,200; a false-alarm rate f needs some 30 / f of them.
    false_alarm : float
        Rate at which maps of the model are turned away.
    keep : bool
        Store it.
    """
    if n_maps < 1200:
        raise InputError(f"n_maps: a gate needs at least 1200 maps, got {n_maps}")
    networks = load_networks(run)
    maps = run.simulator.sample(n_maps, purpose_seed(run, Purpose.misspecification), workers, progress)
    gate = MisspecificationTest.fit(
        run.model, *networks, maps.counts, false_alarm, alternatives(run.model, models_of_variations(run)), workers
    )
    if keep:
        save_gate(run, gate)
    return gate


def stored_gate(run: RunFolder) -> MisspecificationTest | None:
    """The run's gate; None if there is none, or if it was made for other weights."""
    path = run.folder / "gate.npz"
    if not path.is_file():
        return None
    try:
        return MisspecificationTest.load(path, run.model, *load_networks(run))
    except InputError:
        return None


def judge(run: RunFolder, observation: Observation, workers: int = 1) -> GateVerdict:
    """Whether the run's model could have produced an observation.

    The gate is calibrated at the first call and kept, in a folder that can be written. It sees what the networks see:
    counts of a map of another exposure are scaled to that of their maps.
    """
    gate = stored_gate(run)
    if gate is None:
        gate = calibrate_gate(run, workers=workers, keep=False)
        with suppress(InputError):  # the answer comes first; what else is stored will say that nothing can be
            save_gate(run, gate)
    known = load_networks(run)[0].exposure_range
    return gate.verdict(counts_at_exposure(run.model, observation, force=True, known=known))


def calibrate_image_gate(
    run: RunFolder, n_images: int = GATE_MAPS, false_alarm: float = 0.01, *, keep: bool = True
) -> ImageGate:
    """As :func:`calibrate_gate`, for a run on images: as many fresh ones of every model that networks learnt from."""
    if n_images < 1200:
        raise InputError(f"n_images: a gate needs at least 1200 images, got {n_images}")
    networks, models = image_networks(run), run.images.learning
    seeds = [purpose_seed(run, Purpose.misspecification, k) for k in range(len(models))]
    n = n_images // len(models)
    parts = [run.images.simulator(name).sample(n, seed).counts for name, seed in zip(models, seeds, strict=True)]
    images = np.random.default_rng(run.settings.seed).permutation(np.concatenate(parts))
    gate = ImageGate.fit(networks.shares["full"], networks.quantiles, images, false_alarm)
    if keep:
        with suppress(InputError):  # the answer comes first; what else is stored will say that nothing can be
            save_gate(run, gate)
    return gate


def fresh_gate(
    run: RunFolder, n: int, false_alarm: float, workers: int = 1, progress: bool = False
) -> MisspecificationTest | ImageGate:
    """The gate of a run on maps or images, calibrated on n fresh ones and not stored."""
    if run.settings.of_images:
        return calibrate_image_gate(run, n, false_alarm, keep=False)
    return calibrate_gate(run, n, false_alarm, workers, progress, keep=False)


def save_gate(run: RunFolder, gate: MisspecificationTest | ImageGate) -> None:
    """Store a gate in its run's folder."""
    if isinstance(gate, ImageGate):
        gate.save(run.folder / "gate.npz", [run.images.model(name) for name in run.images.learning])
    else:
        gate.save(run.folder / "gate.npz")


def image_gate(run: RunFolder) -> ImageGate:
    """The gate of a run on images: the stored one, or calibrated now if there is none for these weights."""
    networks, models = image_networks(run), [run.images.model(name) for name in run.images.learning]
    with suppress(InputError):
        return ImageGate.load(run.folder / "gate.npz", models, networks.shares["full"], networks.quantiles)
    return calibrate_image_gate(run)


def judge_image(run: RunFolder, observation: Observation) -> GateVerdict:
    """As :func:`judge`, of an image."""
    return image_gate(run).verdict(observation.counts)
