"""What another process needs to draw the same maps: settings and region of a model, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from gcesbi.errors import InputError
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.image_settings import ImageSky, as_stored
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky
from gcesbi.simulation.stated_data import array_of, data_of_array
from gcesbi.simulation.statement import make_settings
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky import grid_of

__all__ = ["Recipe", "build_model", "simulator_for"]

_MAPS: dict[str, type[InnerGalaxySky | FolderSky | Composition]] = {
    "inner-galaxy": InnerGalaxySky,
    "folder": FolderSky,
    "composed": Composition,
}
_IMAGES = "galactic-centre-images"


@dataclass(frozen=True)
class Recipe:
    """A model, to be built again.

    Parameters
    ----------
    text : str
        JSON: the settings (``sky``), the region, as its grid describes itself, and what else was changed since: see
        :meth:`gcesbi.SkyModel.like`.
    fingerprint : str
        Of the model.
    kept : str, optional
        File where the maps of the sky are kept (:class:`gcesbi.simulation.template_maps.TemplateMaps`): read, not
        computed, if it is there and of this sky and version.
    """

    text: str
    fingerprint: str
    kept: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, model: SkyModel | ImageSkyModel) -> Recipe:
        """The recipe of a model."""
        region, sky = model.region.describe(), model.settings.model_dump(mode="json")
        told = {"sky": sky, "region": region, "fingerprint": model.fingerprint}
        if isinstance(model, SkyModel) and model.exposure_ratio is not None:
            told["exposure_ratio"] = data_of_array(model.exposure_ratio)
        if isinstance(model, SkyModel) and model.known_shapes:
            told["known_shapes"] = model.known_shapes
        return cls.from_dict(told)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Recipe:
        """The recipe that :meth:`to_dict` wrote; other keys are left out."""
        kept = {name: content[name] for name in ("sky", "region")}
        kept |= {name: content[name] for name in ("exposure_ratio", "known_shapes") if name in content}
        return cls(json.dumps(kept, sort_keys=True), content["fingerprint"])

    def to_dict(self) -> dict[str, Any]:
        """Settings, region and fingerprint as plain numbers."""
        return {**json.loads(self.text), "fingerprint": self.fingerprint}

    def simulator(self) -> Simulator:
        """The simulator, ready to draw from several threads; built once in each process.

        Raises
        ------
        InputError
            If what the settings build is another model.
        """
        with _LOCK:
            return _build(self)


_LOCK = Lock()


@lru_cache(maxsize=2)
def _build(recipe: Recipe) -> Simulator:
    simulator = _simulator(recipe.to_dict(), recipe.kept)
    if simulator.model.fingerprint != recipe.fingerprint:
        raise InputError(
            f"model: its settings must build model {recipe.fingerprint} again, they build "
            f"{simulator.model.fingerprint} (another version, or other maps in a data folder)"
        )
    simulator.prepare()
    return simulator


def _simulator(content: dict[str, Any], kept: str | None) -> Simulator:
    model = build_model(content["sky"], kept)
    if isinstance(model, SkyModel):  # images are whole; their geometry follows from the settings
        wanted = grid_of(content["region"])
        model = model if wanted == model.region else model.with_region(wanted)
        if "exposure_ratio" in content:
            model = model.with_exposure_ratio(array_of(content["exposure_ratio"]))
        if "known_shapes" in content:
            model = model.at(**content["known_shapes"])
    return simulator_for(model)


def build_model(sky: Mapping[str, Any], kept: str | None = None) -> SkyModel | ImageSkyModel:
    """The model of stored settings, of any kind; `kept` as of a :class:`Recipe`.

    Raises
    ------
    InputError
        If the kind is unknown, or a setting is.
    """
    kind = sky.get("kind")
    if kind in _MAPS:
        made = make_settings(_MAPS[kind], sky)
        return SkyModel.build(made, None if kept is None else TemplateMaps.load(Path(kept), made.law()))
    if kind == _IMAGES:
        return ImageSkyModel.build(make_settings(ImageSky, as_stored(sky)))
    raise InputError(f"sky: kind must be one of {', '.join((*_MAPS, _IMAGES))}, got {kind!r}")


def simulator_for(model: SkyModel | ImageSkyModel) -> Simulator:
    """The simulator of a model of any kind."""
    return ImageSimulator(model) if isinstance(model, ImageSkyModel) else Simulator(model)
