"""Images of the Galactic centre: a background, and an excess that is partly sources (Caron et al. 2018, 1708.06706).

The background is interstellar emission, isotropic emission and, where a catalogue is given, its sources; all at their
stated norms. The excess has a fixed total flux, that of annihilating dark matter. A share f_src of it comes from
sources placed in three dimensions after the halo (:mod:`gcesbi.physics.halo_sources`), with fluxes dN/dS ∝ S^α
(:mod:`gcesbi.physics.source_flux`); the rest is smooth. Parameters are f_src, α and the halo's inner slope γ, or those
of them that are not fixed.

Where γ varies, the halo is known at steps of 0.01, and in between it is the linear mixture of its neighbours: for the
smooth part and for the places of sources alike.

Where several interstellar models are mixed, every image has weights w of its own from the flat Dirichlet distribution,
w ≥ 0 and Σ w = 1: its interstellar emission is Σ w_k T_k, and the flux of its excess the same mixture of those that go
with the models. The weights are no parameters: a network that learns from such images knows a continuous family of
backgrounds in place of a few.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gcesbi.errors import InputError
from gcesbi.io.catalog import read_catalogue
from gcesbi.io.image import read_intensity_cube
from gcesbi.physics.dark_matter import Annihilation, DarkMatterHalo
from gcesbi.physics.exposure import survey_exposure_at
from gcesbi.physics.halo_sources import HaloSources
from gcesbi.physics.interstellar_image import InterstellarEmission, isotropic_emission
from gcesbi.physics.psf import PSF
from gcesbi.physics.psf_front import FRONT_TO_PSF3, P8R3_ULTRACLEANVETO_V3_FRONT
from gcesbi.physics.scd import DEFAULT_BINS, ScdBins
from gcesbi.physics.source_flux import PowerLawFluxes
from gcesbi.physics.templates.nfw import NFW
from gcesbi.posterior import Coordinates
from gcesbi.simulation.image_templates import REACH, Emission, ImageModel, expected_flux
from gcesbi.simulation.prior import Prior, Uniform
from gcesbi.simulation.sky_settings import INTERSTELLAR, make_settings
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageRegion, angular_distance
from gcesbi.sky.observation import Observation, RadialPSF

__all__ = ["CROSS_SECTIONS", "TESTING", "TRAINING", "ImageSky", "ImageSkyModel", "image_sky_from_json"]

Array = NDArray[np.float64]
Range = tuple[float, float]

TRAINING = ("snr-10-150", "lorimer-10-100000", "lorimer-4-150")
"""Interstellar models on which networks are trained (A, B, C of the paper)."""
TESTING = ("lorimer-10-150", "snr-4-100000")
"""Interstellar models that no training sees (testing A, B)."""
CROSS_SECTIONS = dict(zip((*TRAINING, *TESTING), (45.59e-27, 33.61e-27, 39.32e-27, 39.63e-27, 42.67e-27), strict=True))
"""<σv>, cm³ / s, of the excess by interstellar model (the paper's Table 1)."""
GAMMA_STEP = 0.01
_PSF_ANGLES = np.geomspace(1e-3, 10.0, 64)


class ImageSky(BaseModel):
    """What images are drawn from. A range whose ends are equal fixes its parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["galactic-centre-images"] = "galactic-centre-images"
    shape: tuple[int, int] = Field((120, 120), description="rows and columns")
    pixel_size: float = Field(0.25, gt=0, le=5, description="degrees")
    energy_edges: tuple[float, ...] = Field((1.0, 6.0), description="GeV; a channel for every bin")
    weeks: float = Field(365.25, gt=0, description="of observation")
    interstellar: Literal["snr-10-150", "lorimer-10-100000", "lorimer-4-150", "lorimer-10-150", "snr-4-100000"] = (
        "snr-10-150"
    )
    interstellar_map: str | None = Field(None, description="FITS cube of intensities in place of the built-in model")
    mixed: tuple[str, ...] = Field((), description="names or FITS cubes, mixed with it anew in every image")
    catalogue: str | None = Field(None, description="FITS file of 3FGL or 4FGL; no catalogue sources without one")
    f_src: Range = Field((0.0, 1.0), description="range of the share of sources in the excess")
    alpha: Range = Field((-1.05, 1.05), description="range of the index of dN/dS")
    gamma: Range = Field((1.1, 1.1), description="range of the halo's inner slope")
    flux_low: float = Field(1e-12, description="lowest flux of a source, photons / cm² / s over all bins")
    flux_threshold: float = Field(1e-9, description="highest flux of a source")
    cross_section: float | None = Field(None, gt=0, description="<σv>, cm³ / s; by default that of the paper's Table 1")
    mass: float = Field(50.0, ge=25, le=100, description="of the dark-matter particle, GeV")
    local_density: float = Field(0.4, gt=0, description="of dark matter at the Sun, GeV / cm³")
    r_s: float = Field(20.0, gt=0, description="scale radius of the halo, kpc")
    r_sun: float = Field(8.5, gt=0, description="distance of the Sun from the Galactic Centre, kpc")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_energy_edges(self.energy_edges)
        ImageGeometry(self.shape, self.pixel_size)
        for name in ("f_src", "alpha", "gamma"):
            low, high = getattr(self, name)
            if not low <= high:
                raise InputError(f"{name}: must be a range, low and high, got {low} to {high}")
        if not 0 <= self.f_src[0] <= self.f_src[1] <= 1:
            raise InputError(f"f_src: must lie in [0, 1], got {self.f_src[0]} to {self.f_src[1]}")
        for alpha in self.alpha:
            PowerLawFluxes(alpha, self.flux_threshold, self.flux_low)
        for gamma in self.gamma:
            NFW(gamma, self.r_s, self.r_sun)
        if len({self.interstellar_map or self.interstellar, *self.mixed}) <= len(self.mixed):
            raise InputError(f"mixed: must be distinct models, got {', '.join((self.interstellar, *self.mixed))}")
        if not self.varied:
            raise InputError("f_src, alpha, gamma: at least one must have a range, all are fixed")
        return self

    @property
    def varied(self) -> tuple[str, ...]:
        """Parameters that are not fixed."""
        return tuple(name for name in ("f_src", "alpha", "gamma") if getattr(self, name)[0] < getattr(self, name)[1])

    def law(self) -> dict[str, Any]:
        """All that decides what is drawn, as plain values, but for the files."""
        told = self.model_dump(mode="json", exclude={"interstellar_map", "catalogue", "mixed"})
        named = [name if name in INTERSTELLAR else "" for name in self.mixed]
        return told | ({"mixed": named} if named else {})

    @property
    def cross_sections(self) -> tuple[float, ...]:
        """<σv>, cm³ / s, of the excess that goes with every interstellar model that is mixed."""
        own = CROSS_SECTIONS[self.interstellar]
        return tuple(self.cross_section or CROSS_SECTIONS.get(name, own) for name in (self.interstellar, *self.mixed))

    def halo(self, gamma: float) -> Annihilation:
        """The excess for an inner slope, with the mean <σv> of interstellar models that are mixed."""
        halo = DarkMatterHalo(NFW(gamma, self.r_s, self.r_sun), self.local_density)
        return Annihilation(halo, self.mass, float(np.mean(self.cross_sections)))

    def interstellar_emission(self) -> dict[str, Emission]:
        """Interstellar models that are mixed, by name or path; one alone where none is."""
        names = (self.interstellar_map or self.interstellar, *self.mixed)
        return {
            name: InterstellarEmission(*INTERSTELLAR[name]) if name in INTERSTELLAR else read_intensity_cube(name)
            for name in names
        }

    def background(self) -> dict[str, Emission]:
        """Components other than interstellar emission and the excess, by name."""
        known: dict[str, Emission] = {"iso": isotropic_emission()}
        return known if self.catalogue is None else known | {"catalogue": read_catalogue(self.catalogue)}

    def build(self) -> ImageSkyModel:
        """Build the model with the library's own exposure and front-converting events.

        Raises
        ------
        InputError
            If a file cannot be read, or lacks what is needed.
        """
        geometry = ImageGeometry(self.shape, self.pixel_size)
        edges = np.asarray(self.energy_edges, dtype=np.float64)
        one = survey_exposure_at(*geometry.glon_glat(), weeks=self.weeks) * FRONT_TO_PSF3
        psf = tuple(PSF.from_table(P8R3_ULTRACLEANVETO_V3_FRONT, low, high, index=2.4) for low, high in pairwise(edges))
        return ImageSkyModel.assemble(self, geometry.whole(), edges, np.tile(one, (len(psf), 1)), psf, self._digest())

    def build_for(self, observation: Observation) -> ImageSkyModel:
        """Build the model with region, energies, exposure and point-spread functions of an observation.

        The settings' own shape, pixel size, energies and weeks are without meaning then.
        """
        seen, digest = observation, hashlib.sha256(self._digest().encode())
        for values in (seen.energy_edges, seen.exposure, *(psf.density(_PSF_ANGLES) for psf in seen.psf)):
            digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
        instrument = digest.hexdigest()[:16]
        return ImageSkyModel.assemble(self, seen.region, seen.energy_edges, seen.exposure, seen.psf, instrument)

    def _digest(self) -> str:
        """Digest of the files' bytes; empty without any."""
        maps = [name for name in self.mixed if name not in INTERSTELLAR]
        paths = [path for path in (self.interstellar_map, *maps, self.catalogue) if path is not None]
        content = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths if Path(path).is_file()]
        return hashlib.sha256("".join(content).encode()).hexdigest()[:16] if content else ""


@dataclass(frozen=True, eq=False)
class ImageSkyModel:
    """Templates, instrument and prior of images. Build one by :meth:`preset`.

    Parameters
    ----------
    settings : ImageSky
    region : ImageRegion
        Pixels of the image; all of a rectangle in the paper.
    energy_edges : array (n_energy + 1,), GeV
    exposure : array (n_energy, n_pix), cm² s
    psf : tuple of RadialPSF
    background : tuple of str
        Names of the components that do not vary.
    background_templates : array (n_background, n_energy, n_pix)
        Their expected counts; of interstellar models that are mixed the mean.
    interstellar_templates : array (n_interstellar, n_energy, n_pix)
        Expected counts of every interstellar model that is mixed.
    brightness : array (n_interstellar,)
        Flux of the excess that goes with each, in terms of that of the halo templates.
    gammas : array (n_gamma,)
        Inner slopes at which the halo is known.
    halo_templates : array (n_gamma, n_energy, n_pix)
        Expected counts of the whole excess.
    halos : tuple of HaloSources
        Places of sources, to a few degrees beyond the image's corners.
    content : str
        Digest of what does not follow from the settings: files, another instrument.
    bins : ScdBins
        Flux bins of the SCD histograms.
    """

    settings: ImageSky
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
    bins: ScdBins = field(default_factory=lambda: DEFAULT_BINS)

    resolved = None  # images are drawn in the bins in which they are seen
    point_sources = ("gce",)

    @classmethod
    def preset(cls, **settings: object) -> ImageSkyModel:
        """Build images of the Galactic centre from settings of :class:`ImageSky`.

        Raises
        ------
        InputError
            If a setting is unknown (the nearest valid one is named) or out of range.
        """
        return make_settings(ImageSky, settings).build()

    @classmethod
    def assemble(
        cls,
        sky: ImageSky,
        region: ImageRegion,
        energy_edges: Array,
        exposure: Array,
        psf: tuple[RadialPSF, ...],
        content: str,
    ) -> ImageSkyModel:
        """Compute all templates."""
        mixed, background = sky.interstellar_emission(), sky.background()
        gammas = _gamma_nodes(*sky.gamma)
        annihilations = {f"{gamma:.6f}": sky.halo(float(gamma)) for gamma in gammas}
        everything: Mapping[str, Emission] = {**mixed, **background, **annihilations}
        counts = region.take(expected_flux(region.geometry, energy_edges, psf, everything)) * exposure
        interstellar, others, halo = np.split(counts, [len(mixed), len(mixed) + len(background)])
        radius = float(_corner_distance(region.geometry) + REACH)
        return cls(
            settings=sky,
            region=region,
            energy_edges=energy_edges,
            exposure=exposure,
            psf=psf,
            background=("interstellar", *background),
            background_templates=np.concatenate([interstellar.mean(axis=0, keepdims=True), others]),
            interstellar_templates=interstellar,
            brightness=np.array(sky.cross_sections) / np.mean(sky.cross_sections),
            gammas=gammas,
            halo_templates=halo,
            halos=tuple(HaloSources(each.halo, min(radius, 180.0)) for each in annihilations.values()),
            content=content,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all components, the excess last."""
        return (*self.background, *self.point_sources)

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return len(self.energy_edges) - 1

    @property
    def coordinates(self) -> Coordinates:
        """Labels of the axes of a posterior's quantities."""
        return Coordinates(
            template=self.names,
            energy=tuple(np.sqrt(self.energy_edges[:-1] * self.energy_edges[1:]).tolist()),
            point_source=self.point_sources,
            flux_bin=tuple(self.bins.centres.tolist()),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of settings, region and templates: equal for models that draw from the same law."""
        settings = json.dumps(self.settings.law(), sort_keys=True)
        where = repr(self.region.geometry).encode() + self.region.pixels.tobytes()
        return hashlib.sha256((settings + self.content).encode() + where).hexdigest()[:16]

    @cached_property
    def _prior(self) -> Prior:
        names = self.settings.varied
        return Prior(names, [Uniform(*getattr(self.settings, name)) for name in names])

    def prior(self) -> Prior:
        """Prior of f_src, alpha and gamma, or those of them that vary."""
        return self._prior

    def parameters(self, theta: ArrayLike) -> dict[str, Array]:
        """f_src, alpha and gamma, each (n,), of parameter vectors (n, n_parameter).

        Raises
        ------
        InputError
            If theta has another shape, is not finite, or lies outside the prior's ranges.
        """
        values = np.asarray(theta, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self._prior.names):
            raise InputError(f"theta: must have shape (batch, {len(self._prior.names)}), got {values.shape}")
        known = {}
        for name in ("f_src", "alpha", "gamma"):
            low, high = getattr(self.settings, name)
            if name not in self._prior.names:
                known[name] = np.full(len(values), low)
                continue
            column = values[:, self._prior.names.index(name)]
            outside = ~((column >= low - 1e-6) & (column <= high + 1e-6))  # torch draws in single precision
            if outside.any():
                raise InputError(f"{name}: must lie in [{low}, {high}], got {column[outside][0]}")
            known[name] = np.clip(column, low, high)
        return known

    # -- the excess ---------------------------------------------------------------------------------------------

    @cached_property
    def disc_flux(self) -> Array:
        """Flux of the whole excess from the disc in which sources lie, (n_gamma, n_energy), photons / cm² / s."""
        return np.stack(
            [
                self.settings.halo(float(gamma)).flux(self.energy_edges, halo.radius)
                for gamma, halo in zip(self.gammas, self.halos, strict=True)
            ]
        )

    @cached_property
    def region_flux(self) -> Array:
        """Flux of the whole excess that starts inside the region, (n_gamma, n_energy), photons / cm² / s."""
        return np.stack([self._inside(self.settings.halo(float(gamma))) for gamma in self.gammas])

    @cached_property
    def background_mean(self) -> Array:
        """Expected counts of all but the excess, (n_energy, n_pix); on average over mixtures."""
        return self.background_templates.sum(axis=0)

    def background_of(self, weights: Array) -> Array:
        """Expected counts of all but the excess, (n_energy, n_pix), of a mixture (n_interstellar,)."""
        return self.background_mean + np.tensordot(weights - 1 / len(weights), self.interstellar_templates, axes=1)

    def draw_mixture(self, rng: np.random.Generator) -> Array:
        """Weights (n_interstellar,) of interstellar models in one image; they sum to 1."""
        n = len(self.brightness)
        return np.ones(1) if n == 1 else rng.dirichlet(np.ones(n))

    @cached_property
    def interstellar_flux(self) -> Array:
        """Flux of every interstellar model in the region, (n_interstellar, n_energy), photons / cm² / s."""
        return (self.interstellar_templates / self.exposure).sum(axis=-1)

    @cached_property
    def background_flux(self) -> Array:
        """Flux of the background in the region, (n_background, n_energy), photons / cm² / s."""
        return (self.background_templates / self.exposure).sum(axis=-1)

    @property
    def spectrum(self) -> Array:
        """Share of the excess' flux in every energy bin, (n_energy,)."""
        return self.disc_flux[0] / self.disc_flux[0].sum()

    def mixture(self, gamma: float) -> Array:
        """Weights (n_gamma,) of the known halos for an inner slope; they sum to 1."""
        place = np.interp(gamma, self.gammas, np.arange(len(self.gammas)))
        return np.maximum(1 - np.abs(np.arange(len(self.gammas)) - place), 0.0)

    def _inside(self, excess: Annihilation) -> Array:
        j_image = self.region.take(excess.halo.j_image(self.region.geometry))
        return excess.per_j(self.energy_edges) * float(j_image @ self.region.solid_angles)

    def for_observation(self, observation: Observation) -> ImageSkyModel:
        """The model, if its images are like an observation.

        Raises
        ------
        InputError
            If size, pixels, energy bins, region or exposure (beyond 2 %) differ.
        """
        seen, own = observation.region.geometry, self.region.geometry
        if seen.shape != own.shape:
            raise InputError(f"observation: image must have {own.shape} pixels, has {seen.shape}")
        if seen != own:
            raise InputError(f"observation: pixels must be those of {own}, are of {seen}")
        self.image_model(self.settings.gamma[0]).for_observation(observation)
        if observation.region != self.region:
            raise InputError(
                f"observation: must hold the model's {self.region.n_pix} pixels, holds {observation.region.n_pix}"
            )
        return self

    # -- for likelihoods ----------------------------------------------------------------------------------------

    def image_model(self, gamma: float | None = None) -> ImageModel:
        """All components as templates for a Poisson fit, the excess with an inner slope among the prior's.

        Raises
        ------
        InputError
            If the slope lies outside the model's range.
        """
        low, high = self.settings.gamma
        slope = low if gamma is None else gamma
        if not low <= slope <= high:
            raise InputError(f"gamma: must lie in [{low}, {high}], got {slope}")
        excess = np.tensordot(self.mixture(slope), self.halo_templates, axes=1)
        templates = np.concatenate([self.background_templates, excess[None]])
        return ImageModel(self.names, templates, self.exposure, self.energy_edges, self.region)


def image_sky_from_json(text: str | bytes) -> ImageSky:
    """Settings of a stored model."""
    try:
        return ImageSky.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"sky: must be settings of images ({error.error_count()} are not valid)") from None


def _gamma_nodes(low: float, high: float) -> Array:
    return np.linspace(low, high, int(np.ceil((high - low) / GAMMA_STEP - 1e-9)) + 1)


def _corner_distance(geometry: ImageGeometry) -> float:
    """Angle, in degrees, between the Galactic Centre and the furthest pixel's far corner."""
    return float(np.max(angular_distance(*geometry.glon_glat(), (0.0, 0.0)))) + geometry.pixel_size
