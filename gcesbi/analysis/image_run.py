"""The folder of a run on images: everything a job wrote, under names that are fixed here and nowhere else.

::

    run.json                    settings, version
    simulations/NAME-fixed/     store of an interstellar model's images, or of mixtures; those with the sky's own slope
    simulations/NAME-free/      those with a free slope, for the joint posterior
    weights/                    networks (safetensors, with a JSON card and a CSV log of the training beside each)
    errors.json                 errors by bin of the prediction
    learning.json               accuracy against the number of training images
    evaluation.json             accuracy and calibration by method and interstellar model
    inference.json              answers about an observation

In the store of a training model the first `n_validation` images are held out. All images of a testing model are. Where
networks learn from mixtures of the training models, the store of mixtures holds as many images as all those of the
training models would, its first ones are held out, and the training models' own images are held out altogether.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from gcesbi.analysis.image_settings import MIXED, ImageRunSettings, background_name
from gcesbi.errors import InputError
from gcesbi.estimators.images import ImageEstimator, ShareEstimator, joint_fingerprint
from gcesbi.estimators.store import load_estimator
from gcesbi.io.files import write_atomically
from gcesbi.networks.image import PARTS
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.store import SimulationStore
from gcesbi.validation.binned_errors import BinnedErrors

__all__ = ["ALL_NETWORKS", "NETWORKS", "ImageRun", "LearningCurve", "combined"]

Array = NDArray[np.float64]

Kind = TypeVar("Kind", bound=ImageEstimator)

NETWORKS = PARTS
"""The five networks of f_src as a number: of the whole image and of its halves."""
ALL_NETWORKS = (*NETWORKS, "quantiles", "npe")


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy of the full network against the number of training images.

    Attributes
    ----------
    n_train : tuple of int
        Of all training models together, ascending.
    rmse : dict of str to tuple of float
        Root mean square error of f_src, on ``"validation"`` images and on those of each testing model.
    """

    n_train: tuple[int, ...]
    rmse: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class ImageRun:
    """A folder and the settings it was made with.

    Parameters
    ----------
    folder : Path
    settings : ImageRunSettings
    """

    folder: Path
    settings: ImageRunSettings
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def create(cls, folder: str | Path, settings: ImageRunSettings, *, overwrite: bool = False) -> Self:
        """Make the folder of a new run, or open the one that is there if it has the same settings.

        Raises
        ------
        InputError
            If it has other settings and `overwrite` is false, or is no run folder.
        """
        folder = Path(folder)
        if (folder / "run.json").is_file() and not overwrite:
            return cls._same(folder, settings)
        if folder.exists() and any(folder.iterdir()):
            if not (folder / "run.json").is_file():
                raise InputError(f"out: {str(folder)!r} is no run folder, and is not overwritten")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, settings)
        run.write_json("run.json", {"version": version("gcesbi"), "settings": settings.model_dump(mode="json")})
        return run

    @classmethod
    def _same(cls, folder: Path, settings: ImageRunSettings) -> Self:
        found = cls.open(folder)
        if found.settings != settings:
            raise InputError(f"out: {str(folder)!r} has other settings; choose another folder or give --overwrite")
        return found

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a run that exists.

        Raises
        ------
        InputError
            If it is no folder of a run on images, or its settings cannot be read.
        """
        card = Path(folder) / "run.json"
        if not card.is_file():
            raise InputError(f"run: {str(folder)!r} is no run folder (it holds no run.json)")
        try:
            return cls(Path(folder), ImageRunSettings.model_validate(json.loads(card.read_text())["settings"]))
        except (json.JSONDecodeError, KeyError, ValidationError) as error:
            told = " ".join(str(error).split())
            raise InputError(f"run: {card} must be that of a run on images, is another or damaged ({told})") from None

    # -- images -------------------------------------------------------------------------------------------------

    @property
    def training(self) -> tuple[str, ...]:
        """Interstellar models that networks learn from."""
        return tuple(map(background_name, self.settings.interstellar.training))

    @property
    def testing(self) -> tuple[str, ...]:
        """Interstellar models that networks never see."""
        return tuple(map(background_name, self.settings.interstellar.testing))

    @property
    def learning(self) -> tuple[str, ...]:
        """Stores that networks learn from: the training models', or that of their mixtures."""
        return (MIXED,) if self.settings.interstellar.mix else self.training

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all stores."""
        return (*self.training, *self.testing, *((MIXED,) if self.settings.interstellar.mix else ()))

    def n_images(self, free: bool = False) -> dict[str, int]:
        """How many images every store is to hold."""
        wanted = self.settings.simulation
        shared = len(self.training) // len(self.learning)
        learnt = dict.fromkeys(self.learning, shared * (wanted.n_validation + wanted.n_train))
        own = {} if free or not self.settings.interstellar.mix else dict.fromkeys(self.training, wanted.n_validation)
        return {**learnt, **own, **dict.fromkeys(self.testing, wanted.n_test)}

    def model(self, name: str, free: bool = False) -> ImageSkyModel:
        """Model of an interstellar model's images, built at the first call."""
        if ("model", name, free) not in self._kept:
            self._kept["model", name, free] = self.settings.build(name, free)
        return self._kept["model", name, free]

    def simulator(self, name: str, free: bool = False) -> ImageSimulator:
        """Simulator of that model."""
        return ImageSimulator(self.model(name, free))

    def seed(self, name: str, free: bool = False) -> int:
        """Seed of a store's images: each its own, by the run's."""
        place = self.names.index(name)
        sequence = np.random.SeedSequence(self.settings.seed, spawn_key=(place, int(free)))
        return int(sequence.generate_state(1)[0])

    def place(self, name: str, free: bool = False) -> Path:
        """Folder of a store."""
        return self.folder / "simulations" / f"{name}-{'free' if free else 'fixed'}"

    def new_store(self, name: str, free: bool = False) -> SimulationStore:
        """The store of an interstellar model's images, to be filled."""
        return SimulationStore.create(self.place(name, free), self.simulator(name, free), self.seed(name, free))

    def store(self, name: str, free: bool = False) -> SimulationStore:
        """The store of an interstellar model's images that are there.

        Raises
        ------
        InputError
            If there are none.
        """
        if name not in self.names:
            raise InputError(f"interstellar: must be one of {', '.join(self.names)}, got {name!r}")
        return SimulationStore.open(self.place(name, free))

    def learnt(self, free: bool = False) -> Simulations:
        """Images that networks learn from, of all training models or of their mixtures."""
        wanted, shared = self.settings.simulation, len(self.training) // len(self.learning)
        start, end = shared * wanted.n_validation, shared * (wanted.n_validation + wanted.n_train)
        return Simulations.concatenate([self.store(name, free).read(start, end) for name in self.learning])

    def validation(self, name: str | None = None, free: bool = False) -> Simulations:
        """Held-out images of a training model, or of all that networks learn from together.

        Raises
        ------
        InputError
            If the model is no training model, or images are missing.
        """
        if name is not None and name not in self.training:
            raise InputError(f"interstellar: must be one of {', '.join(self.training)} for validation, got {name!r}")
        n = self.settings.simulation.n_validation
        if name is not None:
            return self.store(name, free).read(0, n)
        n *= len(self.training) // len(self.learning)
        return Simulations.concatenate([self.store(each, free).read(0, n) for each in self.learning])

    def test(self, name: str, free: bool = False) -> Simulations:
        """Images of a testing model.

        Raises
        ------
        InputError
            If the model is no testing model, or images are missing.
        """
        if name not in self.testing:
            raise InputError(f"interstellar: must be one of {', '.join(self.testing)} for a test, got {name!r}")
        return self.store(name, free).read(0, self.settings.simulation.n_test)

    def f_src(self, simulations: Simulations) -> Array:
        """True shares of sources (n,)."""
        return simulations.theta[:, 0]

    # -- networks -----------------------------------------------------------------------------------------------

    def weights(self, name: str) -> Path:
        """Where the weights of a network lie."""
        return self.folder / "weights" / f"{name}.safetensors"

    def training_log(self, name: str) -> Path:
        """Where the losses of a training are written, row by row."""
        return self.folder / "weights" / f"{name}.csv"

    def checkpoint(self, name: str) -> Path:
        """Where a training that was interrupted goes on."""
        return self.folder / "weights" / f"{name}.checkpoint"

    def fingerprint(self, free: bool = False) -> str:
        """Of all models that networks learn from."""
        return joint_fingerprint(self.store(name, free).fingerprint for name in self.learning)

    def network(self, name: str) -> ImageEstimator:
        """A trained network: one of :data:`NETWORKS`, ``"quantiles"`` or ``"npe"``.

        Raises
        ------
        InputError
            If there is no such network, it is not trained, or it was trained on other images.
        """
        if name not in ALL_NETWORKS:
            raise InputError(f"network: must be one of {', '.join(ALL_NETWORKS)}, got {name!r}")
        if ("network", name) not in self._kept:
            path = self.weights(name)
            if not path.is_file():
                raise InputError(f"run: {str(self.folder)!r} holds no {path.name}; run `gcesbi images train` first")
            found = load_estimator(path, fingerprint=self._made_for(name == "npe"))
            self._kept["network", name] = found
        return self._kept["network", name]

    def typed_network(self, name: str, kind: type[Kind]) -> Kind:
        """A trained network, of the class that is asked for; refusals are those of :meth:`network`."""
        found = self.network(name)
        if not isinstance(found, kind):
            raise InputError(f"weights {self.weights(name)}: must be of kind {kind.kind!r}, got {found.kind!r}")
        return found

    def _made_for(self, free: bool) -> str | None:
        """Fingerprint that weights must have; None where the run has no images to compare with."""
        there = all((self.place(name, free) / "store.json").is_file() for name in self.learning)
        return self.fingerprint(free) if there else None

    def predict(self, counts: ArrayLike) -> dict[str, Array]:
        """f_src (n,) of counts (n, n_energy, n_pix) by every network, and by their means (:func:`combined`)."""
        return combined({name: self.typed_network(name, ShareEstimator).predict(counts) for name in NETWORKS})

    # -- results ------------------------------------------------------------------------------------------------

    def errors(self) -> dict[str, BinnedErrors]:
        """Errors of :meth:`predict` by bin of the prediction, from validation images."""
        return {name: BinnedErrors.from_dict(told) for name, told in self.read_json("errors.json").items()}

    def learning_curve(self) -> LearningCurve:
        """Accuracy against the number of training images."""
        told = self.read_json("learning.json")
        return LearningCurve(tuple(told["n_train"]), {name: tuple(v) for name, v in told["rmse"].items()})

    def evaluation(self) -> dict[str, Any]:
        """Accuracy and calibration by method and interstellar model: see :mod:`gcesbi.evaluation.images`."""
        return self.read_json("evaluation.json")

    def read_json(self, name: str) -> dict[str, Any]:
        """Content of a JSON file.

        Raises
        ------
        InputError
            If the run has none.
        """
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"run: {str(self.folder)!r} holds no {name}; run `gcesbi images train` first")
        return json.loads(path.read_text())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a JSON file, whole or not at all."""
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_atomically(self.folder / name, lambda path: path.write_text(text), overwrite=True)


def combined(found: Mapping[str, Array]) -> dict[str, Array]:
    """Predictions of the five networks, and their means: ``"halves"`` of the four halves, ``"all"`` of all five."""
    halves: Iterable[Array] = [found[name] for name in NETWORKS if name != "full"]
    return {
        **found,
        "halves": np.mean(list(halves), axis=0),
        "all": np.mean([found[name] for name in NETWORKS], axis=0),
    }
