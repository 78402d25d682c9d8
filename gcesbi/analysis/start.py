"""From which weights a run's networks start: their own random ones, or those that ship with the package."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.keeping import package_folder, shipped_names
from gcesbi.estimators import Estimator, load_estimator, read_notes
from gcesbi.io.files import make_folder
from gcesbi.simulation import Simulations

_N_STANDARD = 1024

AS_SHIPPED, FINE_TUNED, FROM_SCRATCH = "the shipped weights as they are", "the shipped weights", "random weights"
ENCODER = "the shipped weights of the encoder"
"""What a network's training started from, as noted beside its weights."""

__all__ = [
    "AS_SHIPPED",
    "ENCODER",
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


def start_from_shipped(run: RunFolder, estimator: Estimator) -> str:
    """Give an untrained estimator weights of a shipped one of its kind, if the run asks for them; what it has then.

    All of them, of the first whose sizes fit; else those of the first whose embedding fits, and the head, which is of
    other templates, starts anew. Means and spreads of what it sees of a map, which go with the pixels, are the run's.
    """
    own = estimator.state_dict()
    asked = run.settings.training.start == "shipped"
    shipped = [load_estimator(path).state_dict() for path in _shipped_weights(estimator.kind)] if asked else []
    every = [name for name in own if not name.startswith("embedding.inputs.")]
    for names, what in ((every, FINE_TUNED), ([n for n in every if n.startswith("embedding.")], ENCODER)):
        for stored in shipped:
            if all(n in stored and stored[n].shape == own[n].shape for n in names):
                estimator.load_state_dict(own | {n: stored[n] for n in names})
                if what == FINE_TUNED:  # else the training does it
                    estimator.embedding.inputs.standardise(torch.from_numpy(_first_maps(run).counts))
                return what
    return FROM_SCRATCH


def _shipped_weights(kind: str) -> list[Path]:
    paths = (package_folder(name) / "weights" / f"{kind}.safetensors" for name in shipped_names())
    return [path for path in paths if path.is_file()]


def _first_maps(run: RunFolder) -> Simulations:
    """Some that the run trains on."""
    first = run.settings.simulation.n_test
    if run.settings.training.source == "store":
        return run.store.read(first, first + _N_STANDARD)
    return run.simulator.sample(_N_STANDARD, run.settings.seed)


def started_from(run: RunFolder, kinds: Iterable[str]) -> dict[str, str]:
    """What the training of each kind of network started from."""
    return {kind: str(read_notes(run.weights(kind)).get("started", FROM_SCRATCH)) for kind in kinds}
