"""From which weights a run's networks start: their own random ones, or those that ship with the package."""

import shutil
from collections.abc import Iterable
from typing import Any

import torch

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.kept_sky import package_folder
from gcesbi.estimators import Estimator, load_estimator, read_notes
from gcesbi.io.files import make_folder

_N_STANDARD = 1024

AS_SHIPPED, FINE_TUNED, FROM_SCRATCH = "the shipped weights as they are", "the shipped weights", "random weights"
"""What a network's training started from, as noted beside its weights."""

__all__ = [
    "AS_SHIPPED",
    "FINE_TUNED",
    "FROM_SCRATCH",
    "adopt_shipped",
    "shipped_with",
    "start_from_shipped",
    "started_from",
]


def shipped_with(run: RunFolder) -> RunFolder | None:
    """The shipped run whose networks are this run's without any training: of its very sky, if they are asked for."""
    if run.settings.training.start != "shipped" or run.settings.of_images:
        return None
    shipped = RunFolder.shipped(run.model)
    if shipped is None or shipped.settings.network != run.settings.network:
        return None
    return shipped if shipped.settings.spectra == run.settings.spectra else None


def adopt_shipped(run: RunFolder, kind: str) -> tuple[Estimator, dict[str, Any]] | None:
    """A shipped network that is the run's as it is, with the notes beside it; None if there is none."""
    shipped = shipped_with(run)
    if shipped is None or not shipped.weights(kind).is_file():
        return None
    make_folder(run.weights(kind).parent)
    for what in ("weights/poisson_fraction.safetensors", "gate.npz"):
        shutil.copyfile(shipped.folder / what, run.folder / what)
    return load_estimator(shipped.weights(kind), model=run.model), read_notes(shipped.weights(kind))


def start_from_shipped(run: RunFolder, estimator: Estimator) -> bool:
    """Give an untrained estimator the weights of the shipped one of its kind; whether it asks for them and they fit.

    Means and spreads of what it sees of a map, which go with the pixels, are those of the run's own maps.
    """
    path = package_folder("default") / "weights" / f"{estimator.kind}.safetensors"
    if run.settings.training.start != "shipped" or not path.is_file():
        return False
    stored, own = load_estimator(path).state_dict(), estimator.state_dict()
    of_sky = {name for name in own if stored.get(name) is not None and name.startswith("embedding.inputs.")}
    weights = {name: value for name, value in stored.items() if name not in of_sky}
    if weights.keys() != own.keys() - of_sky or any(own[n].shape != value.shape for n, value in weights.items()):
        return False
    estimator.load_state_dict(own | weights)
    first = run.settings.simulation.n_test
    if run.settings.training.source == "store":
        maps = run.store.read(first, first + _N_STANDARD)
    else:
        maps = run.simulator.sample(_N_STANDARD, run.settings.seed)
    estimator.embedding.inputs.standardise(torch.from_numpy(maps.counts))
    return True


def started_from(run: RunFolder, kinds: Iterable[str]) -> dict[str, str]:
    """What the training of each kind of network started from."""
    return {kind: str(read_notes(run.weights(kind)).get("started", FROM_SCRATCH)) for kind in kinds}
