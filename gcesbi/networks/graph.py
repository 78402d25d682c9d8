r"""A HEALPix region as a graph, and the coarser graphs that pooling leads to (Perraudin et al. 2019, arXiv:1810.12186).

Pixels are vertices. Each is joined to those of its (7 or 8) neighbours on the sphere that lie in the region, with the
weight of a Gaussian of their distance d (chord between centres),

.. math:: w_{ij} = \exp(-d_{ij}^2 / \rho^2),

:math:`\rho^2` the mean of :math:`d_{ij}^2` over joined pairs. With degrees :math:`D_{ii} = \sum_j w_{ij}` the
normalised Laplacian is :math:`L = 1 - D^{-1/2} W D^{-1/2}`; graph convolutions take it rescaled to [-1, 1],
:math:`\tilde L = 2 L / \lambda_{\max} - 1` (Defferrard et al. 2016, arXiv:1606.09375). A pixel that is not in the
region is not in the graph: it has no edge, and no path leads through it.
"""

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import eigsh

from gcesbi.errors import InputError
from gcesbi.sky.region import Region

__all__ = ["coarsen", "edge_weights", "normalised_laplacian", "rescaled_laplacian"]

_DENSE = 256  # vertices up to which all eigenvalues are computed


def edge_weights(region: Region) -> csr_array:
    """Weights w (n_pix, n_pix), symmetric, zero on the diagonal."""
    around = hp.get_all_neighbours(region.nside, region.pixels, nest=True)
    joined = (around >= 0) & (region.index[around] >= 0)  # some pixels have 7 neighbours: the eighth is -1
    pixel, neighbour = np.nonzero(joined)[1], region.index[around[joined]]
    centres = np.stack(hp.pix2vec(region.nside, region.pixels, nest=True), axis=-1)
    distance2 = np.sum((centres[pixel] - centres[neighbour]) ** 2, axis=-1)
    weights = np.exp(-distance2 / distance2.mean()) if len(distance2) else distance2
    return csr_array((weights, (pixel, neighbour)), shape=(region.n_pix, region.n_pix))


def normalised_laplacian(weights: csr_array) -> csr_array:
    """L = 1 - D^-½ W D^-½ (n, n); the row of a vertex without an edge is zero."""
    degree = weights.sum(axis=1)
    joined = degree > 0
    scale = diags_array(np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=joined))
    return csr_array(diags_array(joined.astype(np.float64)) - scale @ weights @ scale)


def rescaled_laplacian(region: Region) -> csr_array:
    """L̃ = 2 L / λ_max - 1 (n_pix, n_pix), symmetric, eigenvalues in [-1, 1]; indices sorted in each row."""
    laplacian = normalised_laplacian(edge_weights(region))
    largest = _largest_eigenvalue(laplacian)
    rescaled = csr_array(laplacian * (2 / largest) - eye_array(region.n_pix))
    rescaled.sort_indices()
    return rescaled


def _largest_eigenvalue(laplacian: csr_array) -> float:
    """Largest eigenvalue, relative error 10⁻⁶; 2, which none exceeds, for a graph without edges."""
    n = laplacian.shape[0]
    if laplacian.count_nonzero() == 0:
        return 2.0
    if n <= _DENSE:
        return float(np.linalg.eigvalsh(laplacian.toarray())[-1])
    start = np.random.default_rng(0).normal(size=n)  # a fixed start: the same weights give the same network
    return float(eigsh(laplacian, k=1, which="LA", v0=start, tol=1e-6, return_eigenvectors=False)[0])


def coarsen(region: Region) -> tuple[Region, NDArray[np.int64]]:
    """Region of the pixels of half the nside that hold a pixel of the region, and the children of each.

    Returns
    -------
    coarse : Region
        At nside / 2. A pixel belongs to it if one of its four children does.
    children : array (n_coarse, 4)
        Positions in the region of every coarse pixel's children; the place of a child that is not in the region holds
        a sibling that is, so that a maximum over four is one over the children there are.

    Raises
    ------
    InputError
        At nside 1.
    """
    if region.nside == 1:
        raise InputError("region: nside 1 cannot be halved")
    parents, parent = np.unique(region.pixels // 4, return_inverse=True)
    children = np.full((len(parents), 4), -1)
    children[parent, region.pixels % 4] = np.arange(region.n_pix)
    return Region(region.nside // 2, parents), np.where(children < 0, children.max(axis=1, keepdims=True), children)
