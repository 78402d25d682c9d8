r"""Any source-count distribution for the NPTF, given by its density in log-flux.

Write dN/dlog₁₀F, up to a factor, as a function of x = log₁₀F and shape parameters; product integration does the rest
(:mod:`gcesbi.baselines.nptf.count_kernel`): every panel of the kernel is divided into `n_piece` pieces of 16
Gauss-Legendre nodes. With one piece, the default, densities with features wider than some 0.1 in log₁₀F are integrated
to 1e-9; a jump or a kink costs accuracy wherever it falls within a piece. Derivatives come from the density's, by
central differences of fourth order at every node: good to some 1e-9 for smooth densities.

Examples
--------
>>> import numpy as np
>>> lognormal = DensityFamily(("mu", "sigma"), lambda x, s: np.exp(-0.5 * ((x - s[0]) / s[1]) ** 2), high=-8.0)
>>> lognormal.names
('mu', 'sigma')
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_kernel import _NODES, _WEIGHTS, N_NODE, CountKernel, lagrange, weigh_kernel
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.errors import InputError

__all__ = ["DensityFamily"]

FloatArray = NDArray[np.float64]

_STEP = 1e-3  # of a parameter, relative to its size but not below itself


@dataclass(frozen=True, eq=False)
class DensityFamily:
    """Source-count distributions of a given density.

    Parameters
    ----------
    names : tuple of str
        Names of the shape parameters.
    density : callable
        x = log₁₀F (n,) and shape parameters (n_shape,) -> dN/dx (n,) up to a factor, finite, not negative.
    low, high : float
        log₁₀F beyond which there are no sources.
    n_piece : int
        Pieces of every panel; more for narrower features.
    """

    names: tuple[str, ...]
    density: Callable[[FloatArray, FloatArray], FloatArray]
    low: float = -18.0
    high: float = -7.0
    n_piece: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"low, high: low must be below high, got {self.low} and {self.high}")
        if self.n_piece < 1:
            raise InputError(f"n_piece: must be at least 1, got {self.n_piece}")

    def bind(self, view: SourceView) -> BoundDensities:
        """Prepare for one instrument."""
        return BoundDensities(self, view, CountKernel.build(view, self.high))


@dataclass(frozen=True, eq=False)
class BoundDensities:
    """Source-count distributions of a given density seen by one instrument."""

    family: DensityFamily
    view: SourceView
    kernel: CountKernel

    @cached_property
    def _grid(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Nodes x (n_x,), and for each its weight and the panel nodes' Lagrange polynomials (n_x, n_panel * N_NODE)."""
        return _grid(self.kernel.edges, self.family.low, self.family.n_piece)

    def _light(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """Density times flux, relative to the brightest."""
        values = np.asarray(self.family.density(x, shape), dtype=np.float64)
        if values.shape != x.shape or not np.all(np.isfinite(values) & (values >= 0)) or not values.any():
            raise InputError(f"density: must give one finite, not negative number per flux, for shape {shape.tolist()}")
        return values * 10.0 ** (x - self.family.high)

    def unit_vectors(self, shapes: FloatArray, out: FloatArray) -> None:
        """Fill out (n, n_group, >= view.n) for shape parameters (n, n_shape)."""
        x, weights, basis = self._grid
        for i, shape in enumerate(shapes):
            light = weights * self._light(x, shape)
            on_nodes = (light / light.sum()) @ basis
            for g, table in enumerate(self.kernel.table):
                weigh_kernel(on_nodes.reshape(-1, N_NODE), table, out[i, g])

    def unit_gradient(self, shape: FloatArray) -> FloatArray:
        """Vectors and their derivatives by each shape parameter (n_group, 1 + n_shape, view.n), of one (n_shape,)."""
        x, weights, basis = self._grid
        rows = [self._light(x, shape)]
        for i, value in enumerate(shape):
            step = _STEP * max(abs(value), _STEP)
            sides = [self._light(x, shape + k * step * np.eye(len(shape))[i]) for k in (-2, -1, 1, 2)]
            rows.append((sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / (12 * step))
        light = weights * np.array(rows)
        total = light.sum(axis=1)
        out = np.einsum("sq,gqm->gsm", light @ basis, self.kernel.table) / total[0]
        out[:, 1:] -= out[:, :1] * (total[1:] / total[0])[:, None]
        return out

    def histogram(self, shapes: FloatArray, edges: FloatArray) -> FloatArray:
        """Share of the flux between `edges`, log₁₀F (n_bin + 1,), in (n, n_bin); fluxes beyond fall in outer bins."""
        inner = np.clip(np.asarray(edges)[1:-1], self.family.low, self.family.high)
        bounds = np.concatenate([[self.family.low], inner, [self.family.high]])
        x = bounds[:-1, None] + np.diff(bounds)[:, None] * (_NODES + 1) / 2
        weights = np.diff(bounds)[:, None] * _WEIGHTS
        flux = np.array([np.sum(weights * self._light(x.ravel(), s).reshape(x.shape), axis=1) for s in shapes])
        return np.asarray(flux / flux.sum(axis=1, keepdims=True))


def _grid(edges: FloatArray, low: float, n_piece: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    xs, ws, rows = [], [], []
    basis = np.empty(N_NODE)
    for p, (left, right) in enumerate(pairwise(edges)):
        cuts = np.linspace(max(left, low), right, n_piece + 1)
        for a, b in pairwise(cuts):
            if b <= a:
                continue
            x = a + (b - a) * (_NODES + 1) / 2
            block = np.zeros((N_NODE, edges.size - 1, N_NODE))
            for s in range(N_NODE):
                lagrange(2 * (x[s] - left) / (right - left) - 1, basis)
                block[s, p] = basis
            xs.append(x)
            ws.append((b - a) / 2 * _WEIGHTS)
            rows.append(block.reshape(N_NODE, -1))
    return np.concatenate(xs), np.concatenate(ws), np.concatenate(rows)
