"""What a model's parameters stand for: their order, names and priors, and the emission that they mean.

The order is that of norms of smooth components; populations of point sources; spectra, where there are several energy
bins; Poisson shares; what floats in templates; and amplitudes of the log-fields of smooth components. A parameter whose
prior is a number is none.

In energy bin e a template of norm A gives A c_e T_e(p) expected counts in pixel p,

    c_e = (s_e / φ_e) / Σ_e' (s_e' / φ_e'),

T_e of mean 1 over the normalisation disc, s_e the spectrum's share of flux in the bin, φ_e the flux inside the region
for norm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Fixed
from gcesbi.simulation.population_families import Population
from gcesbi.simulation.prior import Parameter, Prior
from gcesbi.simulation.template_arrays import DiffuseTemplate, PointSourceTemplate

__all__ = ["Emission", "Parameters", "SourceDraw"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceDraw:
    """One population of sources, for n maps.

    Parameters
    ----------
    template : int
        Which of the point-source templates it is of.
    family : Population
    shape : array (n, n_shape)
        Parameters of the source-count distribution.
    flux : array (n,)
        Mean total flux inside the region; what is exactly Poisson is not in it.
    weights : array (n, n_basis)
        Shares of the flux that lie as each map of the template's basis says.
    """

    template: int
    family: Population
    shape: Array
    flux: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class Emission:
    """What n parameter vectors say of the sky, ready for a simulator.

    Parameters
    ----------
    norms : array (n, n_smooth, n_energy)
        What multiplies each map of ``model.smooth_templates`` in each energy bin: norms of the maps of smooth
        templates, counts per pixel; then fluxes of the Poisson shares of point-source templates that have one.
    spectra : array (n, n_template, n_energy)
        Share of each template's flux in each energy bin.
    populations : tuple of SourceDraw
        Those of the first point-source template first.
    poisson : array (n, n_point_source)
        Flux of each point-source template that is exactly Poisson, photons / cm² / s.
    amplitudes : array (n, n_modulation)
        Of the log-fields of all smooth templates, in order.
    """

    norms: Array
    spectra: Array
    populations: tuple[SourceDraw, ...]
    poisson: Array
    amplitudes: Array

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Emission:
        drawn = tuple(
            replace(each, shape=each.shape[rows], flux=each.flux[rows], weights=each.weights[rows])
            for each in self.populations
        )
        return Emission(self.norms[rows], self.spectra[rows], drawn, self.poisson[rows], self.amplitudes[rows])


class Parameters:
    """Parameters of a model of some templates.

    Parameters
    ----------
    diffuse, point_sources : sequences of templates
    energy_edges : array (n_energy + 1,), GeV
    flux_of_maps : array (n_map, n_energy)
        Flux inside the region, for norm 1, of each map of the smooth templates.
    jitter : float
        Relative scatter of every bin of drawn spectra.
    """

    def __init__(
        self,
        diffuse: Sequence[DiffuseTemplate],
        point_sources: Sequence[PointSourceTemplate],
        energy_edges: Array,
        flux_of_maps: Array,
        jitter: float = 0.0,
    ) -> None:
        self.diffuse, self.point_sources = tuple(diffuse), tuple(point_sources)
        self.templates: tuple[DiffuseTemplate | PointSourceTemplate, ...] = (*self.diffuse, *self.point_sources)
        self.energy_edges, self.flux_of_maps, self.jitter = energy_edges, flux_of_maps, jitter
        self.n_energy = len(energy_edges) - 1

    # -- names and priors ----------------------------------------------------------------------------------------

    @cached_property
    def slots(self) -> tuple[Parameter, ...]:
        """All parameters and constants, in order."""
        return tuple(self._slots())

    def _slots(self) -> Iterator[Parameter]:
        for smooth in self.diffuse:
            yield Parameter(f"{smooth.name}_norm", smooth.norm, "counts / pixel", f"norm of {smooth.name}")
        for source in self.point_sources:
            for label, population in zip(source.labels, source.populations, strict=True):
                for key, marginal in population.marginals().items():
                    meaning = f"{key} of the source counts of {label}"
                    yield Parameter(f"{label}_{key}", marginal, population.units().get(key, ""), meaning)
        for template in self.templates if self.n_energy > 1 else ():
            for key, marginal in template.spectrum.marginals(self.energy_edges).items():
                meaning = f"{key} of the spectrum of {template.name}"
                yield Parameter(
                    f"{template.name}_spectrum_{key}", marginal, template.spectrum.units().get(key, ""), meaning
                )
        for source in self.point_sources:
            if source.poisson_share is not None:
                meaning = f"share of the flux of {source.name} that is exactly Poisson"
                yield Parameter(f"{source.name}_poisson_share", source.poisson_share, "", meaning)
        for template in self.templates:
            floating = template.basis.floating
            for key in template.basis.names:
                yield Parameter(
                    f"{template.name}_{key}", floating[key], "", f"{key} of the template of {template.name}"
                )
        for smooth in self.diffuse:
            for each in smooth.modulations:
                meaning = f"amplitude of the log-field {each.label} of {smooth.name}"
                yield Parameter(f"{smooth.name}_{each.label}_sigma", each.amplitude, "", meaning)

    @cached_property
    def prior(self) -> Prior:
        """Prior of the parameters."""
        return Prior.of([slot for slot in self.slots if not isinstance(slot.marginal, Fixed)])

    @cached_property
    def shapes(self) -> tuple[str, ...]:
        """Names of the parameters that change a template's shape on the sky."""
        return tuple(f"{t.name}_{key}" for t in self.templates for key in t.basis.names)

    def shape_values(self, given: Mapping[str, float]) -> dict[str, float]:
        """Values of all shape parameters: those given, others at the mean of their priors.

        Raises
        ------
        InputError
            If a name is that of no shape parameter, or a value lies outside its prior's range.
        """
        marginals = {slot.name: slot.marginal for slot in self.slots if slot.name in self.shapes}
        for name, value in given.items():
            if name not in marginals:
                raise InputError(f"shape: must be one of {', '.join(marginals) or 'none'}, got {name!r}")
            low, high = marginals[name].range
            if not low <= value <= high:
                raise InputError(f"{name}: must lie within its prior's range, {low} to {high}, got {value}")
        return {name: float(given.get(name, marginal.moments[0])) for name, marginal in marginals.items()}

    def columns(self, name: str, what: str) -> list[int]:
        """Places, among the parameters, of those of a template's spectrum ("spectrum") or fluxes ("flux")."""
        names = self.prior.names
        if what == "spectrum":
            return [i for i, each in enumerate(names) if each.startswith(f"{name}_spectrum_")]
        labels = next(source.labels for source in self.point_sources if source.name == name)
        return [names.index(f"{label}_flux") for label in labels if f"{label}_flux" in names]

    def check(self, theta: ArrayLike) -> Array:
        """Parameters (n, n_parameter); InputError if they have another shape or are not finite."""
        values = np.asarray(theta, dtype=np.float64)
        n_parameter = len(self.prior.names)
        if values.ndim != 2 or values.shape[1] != n_parameter:
            raise InputError(f"theta: must have shape (batch, {n_parameter}), got {values.shape}")
        if not np.isfinite(values).all():
            raise InputError("theta: must be finite")
        return values

    def _whole(self, theta: Array) -> Array:
        """Parameters and constants, (n, n_slot)."""
        columns = iter(theta.T)
        whole = np.empty((len(theta), len(self.slots)))
        for i, slot in enumerate(self.slots):
            whole[:, i] = slot.marginal.value if isinstance(slot.marginal, Fixed) else next(columns)
        return whole

    # -- emission ------------------------------------------------------------------------------------------------

    @np.errstate(under="ignore")
    def emission(self, theta: ArrayLike, rng: np.random.Generator | None = None) -> Emission:
        """Norms, spectra and populations of parameters (n, n_parameter): see :meth:`gcesbi.SkyModel.emission`."""
        whole = self._whole(self.check(theta))
        take = _Taker(whole)
        norms = [take(1) for _ in self.diffuse]
        populations = [[take(len(p.marginals())) for p in source.populations] for source in self.point_sources]
        n_spectrum = [len(t.spectrum.marginals(self.energy_edges)) if self.n_energy > 1 else 0 for t in self.templates]
        stated = self._spectra([take(k) for k in n_spectrum], len(whole))
        scatter = None if rng is None or self.jitter == 0 else self._scatter(stated.shape, rng)
        shares = [None if s.poisson_share is None else take(1)[:, 0] for s in self.point_sources]
        weights = [t.basis.weights(take(len(t.basis.names))) for t in self.templates]
        amplitudes = take(sum(len(t.modulations) for t in self.diffuse))
        spectra = stated if scatter is None else stated * scatter / (stated * scatter).sum(axis=-1, keepdims=True)
        n_diffuse = len(self.diffuse)
        rows, at = [], 0
        for t, (norm, weight) in enumerate(zip(norms, weights, strict=False)):
            flux = weight @ self.flux_of_maps[at : at + weight.shape[1]]
            at += weight.shape[1]
            relative = stated[:, t] / flux
            binned = norm * relative / relative.sum(axis=-1, keepdims=True)
            binned = binned if scatter is None else binned * scatter[:, t]
            rows += list(np.moveaxis(binned[:, None] * weight[:, :, None], 1, 0))
        poisson, draws = np.zeros((len(whole), len(self.point_sources))), []
        for j, (source, values, share) in enumerate(zip(self.point_sources, populations, shares, strict=True)):
            weight = weights[n_diffuse + j]
            fluxes = np.stack([each[:, -1] for each in values], axis=1)
            if share is not None:
                poisson[:, j] = share * fluxes.sum(axis=1)
                fluxes = fluxes * (1 - share[:, None])
                landed = (poisson[:, j, None] * spectra[:, n_diffuse + j])[:, None] * weight[:, :, None]
                rows += list(np.moveaxis(landed, 1, 0))
            draws += [
                SourceDraw(j, population, each[:, :-1], flux, weight)
                for population, each, flux in zip(source.populations, values, fluxes.T, strict=True)
            ]
        stacked = np.stack(rows, axis=1) if rows else np.zeros((len(whole), 0, self.n_energy))
        return Emission(stacked, spectra, tuple(draws), poisson, amplitudes)

    def _spectra(self, values: Sequence[Array], n: int) -> Array:
        """Shares of flux (n, n_template, n_energy) from the parameters of every template's spectrum."""
        if self.n_energy == 1:
            return np.ones((n, len(self.templates), 1))
        found = [t.spectrum.shares(self.energy_edges, each) for t, each in zip(self.templates, values, strict=True)]
        return np.stack(found, axis=1)

    def _scatter(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """What jitter multiplies every bin of every spectrum by."""
        lowest = ndtr(-1 / self.jitter)
        deviation = ndtri(lowest + (1 - lowest) * rng.random(shape).clip(1e-12, 1 - 1e-12))
        return np.asarray(1 + self.jitter * deviation)


class _Taker:
    """Hands out columns from the left."""

    def __init__(self, values: Array) -> None:
        self._values, self._at = values, 0

    def __call__(self, n: int) -> Array:
        taken = self._values[:, self._at : self._at + n]
        self._at += n
        return taken
