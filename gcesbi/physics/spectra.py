r"""Energy spectra: how the flux of a template is shared among energy bins.

A spectrum is a shape; its integral over the analysis range is 1. Three families: the skew normal over log₁₀E of the
inner-galaxy model (List et al. 2025, arXiv:2507.17804), the power law and the broken power law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from gcesbi.errors import InputError
from gcesbi.physics import skew_normal
from gcesbi.sky.energy import check_energy_edges

__all__ = ["BrokenPowerLawSpectrum", "PowerLawSpectrum", "e2dnde", "skew_normal_shares"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def skew_normal_shares(energy_edges: ArrayLike, xi: ArrayLike, omega2: ArrayLike, a: ArrayLike) -> NDArray[np.float64]:
    """Share of the flux in each energy bin, for dN/dlog₁₀E a skew normal cut to the analysis range.

    Computed in logarithms, so that a spectrum whose bulk lies far outside the range still has shares; a line
    narrower than a sixteenth of a bin falls into the bin nearest to ξ.

    Parameters
    ----------
    energy_edges : array (n_energy + 1,), GeV
    xi, omega2, a : array (...)
        Location (log₁₀ of GeV), squared width and skewness.

    Returns
    -------
    array (..., n_energy)
        Sums to 1 over energies.
    """
    edges = np.log10(check_energy_edges(energy_edges))
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half) + half * _NODES
    xi, omega2, a = (np.asarray(v, dtype=np.float64)[..., None, None] for v in (xi, omega2, a))
    log_share = logsumexp(skew_normal.log_pdf(x, xi, omega2, a) + np.log(half * _WEIGHTS), axis=-1)
    return np.exp(log_share - logsumexp(log_share, axis=-1, keepdims=True))


@dataclass(frozen=True)
class PowerLawSpectrum:
    """dN/dE ∝ E^-index."""

    index: float

    def shares(self, energy_edges: ArrayLike) -> NDArray[np.float64]:
        """Share of the flux in each energy bin, (n_energy,)."""
        integral = _power_integral(check_energy_edges(energy_edges), self.index)
        return integral / integral.sum()


@dataclass(frozen=True)
class BrokenPowerLawSpectrum:
    """dN/dE ∝ (E/E_b)^-index_1 below the break energy E_b (GeV), (E/E_b)^-index_2 above."""

    index_1: float
    index_2: float
    break_energy: float

    def __post_init__(self) -> None:
        if not self.break_energy > 0:
            raise InputError(f"break_energy: must be positive, got {self.break_energy}")

    def shares(self, energy_edges: ArrayLike) -> NDArray[np.float64]:
        """Share of the flux in each energy bin, (n_energy,)."""
        edges = check_energy_edges(energy_edges) / self.break_energy
        integral = _power_integral(np.minimum(edges, 1), self.index_1) + _power_integral(
            np.maximum(edges, 1), self.index_2
        )
        return integral / integral.sum()


def e2dnde(flux: ArrayLike, energy_edges: ArrayLike) -> NDArray[np.float64]:
    """E² dN/dE at the bin centres (geometric mean), GeV / cm² / s, of fluxes (..., n_energy) in bins."""
    edges = check_energy_edges(energy_edges)
    return np.asarray(flux) * edges[:-1] * edges[1:] / np.diff(edges)


def _power_integral(edges: NDArray[np.float64], index: float) -> NDArray[np.float64]:
    """∫ E^-index dE between successive edges, stable as index → 1."""
    log_ratio = np.diff(np.log(edges))
    exponent = (1 - index) * log_ratio
    ratio = np.divide(np.expm1(exponent), exponent, out=np.ones_like(exponent), where=np.abs(exponent) > 1e-12)
    return edges[:-1] ** (1 - index) * log_ratio * ratio
