"""Settings of a run: typed, checked at construction, read from a TOML preset.

Presets ship with the package or are a user's own TOML files. A preset names only what it changes; everything else has
the default stated here, in :mod:`gcesbi.analysis.sections` or in the class that uses it. The kind of sky decides which
sections there are: ``spectra``, ``neural_posterior`` and ``nptf`` of HEALPix maps, ``interstellar``, ``joint``,
``observation`` and ``learning_shares`` of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from gcesbi.analysis.presets import apply_changes, read_preset
from gcesbi.analysis.sections import (
    InterstellarSettings,
    JointSettings,
    NeuralPosteriorSettings,
    NptfSettings,
    ObservationSettings,
    Section,
    SimulationSettings,
    SpectraSettings,
)
from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, TrainingSettings
from gcesbi.estimators.files import differences
from gcesbi.estimators.images import ImageNetworkSettings
from gcesbi.io.data import located
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.composition_files import read_toml, stated
from gcesbi.simulation.image_settings import TRAINING, ImageSky
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky
from gcesbi.simulation.statement import check_keys, make_settings

__all__ = ["IMAGES", "RunSettings", "load_settings"]

IMAGES = "galactic-centre-images"
"""Kind of sky that images are drawn from."""
_SKIES: dict[str, type] = {
    "inner-galaxy": InnerGalaxySky,
    "folder": FolderSky,
    "composed": Composition,
    IMAGES: ImageSky,
}
_OF_MAPS = ("spectra", "neural_posterior", "nptf")
_OF_IMAGES = ("interstellar", "joint", "observation", "learning_shares")
_N_TEST = 1_024  # images of a testing model


class RunSettings(Section):
    """All that decides what a run computes."""

    seed: int = Field(1, ge=0)
    sky: Annotated[InnerGalaxySky | FolderSky | Composition | ImageSky, Field(discriminator="kind")] = Field(
        default_factory=InnerGalaxySky
    )
    simulation: SimulationSettings = SimulationSettings()
    network: NetworkSettings | ImageNetworkSettings = Field(default_factory=NetworkSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    spectra: SpectraSettings = SpectraSettings()
    neural_posterior: NeuralPosteriorSettings = NeuralPosteriorSettings()
    nptf: NptfSettings = NptfSettings()
    interstellar: InterstellarSettings = InterstellarSettings()
    joint: JointSettings = JointSettings()
    observation: ObservationSettings = ObservationSettings()
    learning_shares: tuple[float, ...] = Field(
        (0.1, 0.3), description="shares of the training images on which the full network is trained beside"
    )

    @property
    def of_images(self) -> bool:
        """Whether the run is one on images of the Galactic Centre."""
        return isinstance(self.sky, ImageSky)

    @property
    def sky_of_maps(self) -> InnerGalaxySky | FolderSky | Composition:
        """The sky of a run on maps.

        Raises
        ------
        InputError
            If the run is one on images.
        """
        if isinstance(self.sky, ImageSky):
            raise InputError(f"sky: must be one of maps, is of kind {self.sky.kind!r}; see `gcesbi images`")
        return self.sky

    @property
    def sky_of_images(self) -> ImageSky:
        """The sky of a run on images.

        Raises
        ------
        InputError
            If the run is one on maps.
        """
        if not isinstance(self.sky, ImageSky):
            raise InputError(f"sky: must be one of images, is of kind {self.sky.kind!r}")
        return self.sky

    @property
    def law_of_sky(self) -> dict[str, Any]:
        """What decides the maps that are drawn, as plain values; files of a composed sky by what they hold."""
        return self.sky.law() if isinstance(self.sky, Composition) else self.sky.model_dump(mode="json")

    def has_sky_of(self, path: str | Path) -> bool:
        """Whether the sky is that which a TOML file states."""
        return read_toml(path).law() == self.law_of_sky

    def continued(self, asked: RunSettings, where: str) -> RunSettings:
        """Settings of a run of these when it goes on with those `asked` for.

        What its maps are drawn from is settled, and images are settled altogether; the number of training maps may
        grow; all else is as now asked.

        Raises
        ------
        InputError
            If something that is settled is asked to be otherwise; begins with `where`.
        """
        mine, theirs = (each.model_dump(mode="json") | {"sky": each.law_of_sky} for each in (self, asked))
        unlike = differences(mine, theirs)
        settled = ("sky", "seed", "simulation.store", "simulation.n_validation")
        kept = [each for each in unlike if self.of_images or asked.of_images or each.startswith(settled)]
        advice = "choose another folder or give --overwrite"
        if kept:
            raise InputError(f"{where} was made with another {'; '.join(kept)}; {advice}")
        here, now = self.simulation, asked.simulation
        if here.n_test != now.n_test:
            raise InputError(
                f"{where} holds out {here.n_test} maps, now {now.n_test} are asked for: networks would be tested on "
                f"maps they were trained on; {advice}"
            )
        grown = now.model_copy(update={"n_train": max(here.n_train, now.n_train)})
        return asked.model_copy(update={"simulation": grown, "sky": self.sky})

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, values: Any) -> Any:
        """What depends on the kind of sky: sections that there are, sizes of the networks, maps held out."""
        if not isinstance(values, Mapping):
            return values
        sky = values.get("sky", {})
        kind = sky.get("kind", "inner-galaxy") if isinstance(sky, Mapping) else getattr(sky, "kind", None)
        images, network = kind == IMAGES, values.get("network", {})
        for section in _OF_MAPS if images else _OF_IMAGES:
            if section in values:
                raise InputError(f"{section}: is no section of a sky of kind {kind!r}")
        if isinstance(network, Mapping):
            network = make_settings(ImageNetworkSettings if images else NetworkSettings, network)
        found = {**values, "network": network}
        simulation = values.get("simulation", {})
        if images and isinstance(simulation, Mapping):
            found["simulation"] = {"n_test": _N_TEST, **simulation}
        return found

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.sky, ImageSky):
            if not self.sky.f_src[0] < self.sky.f_src[1]:
                raise InputError(f"f_src: must have a range for a network to learn, got {self.sky.f_src}")
            if self.simulation.store is not None:
                raise InputError(f"simulation.store: images lie in the run's own folder, got {self.simulation.store!r}")
        if self.training.start == ("shipped" if self.of_images else "full"):
            kinds = "of maps" if self.of_images else "of images"
            raise InputError(f"training.start: {self.training.start!r} is for networks {kinds}")
        for share in self.learning_shares:
            if not 0 < share < 1:
                raise InputError(f"learning_shares: must lie in (0, 1), got {share}")
        return self

    @model_serializer(mode="wrap")
    def _own_sections(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        other = _OF_MAPS if self.of_images else _OF_IMAGES
        return {name: value for name, value in handler(self).items() if name not in other}


def load_settings(
    preset: str | RunSettings = "quick",
    changes: Iterable[str] = (),
    seed: int | None = None,
    sky: str | Path | Mapping[str, Any] | InnerGalaxySky | FolderSky | Composition | None = None,
    *,
    images: str | Path | None = None,
    kind: str = "inner-galaxy",
) -> RunSettings:
    """Settings of a preset, with changes.

    Parameters
    ----------
    preset : str or RunSettings
        Name of a preset, or path of a TOML file; or settings that are there.
    changes : iterable of str
        Each ``"section.key=value"``, the value as TOML writes it.
    seed : int, optional
        In place of the preset's.
    sky : path, mapping or settings of a sky, optional
        In place of the preset's sky; a path is that of a TOML file which composes one.
    images : path, optional
        Folder of real images that networks are made for. An interstellar cube in it, ``gll_iem*``, joins the models
        that networks learn from.
    kind : str
        Of the sky, where the preset does not say.

    Raises
    ------
    InputError
        If the preset, a key (the nearest valid one is named) or a value is not valid.
    """
    values = read_preset(preset) if isinstance(preset, str) else preset.model_dump(mode="json")
    if sky is not None:
        values["sky"] = _as_section(sky)
    _check_sections(values)
    if "file" in values.get("sky", {}):
        values["sky"] = stated(values["sky"]["file"], {n: v for n, v in values["sky"].items() if n != "file"})
    if images is not None:
        values |= _for_folder(values, Path(images))
    apply_changes(values, changes, seed)
    values.setdefault("sky", {})
    _check_sections(values)
    given = values["sky"].setdefault("kind", kind)
    if not isinstance(given, str) or given not in _SKIES:
        raise InputError(f"sky.kind: must be one of {', '.join(_SKIES)}, got {given!r}")
    kinds: dict[str, Any] = {
        n: f.annotation for n, f in RunSettings.model_fields.items() if n not in ("seed", "learning_shares")
    }
    kinds |= {"sky": _SKIES[given], "network": ImageNetworkSettings if given == IMAGES else NetworkSettings}
    for section, content in values.items():
        if section in kinds and isinstance(content, Mapping):
            check_keys(kinds[section], content, f"{section}.")
    return make_settings(RunSettings, values)


def _as_section(sky: Any) -> dict[str, Any]:
    return {"file": str(sky)} if isinstance(sky, str | Path) else dict(sky)


def _check_sections(values: Mapping[str, Any]) -> None:
    sections = RunSettings.model_fields.keys() - {"seed", "learning_shares"}
    for name in sections & values.keys():
        if not isinstance(values[name], Mapping):
            raise InputError(f"{name}: must be a section, of settings {name}.key = value, got {values[name]!r}")


def _for_folder(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Sections of settings for a folder of real images."""
    folder = located(folder, "observation")
    if not folder.is_dir():
        raise InputError(f"observation: must be a folder of images, got {str(folder)!r}")
    interstellar = dict(values.get("interstellar", {}))
    cubes = [str(path.resolve()) for path in sorted(folder.glob("gll_iem*.fits*"))]
    interstellar["training"] = [*interstellar.get("training", TRAINING), *cubes]
    seen = {**values.get("observation", {}), "folder": str(folder.resolve())}
    return {"interstellar": interstellar, "observation": seen}
