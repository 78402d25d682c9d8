r"""Source-count distributions of the simulator, for the NPTF: dN/dlog₁₀F a skew normal, cut at a largest flux.

.. math:: f(x) \propto \varphi(z)\,\Phi(a z), \quad z = (x - \xi) / \omega, \quad x \le x_\mathrm{cut}

(List et al. 2025, arXiv:2507.17804; Azzalini 1985). X_m by product integration, see
:mod:`gcesbi.baselines.nptf.count_kernel`: g(x) = 10^x f(x) is integrated against the panels' Lagrange polynomials with
16 Gauss-Legendre nodes in every piece between a panel's edges and steps in z over which f is smooth, finer where
Φ(a z) rises. Derivatives by ξ, ω² and a differentiate under the integral,

.. math:: \partial_\xi \ln f = (z - a h)/\omega, \quad \partial_\omega \ln f = (z^2 - 1 - a z h)/\omega, \quad
          \partial_a \ln f = z h, \qquad h = \varphi(az)/\Phi(az).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_kernel import _NODES, _WEIGHTS, N_NODE, CountKernel, lagrange, weigh_kernel
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.errors import InputError
from gcesbi.physics.skew_normal import SMALLEST_OMEGA2
from gcesbi.sky.compiled import njit

__all__ = ["SkewNormals"]

FloatArray = NDArray[np.float64]

_REACH = 9.0  # |z| beyond which the density is nil
_STEP = 1.5  # longest piece in z, and in a z where Φ(a z) rises
_LOG_10 = math.log(10.0)
_ROOT_HALF = math.sqrt(0.5)
_PHI_0 = 1.0 / math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class SkewNormals:
    """Skew normals of log₁₀F, with shape parameters ξ (at most `cut`), ω² and a.

    Parameters
    ----------
    cut : float
        No source is brighter than 10^cut photons / cm² / s.
    """

    cut: float = -7.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shape parameters."""
        return ("xi", "omega2", "a")

    def bind(self, view: SourceView) -> BoundSkewNormals:
        """Prepare for one instrument."""
        return BoundSkewNormals(self, view, CountKernel.build(view, self.cut))

    def check(self, shapes: FloatArray) -> None:
        """Raise InputError unless every (ξ, ω², a) of (n, 3) is finite, ω² not negative and ξ at most the cut."""
        if not np.isfinite(shapes).all():
            raise InputError("shapes: must be finite")
        if np.any(shapes[:, 1] < 0):
            raise InputError(f"omega2: must not be negative, got {shapes[:, 1].min()}")
        if np.any(shapes[:, 0] > self.cut):
            raise InputError(f"xi: must not exceed the cut {self.cut}, got {shapes[:, 0].max()}")


@dataclass(frozen=True, eq=False)
class BoundSkewNormals:
    """Skew normals seen by one instrument."""

    family: SkewNormals
    view: SourceView
    kernel: CountKernel

    def at_exposure(self, ratio: float) -> BoundSkewNormals:
        """Sources of the same counts have fluxes higher by 1 / `ratio`, at most 1."""
        higher = -math.log10(ratio)
        kernel = replace(self.kernel, edges=self.kernel.edges + higher, nodes=self.kernel.nodes + higher)
        return replace(self, view=replace(self.view, exposure=self.view.exposure * ratio), kernel=kernel)

    def unit_vectors(self, shapes: FloatArray, out: FloatArray) -> None:
        """Fill out (n, n_group, >= view.n) for shape parameters (n, 3)."""
        self.family.check(shapes)
        _unit_vectors(shapes, self.family.cut, self.kernel.edges, self.kernel.nodes, self.kernel.table, out)

    def unit_gradient(self, shape: FloatArray) -> FloatArray:
        """Vectors and their derivatives by ξ, ω² and a (n_group, 4, view.n), of one (3,)."""
        self.family.check(shape[None])
        weights = np.zeros((4, *self.kernel.nodes.shape))
        _fill_weights(shape, self.family.cut, self.kernel.edges, self.kernel.nodes, weights)
        total = weights.sum(axis=(1, 2))
        sums = weights.reshape(4, -1) @ self.kernel.table
        out = sums / total[0]
        out[:, 1:] -= out[:, :1] * (total[1:] / total[0])[:, None]
        return out

    def histogram(self, shapes: FloatArray, edges: FloatArray) -> FloatArray:
        """Share of the flux between `edges`, log₁₀F (n_bin + 1,), in (n, n_bin); fluxes beyond fall in outer bins."""
        self.family.check(shapes)
        outer = np.array([self.kernel.edges[0], *np.asarray(edges)[1:-1], max(edges[-1], self.family.cut)])
        nodes = outer[:-1, None] + np.diff(outer)[:, None] * (_NODES + 1) / 2
        return _histograms(shapes, self.family.cut, outer, nodes)


@njit(cache=True, nogil=True, error_model="numpy")
def _breaks(xi: float, omega: float, a: float, high: float) -> FloatArray:
    """Ascending log-fluxes, the whole support in steps over which the density is smooth."""
    out = np.empty(64)
    n = 1
    z = -_REACH
    out[0] = xi + omega * z
    inner = _REACH / abs(a) if abs(a) > 1.0 else 0.0
    while out[n - 1] < high and n < 64:
        if -inner <= z < inner:
            z = min(z + _STEP / abs(a), inner)
        elif z < -inner:
            z = min(z + _STEP, -inner)
        else:
            z += _STEP
        out[n] = min(xi + omega * z, high)
        n += 1
    return out[:n]


@njit(cache=True, nogil=True, error_model="numpy")
def _densities(x: float, xi: float, omega: float, a: float, offset: float, out: FloatArray) -> None:
    """Fill out with g at one x and, where it is that long, its derivatives by ξ, ω² and a; ln g lowered by `offset`."""
    z = (x - xi) / omega
    size = math.exp(_LOG_10 * x - 0.5 * z * z - offset)
    out[0] = size * 0.5 * math.erfc(-a * z * _ROOT_HALF)
    if len(out) > 1:
        rise = size * _PHI_0 * math.exp(-0.5 * a * a * z * z)  # g h
        out[1] = (z * out[0] - a * rise) / omega
        out[2] = ((z * z - 1.0) * out[0] - a * z * rise) / (2.0 * omega * omega)
        out[3] = z * rise


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_weights(shape: FloatArray, cut: float, edges: FloatArray, nodes: FloatArray, out: FloatArray) -> None:
    """Fill out (1 or 4, n_panel, N_NODE) with ∫ g ℓ_q dx and, in rows 1 to 3, its derivatives by ξ, ω² and a."""
    xi, a = shape[0], shape[2]
    omega = math.sqrt(max(shape[1], SMALLEST_OMEGA2))
    high = min(cut, xi + omega * (_REACH + omega * _LOG_10))
    breaks = _breaks(xi, omega, a, high)
    peak = min(max(omega * _LOG_10, 0.0) if a >= 0 else 0.0, (high - xi) / omega)
    offset = _LOG_10 * (xi + omega * peak) - 0.5 * peak * peak
    out[:] = 0.0
    values, basis = np.empty(len(out)), np.empty(N_NODE)
    left = max(breaks[0], edges[0])
    panel = np.searchsorted(edges, left, side="right") - 1
    piece = np.searchsorted(breaks, left, side="right") - 1
    while left < high and panel < len(edges) - 1 and piece < len(breaks) - 1:
        low, top = edges[panel], edges[panel + 1]
        right = min(top, breaks[piece + 1])
        whole = left == low and right == top
        half = 0.5 * (right - left)
        for s in range(N_NODE):
            x = nodes[panel, s] if whole else left + half * (1.0 + _NODES[s])
            _densities(x, xi, omega, a, offset, values)
            if whole:
                out[:, panel, s] += half * _WEIGHTS[s] * values
            else:
                lagrange(2.0 * (x - low) / (top - low) - 1.0, basis)
                for r in range(len(out)):
                    for q in range(N_NODE):
                        out[r, panel, q] += half * _WEIGHTS[s] * values[r] * basis[q]
        if right == top:
            panel += 1
        if right == breaks[piece + 1]:
            piece += 1
        left = right
    if len(out) > 1 and shape[1] < SMALLEST_OMEGA2:
        out[2] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _unit_vectors(
    shapes: FloatArray, cut: float, edges: FloatArray, nodes: FloatArray, table: FloatArray, out: FloatArray
) -> None:
    weights = np.empty((1, *nodes.shape))
    for i in range(len(shapes)):
        _fill_weights(shapes[i], cut, edges, nodes, weights)
        weights /= weights.sum()
        for g in range(len(table)):
            weigh_kernel(weights[0], table[g], out[i, g])


@njit(cache=True, nogil=True, error_model="numpy")
def _histograms(shapes: FloatArray, cut: float, edges: FloatArray, nodes: FloatArray) -> FloatArray:
    out = np.empty((len(shapes), len(nodes)))
    weights = np.empty((1, *nodes.shape))
    for i in range(len(shapes)):
        _fill_weights(shapes[i], cut, edges, nodes, weights)
        for b in range(len(nodes)):
            out[i, b] = weights[0, b].sum()
        out[i] /= out[i].sum()
    return out
