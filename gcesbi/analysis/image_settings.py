"""Settings of a run on images: typed, checked at construction, read from a TOML preset.

Presets are ``images`` (the default: small images, a quarter of an hour on one core), ``images-paper`` (the paper's
images and widths), ``images-4gev`` (real images above 4 GeV) and ``images-test``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gcesbi.analysis.presets import apply_changes, names_in, read_preset
from gcesbi.errors import InputError
from gcesbi.estimators import TrainingSettings
from gcesbi.estimators.images import ImageNetworkSettings
from gcesbi.io import read_observation
from gcesbi.simulation.image_settings import TESTING, TRAINING, ImageSky
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.sky_settings import INTERSTELLAR, check_keys, make_settings
from gcesbi.sky.observation import Observation

__all__ = [
    "MIXED",
    "ImageRunSettings",
    "ImageSimulationSettings",
    "InterstellarSettings",
    "JointSettings",
    "ObservationSettings",
    "background_name",
    "image_preset_names",
    "load_image_settings",
]

Range = tuple[float, float]

MIXED = "mixed"
"""Name of the images whose interstellar emission is a mixture of the training models'."""


def background_name(interstellar: str) -> str:
    """Short name of an interstellar model: its own, or that of its file without endings."""
    return interstellar if interstellar in INTERSTELLAR else Path(interstellar).name.split(".")[0]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InterstellarSettings(_Settings):
    """Interstellar models, by name (:class:`gcesbi.simulation.image_sky_model.ImageSky`) or as FITS cubes."""

    training: tuple[str, ...] = Field(TRAINING, min_length=1, description="networks learn from images of these")
    testing: tuple[str, ...] = Field(TESTING, min_length=1, description="networks never see images of these")
    mix: bool = Field(False, description="networks learn from mixtures of the training models, drawn anew every time")

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [background_name(each) for each in (*self.training, *self.testing)]
        if len(set(names)) < len(names):
            raise InputError(f"interstellar: training and testing must be distinct models, got {', '.join(names)}")
        if MIXED in names:
            raise InputError(f"interstellar: {MIXED!r} is the name of mixtures, no model may have it")
        if self.mix and len(self.training) < 2:
            raise InputError(f"interstellar.mix: needs two training models at least, got {self.training[0]}")
        return self


class ImageSimulationSettings(_Settings):
    """How many images are drawn, of every interstellar model."""

    n_train: int = Field(10_240, ge=64, description="for each training model; networks learn from them")
    n_validation: int = Field(1_024, ge=100, description="for each training model; errors are read off them")
    n_test: int = Field(1_024, ge=100, description="of a testing model")


class JointSettings(_Settings):
    """The joint posterior of all parameters, whose images have a free slope."""

    gamma: Range = Field((1.0, 1.3), description="range of the halo's inner slope")
    hidden: int = Field(32, ge=1, description="width of the flow's networks")
    n_layer: int = Field(4, ge=1, description="spline transforms of the flow")
    max_maps: int | None = Field(None, ge=1, description="images presented; by default as many as to other networks")
    schedule: Literal["one-cycle", "two-step"] = Field("one-cycle", description="of the learning rate")


class ObservationSettings(_Settings):
    """A folder of real images: counts cubes ``ccube_NN.fits`` with ``psf_NN.fits``, one NN for each event type."""

    folder: str | None = Field(None, description="no real images without one")
    component: str = Field("01", description="NN: which event type")
    radius: float = Field(4.8, gt=0, description="pixels within it of the Galactic Centre are kept, degrees")
    energy_range: Range = Field((3.98, 19.96), description="energy bins within it are kept, GeV")

    def read(self) -> Observation | None:
        """The observation, if there is one.

        Raises
        ------
        InputError
            If a file is missing or breaks a rule; the message names it.
        """
        if self.folder is None:
            return None
        counts, psf = (Path(self.folder) / f"{kind}_{self.component}.fits" for kind in ("ccube", "psf"))
        return read_observation(
            counts,
            self.radius,
            None,
            exposure=psf,
            energy_range=self.energy_range,
            event_type=self.component,
        )


class ImageRunSettings(_Settings):
    """All that decides what a run on images computes."""

    seed: int = Field(1, ge=0)
    sky: ImageSky = Field(default_factory=ImageSky)
    interstellar: InterstellarSettings = InterstellarSettings()
    simulation: ImageSimulationSettings = ImageSimulationSettings()
    network: ImageNetworkSettings = Field(default_factory=ImageNetworkSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    joint: JointSettings = JointSettings()
    observation: ObservationSettings = ObservationSettings()
    learning_shares: tuple[float, ...] = Field(
        (0.1, 0.3), description="shares of the training images on which the full network is trained beside"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.sky.f_src[0] < self.sky.f_src[1]:
            raise InputError(f"f_src: must have a range for a network to learn, got {self.sky.f_src}")
        for share in self.learning_shares:
            if not 0 < share < 1:
                raise InputError(f"learning_shares: must lie in (0, 1), got {share}")
        return self

    @property
    def known_slope(self) -> float | None:
        """The sky's own slope, if it is fixed and inside the range of the joint posterior."""
        (low, high), (gamma, end) = self.joint.gamma, self.sky.gamma
        return gamma if gamma == end and low < gamma < high else None

    def sky_of(self, background: str, free: bool = False) -> ImageSky:
        """The sky of an interstellar model, with the free slope of the joint posterior or that of :attr:`sky`.

        :data:`MIXED` names the mixture of the training models, where networks learn from one.

        Raises
        ------
        InputError
            If the model is none of the run's.
        """
        training = self.interstellar.training
        known: dict[str, tuple[str, ...]] = {
            background_name(each): (each,) for each in (*training, *self.interstellar.testing)
        }
        known |= {MIXED: training} if self.interstellar.mix else {}
        if background not in known:
            raise InputError(f"interstellar: must be one of {', '.join(known)}, got {background!r}")
        values: dict[str, Any] = self.sky.model_dump()
        given, *mixed = known[background]
        values |= {"interstellar": given} if given in INTERSTELLAR else {"interstellar_map": given}
        values |= {"mixed": tuple(mixed)} if mixed else {}
        return make_settings(ImageSky, values | ({"gamma": self.joint.gamma} if free else {}))

    def build(self, background: str, free: bool = False) -> ImageSkyModel:
        """The model of an interstellar model: with region, energies, exposure and PSF of the observation, if any."""
        sky, seen = self.sky_of(background, free), self.observation.read()
        return ImageSkyModel.build(sky, seen)


def image_preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package."""
    return names_in("images")


def load_image_settings(
    preset: str = "images",
    changes: Iterable[str] = (),
    seed: int | None = None,
    observation: str | Path | None = None,
) -> ImageRunSettings:
    """Settings of a preset, with changes.

    Parameters
    ----------
    preset : str
        Name of a preset, or path of a TOML file.
    changes : iterable of str
        Each ``"section.key=value"``, the value as TOML writes it.
    seed : int, optional
        In place of the preset's.
    observation : path, optional
        Folder of real images that networks are made for. An interstellar cube in it, ``gll_iem*``, joins the models
        that networks learn from.

    Raises
    ------
    InputError
        If the preset, a key (the nearest valid one is named) or a value is not valid.
    """
    values = read_preset(preset, "images")
    if observation is not None:
        values |= _for_folder(values, Path(observation))
    apply_changes(values, changes, seed)
    for section, field in ImageRunSettings.model_fields.items():
        if isinstance(values.get(section), dict):
            check_keys(field.annotation, values[section], f"{section}.")
    return make_settings(ImageRunSettings, values)


def _for_folder(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Sections of settings for a folder of real images."""
    if not folder.is_dir():
        raise InputError(f"observation: must be a folder of images, got {str(folder)!r}")
    interstellar = dict(values.get("interstellar", {}))
    cubes = [str(path.resolve()) for path in sorted(folder.glob("gll_iem*.fits*"))]
    interstellar["training"] = [*interstellar.get("training", TRAINING), *cubes]
    seen = {**values.get("observation", {}), "folder": str(folder.resolve())}
    return {"interstellar": interstellar, "observation": seen}
