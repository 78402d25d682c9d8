r"""Energy spectra: how the flux of a template is shared among energy bins.

A spectrum is a shape; its integral over the analysis range is 1. That of the inner-galaxy model is a skew normal over
log₁₀E (List et al. 2025, arXiv:2507.17804).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from gcesbi.physics import skew_normal
from gcesbi.sky.energy import check_energy_edges

__all__ = ["broken_power_law_shares", "e2dnde", "log_parabola_shares", "power_law_shares", "skew_normal_shares"]

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
    xi, omega2, a = (np.asarray(v, dtype=np.float64)[..., None, None] for v in (xi, omega2, a))
    return _shares(energy_edges, lambda x: skew_normal.log_pdf(x, xi, omega2, a))


def power_law_shares(energy_edges: ArrayLike, index: ArrayLike) -> NDArray[np.float64]:
    """Share of the flux in each bin (..., n_energy), for dN/dE ∝ E^-index, indices (...)."""
    return log_parabola_shares(energy_edges, index, 0.0)


def log_parabola_shares(
    energy_edges: ArrayLike, index: ArrayLike, curvature: ArrayLike, pivot: float = 1.0
) -> NDArray[np.float64]:
    """Share of the flux in each bin (..., n_energy), for dN/dE ∝ (E/E₀)^-(index + curvature ln E/E₀), E₀ in GeV."""
    n, c = (np.asarray(v, dtype=np.float64)[..., None, None] for v in np.broadcast_arrays(index, curvature))

    def log_density(x: NDArray[np.float64]) -> NDArray[np.float64]:
        t = x * np.log(10) - np.log(pivot)
        return (1 - n) * t - c * t**2

    return _shares(energy_edges, log_density)


def broken_power_law_shares(
    energy_edges: ArrayLike, low_index: ArrayLike, high_index: ArrayLike, break_energy: ArrayLike
) -> NDArray[np.float64]:
    """Share of the flux in each bin (..., n_energy), for E^-low_index below a break (GeV), E^-high_index above it."""
    edges = np.log(check_energy_edges(energy_edges))
    low, high, at = (np.asarray(v, dtype=np.float64)[..., None] for v in (low_index, high_index, break_energy))
    at = np.log(at)
    below = _exponential_integral(1 - low, np.minimum(edges[:-1], at) - at, np.minimum(edges[1:], at) - at)
    above = _exponential_integral(1 - high, np.maximum(edges[:-1], at) - at, np.maximum(edges[1:], at) - at)
    flux = below + above
    return np.asarray(flux / flux.sum(axis=-1, keepdims=True))


def _exponential_integral(s: ArrayLike, a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """∫ exp(s t) dt from a to b (...), regular at s = 0."""
    half = (np.asarray(b) - a) / 2
    nodes = (np.asarray(a) + half)[..., None] + half[..., None] * _NODES
    return np.asarray(half * (np.exp(np.asarray(s)[..., None] * nodes) @ _WEIGHTS))


@np.errstate(under="ignore")
def _shares(
    energy_edges: ArrayLike, log_density: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Shares (..., n_energy) of a flux whose ln dN/dlog₁₀E (..., n_energy, n_node) is known; 16 nodes to a bin."""
    edges = np.log10(check_energy_edges(energy_edges))
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half) + half * _NODES
    log_share = logsumexp(log_density(x) + np.log(half * _WEIGHTS), axis=-1)
    return np.asarray(np.exp(log_share - logsumexp(log_share, axis=-1, keepdims=True)))


def e2dnde(flux: ArrayLike, energy_edges: ArrayLike) -> NDArray[np.float64]:
    """E² dN/dE at the bin centres (geometric mean), GeV / cm² / s, of fluxes (..., n_energy) in bins."""
    edges = check_energy_edges(energy_edges)
    return np.asarray(flux) * edges[:-1] * edges[1:] / np.diff(edges)
