"""The parts of a model of images, from its settings: templates of all components, exposure and PSF."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io import read_catalogue, read_intensity_cube
from gcesbi.physics.exposure import survey_exposure_at
from gcesbi.physics.halo_sources import HaloSources
from gcesbi.physics.interstellar_image import PARTS, InterstellarEmission, isotropic_emission
from gcesbi.physics.psf import PSF
from gcesbi.physics.psf_front import FRONT_TO_PSF3, P8R3_ULTRACLEANVETO_V3_FRONT
from gcesbi.simulation.image_settings import ImageSky
from gcesbi.simulation.image_templates import REACH, Emission, ImageModel, expected_flux
from gcesbi.simulation.sky_settings import INTERSTELLAR
from gcesbi.sky.image import ImageGeometry, ImageRegion, angular_distance
from gcesbi.sky.observation import Observation, RadialPSF

__all__ = ["ImageParts", "background_parts", "compose_images"]

Array = NDArray[np.float64]

GAMMA_STEP = 0.01
_PSF_ANGLES = np.geomspace(1e-3, 10.0, 64)


class ImageParts(TypedDict):
    """What settings decide of an :class:`gcesbi.simulation.image_sky_model.ImageSkyModel`, by its fields' names."""

    region: ImageRegion
    energy_edges: Array
    exposure: Array
    psf: tuple[RadialPSF, ...]
    background: tuple[str, ...]
    background_templates: Array
    interstellar_templates: Array
    brightness: Array
    gammas: Array
    halo_templates: Array
    halos: tuple[HaloSources, ...]
    content: str


def compose_images(sky: ImageSky, observation: Observation | None = None) -> ImageParts:
    """Parts of a model with the instrument of an observation, or the library's own: front-converting events."""
    if observation is None:
        geometry, edges = ImageGeometry(sky.shape, sky.pixel_size), np.asarray(sky.energy_edges, dtype=np.float64)
        one = survey_exposure_at(*geometry.glon_glat(), weeks=sky.weeks) * FRONT_TO_PSF3
        table = P8R3_ULTRACLEANVETO_V3_FRONT
        psf = tuple(PSF.from_table(table, low, high, index=2.4) for low, high in pairwise(edges))
        return _compose(sky, geometry.whole(), edges, np.tile(one, (len(psf), 1)), psf, _digest(sky))
    seen, digest = observation, hashlib.sha256(_digest(sky).encode())
    if not isinstance(seen.region, ImageRegion) or seen.psf is None:
        raise InputError("observation: must be an image with a point-spread function for every energy bin")
    for values in (seen.energy_edges, seen.exposure, *(psf.density(_PSF_ANGLES) for psf in seen.psf)):
        digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return _compose(sky, seen.region, seen.energy_edges, seen.exposure, seen.psf, digest.hexdigest()[:16])


def _compose(
    sky: ImageSky,
    region: ImageRegion,
    energy_edges: Array,
    exposure: Array,
    psf: tuple[RadialPSF, ...],
    content: str,
) -> ImageParts:
    names = (sky.interstellar_map or sky.interstellar, *sky.mixed)
    mixed, background = {name: _interstellar(name, sky.norms) for name in names}, _others(sky)
    parts = {f"{name}, {part}": each for name, whole in mixed.items() for part, each in _apart(whole, sky).items()}
    low, high = sky.gamma
    gammas = np.linspace(low, high, int(np.ceil((high - low) / GAMMA_STEP - 1e-9)) + 1)
    annihilations = {f"{gamma:.6f}": sky.excess(float(gamma), region, energy_edges) for gamma in gammas}
    everything: Mapping[str, Emission] = {**parts, **background, **annihilations}
    counts = region.take(expected_flux(region.geometry, energy_edges, psf, everything)) * exposure
    interstellar, others, halo = np.split(counts, [len(parts), len(parts) + len(background)])
    interstellar = interstellar.reshape(len(mixed), -1, *exposure.shape).swapaxes(0, 1)
    interstellar = interstellar * sky.norms.get("interstellar", 1.0)
    others = others * np.array([sky.norms.get(name, 1.0) for name in background])[:, None, None]
    corner = float(np.max(angular_distance(*region.geometry.glon_glat(), (0.0, 0.0)))) + region.geometry.pixel_size
    return {
        "region": region,
        "energy_edges": energy_edges,
        "exposure": exposure,
        "psf": psf,
        "background": ("interstellar", *background),
        "background_templates": np.concatenate([interstellar.sum(axis=0).mean(axis=0, keepdims=True), others]),
        "interstellar_templates": interstellar,
        "brightness": np.array(sky.cross_sections) / np.mean(sky.cross_sections),
        "gammas": gammas,
        "halo_templates": halo,
        "halos": tuple(HaloSources(each.halo, min(corner + REACH, 180.0)) for each in annihilations.values()),
        "content": content,
    }


def background_parts(sky: ImageSky, observation: Observation) -> dict[str, Array]:
    """Expected counts (n_energy, n_pix), at norm 1, of every part of the background that has a norm: `sky.parts`."""
    name = sky.interstellar_map or sky.interstellar
    whole = _interstellar(name, {})
    split: Mapping[str, Emission] = {"interstellar": whole}
    if isinstance(whole, InterstellarEmission):
        split = whole.parts()
    emissions: dict[str, Emission] = {**split, **_others(sky)}
    seen = ImageModel.build(observation, emissions)
    return dict(zip(emissions, seen.templates, strict=True))


def _interstellar(name: str, norms: Mapping[str, float]) -> Emission:
    if name not in INTERSTELLAR:
        return read_intensity_cube(name)
    return InterstellarEmission(*INTERSTELLAR[name], norms={part: norms[part] for part in PARTS if part in norms})


def _apart(emission: Emission, sky: ImageSky) -> dict[str, Emission]:
    """Parts whose norms scatter: all of :data:`PARTS` where every model has them, else the whole."""
    if sky.scatter == 0 or PARTS[0] not in sky.parts or not isinstance(emission, InterstellarEmission):
        return {"": emission}
    none = dict.fromkeys(PARTS, 0.0)
    return {part: replace(emission, norms=none | {part: emission.norms.get(part, 1.0)}) for part in PARTS}


def _others(sky: ImageSky) -> dict[str, Emission]:
    """Isotropic emission, and sources of the catalogue if one is named."""
    found: dict[str, Emission] = {"iso": isotropic_emission()}
    return found if sky.catalogue is None else found | {"catalogue": read_catalogue(sky.catalogue)}


def _digest(sky: ImageSky) -> str:
    """Digest of the files' bytes; empty without any."""
    maps = [name for name in sky.mixed if name not in INTERSTELLAR]
    paths = [path for path in (sky.interstellar_map, *maps, sky.catalogue, sky.yields) if path is not None]
    content = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths if Path(path).is_file()]
    return hashlib.sha256("".join(content).encode()).hexdigest()[:16] if content else ""
