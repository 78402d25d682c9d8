"""The parts of a sky model, from its settings: templates computed or read, exposure, PSF and priors.

Norm ranges are those of List et al. (2025, arXiv:2507.17804), stated at nside 256 and the 573-week exposure; they scale
as counts per pixel do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from gcesbi.io import degrade, map_nside, read_map, read_mask, read_template
from gcesbi.physics import templates
from gcesbi.physics.exposure import survey_exposure
from gcesbi.physics.psf import PSF
from gcesbi.physics.smoothing import smooth
from gcesbi.simulation.components import DiffuseTemplate, PointSourceTemplate, Population, unit_mean
from gcesbi.simulation.sky_settings import EXCESS_XI, REFERENCE_WEEKS, FolderSky, InnerGalaxySky, SkySettings
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky.energy import log_energy_edges
from gcesbi.sky.region import Region, check_nside, in_disc

__all__ = ["Parts", "compose"]

Array = NDArray[np.float64]

PATCH_RADIUS = 35.0  # the disc from which light may reach the normalisation disc
NORM_RANGES = {"pi": (1.75, 3.5), "ic": (1.0, 2.25), "iso": (0.0, 0.5), "bub": (0.0, 0.5)}  # at nside 256
EXCESS_FLUX = 2.8e-7  # largest mean flux of the excess, shared evenly by its populations
DISK = Population(xi=(-12.0, -9.0), flux=(0.0, 2.8e-7))


class Parts(TypedDict, total=False):
    """What settings decide of a :class:`gcesbi.SkyModel`, by the names of its fields."""

    patch: Region
    region: Region
    energy_edges: Array
    patch_exposure: Array
    psf: tuple[PSF, ...]
    diffuse: tuple[DiffuseTemplate, ...]
    point_source_templates: tuple[PointSourceTemplate, ...]
    content: str
    spectral_jitter: float
    expected_labels: bool


def compose(sky: InnerGalaxySky | FolderSky, maps: TemplateMaps | None = None) -> Parts:
    """Parts of a model; of a built-in sky the maps are computed unless given as `maps`."""
    patch = Region(sky.nside, np.flatnonzero(in_disc(check_nside(sky.nside), PATCH_RADIUS)))
    parts = _read(sky, patch) if isinstance(sky, FolderSky) else _compute(sky, patch, maps)
    return {"patch": patch, "expected_labels": sky.expected_labels, **parts}


def _compute(sky: InnerGalaxySky, patch: Region, maps: TemplateMaps | None) -> Parts:
    """Line-of-sight integrals, smoothed with the PSF of their energy bin."""
    edges = log_energy_edges(sky.n_energy)
    psf = tuple(PSF.default(low, high) for low, high in pairwise(edges))
    exposure = survey_exposure(sky.nside, patch.pixels, edges, weeks=sky.weeks)
    maps = _maps(sky, patch, psf, exposure) if maps is None else maps
    counts = maps.counts
    return {
        "region": Region.disc(sky.nside, sky.radius, sky.band),
        "energy_edges": edges,
        "patch_exposure": exposure,
        "psf": psf,
        "diffuse": _diffuse({name: counts[name] for name in NORM_RANGES}, sky),
        "point_source_templates": (
            _excess(sky, maps.intensity["gce"], counts["gce"], maps.poisson),
            PointSourceTemplate("disk", maps.intensity["disk"], counts["disk"], (DISK,)),
        ),
        "spectral_jitter": sky.spectral_jitter,
    }


def _maps(sky: InnerGalaxySky, patch: Region, psf: tuple[PSF, ...], exposure: Array) -> TemplateMaps:
    shapes: dict[str, templates.Template] = {
        "pi": templates.PionDecay(sky.cosmic_rays, sky.halo_height, sky.spin_temperature),
        "ic": templates.InverseCompton(sky.cosmic_rays, sky.halo_height),
        "iso": templates.Isotropic(),
        "bub": templates.Bubbles(),
        "gce": templates.NFW(gamma=sky.gamma),
        "disk": templates.Disk(z_s=sky.disk_height),
    }
    intensity = np.stack([shape.map(sky.nside, patch.pixels) for shape in shapes.values()])
    smoothed = np.stack([smooth(intensity, patch, each) for each in psf], axis=1)
    counts = dict(zip(shapes, unit_mean(smoothed * exposure, patch), strict=True))
    return TemplateMaps(counts, {"gce": intensity[4], "disk": intensity[5]}, smoothed[4] * exposure)


def _read(sky: FolderSky, patch: Region) -> Parts:
    """Maps of the folder, as they are."""
    files = {"iso": "iso", "bub": "bub", "gce": f"nfw_{sky.nfw}", "disk": f"dsk_{sky.disk}"}
    if sky.diffuse == "p6v11":
        files = {"dif": "dif", **files}
    else:
        files = {"pi": f"{sky.diffuse}pi", "ic": f"{sky.diffuse}ic", **files}
    exposures = np.atleast_1d(np.squeeze(read_map(sky.path, "fermidata_exposure")))
    own = map_nside(exposures.shape[-1], "fermidata_exposure.npy")
    full = {n: degrade(read_template(sky.path, f, own), sky.nside)[patch.pixels] for n, f in files.items()}
    exposure = degrade(exposures, sky.nside, "mean")[patch.pixels][None] * (sky.weeks / REFERENCE_WEEKS)
    mask = None if sky.mask is None else degrade(read_mask(sky.path, sky.mask), sky.nside, "any")
    counts = {name: unit_mean(values[None], patch) for name, values in full.items()}
    psf, nfw, disk = PSF.customary_2gev(), full["gce"] / exposure[0], full["disk"] / exposure[0]
    poisson = smooth(nfw, patch, psf) * exposure if sky.gce_poisson_share else None
    return {
        "region": Region.disc(sky.nside, sky.radius, sky.band, mask=mask),
        "energy_edges": np.array([2.0, 20.0]),
        "patch_exposure": exposure,
        "psf": (psf,),
        "diffuse": _diffuse({n: counts[n] for n in files if n not in ("gce", "disk")}, sky),
        "point_source_templates": (
            _excess(sky, nfw, counts["gce"], poisson),
            PointSourceTemplate("disk", disk, counts["disk"], (DISK,)),
        ),
        "content": hashlib.sha256(b"".join(values.tobytes() for values in (*full.values(), exposure))).hexdigest(),
    }


def _excess(sky: SkySettings, intensity: Array, counts: Array, poisson: Array | None) -> PointSourceTemplate:
    """The excess: `poisson` (n_energy, n_patch) is where its smooth share shines, if it has one."""
    population = Population(xi=(sky.gce_xi_low, EXCESS_XI[1]), flux=(0.0, EXCESS_FLUX / sky.gce_populations))
    populations = (population,) * sky.gce_populations
    return PointSourceTemplate("gce", intensity, counts, populations, poisson if sky.gce_poisson_share else None)


def _diffuse(counts: Mapping[str, Array], sky: InnerGalaxySky | FolderSky) -> tuple[DiffuseTemplate, ...]:
    """Diffuse templates with the prior of their name; one map for all interstellar emission has the sum of two."""
    ranges = NORM_RANGES | {"dif": tuple(map(sum, zip(NORM_RANGES["pi"], NORM_RANGES["ic"], strict=True)))}
    scale = (256 / sky.nside) ** 2 * sky.weeks / REFERENCE_WEEKS
    return tuple(DiffuseTemplate(n, c, (ranges[n][0] * scale, ranges[n][1] * scale)) for n, c in counts.items())
