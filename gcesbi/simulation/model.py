"""The sky model: what we believe before we look, in one object that drives simulator, likelihoods and networks.

A model holds templates, exposure and PSF on a *patch* of the sky (everything whose light may reach the region), the
*region* that is analysed, and the priors. In energy bin e a template of norm A gives

    A c_e T_e(p),   c_e = (s_e / φ_e) / Σ_e' (s_e' / φ_e'),

expected counts in pixel p: T_e has mean 1 over the normalisation disc (30°, |b| > 2°), s_e is the spectrum's share of
flux in the bin, and φ_e = Σ_p T_e(p) / exposure_e(p) the flux inside the region for norm 1.

Every variation (``docs/model.md``) is a setting of a sky in :mod:`gcesbi.simulation.sky_settings`, hence other contents
of the same object: other templates, exposure or priors; a map of the share of a template that is exactly Poisson;
spectra that are jittered; or a *resolved* model, with several energy bins, whose counts are summed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from gcesbi.errors import InputError
from gcesbi.physics.psf import PSF
from gcesbi.physics.scd import DEFAULT_BINS, ScdBins
from gcesbi.physics.spectra import skew_normal_shares
from gcesbi.posterior import Coordinates
from gcesbi.simulation.components import DiffuseTemplate, PointSourceTemplate, Spectrum
from gcesbi.simulation.compose import compose
from gcesbi.simulation.matching import check_same_energies, check_same_exposure
from gcesbi.simulation.prior import Marginal, Prior, Uniform
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky, make_settings
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky import EnergyBins, Observation, Region

__all__ = ["Emission", "SkyModel"]


@dataclass(frozen=True, eq=False)
class Emission:
    """What n parameter vectors say of the sky, ready for a simulator.

    Parameters
    ----------
    norms : array (n, n_smooth, n_energy)
        What multiplies each map of ``model.smooth_templates`` in each energy bin: norms of the diffuse templates,
        counts per pixel; then fluxes of the Poisson shares of point-source templates that have one.
    spectra : array (n, n_template, n_energy)
        Share of each template's flux in each energy bin.
    populations : array (n, n_population, 4)
        ξ, ω², a and total flux of every population, those of the first point-source template first. What is exactly
        Poisson is not in the flux.
    poisson : array (n, n_point_source)
        Flux of each point-source template that is exactly Poisson, photons / cm² / s.
    """

    norms: NDArray[np.float64]
    spectra: NDArray[np.float64]
    populations: NDArray[np.float64]
    poisson: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class SkyModel(EnergyBins):
    """Templates, instrument and priors of one patch of the sky. Build one by :meth:`preset` or :meth:`from_folder`.

    Parameters
    ----------
    settings : InnerGalaxySky or FolderSky
        What the model was built from; a model can be built from them again.
    patch : Region
        Pixels on which templates are known.
    region : Region
        Pixels that are analysed, among those of the patch.
    energy_edges : array (n_energy + 1,), GeV
    patch_exposure : array (n_energy, n_patch), cm² s
    psf : tuple of PSF
        One for each energy bin.
    diffuse : tuple of DiffuseTemplate
    point_source_templates : tuple of PointSourceTemplate
    spectrum : Spectrum
        Prior of every template's spectrum; without meaning, and without parameters, for one energy bin.
    bins : ScdBins
        Flux bins of the SCD histograms.
    flux_cut : float
        No source is brighter than 10^flux_cut photons cm⁻² s⁻¹ (part of the prior).
    content : str
        Digest of the maps that the model was read from, empty where it computes its own.
    spectral_jitter : float
        Drawn spectra scatter about the skew normal, bin by bin, with this relative deviation; see :meth:`emission`.
    expected_labels : bool
        Label point sources by the histogram, flux and number that their parameters mean, not by those of the draw: what
        a likelihood infers.
    resolved : SkyModel, optional
        The same sky in several energy bins: maps are drawn from it and summed to the one bin of this model.
    """

    settings: InnerGalaxySky | FolderSky
    patch: Region
    region: Region
    energy_edges: NDArray[np.float64]
    patch_exposure: NDArray[np.float64]
    psf: tuple[PSF, ...]
    diffuse: tuple[DiffuseTemplate, ...]
    point_source_templates: tuple[PointSourceTemplate, ...]
    spectrum: Spectrum = field(default_factory=Spectrum)
    bins: ScdBins = DEFAULT_BINS
    flux_cut: float = -7.0
    content: str = ""
    spectral_jitter: float = 0.0
    expected_labels: bool = False
    resolved: SkyModel | None = None

    def __post_init__(self) -> None:
        if self.region.nside != self.patch.nside:
            raise InputError(f"region: nside must be the templates' {self.patch.nside}, got {self.region.nside}")
        if not np.isin(self.region.pixels, self.patch.pixels, assume_unique=True).all():
            raise InputError("region: has pixels outside the patch on which the model's templates are known")
        if len(self.psf) != self.n_energy:
            raise InputError(f"psf: needs one for each of {self.n_energy} energy bins, got {len(self.psf)}")
        if self.resolved is not None and (self.n_energy != 1 or self.resolved.region != self.region):
            raise InputError("resolved: must have the region of a model of one energy bin")

    @classmethod
    def preset(cls, name: str = "inner-galaxy", nside: int = 64, n_energy: int = 10, **settings: object) -> SkyModel:
        """Build the library's own sky, without any download.

        Parameters
        ----------
        name : str
            ``"inner-galaxy"``.
        nside, n_energy : int
            HEALPix resolution and number of equal bins in log E from 2 to 20 GeV.
        **settings
            Further fields of :class:`gcesbi.simulation.sky_settings.InnerGalaxySky`.

        Raises
        ------
        InputError
            If the name or a setting is unknown (the nearest valid one is named) or out of range.
        """
        if name != "inner-galaxy":
            raise InputError(f"preset: must be 'inner-galaxy', got {name!r}")
        return cls.build(make_settings(InnerGalaxySky, {"nside": nside, "n_energy": n_energy, **settings}))

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        diffuse: str = "O",
        nfw: str = "g1p2",
        disk: str = "z0p3",
        nside: int = 128,
        **settings: object,
    ) -> SkyModel:
        """Build the sky from a folder of maps laid out as that of the 573-week set.

        Parameters
        ----------
        path : path
            Folder with ``template_*.npy``, ``fermidata_exposure.npy`` and the masks.
        diffuse : str
            Interstellar model: ``"O"``, ``"A"``, ``"F"`` or ``"p6v11"``.
        nfw, disk : str
            ``"g1p2"`` or ``"g1p0"``; ``"z0p3"`` or ``"z1p0"``.
        nside : int
            At most that of the maps; lower ones are averages.
        **settings
            Further fields of :class:`gcesbi.simulation.sky_settings.FolderSky`, as ``mask`` ("3fgl" by default).
        """
        named = {"path": str(path), "diffuse": diffuse, "nfw": nfw, "disk": disk, "nside": nside}
        return cls.build(make_settings(FolderSky, {**named, **settings}))

    @classmethod
    def build(cls, settings: InnerGalaxySky | FolderSky, maps: TemplateMaps | None = None) -> SkyModel:
        """Build the model of some settings; `maps` are those of a built-in sky, where they are known.

        A sky that is summed computes its maps anyhow.
        """
        if isinstance(settings, InnerGalaxySky) and settings.summed:
            drawn = settings.model_copy(update={"summed": False})
            one = cls.build(drawn.model_copy(update={"n_energy": 1, "spectral_jitter": 0.0}))
            return replace(one, settings=settings, resolved=cls.build(drawn))
        return cls(settings=settings, **compose(settings, maps))

    def __repr__(self) -> str:
        return (
            f"SkyModel({', '.join(self.names)}; {self.n_energy} energy bins, {self.energy_edges[0]:.4g} to "
            f"{self.energy_edges[-1]:.4g} GeV; {len(self._prior.names)} parameters; {self.region}; {self.fingerprint})"
        )

    # -- what there is ------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all templates, diffuse ones first."""
        return tuple(t.name for t in self.diffuse) + self.point_sources

    @property
    def point_sources(self) -> tuple[str, ...]:
        """Names of the point-source templates."""
        return tuple(t.name for t in self.point_source_templates)

    @cached_property
    def inside(self) -> NDArray[np.int64]:
        """Positions of the region's pixels in the patch, (n_pix,)."""
        return self.patch.index[self.region.pixels].astype(np.int64)

    @cached_property
    def exposure(self) -> NDArray[np.float64]:
        """Exposure in the region, (n_energy, n_pix), cm² s."""
        return np.ascontiguousarray(self.patch_exposure[:, self.inside])

    @cached_property
    def templates(self) -> NDArray[np.float64]:
        """Expected counts per pixel of the region for norm 1, (n_template, n_energy, n_pix)."""
        everything: tuple[DiffuseTemplate | PointSourceTemplate, ...] = (*self.diffuse, *self.point_source_templates)
        return np.stack([t.counts[:, self.inside] for t in everything])

    @property
    def poissonian(self) -> tuple[int, ...]:
        """Places, among the point-source templates, of those with a share that is exactly Poisson."""
        return tuple(i for i, t in enumerate(self.point_source_templates) if t.poisson is not None)

    @cached_property
    def smooth_templates(self) -> NDArray[np.float64]:
        """Expected counts of all that is Poisson in every pixel, (n_smooth, n_energy, n_pix).

        Those of diffuse templates for norm 1; then those of Poisson shares for flux 1, which means what it does for
        sources: it is the flux that starts inside the region.
        """
        shares = [
            t.poisson[:, self.inside] / t.intensity[self.inside].sum()
            for t in self.point_source_templates
            if t.poisson is not None
        ]
        return np.stack([*(t.counts[:, self.inside] for t in self.diffuse), *shares])

    @cached_property
    def flux_per_norm(self) -> NDArray[np.float64]:
        """Flux inside the region for norm 1, (n_template, n_energy), photons / cm² / s."""
        return (self.templates / self.exposure).sum(axis=-1)

    @property
    def scd_edges(self) -> NDArray[np.float64]:
        """Edges of the flux bins, (n_bin + 1,), log₁₀ of photons / cm² / s."""
        return self.bins.edges

    @property
    def coordinates(self) -> Coordinates:
        """Labels of the axes of a posterior's quantities."""
        energy, flux = tuple(self.energy.tolist()), tuple(self.bins.centres.tolist())
        return Coordinates(self.names, energy, self.point_sources, flux)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of settings, region and maps read: equal for models that draw from the same law, wherever they lie."""
        settings = json.dumps(self.settings.law(), sort_keys=True)
        return hashlib.sha256((settings + self.content).encode() + self.region.pixels.tobytes()).hexdigest()[:16]

    # -- priors and parameters ----------------------------------------------------------------------------------

    @cached_property
    def _prior(self) -> Prior:
        if self.resolved is not None:
            return self.resolved.prior()
        named: dict[str, Marginal] = {f"{t.name}_norm": Uniform(*t.norm) for t in self.diffuse}
        for template in self.point_source_templates:
            for i, population in enumerate(template.populations):
                label = template.name if len(template.populations) == 1 else f"{template.name}{i + 1}"
                named |= {f"{label}_{key}": marginal for key, marginal in population.marginals().items()}
        if self.n_energy > 1:
            for name in self.names:
                named |= {f"{name}_spectrum_{key}": m for key, m in self.spectrum.marginals().items()}
        named |= {f"{self.point_sources[i]}_poisson_share": Uniform(0.0, 1.0) for i in self.poissonian}
        return Prior(list(named), list(named.values()))

    def prior(self) -> Prior:
        """Prior of all parameters, a torch Distribution with ``.names``."""
        return self._prior

    def emission(self, theta: ArrayLike, rng: np.random.Generator | None = None) -> Emission:
        """Norms, spectra and populations of parameter vectors (n, n_parameter).

        Parameters
        ----------
        theta : array (n, n_parameter)
        rng : numpy Generator, optional
            Draws what scatters about the parameters: jittered spectra. Every share μ of every spectrum is drawn anew
            from N(μ, (j μ)²), j the model's `spectral_jitter`, cut to positive values; shares are then scaled to sum
            1, so that norms and total fluxes keep their meaning. Without it, spectra are the skew normal's.
        """
        if self.resolved is not None:
            fine = self.resolved.emission(theta, rng)
            ones = np.ones((*fine.spectra.shape[:2], 1))
            return Emission(fine.norms.sum(axis=-1, keepdims=True), ones, fine.populations, fine.poisson)
        theta = self._check_theta(theta)
        n_diffuse, n_template = len(self.diffuse), len(self.names)
        sizes = [len(t.populations) for t in self.point_source_templates]
        n_shape = 3 * n_template if self.n_energy > 1 else 0
        ends = np.cumsum([n_diffuse, 4 * sum(sizes), n_shape])
        norm, populations, shapes, shares = np.split(theta, ends, axis=1)
        spectra = self._spectra(shapes, rng)
        populations, poisson = _split_flux(populations.reshape(len(theta), -1, 4), sizes, self.poissonian, shares)
        weights = spectra[:, :n_diffuse] / self.flux_per_norm[:n_diffuse]
        norms = norm[:, :, None] * weights / weights.sum(axis=-1, keepdims=True)
        if self.poissonian:
            rows = np.array(self.poissonian)
            norms = np.concatenate([norms, poisson[:, rows, None] * spectra[:, n_diffuse + rows]], axis=1)
        return Emission(norms, spectra, populations, poisson)

    def _check_theta(self, theta: ArrayLike) -> NDArray[np.float64]:
        theta = np.asarray(theta, dtype=np.float64)
        n_parameter = len(self._prior.names)
        if theta.ndim != 2 or theta.shape[1] != n_parameter:
            raise InputError(f"theta: must have shape (batch, {n_parameter}), got {theta.shape}")
        if not np.isfinite(theta).all():
            raise InputError("theta: must be finite")
        return theta

    def _spectra(self, shapes: NDArray[np.float64], rng: np.random.Generator | None) -> NDArray[np.float64]:
        """Shares of flux (n, n_template, n_energy) from ξ, ω², a of every template, (n, 3 n_template)."""
        n = len(shapes)
        if self.n_energy == 1:
            return np.ones((n, len(self.names), 1))
        shapes = shapes.reshape(n, len(self.names), 3)
        spectra = skew_normal_shares(self.energy_edges, *np.moveaxis(shapes, -1, 0))
        if rng is None or self.spectral_jitter == 0:
            return spectra
        lowest = ndtr(-1 / self.spectral_jitter)
        deviation = ndtri(lowest + (1 - lowest) * rng.random(spectra.shape).clip(1e-12, 1 - 1e-12))
        jittered = spectra * (1 + self.spectral_jitter * deviation)
        return jittered / jittered.sum(axis=-1, keepdims=True)

    # -- other regions ------------------------------------------------------------------------------------------

    def with_region(self, region: Region) -> SkyModel:
        """The same sky, analysed in another region of the patch."""
        resolved = None if self.resolved is None else self.resolved.with_region(region)
        return replace(self, region=region, resolved=resolved)

    def for_observation(self, observation: Observation) -> SkyModel:
        """The same sky, analysed in the region of an observation.

        Raises
        ------
        InputError
            If nside, energy bins, pixels or exposure (beyond 2 %) are not those of the model.
        """
        check_same_energies(observation.energy_edges, self.energy_edges)
        if not isinstance(observation.region, Region):
            raise InputError(f"observation: must be a HEALPix map, is on {observation.region}")
        model = self if observation.region == self.region else self.with_region(observation.region)
        check_same_exposure(observation.exposure, model.exposure)
        return model


def _split_flux(
    populations: NDArray[np.float64], sizes: list[int], poissonian: tuple[int, ...], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the Poisson shares (n, n_poissonian) out of the fluxes of populations (n, n_population, 4).

    `sizes` are the numbers of populations of every point-source template. Returns the populations and the Poisson flux
    of every point-source template (n, n_point_source).
    """
    poisson = np.zeros((len(populations), len(sizes)))
    populations = populations.copy()
    starts = np.cumsum([0, *sizes])
    for share, j in zip(shares.T, poissonian, strict=True):
        flux = populations[:, starts[j] : starts[j + 1], 3]
        poisson[:, j] = share * flux.sum(axis=1)
        flux *= 1 - share[:, None]
    return populations, poisson
