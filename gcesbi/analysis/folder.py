"""A run folder: everything a job wrote, under names that are fixed here and nowhere else.

::

    run.json            settings, version, fingerprint of the model and the region that it is analysed in
    sky.toml            the sky, if it is composed, with its arrays as sky_1.npy, ... (:mod:`gcesbi.analysis.kept_sky`)
    exposure.npz        what multiplies the exposure that the sky states, where an observation has another
    run.lock            held by the process that writes here, which run.writer names (:mod:`gcesbi.analysis.keeping`)
    observation.fits    the map that posteriors are conditioned on
    simulations/        the store of simulated maps, unless `simulation.store` puts it elsewhere; of images the stores
                        of every interstellar model (:mod:`gcesbi.analysis.image_sets`)
    weights/            networks (safetensors, with a JSON card and a CSV log of the training beside each)
    posteriors/         posterior samples of each method (netCDF, read by ArviZ)
    sky.npz             template maps of the sky, so that the next command need not compute them
    results.json        every figure that the report shows
    report.html         the report, one file
    maps/               answers of networks about other maps than that, each with its map in a folder of its own
    gate.npz            the test of misspecification, calibrated on fresh maps; gate.json its verdict on the observation
    validation.*        held-out maps: page (html) and numbers (json), as of the next three
    misspecification.*  misspecified maps
    injection.*         populations injected into the observation, and an exactly Poisson sky
    comparison.*        another run's networks on the same maps

and of images

::

    errors.json         errors by bin of the prediction; errors_testing.json those on images of the testing models
    baselines.json      errors of every network beside those of a ridge regression and the prior
    held_out.json       mean and numbers of photons of held-out images
    learning.json       accuracy against the number of training images
    evaluation.json     accuracy and calibration by method and interstellar model
    inference.json      answers about an observation
    template_fits.json  profiles over γ, with the parameters of the images
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import ValidationError

from gcesbi.analysis import keeping
from gcesbi.analysis.image_sets import ImageSets
from gcesbi.analysis.kept_sky import card_of, keep_sky, kept_model, plain_settings, with_kept_sky
from gcesbi.analysis.settings import RunSettings, load_settings
from gcesbi.errors import InputError
from gcesbi.estimators import Estimator, load_estimator
from gcesbi.io import read_observation, write_netcdf, write_observation
from gcesbi.io.files import make_folder, naming, read_json, sweep, write_atomically, write_text
from gcesbi.posterior import Posterior
from gcesbi.simulation import SimulationStore, Simulator, SkyModel
from gcesbi.simulation.composition import Composition
from gcesbi.sky import Observation

__all__ = ["RunFolder"]

Kind = TypeVar("Kind", bound=Estimator)


@dataclass(frozen=True)
class RunFolder:
    """A folder and the settings it was made with.

    Parameters
    ----------
    folder : Path
    settings : RunSettings
    given : SkyModel, optional
        The model of those settings, where it is at hand.
    """

    folder: Path
    settings: RunSettings
    given: SkyModel | None = field(default=None, repr=False, compare=False)
    _read: dict[str, tuple[int, Estimator]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        settings: str | RunSettings = "quick",
        model: SkyModel | None = None,
        *,
        sky: str | Path | SkyModel | Composition | None = None,
        overwrite: bool = False,
        check: Callable[[Self], object] | None = None,
    ) -> Self:
        """Make the folder of a new run.

        Parameters
        ----------
        folder : path
        settings : str or RunSettings
            Or the name of a preset.
        model : SkyModel, optional
            Of these settings, as for an observation's own region; built from them if not given.
        sky : path, SkyModel or Composition, optional
            In place of that of the settings: a TOML file that composes one, a model, or a composition. The run keeps a
            copy of what is stated.
        overwrite : bool
            Replace a run that is there.
        check : callable, optional
            Is given the run before anything is written, and raises where it cannot be.

        Raises
        ------
        InputError
            If the folder exists and `overwrite` is false, it holds anything that no run wrote, which is kept, or
            another process writes it.
        """
        folder = Path(folder)
        stated = sky.settings if isinstance(sky, SkyModel) else sky
        model = sky if isinstance(sky, SkyModel) else model
        chosen = load_settings(settings, sky=stated) if isinstance(settings, str) or sky is not None else settings
        cls.check_free(folder, overwrite=overwrite)
        if not chosen.of_images:
            model = SkyModel.build(chosen.sky_of_maps) if model is None else model
            chosen.neural_posterior.check(model.prior().names)
        run = cls(folder, chosen, model)
        if check is not None:
            check(run)
        make_folder(folder)
        with keeping.only_writer(folder):
            cls.check_free(folder, overwrite=overwrite)
            keeping.clear(folder)
            card = {"version": version("gcesbi"), "settings": plain_settings(chosen)}
            if model is not None:
                card |= card_of(model)
                run.write_json(keeping.CARD, card | {keeping.UNFINISHED: True})
                keep_sky(folder, chosen, model)
            run.write_json(keeping.CARD, card)
        return run

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        settings: RunSettings,
        model: SkyModel | None = None,
        *,
        overwrite: bool = False,
        check: Callable[[Self], object] | None = None,
    ) -> Self:
        """The run of these settings in a folder: made, or opened to go on with it, with as many maps as now wanted.

        `check` is given it before anything is written, and raises where it cannot be.

        Raises
        ------
        InputError
            If the folder holds something else, or a run whose maps are of other settings, and `overwrite` is false.
        """
        if overwrite or not cls.exists(folder):
            return cls.create(folder, settings, model, overwrite=overwrite, check=check)
        found = cls.open(folder, model)
        if model is not None and found._card.get("model") != model.fingerprint:
            raise InputError(f"out: {str(folder)!r} holds a run of another model; choose another folder")
        chosen = found.settings.continued(settings, f"out: {str(folder)!r}")
        model = found.model if model is None and check is not None and not chosen.of_images else model
        if check is not None:
            check(cls(found.folder, chosen, model))
        found.adopt(chosen)
        return cls.open(folder, model)

    def adopt(self, settings: RunSettings) -> None:
        """Store other settings of the same run; see :meth:`RunSettings.continued`."""
        if settings != self.settings:
            with self.writing():
                self.write_json(keeping.CARD, self._card | {"settings": plain_settings(settings)})

    def writing(self) -> AbstractContextManager[None]:
        """Be the one process that writes here: :func:`gcesbi.analysis.keeping.only_writer`."""
        return keeping.only_writer(self.folder)

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether a folder holds a run that was made to its end, or at least its card."""
        return keeping.exists(folder)

    @staticmethod
    def check_free(folder: str | Path, *, overwrite: bool = False) -> None:
        """Raise InputError unless a run may be made in `folder`; call it before long work."""
        keeping.check_free(folder, overwrite=overwrite)

    @classmethod
    def open(cls, folder: str | Path, model: SkyModel | None = None) -> Self:
        """Open a run that exists; `model` is that of its settings, where it is at hand.

        Raises
        ------
        InputError
            If it is no run folder, or its settings cannot be read: too old ones are named as such, with the command
            that makes the run anew.
        """
        keeping.check_run(folder)
        card = Path(folder) / keeping.CARD
        with naming("run"):
            told = read_json(card)
        made, settings = str(told.get("version")), told.get("settings")
        if not isinstance(settings, dict):
            raise InputError(f"run: {card} is damaged (it holds no settings)")
        if told.get(keeping.UNFINISHED):
            raise InputError(f"run: {str(folder)!r} was not made to its end; give the command that began it again")
        try:
            return cls(Path(folder), RunSettings.model_validate(with_kept_sky(Path(folder), settings)), model)
        except (ValidationError, TypeError, AttributeError, RecursionError) as error:
            group = "images simulate" if "interstellar" in settings else "simulate"
            raise InputError(
                f"run: {card}, by gcesbi {made}, is damaged or too old for gcesbi {version('gcesbi')} "
                f"({' '.join(str(error).split())}); make it anew: gcesbi {group} --out {folder} --overwrite"
            ) from None

    @classmethod
    def shipped(cls, model: SkyModel, name: str = "default") -> Self | None:
        """The trained run that ships with the package, to be read where it lies; None if `model` is not its model."""
        folder = keeping.package_folder(name)
        if read_json(folder / keeping.CARD)["model"] != model.fingerprint:
            return None
        return cls.open(folder, model)

    @classmethod
    def pretrained(cls, folder: str | Path, name: str = "default") -> Self:
        """A copy, in `folder`, of a trained run that ships with the package; opened again if it is there.

        Raises
        ------
        InputError
            If the folder holds something else.
        """
        shipped, folder = keeping.package_folder(name), Path(folder)
        card = keeping.CARD
        if not (folder / card).is_file():
            cls.check_free(folder)
            make_folder(folder.parent)
            sweep(folder.parent)
            write_atomically(folder, lambda partial: shutil.copytree(shipped, partial), overwrite=True)
        elif (folder / card).read_bytes() != (shipped / card).read_bytes():
            raise InputError(f"run: {str(folder)!r} holds another run than the pretrained one; choose another folder")
        return cls.open(folder)

    def __repr__(self) -> str:
        """The run in a few lines."""
        weights = sorted(path.stem for path in (self.folder / "weights").glob("*.safetensors"))
        kind, simulation = self.settings.sky.kind, self.settings.simulation
        return (
            f"{type(self).__name__}({str(self.folder)!r})\n"
            f"  sky: {kind}; seed {self.settings.seed}; {simulation.n_train} maps to learn from, "
            f"{simulation.n_test} held out\n  trained: {', '.join(weights) or 'nothing'}"
        )

    # -- the sky and its maps --------------------------------------------------------------------------------------

    @cached_property
    def model(self) -> SkyModel:
        """The sky model, as given or built again from the settings; maps that take long to compute are kept.

        Raises
        ------
        InputError
            If it is not the model that the run was made with (another version, or other maps in a data folder), or the
            run is one on images, of which every interstellar model has its own (:attr:`images`).
        """
        if self.given is not None:
            return self.given
        if self.settings.of_images:
            raise InputError(f"run: {str(self.folder)!r} is a run on images, for which see `gcesbi images`")
        return kept_model(self.folder, self.settings, self._card)

    @property
    def _card(self) -> dict[str, Any]:
        return read_json(self.folder / keeping.CARD)

    @cached_property
    def simulator(self) -> Simulator:
        """Simulator of the model."""
        return Simulator(self.model)

    @property
    def store(self) -> SimulationStore:
        """The store of simulated maps, to read from; it may be empty."""
        return self._store(write=False)

    def make_store(self) -> SimulationStore:
        """The store of simulated maps, made where the settings say, which may be out of the folder."""
        return self._store(write=True)

    def _store(self, write: bool) -> SimulationStore:
        place = self.settings.simulation.store or self.folder / "simulations"
        return SimulationStore.create(place, self.simulator, self.settings.seed, write=write)

    @cached_property
    def images(self) -> ImageSets:
        """The images of a run on images, by interstellar model."""
        if not self.settings.of_images:
            raise InputError(f"run: {str(self.folder)!r} must be that of a run on images, is one on maps")
        return ImageSets(self.folder / "simulations", self.settings)

    # -- networks --------------------------------------------------------------------------------------------------

    def weights(self, name: str) -> Path:
        """Where the weights of an estimator lie."""
        return self.folder / "weights" / f"{name}.safetensors"

    def training_log(self, name: str) -> Path:
        """Where the losses of an estimator's training are written, row by row."""
        return self.folder / "weights" / f"{name}.csv"

    def checkpoint(self, name: str) -> Path:
        """Where a training that was interrupted goes on."""
        return self.folder / "weights" / f"{name}.checkpoint"

    @property
    def nptf_checkpoint(self) -> Path:
        """Where a fit of the NPTF that was interrupted goes on; whoever stores its posterior removes it."""
        return self.folder / "nptf.checkpoint.h5"

    def network(self, name: str, kind: type[Kind] = Estimator) -> Kind:  # type: ignore[assignment]
        """A trained estimator, read once.

        Raises
        ------
        InputError
            If it is not trained, is of another kind, or was trained on other maps.
        """
        path = self.weights(name)
        if not path.is_file():
            command = "gcesbi images train" if self.settings.of_images else "gcesbi train"
            raise InputError(
                f"run: {str(self.folder)!r} is not trained (it holds no {path.name}); run `{command}` first"
            )
        written = path.stat().st_mtime_ns
        if name not in self._read or self._read[name][0] != written:
            self._read[name] = (written, self._load(path, free=name == "npe"))
        found = self._read[name][1]
        if not isinstance(found, kind):
            raise InputError(f"weights {path}: must be of kind {kind.kind!r}, got {found.kind!r}")
        return found

    def _load(self, path: Path, free: bool) -> Estimator:
        if not self.settings.of_images:
            return load_estimator(path, model=self.model)
        return load_estimator(path, fingerprint=self.images.fingerprint(free) if self.images.stored(free) else None)

    # -- results ---------------------------------------------------------------------------------------------------

    def write_observation(self, observation: Observation) -> None:
        """Store the observation."""
        write_observation(self.folder / "observation.fits", observation, overwrite=True)

    def observe(self, seen: Observation | None) -> Observation:
        """The run's own map: that which is stored, or now `seen`, if none is stored yet.

        Raises
        ------
        InputError
            If another map is stored: what is known of it lies here too.
        """
        if not self.has_observation and seen is not None:
            self.write_observation(seen)
            return seen
        stored = self.observation()
        if seen is not None and not _same(seen, stored):
            raise InputError(f"observation: {str(self.folder)!r} is a run on another map; choose another folder")
        return stored

    def about(self, seen: Observation) -> Self:
        """Where answers about a map are kept, with the map: here, if it is the run's own or there is none yet.

        Answers about any other lie in ``maps/XXXXXXXXXXXX``, by the map's content, beside none of the run's own map.
        """
        if self.has_observation and not _same(seen, self.observation()):
            here = replace(self, folder=self.folder / "maps" / _digest(seen))
            make_folder(here.folder)
        else:
            here = self
        here.observe(seen)
        return here

    @property
    def has_observation(self) -> bool:
        """Whether an observation is stored."""
        return (self.folder / "observation.fits").is_file()

    def observation(self) -> Observation:
        """The stored observation."""
        return read_observation(self.folder / "observation.fits", radius=None, band=None)

    def write_posterior(self, name: str, posterior: Posterior, *, refused: str = "") -> None:
        """Store samples of a posterior as netCDF; those of a map that was `refused`, and why, say so."""
        variables, coords, attributes = posterior.labelled(seed=self.settings.seed)
        attributes |= {"refused": refused} if refused else {}
        write_netcdf(self.folder / "posteriors" / f"{name}.nc", "posterior", variables, coords, attributes)

    def read_json(self, name: str) -> dict[str, Any]:
        """Content of a JSON file.

        Raises
        ------
        InputError
            If the run has none, or it is damaged.
        """
        path = self.folder / name
        if not path.is_file():
            command = "gcesbi images train" if self.settings.of_images else "gcesbi train"
            raise InputError(f"run: {str(self.folder)!r} holds no {name}; run `{command}` first")
        with naming("run"):
            return read_json(path)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a JSON file, whole or not at all."""
        write_text(self.folder / name, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _same(one: Observation, other: Observation) -> bool:
    return one.region == other.region and np.array_equal(one.counts, other.counts)


def _digest(seen: Observation) -> str:
    where = json.dumps(seen.region.describe(), sort_keys=True).encode()
    return hashlib.sha256(where + seen.counts.tobytes()).hexdigest()[:12]
