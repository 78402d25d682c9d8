"""The sky of a run in its folder: what is stated, what an observation changed, and maps that take long to compute.

A composed sky lies there as ``sky.toml``, with its arrays beside it, so that a run neither notices nor minds when the
file that it was made from is changed. Files of maps that it names stay where they are.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gcesbi.analysis.keeping import package_shelf
from gcesbi.analysis.settings import RunSettings
from gcesbi.errors import InputError
from gcesbi.io.files import read_arrays, write_arrays
from gcesbi.simulation import SkyModel
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.composition_files import stated, write_toml
from gcesbi.simulation.image_settings import as_stored
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky import Grid, grid_of

__all__ = [
    "KEPT_MAPS",
    "card_of",
    "keep_sky",
    "kept_model",
    "plain_settings",
    "with_kept_sky",
]

KEPT_MAPS = "sky.npz"
_SKY, _EXPOSURE = "sky.toml", "exposure.npz"


def plain_settings(settings: RunSettings) -> dict[str, Any]:
    """Settings as a run's card has them: a composed sky stands in a file of its own."""
    if not isinstance(settings.sky, Composition):
        return settings.model_dump(mode="json")
    return settings.model_dump(mode="json", exclude={"sky"}) | {"sky": {"kind": settings.sky.kind, "file": _SKY}}


def with_kept_sky(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a card with the sky that the file says which it names, or of images as the card's version meant it.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    sky = settings.get("sky", {})
    return settings | {"sky": stated(folder / sky["file"]) if "file" in sky else as_stored(sky)}


def card_of(model: SkyModel) -> dict[str, Any]:
    """What a run's card says of its model."""
    card = {"model": model.fingerprint, "region": model.region.describe()}
    return card | ({"known_shapes": model.known_shapes} if model.known_shapes else {})


def keep_sky(folder: Path, settings: RunSettings, model: SkyModel) -> None:
    """Write the sky into a run's folder."""
    if isinstance(settings.sky, Composition):
        write_toml(settings.sky, folder / _SKY)
    if model.exposure_ratio is not None:
        write_arrays(folder / _EXPOSURE, {"ratio": model.exposure_ratio})
    _keep_maps(folder, settings, model)


def kept_model(folder: Path, settings: RunSettings, card: Mapping[str, Any]) -> SkyModel:
    """The model that :func:`keep_sky` kept.

    Raises
    ------
    InputError
        If it is not the model that the run was made with (another version, or other maps), or the card is damaged.
    """
    sky = settings.sky_of_maps
    kept = TemplateMaps.load(folder / KEPT_MAPS, sky.law())
    model = SkyModel.build(sky, kept)
    region = kept_region(folder, card)
    if region is not None and region != model.region:
        model = model.with_region(region)
    if (folder / _EXPOSURE).is_file():
        kept_exposure = read_arrays(folder / _EXPOSURE)
        if "ratio" not in kept_exposure:
            raise InputError(f"run: {folder / _EXPOSURE} is damaged (it holds no ratio)")
        model = model.with_exposure_ratio(kept_exposure["ratio"])
    if card.get("known_shapes"):
        model = model.at(**card["known_shapes"])
    if model.fingerprint != card.get("model"):
        raise InputError(f"run: {str(folder)!r} was made with model {card.get('model')}, now it is {model.fingerprint}")
    if kept is None:
        _keep_maps(folder, settings, model)
    return model


def kept_region(folder: Path, card: Mapping[str, Any]) -> Grid | None:
    """The region that a run's card names; None where it names none. Raises InputError if it is damaged."""
    try:
        return grid_of(card["region"]) if "region" in card else None
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"run: {folder / 'run.json'} is damaged (region: {error})") from None


def _keep_maps(folder: Path, settings: RunSettings, model: SkyModel) -> None:
    """Store what the next command need not compute again."""
    if model.resolved is not None or package_shelf() in folder.resolve().parents:
        return
    with suppress(InputError):  # a folder that cannot be written is read all the same
        model.maps.save(folder / KEPT_MAPS, settings.sky_of_maps.law())
