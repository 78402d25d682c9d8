"""From a vector of parameters to what the NPTF's likelihood takes, and derivatives back.

The likelihood takes norms of smooth maps, norms of populations of point sources and shapes of their source-count
distributions. How these are parametrised, and with which prior, is a convention: see
:mod:`gcesbi.baselines.nptf.priors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_integrals import mean_counts
from gcesbi.baselines.nptf.scd_family import log_mean_gradient
from gcesbi.simulation.prior import Parameter, Prior

__all__ = ["NptfParameters", "SourcePopulation"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SourcePopulation:
    """Where the parameters of one population stand.

    Parameters
    ----------
    template : str
    norm : int
        Column of the parameter that sets its brightness.
    shape : tuple of int
        Columns of its shape parameters.
    scale : float
        Mean counts per pixel, the norm everywhere in the library, for a parameter of 1.
    amplitude : bool
        The parameter is log₁₀A instead: the norm is A ∫ S (dN/dS)/A dS, of a broken power law.
    of_flux : bool
        The parameter is a flux: `scale` then is that of the Poisson fit's spectrum.
    """

    template: str
    norm: int
    shape: tuple[int, ...]
    scale: float = 1.0
    amplitude: bool = False
    of_flux: bool = False

    def norms(self, theta: FloatArray) -> FloatArray:
        """Norms (n,) of parameter vectors (n, n_dim)."""
        values = theta[:, self.norm]
        if not self.amplitude:
            return values * self.scale
        unit = np.concatenate([np.ones((len(theta), 1)), theta[:, self.shape]], axis=1)
        return np.asarray(10.0**values * mean_counts(unit))

    def norm_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Derivatives of the norm by its parameter and by the shape (n_shape,), at one vector (n_dim,)."""
        if not self.amplitude:
            return self.scale, np.zeros(len(self.shape))
        norm = float(self.norms(theta[None])[0])
        return norm * np.log(10.0), norm * log_mean_gradient(theta[list(self.shape)])


@dataclass(frozen=True, eq=False)
class NptfParameters:
    """Parameters of an NPTF: names, prior, and what they stand for.

    Parameters
    ----------
    prior : Prior
    smooth : tuple of (str, int)
        Smooth templates, each with the column of its norm.
    populations : tuple of SourcePopulation
    shares : tuple of (str, int)
        Point-source templates of which a share of the flux is exactly Poisson, each with the column of that share.
    """

    prior: Prior
    smooth: tuple[tuple[str, int], ...]
    populations: tuple[SourcePopulation, ...]
    shares: tuple[tuple[str, int], ...] = ()

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
        return replace(self, prior=Prior.of([*self.prior.parameters, *more]))

    def smooth_norms(self, theta: FloatArray) -> FloatArray:
        """Norms of the smooth templates (n, n_smooth) of parameter vectors (n, n_dim)."""
        raw = self._raw_source_norms(theta)
        columns = [theta[:, column] for _, column in self.smooth]
        for name, column in self.shares:
            columns.append(theta[:, column] * raw[:, self._members(name)].sum(axis=1))
        return np.stack(columns, axis=1) if columns else np.zeros((len(theta), 0))

    def source_norms(self, theta: FloatArray) -> FloatArray:
        """Norms of the populations (n, n_population) of parameter vectors (n, n_dim)."""
        norms = self._raw_source_norms(theta)
        for name, column in self.shares:
            norms[:, self._members(name)] *= 1 - theta[:, column, None]
        return norms

    def _raw_source_norms(self, theta: FloatArray) -> FloatArray:
        return np.stack([population.norms(theta) for population in self.populations], axis=1)

    def _members(self, template: str) -> list[int]:
        return [p for p, population in enumerate(self.populations) if population.template == template]

    def shapes(self, theta: FloatArray, p: int) -> FloatArray:
        """Shape parameters (n, n_shape) of population `p`."""
        return np.ascontiguousarray(theta[:, self.populations[p].shape])

    def pull_back(
        self, theta: FloatArray, by_smooth: FloatArray, by_source: FloatArray, by_shape: Sequence[FloatArray]
    ) -> FloatArray:
        """Gradient (n_dim,) at one vector (n_dim,), from derivatives by norms and shapes of the populations."""
        out = np.zeros(len(theta))
        for slope, (_, column) in zip(by_smooth, self.smooth, strict=False):
            out[column] += slope
        raw = self._raw_source_norms(theta[None])[0]
        by_raw = by_source.copy()
        for slope, (name, column) in zip(by_smooth[len(self.smooth) :], self.shares, strict=True):
            members = self._members(name)
            out[column] += np.sum(raw[members] * (slope - by_source[members]))
            by_raw[members] = theta[column] * slope + (1 - theta[column]) * by_source[members]
        for population, slope, shape_slope in zip(self.populations, by_raw, by_shape, strict=True):
            by_norm, norm_by_shape = population.norm_gradient(theta)
            out[population.norm] += slope * by_norm
            out[list(population.shape)] += shape_slope + slope * norm_by_shape
        return out
