r"""Power laws with hard ends for the NPTF: the simulator's, cut at a largest flux, and at a lowest or almost none.

With x = log₁₀F, segments (b_i, b_{i-1}) from bright to dim of index n_i, and L_i(x) the length of segment i above x,

.. math:: g(x) = 10^x \frac{dN}{dx} \propto 10^{-\sum_i (2 - n_i) L_i(x)}, \quad
          \partial_{n_i} \ln g = L_i \ln 10, \quad
          \partial_{b_i} \ln g = (n_{i+1} - n_i) \ln 10 \;\; (x < b_i),

and, since the lowest flux may follow the last break and index, a term -g(low) ∂low at the lower end. X_m by product
integration (:mod:`gcesbi.baselines.nptf.count_kernel`), with 16 Gauss-Legendre nodes in pieces over which g changes by
a factor of e⁴ at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_kernel import _NODES, _WEIGHTS, N_NODE, CountKernel, lagrange, weigh_kernel
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.errors import InputError, shown
from gcesbi.physics.broken_power_law import BrokenPowerLaw
from gcesbi.simulation.population_families import dimmest
from gcesbi.sky.compiled import njit

__all__ = ["PowerLaws"]

FloatArray = NDArray[np.float64]

_LOG_10 = math.log(10.0)
_RISE = 4.0  # largest change of ln g in a piece


@dataclass(frozen=True)
class PowerLaws:
    """Power laws of fluxes with shape parameters n_1 .. n_(b+1), bright to dim, and log₁₀ of the b breaks.

    Parameters
    ----------
    n_break : int
    high : float
        Log₁₀ of the highest flux; breaks above it have no influence.
    low : float, optional
        Log₁₀ of the lowest flux; without one it is that below which but 10⁻⁴ of the flux would be, and the last index
        stays below 2.
    falling : bool
        Whether indices are those of F^-n; else of F^+n.
    """

    n_break: int
    high: float
    low: float | None = None
    falling: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shape parameters."""
        breaks = tuple(f"break{i + 1}" for i in range(self.n_break))
        return (*(f"n{i + 1}" for i in range(self.n_break + 1)), *breaks)

    def bind(self, view: SourceView) -> BoundPowerLaws:
        """Prepare for one instrument."""
        return BoundPowerLaws(self, CountKernel.build(view, self.high))

    def parts(self, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Indices of F^-n (b + 1,), and ends of segments from bright to dim (b + 2,), of one shape (n_shape,).

        Raises
        ------
        InputError
            If the shape is not finite, breaks do not descend, or the flux diverges.
        """
        if not np.isfinite(shape).all():
            raise InputError("shapes: must be finite")
        indices = shape[: self.n_break + 1] if self.falling else -shape[: self.n_break + 1]
        breaks = np.minimum(shape[self.n_break + 1 :], self.high)
        start = min([*breaks.tolist(), self.high])
        if self.low is None and not indices[-1] < 2:
            raise InputError(f"shapes: the last index must stay below 2, or the flux diverges, got {indices[-1]}")
        low = dimmest(start, float(indices[-1])) if self.low is None else self.low
        ends = np.array([self.high, *breaks, low])
        if np.any(np.diff(ends) > 0) or not low < self.high:
            raise InputError(f"shapes: breaks must descend between {self.high} and {low}, got {shown(breaks)}")
        return indices, ends

    def low_gradient(self, shape: FloatArray) -> FloatArray:
        """Derivative of the lowest log-flux by the shape parameters, (n_shape,)."""
        out = np.zeros(len(shape))
        if self.low is not None:
            return out
        indices, ends = self.parts(shape)
        last, start, low = float(indices[-1]), float(ends[-2]), float(ends[-1])
        free = float(ends[-2]) < self.high  # else the start is no parameter
        if math.isclose(low, start - 1.0, abs_tol=1e-12):
            out[-1] = float(free)
        elif dimmest(start, last + 1e-6) != low or dimmest(start + 1e-6, last) != low:
            out[self.n_break] = (low - start) / (2.0 - last) * (1.0 if self.falling else -1.0)
            out[-1] += float(free) if self.n_break else 0.0
        return out


@dataclass(frozen=True, eq=False)
class BoundPowerLaws:
    """Power laws seen by one instrument."""

    family: PowerLaws
    kernel: CountKernel

    def at_exposure(self, ratio: float) -> BoundPowerLaws:
        """Sources of the same counts have fluxes higher by 1 / `ratio`, at most 1."""
        higher = -math.log10(ratio)
        return replace(
            self, kernel=replace(self.kernel, edges=self.kernel.edges + higher, nodes=self.kernel.nodes + higher)
        )

    def unit_vectors(self, shapes: FloatArray, out: FloatArray) -> None:
        """Fill out (n, n_group, >= view.n) for shape parameters (n, n_shape)."""
        weights = np.empty((1, *self.kernel.nodes.shape))
        for shape, found in zip(shapes, out, strict=True):
            self._fill(shape, weights)
            weights /= weights.sum()
            for table, vector in zip(self.kernel.table, found, strict=True):
                weigh_kernel(weights[0], table, vector)

    def unit_gradient(self, shape: FloatArray) -> FloatArray:
        """Vectors and their derivatives by each shape parameter (n_group, 1 + n_shape, view.n), of one (n_shape,)."""
        weights = np.empty((1 + len(shape), *self.kernel.nodes.shape))
        self._fill(shape, weights)
        total = weights.sum(axis=(1, 2))
        sums = np.einsum("sq,gqm->gsm", weights.reshape(len(weights), -1), self.kernel.table)
        out = sums / total[0]
        out[:, 1:] -= out[:, :1] * (total[1:] / total[0])[:, None]
        return np.asarray(out)

    def histogram(self, shapes: FloatArray, edges: FloatArray) -> FloatArray:
        """Share of the flux between `edges`, log₁₀F (n_bin + 1,), in (n, n_bin); fluxes beyond fall in outer bins."""
        rows = []
        for shape in shapes:
            indices, ends = self.family.parts(shape)
            inner = ends[1:-1] < self.family.high
            kept = indices[np.concatenate([inner, [True]])]
            law = BrokenPowerLaw(
                1.0, tuple(kept), tuple(10.0 ** ends[1:-1][inner]), float(10.0 ** ends[-1]), float(10.0 ** ends[0])
            )
            rows.append(law.histogram(10.0 ** np.asarray(edges)))
        return np.array(rows)

    def _fill(self, shape: FloatArray, out: FloatArray) -> None:
        indices, ends = self.family.parts(shape)
        by_low = self.family.low_gradient(shape) if len(out) > 1 else np.zeros(0)
        _fill_weights(indices, ends, by_low, self.kernel.edges, self.kernel.nodes, out)
        if len(out) > 1 and not self.family.falling:
            out[1 : 1 + len(indices)] *= -1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_weights(
    indices: FloatArray, ends: FloatArray, by_low: FloatArray, edges: FloatArray, nodes: FloatArray, out: FloatArray
) -> None:
    """Fill out (1 or 1 + n_shape, n_panel, N_NODE) with ∫ g ℓ_q dx and its derivatives by indices and breaks."""
    n = len(indices)
    at_end = np.zeros(n + 1)  # ln g at the ends of segments
    for i in range(n):
        at_end[i + 1] = at_end[i] - (2.0 - indices[i]) * (ends[i] - ends[i + 1]) * _LOG_10
    offset = at_end.max()
    out[:] = 0.0
    basis = np.empty(N_NODE)
    slopes = np.empty(len(out))
    for i in range(n):
        steepness = abs(2.0 - indices[i]) * _LOG_10
        right = ends[i]
        panel = min(np.searchsorted(edges, right, side="left") - 1, len(edges) - 2)
        while right > ends[i + 1] and panel >= 0:
            left = max(edges[panel], ends[i + 1])
            if steepness * (right - left) > _RISE:
                left = right - _RISE / steepness
            half = 0.5 * (right - left)
            for s in range(N_NODE):
                x = left + half * (1.0 + _NODES[s])
                above = ends[i] - x
                value = math.exp(at_end[i] - (2.0 - indices[i]) * above * _LOG_10 - offset)
                slopes[0] = value
                if len(out) > 1:
                    for j in range(n):
                        length = ends[j] - ends[j + 1] if j < i else (above if j == i else 0.0)
                        slopes[1 + j] = value * length * _LOG_10
                    for j in range(n - 1):
                        inside = j < i and ends[j + 1] < ends[0]
                        slopes[1 + n + j] = value * (indices[j + 1] - indices[j]) * _LOG_10 if inside else 0.0
                lagrange(2.0 * (x - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1.0, basis)
                for r in range(len(out)):
                    for q in range(N_NODE):
                        out[r, panel, q] += half * _WEIGHTS[s] * slopes[r] * basis[q]
            right = left
            if left <= edges[panel]:
                panel -= 1
    if len(out) > 1:
        low = max(ends[n], edges[0])
        panel = min(max(np.searchsorted(edges, low, side="right") - 1, 0), len(edges) - 2)
        lagrange(2.0 * (low - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1.0, basis)
        value = math.exp(at_end[n] - offset)
        for r in range(len(by_low)):
            for q in range(N_NODE):
                out[1 + r, panel, q] -= value * by_low[r] * basis[q]
