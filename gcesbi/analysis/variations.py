"""Skies that differ from a run's in one belief, by name."""

from collections.abc import Mapping
from typing import Any

from gcesbi.analysis.folder import RunFolder
from gcesbi.errors import InputError
from gcesbi.simulation import SkyModel
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.sky_settings import INTERSTELLAR, FolderSky, InnerGalaxySky

__all__ = ["Skies", "models_of_variations", "models_to_try", "variations"]

Sky = InnerGalaxySky | FolderSky | Composition
Skies = Mapping[str, Sky]
"""Settings of skies, by name."""


def variations(sky: Sky) -> dict[str, Sky]:
    """Skies that differ from a run's in one belief.

    Of the library's own skies: interstellar emission, thick disk (1 kpc), NFW of slope 1. Of a composed one: what it
    states as its variations.
    """
    if isinstance(sky, FolderSky):
        changes: dict[str, dict[str, Any]] = {
            f"interstellar model {name}": {"diffuse": name} for name in ("O", "A", "F") if name != sky.diffuse
        }
        changes |= {"thick disk": {"disk": "z1p0"}, "NFW of slope 1": {"nfw": "g1p0"}}
        if sky.diffuse == "p6v11":
            changes = {name: change for name, change in changes.items() if "diffuse" not in change}
    elif isinstance(sky, Composition):
        return dict(sky.varied())
    else:
        keys = ("cosmic_rays", "halo_height", "spin_temperature")
        changes = {f"interstellar {name}": dict(zip(keys, meant, strict=True)) for name, meant in INTERSTELLAR.items()}
        changes |= {"thick disk": {"disk_height": 1.0}, "NFW of slope 1": {"gamma": 1.0}}
    found = {name: type(sky)(**{**sky.model_dump(), **change}) for name, change in changes.items()}
    return {name: varied for name, varied in found.items() if varied != sky}


def models_to_try(run: RunFolder, skies: Skies | None = None) -> dict[str, SkyModel]:
    """:func:`models_of_variations`, of which there must be one.

    Raises
    ------
    InputError
        If there is none.
    """
    found = models_of_variations(run, skies)
    if not found:
        raise InputError("sky: states no variations to try networks on; add [[variations]] to its TOML")
    return found


def models_of_variations(run: RunFolder, skies: Skies | None = None) -> dict[str, SkyModel]:
    """Models of skies in the run's region, its :func:`variations` by default."""
    chosen = variations(run.settings.sky_of_maps) if skies is None else skies
    return {name: SkyModel.build(sky).like(run.model) for name, sky in chosen.items()}
