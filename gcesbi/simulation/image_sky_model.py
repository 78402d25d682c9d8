"""Images of the Galactic centre: a background, and an excess that is partly sources (Caron et al. 2018, 1708.06706).

The background is interstellar emission, isotropic emission and, where a catalogue is given, its sources; all at their
stated norms. The excess is that of annihilating dark matter, of one flux in the image whatever its slope, unless <σv>
is held instead (:mod:`gcesbi.simulation.image_settings`). A share f_src of it comes from sources placed in three
dimensions after the halo (:mod:`gcesbi.physics.halo_sources`), with fluxes dN/dS ∝ S^α
(:mod:`gcesbi.physics.source_flux`); the rest is smooth. Parameters are f_src, α and the halo's inner slope γ, or those
of them that are not fixed.

Where γ varies, the halo is known at steps of 0.01, and in between it is the linear mixture of its neighbours: for the
smooth part and for the places of sources alike.

Where several interstellar models are mixed, every image has weights w of its own from the flat Dirichlet distribution,
w ≥ 0 and Σ w = 1: its interstellar emission is Σ w_k T_k, and the flux of its excess the same mixture of those that go
with the models. With a `scatter` σ every part p of the emission (rings of gas, inverse Compton scattering) has weights
and a norm of its own, Σ_p e^{σ x_p} Σ_k w_pk T_pk with x_p ~ N(0, 1), and the excess' flux goes with the mean of the
weights; `flux_scatter` scatters ln of that flux likewise. None of these are parameters: a network that learns from such
images knows a continuous family of backgrounds in place of a few.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.physics.dark_matter import Annihilation
from gcesbi.physics.halo_sources import HaloSources
from gcesbi.physics.scd import DEFAULT_BINS, ScdBins
from gcesbi.posterior import Coordinates
from gcesbi.simulation.image_compose import compose_images
from gcesbi.simulation.image_settings import ImageSky
from gcesbi.simulation.image_templates import ImageModel
from gcesbi.simulation.prior import Prior
from gcesbi.simulation.statement import make_settings
from gcesbi.sky import EnergyBins, ImageGeometry, ImageRegion, Observation, RadialPSF

__all__ = ["ImageSkyModel"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class ImageSkyModel(EnergyBins):
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
    interstellar_templates : array (n_part, n_interstellar, n_energy, n_pix)
        Expected counts of every part, with a norm of its own, of every interstellar model that is mixed.
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
        return cls.build(make_settings(ImageSky, settings))

    @classmethod
    def build(cls, settings: ImageSky, observation: Observation | None = None) -> ImageSkyModel:
        """Build the model of some settings, with the library's own exposure and front-converting events.

        Parameters
        ----------
        settings : ImageSky
        observation : Observation, optional
            Whose region, energies, exposure and point-spread functions are taken instead; the settings' own shape,
            pixel size and weeks are without meaning then, and fluxes stated for their energies are converted
            (:meth:`ImageSky.in_band`).

        Raises
        ------
        InputError
            If a file cannot be read, or lacks what is needed.
        """
        sky = settings if observation is None else settings.in_band(observation.energy_edges)
        return cls(settings=sky, **compose_images(sky, observation))

    def __repr__(self) -> str:
        return f"ImageSkyModel({', '.join(self.names)}; {self.n_energy} energy bins; {self.region}; {self.fingerprint})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all components, the excess last."""
        return (*self.background, *self.point_sources)

    @property
    def coordinates(self) -> Coordinates:
        """Labels of the axes of a posterior's quantities."""
        energy, flux = tuple(self.energy.tolist()), tuple(self.bins.centres.tolist())
        return Coordinates(self.names, energy, self.point_sources, flux)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of settings, region and templates: equal for models that draw from the same law."""
        settings = json.dumps(self.settings.law(), sort_keys=True)
        where = repr(self.region.geometry).encode() + self.region.pixels.tobytes()
        return hashlib.sha256((settings + self.content).encode() + where).hexdigest()[:16]

    @cached_property
    def _prior(self) -> Prior:
        names = self.settings.varied
        return Prior(names, [getattr(self.settings, name) for name in names])

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

    def excess(self, gamma: float) -> Annihilation:
        """The excess for an inner slope; one flux in the image at all of them, unless <σv> is held."""
        return self.settings.excess(gamma, self.region, self.energy_edges)

    @cached_property
    def disc_flux(self) -> Array:
        """Flux of the whole excess from the disc in which sources lie, (n_gamma, n_energy), photons / cm² / s."""
        return np.stack(
            [
                self.excess(float(gamma)).flux(self.energy_edges, halo.radius)
                for gamma, halo in zip(self.gammas, self.halos, strict=True)
            ]
        )

    @cached_property
    def region_flux(self) -> Array:
        """Flux of the whole excess that starts inside the region, (n_gamma, n_energy), photons / cm² / s."""
        return np.stack([self.excess(float(gamma)).flux_in(self.region, self.energy_edges) for gamma in self.gammas])

    @cached_property
    def background_mean(self) -> Array:
        """Expected counts of all but the excess, (n_energy, n_pix); on average over mixtures."""
        return self.background_templates.sum(axis=0)

    def background_of(self, weights: Array) -> Array:
        """Expected counts of all but the excess, (n_energy, n_pix), of a mixture (n_part, n_interstellar)."""
        return self.background_mean + np.tensordot(weights - 1 / weights.shape[1], self.interstellar_templates, axes=2)

    def draw_mixture(self, rng: np.random.Generator) -> tuple[Array, float]:
        """Weights (n_part, n_interstellar) of the interstellar emission in one image, and the flux of its excess.

        Weights of a part sum to its norm; the flux is in terms of that of the halo templates.
        """
        (n_part, n), sky = self.interstellar_templates.shape[:2], self.settings
        weights = np.ones((n_part, 1)) if n == 1 else rng.dirichlet(np.ones(n), size=n_part)
        flux = float(weights.mean(axis=0) @ self.brightness)
        if sky.scatter > 0:
            weights = weights * np.exp(sky.scatter * rng.standard_normal(n_part))[:, None]
        if sky.flux_scatter > 0:
            flux *= math.exp(sky.flux_scatter * rng.standard_normal())
        return weights, flux

    @cached_property
    def interstellar_flux(self) -> Array:
        """Flux of the interstellar templates in the region, (n_part, n_interstellar, n_energy), photons / cm² / s."""
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

    def for_observation(self, observation: Observation) -> ImageSkyModel:
        """The model, if its images are like an observation.

        Raises
        ------
        InputError
            If size, pixels, energy bins, region or exposure (beyond 2 %) differ.
        """
        seen, own = observation.region.frame, self.region.geometry
        if not isinstance(seen, ImageGeometry):
            raise InputError(f"observation: must be an image, is on {observation.region}")
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
