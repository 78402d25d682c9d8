"""The skies that models are built from, as settings that can be stored and built again.

:class:`InnerGalaxySky` computes every template itself. :class:`FolderSky` reads the maps of a data folder. Both carry
the priors of List et al. (2025, arXiv:2507.17804): norm ranges are stated at nside 256 and the 573-week exposure, and
scale as counts per pixel do. The variations of that paper are settings: see ``docs/model.md``.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gcesbi.errors import InputError
from gcesbi.physics import templates
from gcesbi.physics.exposure import survey_exposure
from gcesbi.physics.psf import PSF
from gcesbi.physics.smoothing import smooth
from gcesbi.simulation.components import DiffuseTemplate, PointSourceTemplate, Population
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky.energy import log_energy_edges
from gcesbi.sky.region import Region, check_nside, in_disc

__all__ = [
    "INTERSTELLAR",
    "FolderSky",
    "InnerGalaxySky",
    "SkySettings",
    "check_keys",
    "make_settings",
    "settings_from_json",
]

NORM_RADIUS, NORM_LATITUDE = 30.0, 2.0  # the disc over which templates have unit mean
PATCH_RADIUS = 35.0  # the disc from which light may reach the normalisation disc
REFERENCE_WEEKS = 573.0

NORM_RANGES = {"pi": (1.75, 3.5), "ic": (1.0, 2.25), "iso": (0.0, 0.5), "bub": (0.0, 0.5)}  # at nside 256
EXCESS_XI = (-13.0, -9.0)
EXCESS_FLUX = 2.8e-7  # largest mean flux of the excess, shared evenly by its populations
DISK = Population(xi=(-12.0, -9.0), flux=(0.0, 2.8e-7))

INTERSTELLAR = {
    "snr-10-150": ("snr", 10.0, 150.0),
    "lorimer-10-100000": ("lorimer", 10.0, 1e5),
    "lorimer-4-150": ("lorimer", 4.0, 150.0),
    "lorimer-10-150": ("lorimer", 10.0, 150.0),
    "snr-4-100000": ("snr", 4.0, 1e5),
}
"""Sources of cosmic rays, halo height (kpc) and spin temperature (K) of Caron et al. (2018, arXiv:1708.06706)."""


class SkySettings(BaseModel):
    """What both skies have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variations: ClassVar[frozenset[str]] = frozenset(
        {"gce_xi_low", "gce_populations", "gce_poisson_share", "expected_labels"}
    )

    radius: float = Field(25.0, gt=0, le=30, description="of the region about the Galactic Centre, degrees")
    band: float = Field(2.0, ge=0, lt=30, description="pixels at |b| up to this are left out, degrees")
    gce_xi_low: float = Field(
        EXCESS_XI[0], ge=-14, lt=EXCESS_XI[1], description="lower end of the prior of the excess' ξ"
    )
    gce_populations: Literal[1, 2] = Field(2, description="of sources that make the excess")
    gce_poisson_share: bool = Field(False, description="a share U[0, 1] of the excess is exactly Poisson")
    expected_labels: bool = Field(
        False, description="source counts are labelled by what the parameters say, not by the sources drawn"
    )

    def build(self) -> SkyModel:
        """Build the model."""
        raise NotImplementedError

    def law(self) -> dict[str, Any]:
        """All that decides what is drawn, as plain values.

        A variation that is off is left out, so that a new one changes no model's fingerprint; so is the place of maps.
        """
        off = {name for name in self.variations if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude={"path", *off})

    def _excess(
        self, intensity: NDArray[np.float64], counts: NDArray[np.float64], poisson: NDArray[np.float64] | None
    ) -> PointSourceTemplate:
        """The excess: `poisson` (n_energy, n_patch) is where its smooth share shines, if it has one."""
        flux = (0.0, EXCESS_FLUX / self.gce_populations)
        population = Population(xi=(self.gce_xi_low, EXCESS_XI[1]), flux=flux)
        populations = (population,) * self.gce_populations
        return PointSourceTemplate("gce", intensity, counts, populations, poisson if self.gce_poisson_share else None)


class InnerGalaxySky(SkySettings):
    """The inner Galaxy with templates, exposure and PSF of the library's own (``docs/model.md``)."""

    variations: ClassVar[frozenset[str]] = SkySettings.variations | {"interstellar", "spectral_jitter", "summed"}

    kind: Literal["inner-galaxy"] = "inner-galaxy"
    nside: int = Field(64, ge=8, le=1024)
    n_energy: int = Field(10, ge=1, le=40)
    weeks: float = Field(REFERENCE_WEEKS, gt=0, description="of observation")
    gamma: float = Field(1.2, ge=0, lt=1.5, description="inner slope of the generalised NFW profile")
    disk_height: float = Field(0.3, gt=0, description="scale height of the disk of sources, kpc")
    cosmic_rays: Literal["snr", "lorimer"] = "snr"
    halo_height: float = Field(10.0, gt=0, description="of the cosmic-ray halo, kpc")
    spin_temperature: float = Field(150.0, gt=0, description="of atomic hydrogen, K")
    interstellar: (
        Literal["snr-10-150", "lorimer-10-100000", "lorimer-4-150", "lorimer-10-150", "snr-4-100000"] | None
    ) = Field(None, description="a name for the three settings above, stored as those")
    spectral_jitter: float = Field(
        0.0, ge=0, le=2, description="relative scatter of every bin of every drawn spectrum; 0.5 in the paper"
    )
    summed: bool = Field(False, description="draw in n_energy bins, with their PSFs and spectra; sum the counts to one")

    @model_validator(mode="before")
    @classmethod
    def _unfold_name(cls, values: Any) -> Any:
        name = values.get("interstellar") if isinstance(values, dict) else None
        if not isinstance(name, str) or name not in INTERSTELLAR:
            return values
        meant = dict(zip(("cosmic_rays", "halo_height", "spin_temperature"), INTERSTELLAR[name], strict=True))
        for key in meant:
            if key in values:
                raise ValueError(f"interstellar: must stand without {key}, which {name!r} settles")
        return {key: value for key, value in values.items() if key != "interstellar"} | meant

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        for name in ("summed", "spectral_jitter"):
            if self.n_energy == 1 and getattr(self, name):
                raise ValueError(f"{name}: needs more than one energy bin, got n_energy 1")
        return self

    def build(self, maps: TemplateMaps | None = None) -> SkyModel:
        """Build the model: line-of-sight integrals, smoothed with the PSF of their energy bin, unless given as `maps`.

        A summed sky computes them anyhow.
        """
        if self.summed:
            one = self.model_copy(update={"n_energy": 1, "summed": False, "spectral_jitter": 0.0})
            return replace(one.build(), settings=self, resolved=self.model_copy(update={"summed": False}).build())
        patch = _patch(check_nside(self.nside))
        edges = log_energy_edges(self.n_energy)
        psf = tuple(PSF.default(low, high) for low, high in itertools.pairwise(edges))
        exposure = survey_exposure(self.nside, patch.pixels, edges, weeks=self.weeks)
        maps = self._maps(patch, psf, exposure) if maps is None else maps
        counts = maps.counts
        scale = (256 / self.nside) ** 2 * self.weeks / REFERENCE_WEEKS
        return SkyModel(
            settings=self,
            patch=patch,
            region=Region.disc(self.nside, self.radius, self.band),
            energy_edges=edges,
            patch_exposure=exposure,
            psf=psf,
            diffuse=_diffuse({name: counts[name] for name in NORM_RANGES}, scale),
            point_source_templates=(
                self._excess(maps.intensity["gce"], counts["gce"], maps.poisson),
                PointSourceTemplate("disk", maps.intensity["disk"], counts["disk"], (DISK,)),
            ),
            spectral_jitter=self.spectral_jitter,
            expected_labels=self.expected_labels,
        )

    def _maps(self, patch: Region, psf: tuple[PSF, ...], exposure: NDArray[np.float64]) -> TemplateMaps:
        shapes: dict[str, templates.Template] = {
            "pi": templates.PionDecay(self.cosmic_rays, self.halo_height, self.spin_temperature),
            "ic": templates.InverseCompton(self.cosmic_rays, self.halo_height),
            "iso": templates.Isotropic(),
            "bub": templates.Bubbles(),
            "gce": templates.NFW(gamma=self.gamma),
            "disk": templates.Disk(z_s=self.disk_height),
        }
        intensity = np.stack([shape.map(self.nside, patch.pixels) for shape in shapes.values()])
        smoothed = np.stack([smooth(intensity, patch, each) for each in psf], axis=1)
        counts = dict(zip(shapes, _unit_mean(smoothed * exposure, patch), strict=True))
        return TemplateMaps(counts, {"gce": intensity[4], "disk": intensity[5]}, smoothed[4] * exposure)


class FolderSky(SkySettings):
    """One energy bin, 2-20 GeV, with the templates, exposure and mask of a data folder, taken as they are.

    The folder's diffuse maps have the PSF applied; its NFW and disk maps have not, and fits use them so, as the field
    does. Simulated point sources are placed by the NFW and disk maps and spread with the customary PSF at 2 GeV, and so
    is the share of the excess that is exactly Poisson, if there is one.
    """

    variations: ClassVar[frozenset[str]] = SkySettings.variations | {"weeks"}

    kind: Literal["folder"] = "folder"
    path: str
    diffuse: Literal["O", "A", "F", "p6v11"] = "O"
    nfw: Literal["g1p2", "g1p0"] = "g1p2"
    disk: Literal["z0p3", "z1p0"] = "z0p3"
    nside: int = 128
    mask: Literal["3fgl", "4fgl"] | None = "3fgl"
    weeks: float = Field(REFERENCE_WEEKS, gt=0, description="of observation; those of the folder's exposure are 573")

    def build(self) -> SkyModel:
        """Read the maps and build the model."""
        from gcesbi.io import degrade, map_nside, read_map, read_mask, read_template

        patch = _patch(check_nside(self.nside))
        files = {"iso": "iso", "bub": "bub", "gce": f"nfw_{self.nfw}", "disk": f"dsk_{self.disk}"}
        if self.diffuse == "p6v11":
            files = {"dif": "dif", **files}
        else:
            files = {"pi": f"{self.diffuse}pi", "ic": f"{self.diffuse}ic", **files}
        exposures = np.atleast_1d(np.squeeze(read_map(self.path, "fermidata_exposure")))
        own = map_nside(exposures.shape[-1], "fermidata_exposure.npy")
        full = {n: degrade(read_template(self.path, f, own), self.nside)[patch.pixels] for n, f in files.items()}
        longer = self.weeks / REFERENCE_WEEKS
        exposure = degrade(exposures, self.nside, "mean")[patch.pixels][None] * longer
        mask = None if self.mask is None else degrade(read_mask(self.path, self.mask), self.nside, "any")
        counts = {name: _unit_mean(values[None, None], patch)[0] for name, values in full.items()}
        scale = (256 / self.nside) ** 2 * longer
        psf, nfw, disk = PSF.customary_2gev(), full["gce"] / exposure[0], full["disk"] / exposure[0]
        poisson = smooth(nfw, patch, psf) * exposure if self.gce_poisson_share else None
        content = hashlib.sha256(b"".join(values.tobytes() for values in (*full.values(), exposure)))
        return SkyModel(
            settings=self,
            patch=patch,
            region=Region.disc(self.nside, self.radius, self.band, mask=mask),
            energy_edges=np.array([2.0, 20.0]),
            patch_exposure=exposure,
            psf=(psf,),
            diffuse=_diffuse({n: counts[n] for n in files if n not in ("gce", "disk")}, scale),
            point_source_templates=(
                self._excess(nfw, counts["gce"], poisson),
                PointSourceTemplate("disk", disk, counts["disk"], (DISK,)),
            ),
            content=content.hexdigest(),
            expected_labels=self.expected_labels,
        )


Settings = TypeVar("Settings", bound=BaseModel)
_AnySky = TypeAdapter(Annotated[InnerGalaxySky | FolderSky, Field(discriminator="kind")])


def check_keys(kind: Any, values: Mapping[str, Any], section: str = "") -> None:
    """Raise InputError, naming the nearest valid key, if a key of `values` is no field of a settings class."""
    known = list(inspect.signature(kind).parameters)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.3)
            hint = f"the nearest valid one is {near[0]!r}" if near else f"valid ones are {', '.join(known)}"
            raise InputError(f"{section}{key}: unknown setting; {hint}")


def make_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings checked against their types and ranges.

    Raises
    ------
    InputError
        If a key is unknown, naming the nearest valid one, or a value is not allowed.
    """
    check_keys(kind, values)
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(_one_line(error)) from None


def settings_from_json(text: str | bytes) -> InnerGalaxySky | FolderSky:
    """Settings of a stored model."""
    try:
        return _AnySky.validate_json(text)
    except ValidationError as error:
        raise InputError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _patch(nside: int) -> Region:
    return Region(nside, np.flatnonzero(in_disc(nside, PATCH_RADIUS)))


def _unit_mean(counts: NDArray[np.float64], patch: Region) -> NDArray[np.float64]:
    """Maps (n_template, n_energy, n_patch) with unit mean over the normalisation disc in every energy bin."""
    disc = patch.index[np.flatnonzero(in_disc(patch.nside, NORM_RADIUS, NORM_LATITUDE))]
    return counts / counts[:, :, disc].mean(axis=-1, keepdims=True)


def _diffuse(counts: Mapping[str, NDArray[np.float64]], scale: float) -> tuple[DiffuseTemplate, ...]:
    """Diffuse templates with the prior of their name; one map for all interstellar emission has the sum of two."""
    ranges = NORM_RANGES | {"dif": tuple(map(sum, zip(NORM_RANGES["pi"], NORM_RANGES["ic"], strict=True)))}
    return tuple(DiffuseTemplate(n, c, (ranges[n][0] * scale, ranges[n][1] * scale)) for n, c in counts.items())
