"""What another process needs to draw the same maps: settings and region of a model, as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel, image_sky_from_json
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.sky_settings import settings_from_json
from gcesbi.sky.region import Region

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """A model, to be built again.

    Parameters
    ----------
    text : str
        JSON: the settings (``sky``) and the region, as runs of pixels in NESTED order.
    fingerprint : str
        Of the model.
    """

    text: str
    fingerprint: str

    @classmethod
    def of(cls, model: SkyModel | ImageSkyModel) -> Recipe:
        """The recipe of a model."""
        region: dict[str, Any] = {"runs": _runs(model.region.pixels)}
        if isinstance(model, SkyModel):
            region["nside"] = model.region.nside
        return cls.from_dict(
            {"sky": model.settings.model_dump(mode="json"), "region": region, "fingerprint": model.fingerprint}
        )

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Recipe:
        """The recipe that :meth:`to_dict` wrote; other keys are left out."""
        kept = {name: content[name] for name in ("sky", "region")}
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
    simulator = _simulator(recipe.to_dict())
    if simulator.model.fingerprint != recipe.fingerprint:
        raise InputError(
            f"model: its settings must build model {recipe.fingerprint} again, they build "
            f"{simulator.model.fingerprint} (another version, or other maps in a data folder)"
        )
    simulator.prepare()
    return simulator


def _simulator(content: dict[str, Any]) -> Simulator:
    settings, region = json.dumps(content["sky"]), content["region"]
    if "nside" not in region:
        return ImageSimulator(image_sky_from_json(settings).build())
    model = SkyModel.build(settings_from_json(settings))
    wanted = Region(region["nside"], _pixels(region["runs"]))
    return Simulator(model if wanted == model.region else model.with_region(wanted))


def _runs(pixels: NDArray[np.int64]) -> str:
    """Runs of consecutive pixels, "first:end" each, the end not among them."""
    breaks = np.flatnonzero(np.diff(pixels) != 1) + 1
    return " ".join(f"{run[0]}:{run[-1] + 1}" for run in np.split(pixels, breaks))


def _pixels(runs: str) -> NDArray[np.int64]:
    ends = (run.split(":") for run in runs.split())
    return np.concatenate([np.arange(int(first), int(end)) for first, end in ends])
