"""From a vector of parameters to what the NPTF's likelihood takes, and derivatives back.

The likelihood takes norms of smooth maps, norms of populations of point sources, shapes of their source-count
distributions, and weights of the maps that templates combine. How these are parametrised, and with which prior, is a
convention: see :mod:`gcesbi.baselines.nptf.priors`. A prior that is a number is no parameter but a constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_integrals import mean_counts
from gcesbi.baselines.nptf.scd_family import ScdFamily, log_mean_gradient, of_amplitude_one
from gcesbi.baselines.nptf.sky import MapBasis
from gcesbi.simulation.marginals import Fixed, Marginal
from gcesbi.simulation.prior import Parameter, Prior

__all__ = ["Brightness", "NptfParameters", "SourcePopulation"]

FloatArray = NDArray[np.float64]
Brightness = Literal["counts", "flux", "amplitude"]


@dataclass(frozen=True)
class SourcePopulation:
    """Where the parameters of one population stand, among parameters and constants.

    Parameters
    ----------
    template : str
    family : ScdFamily
        Of its source-count distribution.
    norm : int
        Place of what sets its brightness.
    shape : tuple of int
        Places of its shape parameters.
    brightness : "counts", "flux" or "amplitude"
        Mean counts per pixel, the norm everywhere in the library; total flux in the region; or log₁₀A, of a broken
        power law, whose norm is A ∫ S (dN/dS)/A dS.
    """

    template: str
    family: ScdFamily
    norm: int
    shape: tuple[int, ...]
    brightness: Brightness = "counts"

    def norms(self, whole: FloatArray, flux_per_norm: FloatArray) -> FloatArray:
        """Norms (n,) of parameters and constants (n, n_slot), and the template's flux for norm 1 (n,)."""
        values = whole[:, self.norm]
        if self.brightness == "amplitude":
            return np.asarray(10.0**values * mean_counts(of_amplitude_one(whole[:, self.shape])))
        return values * (1.0 / flux_per_norm) if self.brightness == "flux" else values.copy()

    def norm_gradient(self, whole: FloatArray, flux_per_norm: float) -> tuple[float, FloatArray]:
        """Derivatives of the norm by what sets it and by the shape (n_shape,), at one vector (n_slot,)."""
        if self.brightness != "amplitude":
            return 1.0 / flux_per_norm if self.brightness == "flux" else 1.0, np.zeros(len(self.shape))
        norm = float(self.norms(whole[None], np.ones(1))[0])
        return norm * np.log(10.0), norm * log_mean_gradient(whole[list(self.shape)])


@dataclass(frozen=True, eq=False)
class NptfParameters:
    """Parameters of an NPTF: names, prior, and what they stand for.

    Parameters
    ----------
    marginals : mapping of str to Marginal
        Parameters and constants, in order.
    smooth : tuple of (str, int)
        Smooth templates, each with the place of its norm.
    populations : tuple of SourcePopulation
    bases : mapping of str to MapBasis
        Of every template that is fitted.
    shares : tuple of (str, int)
        Point-source templates of which a share of the flux is exactly Poisson, each with the place of that share.
    """

    marginals: Mapping[str, Marginal]
    smooth: tuple[tuple[str, int], ...]
    populations: tuple[SourcePopulation, ...]
    bases: Mapping[str, MapBasis]
    shares: tuple[tuple[str, int], ...] = ()

    @cached_property
    def prior(self) -> Prior:
        """Prior of the parameters."""
        free = {name: each for name, each in self.marginals.items() if not isinstance(each, Fixed)}
        return Prior(list(free), list(free.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return self.prior.names

    @property
    def smooth_templates(self) -> tuple[str, ...]:
        """Templates that shine smoothly: those with a norm, then those of which a share does."""
        return tuple(name for name, _ in (*self.smooth, *self.shares))

    def beside(self, more: Sequence[Parameter]) -> NptfParameters:
        """The same with further parameters after them, which mean nothing here."""
        return replace(self, marginals={**self.marginals, **{each.name: each.marginal for each in more}})

    @cached_property
    def _constants(self) -> FloatArray:
        """The constants (n_slot,), NaN for parameters."""
        return np.array([m.value if isinstance(m, Fixed) else np.nan for m in self.marginals.values()])

    def _whole(self, theta: FloatArray) -> FloatArray:
        """Parameters and constants (n, n_slot)."""
        whole = np.tile(self._constants, (len(theta), 1))
        whole[:, np.isnan(self._constants)] = theta
        return whole

    def columns(self, places: Sequence[int]) -> list[int]:
        """Columns of parameters at some places, constants left out."""
        column = np.cumsum(np.isnan(self._constants)) - 1
        return [int(column[i]) for i in places if np.isnan(self._constants[i])]

    # -- templates ------------------------------------------------------------------------------------------------

    def _places(self, template: str) -> list[int]:
        order = list(self.marginals)
        return [order.index(name) for name in self.bases[template].names]

    def _weights(self, whole: FloatArray, template: str) -> FloatArray:
        return self.bases[template].weights(whole[:, self._places(template)])

    def map_shares(self, theta: FloatArray, template: str) -> FloatArray:
        """What multiplies each map of a template's basis (n, n_basis), for norm 1."""
        return self.bases[template].shares(self._weights(self._whole(theta), template))

    def used_maps(self, theta: FloatArray, template: str) -> NDArray[np.int64]:
        """Maps of a template that have a share, or whose share may begin to rise, at one vector (n_dim,)."""
        return self.bases[template].used(self._whole(theta[None])[0, self._places(template)])

    def flux_per_norm(self, theta: FloatArray, template: str) -> FloatArray:
        """Flux of a template in the region for norm 1, (n,), photons / cm² / s."""
        return self._flux_per_norm(self._whole(theta), template)

    def _flux_per_norm(self, whole: FloatArray, template: str) -> FloatArray:
        return self.bases[template].flux_per_norm(self._weights(whole, template))

    # -- norms and shapes -----------------------------------------------------------------------------------------

    def smooth_norms(self, theta: FloatArray) -> FloatArray:
        """Norms of the smooth templates (n, n_smooth) of parameter vectors (n, n_dim)."""
        whole = self._whole(theta)
        raw = self._raw_source_norms(whole)
        columns = [whole[:, place] for _, place in self.smooth]
        for name, place in self.shares:
            columns.append(whole[:, place] * raw[:, self._members(name)].sum(axis=1))
        return np.stack(columns, axis=1) if columns else np.zeros((len(theta), 0))

    def source_norms(self, theta: FloatArray) -> FloatArray:
        """Norms of the populations (n, n_population) of parameter vectors (n, n_dim)."""
        whole = self._whole(theta)
        norms = self._raw_source_norms(whole)
        for name, place in self.shares:
            norms[:, self._members(name)] *= 1 - whole[:, place, None]
        return norms

    def _raw_source_norms(self, whole: FloatArray) -> FloatArray:
        return np.stack([p.norms(whole, self._flux_per_norm(whole, p.template)) for p in self.populations], axis=1)

    def _members(self, template: str) -> list[int]:
        return [p for p, population in enumerate(self.populations) if population.template == template]

    def shapes(self, theta: FloatArray, p: int) -> FloatArray:
        """Shape parameters (n, n_shape) of population `p`."""
        return np.ascontiguousarray(self._whole(theta)[:, self.populations[p].shape])

    def pull_back(
        self,
        theta: FloatArray,
        by_smooth: FloatArray,
        by_source: FloatArray,
        by_shape: Sequence[FloatArray],
        by_map_share: Mapping[str, FloatArray] | None = None,
    ) -> FloatArray:
        """Gradient (n_dim,) at one vector (n_dim,), from derivatives by all that the likelihood takes.

        Those by norms of smooth templates (n_smooth,) and of populations (n_population,), by shapes of each population,
        and by what multiplies the maps of templates (n_basis,).
        """
        whole = self._whole(theta[None])[0]
        out = np.zeros(len(whole))
        for slope, (_, place) in zip(by_smooth, self.smooth, strict=False):
            out[place] += slope
        raw = self._raw_source_norms(whole[None])[0]
        by_raw = by_source.copy()
        for slope, (name, place) in zip(by_smooth[len(self.smooth) :], self.shares, strict=True):
            members = self._members(name)
            out[place] += np.sum(raw[members] * (slope - by_source[members]))
            by_raw[members] = whole[place] * slope + (1 - whole[place]) * by_source[members]
        by_flux = dict.fromkeys(self.bases, 0.0)
        for p, (population, slope, shape_slope) in enumerate(zip(self.populations, by_raw, by_shape, strict=True)):
            flux = float(self._flux_per_norm(whole[None], population.template)[0])
            by_norm, norm_by_shape = population.norm_gradient(whole, flux)
            out[population.norm] += slope * by_norm
            out[list(population.shape)] += shape_slope + slope * norm_by_shape
            if population.brightness == "flux":
                by_flux[population.template] -= slope * raw[p] / flux
        for template, by_share in (by_map_share or {}).items():
            basis, places = self.bases[template], self._places(template)
            weights = self._weights(whole[None], template)[0]
            total, flux = weights @ basis.means, float(basis.flux_per_norm(weights[None])[0])
            by_weights = (by_share - (by_share @ weights) / total * basis.means) / total
            by_weights += by_flux[template] * (basis.fluxes - flux * basis.means) / total
            out[places] += basis.pull_back(whole[places], by_weights)
        return out[np.isnan(self._constants)]
