r"""Energy spectra: how the flux of a template is shared among energy bins.

A spectrum is a shape; its integral over the analysis range is 1. That of the inner-galaxy model is a skew normal over
log₁₀E (List et al. 2025, arXiv:2507.17804).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from gcesbi.physics import skew_normal
from gcesbi.sky.energy import check_energy_edges

__all__ = ["e2dnde", "skew_normal_shares"]

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


def e2dnde(flux: ArrayLike, energy_edges: ArrayLike) -> NDArray[np.float64]:
    """E² dN/dE at the bin centres (geometric mean), GeV / cm² / s, of fluxes (..., n_energy) in bins."""
    edges = check_energy_edges(energy_edges)
    return np.asarray(flux) * edges[:-1] * edges[1:] / np.diff(edges)
