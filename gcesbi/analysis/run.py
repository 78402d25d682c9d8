"""A run folder: everything a job wrote, under names that are fixed here and nowhere else.

::

    run.json            settings, version, fingerprint of the model
    observation.fits    the map that posteriors are conditioned on
    simulations/        the store of simulated maps, unless `simulation.store` puts it elsewhere
    weights/            networks (safetensors, with a JSON card and a CSV log of the training beside each)
    posteriors/         posterior samples of each method (netCDF, read by ArviZ)
    sky.npz             template maps of a built-in sky, once a command has computed them
    results.json        every figure that the report shows
    report.html         the report, one file
    gate.npz            the gate, calibrated on fresh maps; gate.json its verdict on the observation
    validation.*        held-out maps: page (html) and numbers (json), as of the next three
    mismodel.*          maps of other skies
    injection.*         populations injected into the observation, and an exactly Poisson sky
    comparison.*        another run's networks on the same maps
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gcesbi.analysis.settings import RunSettings
from gcesbi.errors import InputError
from gcesbi.io import read_observation, write_observation
from gcesbi.io.files import write_atomically
from gcesbi.posterior import Posterior
from gcesbi.simulation import SimulationStore, Simulator, SkyModel
from gcesbi.simulation.sky_settings import InnerGalaxySky
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky import Observation

__all__ = ["KEPT_MAPS", "Run"]

KEPT_MAPS = "sky.npz"


@dataclass(frozen=True)
class Run:
    """A folder and the settings it was made with.

    Parameters
    ----------
    folder : Path
    settings : RunSettings
    """

    folder: Path
    settings: RunSettings

    @classmethod
    def create(cls, folder: str | Path, settings: RunSettings, model: SkyModel, *, overwrite: bool = False) -> Run:
        """Make the folder of a new run.

        Raises
        ------
        InputError
            If the folder exists and `overwrite` is false, or it exists and is no run folder.
        """
        folder = Path(folder)
        cls.check_free(folder, overwrite=overwrite)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        run = cls(folder, settings)
        run.__dict__["model"] = model
        card = {"version": version("gcesbi"), "model": model.fingerprint, "settings": settings.model_dump(mode="json")}
        run.write_json("run.json", card)
        return run

    @staticmethod
    def check_free(folder: str | Path, *, overwrite: bool = False) -> None:
        """Raise InputError unless a run may be made in `folder`; call it before long work."""
        folder = Path(folder)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        if not overwrite:
            raise InputError(f"out: {str(folder)!r} exists; choose another folder or give --overwrite")
        if not (folder / "run.json").is_file():
            raise InputError(f"out: {str(folder)!r} is no run folder, and is not overwritten")

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run that exists.

        Raises
        ------
        InputError
            If it is no run folder, or its settings cannot be read.
        """
        card = Path(folder) / "run.json"
        if not card.is_file():
            raise InputError(f"run: {str(folder)!r} is no run folder (it holds no run.json)")
        try:
            return cls(Path(folder), RunSettings.model_validate(json.loads(card.read_text())["settings"]))
        except (json.JSONDecodeError, KeyError, ValidationError) as error:
            raise InputError(f"run: {card} is damaged ({' '.join(str(error).split())})") from None

    @classmethod
    def shipped(cls, model: SkyModel, name: str = "default") -> Run | None:
        """The trained run that ships with the package, to be read where it lies; None if `model` is not its model."""
        folder = _package_folder(name)
        if json.loads((folder / "run.json").read_text())["model"] != model.fingerprint:
            return None
        run = cls.open(folder)
        run.__dict__["model"] = model
        return run

    @classmethod
    def pretrained(cls, folder: str | Path, name: str = "default") -> Run:
        """A copy, in `folder`, of a trained run that ships with the package; opened again if it is there.

        Raises
        ------
        InputError
            If the folder holds something else.
        """
        shipped, folder = _package_folder(name), Path(folder)
        if not (folder / "run.json").is_file():
            cls.check_free(folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(shipped, partial)
            partial.replace(folder)
        elif (folder / "run.json").read_bytes() != (shipped / "run.json").read_bytes():
            raise InputError(f"run: {str(folder)!r} holds another run than the pretrained one; choose another folder")
        return cls.open(folder)

    @cached_property
    def model(self) -> SkyModel:
        """The sky model, built again from the settings; maps that take long to compute are kept in the folder.

        Raises
        ------
        InputError
            If it is not the model that the run was made with (another version, or other maps in a data folder).
        """
        model = self._built()
        made_with = json.loads((self.folder / "run.json").read_text())["model"]
        if model.fingerprint != made_with:
            raise InputError(
                f"run: {str(self.folder)!r} was made with model {made_with}, now it is {model.fingerprint}"
            )
        return model

    def _built(self) -> SkyModel:
        sky = self.settings.sky
        if not isinstance(sky, InnerGalaxySky) or sky.summed:
            return SkyModel.build(sky)
        kept = TemplateMaps.load(self.folder / KEPT_MAPS, sky.law())
        model = SkyModel.build(sky, kept)
        if kept is None and _package_folder("") not in self.folder.resolve().parents:
            with suppress(OSError):  # a folder that cannot be written is read all the same
                TemplateMaps.of(model.diffuse, model.point_source_templates).save(self.folder / KEPT_MAPS, sky.law())
        return model

    @cached_property
    def simulator(self) -> Simulator:
        """Simulator of the model."""
        return Simulator(self.model)

    @property
    def store(self) -> SimulationStore:
        """The store of simulated maps; it may be empty."""
        place = self.settings.simulation.store or self.folder / "simulations"
        return SimulationStore.create(place, self.simulator, self.settings.seed)

    def weights(self, kind: str) -> Path:
        """Where the weights of an estimator lie."""
        return self.folder / "weights" / f"{kind}.safetensors"

    def training_log(self, kind: str) -> Path:
        """Where the losses of an estimator's training are written, row by row."""
        return self.folder / "weights" / f"{kind}.csv"

    def checkpoint(self, kind: str) -> Path:
        """Where a training that was interrupted goes on."""
        return self.folder / "weights" / f"{kind}.checkpoint"

    def write_observation(self, observation: Observation) -> None:
        """Store the observation."""
        write_observation(self.folder / "observation.fits", observation, overwrite=True)

    @property
    def has_observation(self) -> bool:
        """Whether an observation is stored."""
        return (self.folder / "observation.fits").is_file()

    def observation(self) -> Observation:
        """The stored observation."""
        return read_observation(self.folder / "observation.fits", radius=None, band=None)

    def write_posterior(self, name: str, posterior: Posterior) -> None:
        """Store samples of a posterior as netCDF."""
        folder = self.folder / "posteriors"
        folder.mkdir(exist_ok=True)
        data = posterior.to_arviz(seed=self.settings.seed)
        write_atomically(folder / f"{name}.nc", lambda path: data.to_netcdf(str(path)), overwrite=True)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Store a JSON file, whole or not at all."""
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_atomically(self.folder / name, lambda path: path.write_text(text), overwrite=True)


def _package_folder(name: str) -> Path:
    return Path(str(files("gcesbi") / "pretrained" / name)).resolve()
