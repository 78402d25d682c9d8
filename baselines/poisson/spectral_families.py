r"""Parametric spectra with derivatives: power law, log-parabola, and the skew normal of the simulator.

A family writes dN/dlog₁₀E ∝ exp ℓ(x; φ), x = log₁₀(E / GeV), up to a factor. Shares of the flux in energy bins and
their derivatives are ratios of integrals,

.. math:: s_e = \frac{I_e}{\sum I}, \quad I_e = \int_e e^{\ell} dx, \quad
          \frac{\partial s_e}{\partial\phi} = s_e \Big(D_e - \sum_{e'} s_{e'} D_{e'}\Big), \quad
          D_e = \frac{1}{I_e} \int_e e^{\ell}\,\frac{\partial\ell}{\partial\phi}\,dx,

taken in logarithms by Gauss-Legendre's rule of 16 nodes a bin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, logsumexp

from gcesbi.sky.energy import check_energy_edges

__all__ = ["LogParabola", "PowerLaw", "SkewNormal", "SpectralFamily"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)

Array = NDArray[np.float64]


class SpectralFamily(ABC):
    """A family of spectra.

    Attributes
    ----------
    names : tuple of str
        Its parameters φ.
    """

    names: tuple[str, ...]

    @abstractmethod
    def bounds(self, energy_edges: Array) -> Array:
        """Lowest and highest value of every parameter, (n_parameter, 2)."""

    @abstractmethod
    def start(self, energy_edges: Array) -> Array:
        """Where a fit begins, (n_parameter,)."""

    @abstractmethod
    def log_density(self, x: Array, energy_edges: Array, shape: Array) -> tuple[Array, Array]:
        """ℓ (...) at x (...), and its derivatives (n_parameter, ...)."""

    def shares(self, energy_edges: ArrayLike, shape: ArrayLike) -> tuple[Array, Array]:
        """Share of the flux in each energy bin, (n_energy,), and its derivatives, (n_energy, n_parameter).

        Parameters
        ----------
        energy_edges : array (n_energy + 1,), GeV
        shape : array (n_parameter,)
        """
        edges = check_energy_edges(energy_edges)
        ends = np.log10(edges)
        half = np.diff(ends)[:, None] / 2
        log_density, slopes = self.log_density(
            ends[:-1, None] + half + half * _NODES, edges, np.asarray(shape, dtype=np.float64)
        )
        weighted = log_density + np.log(half * _WEIGHTS)
        integral = logsumexp(weighted, axis=1, keepdims=True)
        share = np.exp(integral[:, 0] - logsumexp(integral))
        inner = np.sum(np.exp(weighted - integral) * slopes, axis=-1).T
        return share, share[:, None] * (inner - share @ inner)


@dataclass(frozen=True)
class PowerLaw(SpectralFamily):
    """dN/dE ∝ E^-index."""

    names = ("index",)

    def bounds(self, energy_edges: Array) -> Array:
        """Any index from -10 to 15."""
        return np.array([[-10.0, 15.0]])

    def start(self, energy_edges: Array) -> Array:
        """E^-2.4."""
        return np.array([2.4])

    def log_density(self, x: Array, energy_edges: Array, shape: Array) -> tuple[Array, Array]:
        """(1 - index) ln E."""
        log_energy = x * np.log(10)
        return (1 - shape[0]) * log_energy, -log_energy[None]


@dataclass(frozen=True)
class LogParabola(SpectralFamily):
    """dN/dE ∝ (E/E₀)^(-alpha - beta ln(E/E₀)), E₀ the geometric mean of the range."""

    names = ("alpha", "beta")

    def bounds(self, energy_edges: Array) -> Array:
        """Alpha from -10 to 15, beta from -10 to 10."""
        return np.array([[-10.0, 15.0], [-10.0, 10.0]])

    def start(self, energy_edges: Array) -> Array:
        """A power law, E^-2.4."""
        return np.array([2.4, 0.0])

    def log_density(self, x: Array, energy_edges: Array, shape: Array) -> tuple[Array, Array]:
        """(1 - alpha) y - beta y², y = ln(E/E₀)."""
        y = x * np.log(10) - 0.5 * np.log(energy_edges[0] * energy_edges[-1])
        return (1 - shape[0]) * y - shape[1] * y**2, np.stack([-y, -(y**2)])


@dataclass(frozen=True)
class SkewNormal(SpectralFamily):
    """dN/dlog₁₀E ∝ φ(z) Φ(a z), z = (x - xi) / ω: the simulator's (List et al. 2025, arXiv:2507.17804).

    Fitted as xi, log₁₀ω² and a; ω² from 10⁻³ to 4, a within ± 10. Smooth spectra leave them degenerate: they may end at
    a bound with the spectrum itself well determined, and a fit may take hundreds of steps.
    """

    names = ("xi", "log10_omega2", "a")

    def bounds(self, energy_edges: Array) -> Array:
        """One length of the range beyond either end for xi."""
        low, high = np.log10(energy_edges[[0, -1]])
        return np.array([[2 * low - high, 2 * high - low], [-3.0, 0.6], [-10.0, 10.0]])

    def start(self, energy_edges: Array) -> Array:
        """A falling half of a bell, half the range wide."""
        low, high = np.log10(energy_edges[[0, -1]])
        return np.array([low, 2 * np.log10((high - low) / 2), 0.5])

    def log_density(self, x: Array, energy_edges: Array, shape: Array) -> tuple[Array, Array]:
        """-z²/2 + ln Φ(a z)."""
        xi, omega, a = shape[0], 10 ** (shape[1] / 2), shape[2]
        z = (x - xi) / omega
        log_tail = log_ndtr(a * z)
        hazard = np.exp(-0.5 * (a * z) ** 2 - 0.5 * np.log(2 * np.pi) - log_tail)
        by_z = a * hazard - z
        return -0.5 * z**2 + log_tail, np.stack([-by_z / omega, -by_z * z * np.log(10) / 2, z * hazard])
