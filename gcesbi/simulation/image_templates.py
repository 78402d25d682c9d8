"""Expected counts of an image's components, for likelihoods and simulators.

In energy bin e and pixel p a component of intensity I, or of sources of flux F_s, is expected to give

    ε_e(p) Σ_p' S_e(p, p') Ω(p') I_e(p')      or      ε_e(p) Σ_s F_se ρ_e(p | s)

photons: S and ρ spread light with the bin's point-spread function (:mod:`gcesbi.physics.image_psf`), ε is the exposure
where the photon lands. Light from beyond the image's edge leaks in.

A norm of 1 means a component as its own maps, spectra and catalogue state it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.catalogue import SourceCatalogue
from gcesbi.physics.dark_matter import Annihilation
from gcesbi.physics.image_psf import ImageSmoother, source_image
from gcesbi.physics.intensity import IntensityCube, SmoothEmission
from gcesbi.posterior import Coordinates
from gcesbi.simulation.matching import check_same_energies, check_same_exposure
from gcesbi.sky.energy import EnergyBins
from gcesbi.sky.image import ImageGeometry, ImageRegion
from gcesbi.sky.observation import Observation, ObservationSet, RadialPSF

__all__ = ["Emission", "ImageModel", "expected_flux"]

Array = NDArray[np.float64]
Emission = SmoothEmission | SourceCatalogue

REACH = 5.0
"""How far beyond the image's corners, in degrees, sources are taken along at most."""
CONTINUED = 0.05
"""Share of an image's light that a cube's edge, continued beyond it, may give."""


def expected_flux(
    geometry: ImageGeometry, energy_edges: Array, psf: tuple[RadialPSF, ...], emissions: Mapping[str, Emission]
) -> Array:
    """Smoothed flux of components in every pixel, (n_component, n_energy, n_lat, n_lon), photons / cm² / s.

    Parameters
    ----------
    geometry : ImageGeometry
    energy_edges : array (n_energy + 1,), GeV
    psf : tuple of RadialPSF
        One for each energy bin.
    emissions : mapping
        Components by name: smooth emission, or sources.
    """
    smooth = {name: e for name, e in emissions.items() if not isinstance(e, SourceCatalogue)}
    flux = np.zeros((len(emissions), len(psf), *geometry.shape))
    for bin_, function in enumerate(psf):
        edges = energy_edges[bin_ : bin_ + 2]
        smoother = ImageSmoother(geometry, function) if smooth else None
        for row, (name, emission) in enumerate(emissions.items()):
            if isinstance(emission, SourceCatalogue):
                flux[row, bin_] = _source_flux(geometry, edges, function, emission)
            elif smoother is None:
                continue
            elif isinstance(emission, Annihilation):
                flux[row, bin_] = emission.smoothed(smoother, function, edges)[0]
            else:
                light = emission.intensity(smoother.source, edges)[0] * smoother.source.row_solid_angle[:, None]
                flux[row, bin_] = smoother(_checked(name, light))
                if isinstance(emission, IntensityCube):
                    _check_cover(name, emission, smoother, light, float(flux[row, bin_].sum()))
    return flux


def _check_cover(name: str, cube: IntensityCube, smoother: ImageSmoother, light: Array, total: float) -> None:
    """Raise InputError unless a cube covers the image, and nearly all of the margin from which light leaks in."""
    missing = 1 - cube.covers(*smoother.geometry.glon_glat()).mean()
    if missing > 0:
        raise InputError(f"emissions: {name!r} must cover the image, {missing * 100:.0f} % of its pixels are outside")
    there = cube.covers(*smoother.source.glon_glat()).reshape(light.shape)
    if not there.all():
        beyond = float(smoother(np.where(there, 0.0, light)).sum())
        if beyond > CONTINUED * total:
            raise InputError(
                f"emissions: {name!r} must cover the image and a margin of the point-spread function, "
                f"{beyond / total * 100:.0f} % of the image's light would come from beyond its edge"
            )


def _source_flux(geometry: ImageGeometry, edges: Array, psf: RadialPSF, sources: SourceCatalogue) -> Array:
    native_lon, native_lat = geometry.native_lon, geometry.native_lat
    middle = float(native_lon.mean()), float(native_lat.mean())
    half = np.hypot(np.ptp(native_lon), np.ptp(native_lat)) / 2 + geometry.pixel_size
    reach = min(float(psf.containment_radius(0.999)), REACH)
    glon, glat = geometry.to_galactic(*middle)
    near = sources.within(half + reach, (float(glon), float(glat)))
    glon, glat, source, share = near.points()
    return source_image(geometry, psf, glon, glat, near.flux(edges)[source, 0] * share)


def _checked(name: str, light: Array) -> Array:
    if not np.isfinite(light).all() or light.min() < 0:
        raise InputError(f"emissions: {name!r} must be finite and not negative in every pixel")
    return light


@dataclass(frozen=True, eq=False)
class ImageModel(EnergyBins):
    """Templates of an image's components: what :class:`gcesbi.baselines.PoissonFit` fits to an image.

    Parameters
    ----------
    names : tuple of str
    templates : array (n_template, n_energy, n_pix)
        Expected counts for norm 1; for several event types, the pixels of one after those of another.
    exposure : array (n_energy, n_pix), cm² s
    energy_edges : array (n_energy + 1,), GeV
    region : ImageRegion

    Raises
    ------
    InputError
        If shapes disagree.
    """

    names: tuple[str, ...]
    templates: Array
    exposure: Array
    energy_edges: Array
    region: ImageRegion

    shapes = ()  # no template of an image floats
    modulated = ()  # nor has one a log-field

    def __post_init__(self) -> None:
        wanted = (len(self.names), *self.exposure.shape)
        if self.templates.shape != wanted:
            raise InputError(f"templates: must have shape (n_template, n_energy, n_pix) = {wanted}")
        if self.exposure.shape[-1] % self.region.n_pix:
            raise InputError(f"exposure: must have the region's {self.region.n_pix} pixels for each event type")

    @classmethod
    def build(
        cls, observation: Observation | ObservationSet, emissions: Mapping[str, Emission | Mapping[str, Emission]]
    ) -> ImageModel:
        """Templates for an observation's exposure, point-spread functions, energies and region.

        Parameters
        ----------
        observation : Observation or ObservationSet
        emissions : mapping
            Components by name: smooth emission or a catalogue, or a mapping with one for each event type, as the
            isotropic component has, which holds misclassified cosmic rays.

        Raises
        ------
        InputError
            If there is no component, one lacks an event type, or one is negative or not finite.
        """
        if not emissions:
            raise InputError("emissions: must hold at least one component, got none")
        images = observation if isinstance(observation, ObservationSet) else ObservationSet((observation,))
        counts = [_flux_of(part, emissions) * part.exposure for part in images.parts]
        return cls(
            names=tuple(emissions),
            templates=np.concatenate(counts, axis=-1),
            exposure=images.exposure,
            energy_edges=images.energy_edges,
            region=ImageRegion.of(images.region),
        )

    @property
    def n_part(self) -> int:
        """Number of event types."""
        return self.exposure.shape[-1] // self.region.n_pix

    @cached_property
    def flux_per_norm(self) -> Array:
        """Flux that arrives in the region for norm 1, (n_template, n_energy), photons / cm² / s."""
        return (self.templates / self.exposure).sum(axis=-1) / self.n_part

    @cached_property
    def coordinates(self) -> Coordinates:
        """Labels of the axes of a posterior's quantities."""
        return Coordinates(self.names, tuple(self.energy.tolist()), point_source=(), flux_bin=())

    def for_observation(self, observation: Observation | ObservationSet) -> ImageModel:
        """The model in the region of an observation.

        Raises
        ------
        InputError
            If energy bins, geometry, event types or exposure (beyond 2 %) differ, or the region is not part of the
            model's.
        """
        check_same_energies(observation.energy_edges, self.energy_edges)
        model = self._cut(ImageRegion.of(observation.region))
        if observation.exposure.shape != model.exposure.shape:
            raise InputError(
                f"observation: must hold {self.n_part} event types as the model does, "
                f"holds {observation.exposure.shape[-1] / observation.region.n_pix:g}"
            )
        check_same_exposure(observation.exposure, model.exposure)
        return model

    def _cut(self, region: ImageRegion) -> ImageModel:
        """The model in fewer pixels."""
        if region == self.region:
            return self
        at = self.region.places(region) + self.region.n_pix * np.arange(self.n_part)[:, None]
        return replace(
            self, templates=self.templates[..., at.ravel()], exposure=self.exposure[:, at.ravel()], region=region
        )

    def without(self, *names: str) -> ImageModel:
        """The model without some of its components.

        Raises
        ------
        InputError
            If it has no such component.
        """
        for name in names:
            if name not in self.names:
                raise InputError(f"template: must be one of {', '.join(self.names)}, got {name!r}")
        kept = [i for i, name in enumerate(self.names) if name not in names]
        return replace(
            self,
            names=tuple(self.names[i] for i in kept),
            templates=self.templates[kept],
        )


def _flux_of(part: Observation, emissions: Mapping[str, Emission | Mapping[str, Emission]]) -> Array:
    """Smoothed flux in the region's pixels (n_component, n_energy, n_pix), as one event type sees it."""
    chosen: dict[str, Emission] = {}
    for name, emission in emissions.items():
        if not isinstance(emission, Mapping):
            chosen[name] = emission
        elif part.event_type in emission:
            chosen[name] = emission[part.event_type]
        else:
            raise InputError(f"emissions: {name!r} must hold event type {part.event_type!r}, has {sorted(emission)}")
    region = ImageRegion.of(part.region)
    if part.psf is None:
        raise InputError("psf: the observation needs one for each energy bin, has none")
    return region.take(expected_flux(region.geometry, part.energy_edges, part.psf, chosen))
