r"""Expected numbers of sources that give m photons, for any density: X_m by product integration.

A population whose sources have log-fluxes x = log₁₀F of density f(x) and mean counts 1 per pixel has

.. math:: X_m = \frac{\int g(x)\,k_m(x)\,dx}{\int g(x)\,dx}, \qquad g(x) = 10^x f(x), \qquad
          k_m(x) = \sum_i \Delta\rho_i\,\frac{(f_i S)^m e^{-f_i S}}{m!\,S}, \quad S = 10^x E,

k_Σ(x) = Σ_i Δρ_i (1 - e^{-f_i S}) / S for their sum over m >= 1. The kernel k depends on the instrument alone. It is
tabulated once at Gauss-Legendre nodes of panels so narrow that the polynomial through a panel's nodes is k to rounding
errors (its narrowest feature, a Poisson peak, is 1/√m wide in ln S). What is left is ∫ g ℓ_q dx, ℓ_q the nodes'
Lagrange polynomials, for which g may be as narrow as it likes: a family of source-count distributions fills these
weights, and X is one product of a table and a vector. Weights add up to ∫ g dx since Σ_q ℓ_q = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_integrals import _poisson
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.sky.compiled import njit

__all__ = ["N_NODE", "CountKernel", "lagrange", "weigh_kernel"]

FloatArray = NDArray[np.float64]

N_NODE = 16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_NODE)
_BARYCENTRIC = np.array([1 / np.prod(np.delete(t - _NODES, q)) for q, t in enumerate(_NODES)])
_BARYCENTRIC /= np.abs(_BARYCENTRIC).max()
_FAINTEST = 1e-9  # counts: below, sources give one photon or none, k_1 = Σ f Δρ to as much
_FEWEST = 5.0  # the exponentials of faint sources are as steep as a peak of so many photons
_PEAKS = 2.0  # width of a panel in standard deviations of the narrowest Poisson peak within it
_DARK = -80.0  # log10 flux at which the lowest panel begins


@dataclass(frozen=True, eq=False)
class CountKernel:
    """Table of k_m(x) for one template's instrument.

    Attributes
    ----------
    edges : array (n_panel + 1,)
        Edges of the panels, log₁₀F. In the lowest panel every source is too faint for two photons.
    nodes : array (n_panel, N_NODE)
        Gauss-Legendre nodes of each panel, log₁₀F.
    table : array (n_group, n_panel * N_NODE, n)
        k_Σ at index 0 and k_m at m = 1 .. n - 1, for each group of pixels of like exposure.
    """

    edges: FloatArray
    nodes: FloatArray
    table: FloatArray

    @classmethod
    def build(cls, view: SourceView, high: float) -> CountKernel:
        """Tabulate up to `high`, log₁₀ of photons / cm² / s."""
        top = math.log10(view.exposure)
        brightest = view.shares.max() * view.ratio.max()
        edges = np.concatenate([[_DARK], _panel_edges(math.log10(_FAINTEST), high + top, brightest, view.n) - top])
        edges[-1] = high
        nodes = edges[:-1, None] + np.diff(edges)[:, None] * (_NODES + 1) / 2
        table = np.zeros((len(view.ratio), nodes.size, view.n))
        for g, ratio in enumerate(view.ratio):
            _fill_table(10.0 ** (nodes.ravel() + top), ratio, view.shares[g], view.density[g], table[g])
        table[:, :N_NODE] = 0.0
        table[:, :N_NODE, : min(2, view.n)] = np.sum(view.shares * view.density, axis=1)[:, None, None]
        table[:, :N_NODE] *= view.ratio[:, None, None]
        return cls(edges, nodes, table)


def _panel_edges(low: float, high: float, brightest: float, n: int) -> FloatArray:
    """Edges in log₁₀S: narrow enough for Poisson peaks at `brightest` S photons, but of no more than n - 1."""
    edges = [low]
    while edges[-1] < high:
        photons = min(_FEWEST + brightest * 10.0 ** edges[-1], _FEWEST + n)
        edges.append(edges[-1] + _PEAKS / math.sqrt(photons) / math.log(10))
    edges[-1] = high
    return np.array(edges)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_table(counts: FloatArray, ratio: float, shares: FloatArray, density: FloatArray, out: FloatArray) -> None:
    """Fill out (n_node, n) with k_Σ, k_1 .. for sources of `counts` (n_node,) at the mean exposure."""
    work = np.empty(out.shape[1])
    for q in range(len(counts)):
        for i in range(len(shares)):
            mean = shares[i] * counts[q] * ratio
            _poisson(mean, work)
            work[0] = -math.expm1(-mean)
            weight = density[i] / counts[q]
            for m in range(out.shape[1]):
                out[q, m] += weight * work[m]


@njit(cache=True, nogil=True, error_model="numpy")
def lagrange(t: float, out: FloatArray) -> None:
    """Fill out (N_NODE,) with the nodes' Lagrange polynomials at t in [-1, 1]."""
    total = 0.0
    for q in range(N_NODE):
        step = t - _NODES[q]
        if step == 0.0:
            out[:] = 0.0
            out[q] = 1.0
            return
        out[q] = _BARYCENTRIC[q] / step
        total += out[q]
    for q in range(N_NODE):
        out[q] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def weigh_kernel(weights: FloatArray, table: FloatArray, out: FloatArray) -> None:
    """Fill out (n,) with Σ_q weights_q table_q, of weights (n_panel, N_NODE) and a table (n_panel * N_NODE, n)."""
    flat = weights.ravel()
    out[: table.shape[1]] = 0.0
    for q in range(len(flat)):
        weight = flat[q]
        if weight != 0.0:
            for m in range(table.shape[1]):
                out[m] += weight * table[q, m]
