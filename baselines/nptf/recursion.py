r"""Photon-count probabilities of a compound Poisson process, pixel by pixel.

The number of photons k in a pixel has the generating function

.. math:: \sum_k p_k t^k = \exp\Big(\mu\,(t - 1) + \sum_{m \ge 1} x_m (t^m - 1)\Big),

with μ the mean of the smooth emission and x_m the expected number of point sources that give m photons in the
pixel. Its logarithmic derivative gives the recursion (Malyshev & Hogg 2011, arXiv:1104.0010)

.. math:: k\,p_k = \sum_{m=1}^{k} m\,x_m\,p_{k-m}, \qquad p_0 = e^{-\lambda}, \quad x_1 \to x_1 + \mu,

with λ = μ + Σ_m x_m. Templates factorise, x_m(pixel) = Σ_j T_j(pixel) X_m^{(j)}: only the short vectors X^{(j)}
depend on the source-count distribution. The derivative needs no second recursion: ∂p_k/∂x_m = p_{k-m} - p_k.

Pixels are sorted by their counts and worked off in blocks of :data:`LANES`, one pixel in each lane of a vector
register. A lane that may leave the range of doubles is done again, alone, with tilted (x_m r^m, r at the saddle point)
and rescaled terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["LANES", "STRIDE", "PixelBlocks", "log_probabilities", "log_probability_gradients", "saddle_point", "tilted"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LANES = 8  # doubles in one AVX-512 register; narrower machines use two or four registers
STRIDE = 4  # counts k that share one sweep: vectors X carry this many zeros after their last entry
_LARGEST_EXPONENT = 600.0  # exp(-600) is 1e-261: below, p_0 and all that follows might underflow
_SMALLEST = 1e-200  # a probability above it has lost nothing that matters to terms below 1e-300


@dataclass(frozen=True, eq=False)
class PixelBlocks:
    """Pixels sorted by group and counts, padded to whole blocks of :data:`LANES`.

    Attributes
    ----------
    counts : array (n_block, LANES)
        Observed counts; 0 in padding.
    templates : array (n_block, n_ps, LANES)
        Point-source templates; 0 in padding.
    group : array (n_block,)
        Which set of vectors X the block's pixels share (pixels of like exposure).
    order : array (n_block, LANES)
        Index of the pixel in each lane, -1 in padding.
    """

    counts: NDArray[np.int64]
    templates: NDArray[np.float64]
    group: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def build(
        cls, counts: NDArray[np.int64], templates: NDArray[np.float64], group: NDArray[np.int64] | None = None
    ) -> PixelBlocks:
        """Sort pixels with `counts` (n_pix,), `templates` (n_ps, n_pix) and `group` (n_pix,) into blocks."""
        group = np.zeros(counts.size, dtype=np.int64) if group is None else group
        rows, row_group = [], []
        for g in np.unique(group):
            members = np.flatnonzero(group == g)
            members = members[np.argsort(counts[members], kind="stable")]
            padded = np.pad(members, (0, -members.size % LANES), constant_values=-1)
            rows.append(padded.reshape(-1, LANES))
            row_group.append(np.full(len(rows[-1]), g, dtype=np.int64))
        order = np.concatenate(rows)
        real = order >= 0
        lanes = np.where(real[:, None], templates[:, order].transpose(1, 0, 2), 0.0)
        return cls(np.where(real, counts[order], 0), np.ascontiguousarray(lanes), np.concatenate(row_group), order)

    @property
    def n_pix(self) -> int:
        """Number of pixels, padding left out."""
        return int(np.count_nonzero(self.order >= 0))

    @property
    def max_count(self) -> int:
        """Largest count."""
        return int(self.counts.max())


@intrinsic
def _partial_sums(typing_context: Any, y: Any, q: Any, k: Any, out: Any) -> Any:
    """Set out[i] = sum_{j < k} y[k + i - j] q[j], i < STRIDE, on rows of LANES doubles held in registers.

    Written in LLVM's vector types because numba's own vectoriser keeps neither the lanes nor the sums in registers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        n_known = arguments[2]

        def rows(i: int) -> Any:
            array = context.make_array(signature.args[i])(context, builder, arguments[i])
            return builder.bitcast(array.data, vector.as_pointer())

        def constant(value: int) -> Any:
            return ir.Constant(n_known.type, value)

        def load(base: Any, index: Any) -> Any:
            value = builder.load(builder.gep(base, [index]))
            value.align = 8
            return value

        y_rows, q_rows, out_rows = rows(0), rows(1), rows(3)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES)) for _ in range(STRIDE)]

        def add(first: Any, n: int) -> None:
            """Add the terms j = first .. first + n - 1; a row of y that several sums use is loaded once."""
            m = builder.sub(n_known, first)
            y_loaded = {o: load(y_rows, builder.add(m, constant(o))) for o in range(1 - n, STRIDE)}
            for j in range(n):
                known = load(q_rows, builder.add(first, constant(j)))
                for i, total in enumerate(sums):
                    product = builder.fmul(y_loaded[i - j], known, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)

        n_sweep = builder.udiv(n_known, constant(STRIDE))
        with cgutils.for_range(builder, n_sweep) as loop:
            add(builder.mul(loop.index, constant(STRIDE)), STRIDE)
        done = builder.mul(n_sweep, constant(STRIDE))
        with cgutils.for_range(builder, builder.sub(n_known, done)) as loop:
            add(builder.add(done, loop.index), 1)
        for i, total in enumerate(sums):
            builder.store(builder.load(total), builder.gep(out_rows, [constant(i)])).align = 8
        return context.get_dummy_value()

    return types.void(y, q, types.intp, out), generate


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
def _recurse(y: FloatArray, q: FloatArray, sums: FloatArray, k_max: int) -> None:
    """Fill q[1 ..] up to k_max, and at most STRIDE - 1 further, from q[0]: q_k = (1/k) sum_m y_m q_{k-m}."""
    for k in range(1, k_max + 1, STRIDE):
        _partial_sums(y, q, k, sums)  # type: ignore[call-arg]
        w0, w1, w2, w3 = 1.0 / k, 1.0 / (k + 1), 1.0 / (k + 2), 1.0 / (k + 3)
        for w in range(LANES):
            y1, y2 = y[1, w], y[2, w]
            q0 = sums[0, w] * w0
            q1 = (sums[1, w] + y1 * q0) * w1
            q2 = (sums[2, w] + y1 * q1 + y2 * q0) * w2
            q[k, w], q[k + 1, w], q[k + 2, w] = q0, q1, q2
            q[k + 3, w] = (sums[3, w] + y1 * q2 + y2 * q1 + y[3, w] * q0) * w3


@njit(cache=True, nogil=True, error_model="numpy")
def saddle_point(y: FloatArray, k: int) -> float:
    """Logarithm of the r > 0 at which sum_m y_m r^m = k; the sum is convex in log r, Newton starts above the root."""
    rho = np.inf
    for m in range(1, k + 1):
        if y[m] > 0:
            rho = min(rho, (math.log(k) - math.log(y[m])) / m)
    for _ in range(100):
        total = slope = 0.0
        for m in range(1, k + 1):
            if y[m] > 0:
                term = math.exp(math.log(y[m]) + m * rho)
                total += term
                slope += m * term
        step = math.log(total / k) * total / slope
        rho -= step
        if not abs(step) > 1e-6:
            break
    return rho


@njit(cache=True, nogil=True, error_model="numpy")
def tilted(y: FloatArray, q: FloatArray, k: int, rho: float) -> float:
    """Fill q[0 .. k] for y_m r^m, rho = log r, on one scale; return the logarithm of the scale. y is overwritten."""
    for m in range(1, k + 1):
        y[m] = math.exp(math.log(y[m]) + m * rho) if y[m] > 0 else 0.0
    scale = 0.0
    q[0] = 1.0
    for i in range(1, k + 1):
        total = 0.0
        for m in range(1, i + 1):
            total += y[m] * q[i - m]
        q[i] = total / i
        if q[i] > 1e200:
            scale += math.log(1e200)
            for j in range(i + 1):
                q[j] *= 1e-200
    return scale


@njit(cache=True, nogil=True, error_model="numpy")
def _tilted_log_probability(y: FloatArray, q: FloatArray, k: int, total: float) -> tuple[float, float]:
    """Return ln p_k of one pixel and log r; `total` is λ, y is overwritten, q filled with p_j r^j / scale."""
    if k == 0:
        return -total, 0.0
    if not np.any(y[1 : k + 1] > 0):
        return (np.nan if np.any(np.isnan(y[1 : k + 1])) else -np.inf), 0.0
    rho = saddle_point(y, k)
    scale = tilted(y, q, k, rho)
    return math.log(q[k]) + scale - k * rho - total, rho


@njit(cache=True, nogil=True, error_model="numpy")
def _load_block(
    templates: FloatArray,
    mean: FloatArray,
    vectors: FloatArray,
    weighted: FloatArray,
    k_max: int,
    y: FloatArray,
    total: FloatArray,
) -> None:
    """Fill y_m = m x_m (k_max + STRIDE, LANES) and λ (LANES,) of one block."""
    n_ps = templates.shape[0]
    for w in range(LANES):
        total[w] = mean[w]
    for j in range(n_ps):
        for w in range(LANES):
            total[w] += templates[j, w] * vectors[j, 0]
    for m in range(1, k_max + STRIDE):
        for w in range(LANES):
            y[m, w] = templates[0, w] * weighted[0, m]
        for j in range(1, n_ps):
            for w in range(LANES):
                y[m, w] += templates[j, w] * weighted[j, m]
    for w in range(LANES):
        y[1, w] += mean[w]


@njit(cache=True, nogil=True, error_model="numpy")
def _start_block(total: FloatArray, q: FloatArray) -> None:
    """Set q_0 = exp(-λ), or the smallest allowed where λ is so large that lanes must be done again anyway."""
    for w in range(LANES):
        q[0, w] = math.exp(-min(total[w], _LARGEST_EXPONENT))


@njit(cache=True, nogil=True, error_model="numpy")
def _safe(total: float, probability: float) -> bool:
    return total < _LARGEST_EXPONENT and probability > _SMALLEST


@njit(cache=True, nogil=True, error_model="numpy")
def _weighted(vectors: FloatArray) -> FloatArray:
    """Multiply X_m by m, for every vector (n_group, n_ps, n)."""
    return vectors * np.arange(vectors.shape[2])


@njit(cache=True, nogil=True, error_model="numpy")
def log_probabilities(
    counts: IntArray, templates: FloatArray, group: IntArray, mean: FloatArray, vectors: FloatArray, out: FloatArray
) -> None:
    """Fill `out` with ln p_k of every pixel.

    Parameters
    ----------
    counts : array (n_block, LANES)
    templates : array (n_block, n_ps, LANES)
        Point-source templates T_j.
    group : array (n_block,)
        First index into `vectors`.
    mean : array (n_block, LANES)
        Expected counts μ of the smooth emission.
    vectors : array (n_group, n_ps, K + STRIDE)
        X_m of every point-source template at index m >= 1, and at index 0 the sum over all m >= 1, beyond K too.
    out : array (n_block, LANES)
        Natural logarithms; -inf where a count is impossible.
    """
    n_row = vectors.shape[2]
    weighted = _weighted(vectors)
    y, q, sums = np.zeros((n_row, LANES)), np.zeros((n_row, LANES)), np.zeros((STRIDE, LANES))
    total = np.zeros(LANES)
    for b in range(counts.shape[0]):
        k_max = counts[b].max()
        _load_block(templates[b], mean[b], vectors[group[b]], weighted[group[b]], k_max, y, total)
        _start_block(total, q)
        _recurse(y, q, sums, k_max)
        for w in range(LANES):
            k = counts[b, w]
            if _safe(total[w], q[k, w]):
                out[b, w] = math.log(q[k, w])
            else:
                out[b, w] = _tilted_log_probability(y[:, w].copy(), q[:, w].copy(), k, total[w])[0]


@njit(cache=True, nogil=True, error_model="numpy")
def log_probability_gradients(
    counts: IntArray,
    templates: FloatArray,
    group: IntArray,
    mean: FloatArray,
    vectors: FloatArray,
    out: FloatArray,
    vector_gradient: FloatArray,
    mean_gradient: FloatArray,
) -> None:
    """Fill `out` with ln p_k as :func:`log_probabilities`, and the gradients of their sum.

    Parameters
    ----------
    vector_gradient : array (n_group, n_ps, K + STRIDE)
        Derivative of the summed ln p_k by the entries of `vectors`, the first entry and the others held independent.
    mean_gradient : array (n_block, LANES)
        Derivative by each pixel's `mean`.
    """
    n_ps, n_row = vectors.shape[1], vectors.shape[2]
    weighted = _weighted(vectors)
    y, q, sums = np.zeros((n_row, LANES)), np.zeros((n_row, LANES)), np.zeros((STRIDE, LANES))
    total = np.zeros(LANES)
    ratio = np.zeros((n_row, LANES))
    vector_gradient[:] = 0.0
    for b in range(counts.shape[0]):
        k_max = counts[b].max()
        g = group[b]
        _load_block(templates[b], mean[b], vectors[g], weighted[g], k_max, y, total)
        _start_block(total, q)
        _recurse(y, q, sums, k_max)
        ratio[: k_max + 1] = 0.0
        for w in range(LANES):
            k = counts[b, w]
            if _safe(total[w], q[k, w]):
                out[b, w] = math.log(q[k, w])
                inverse = 1.0 / q[k, w]
                for m in range(1, k + 1):
                    ratio[m, w] = q[k - m, w] * inverse
            else:
                column = q[:, w].copy()
                out[b, w], rho = _tilted_log_probability(y[:, w].copy(), column, k, total[w])
                for m in range(1, k + 1):
                    ratio[m, w] = column[k - m] / column[k] * math.exp(m * rho)
            mean_gradient[b, w] = (ratio[1, w] if k > 0 else 0.0) - 1.0
        for j in range(n_ps):
            for w in range(LANES):
                vector_gradient[g, j, 0] -= templates[b, j, w]
            for m in range(1, k_max + 1):
                share = 0.0
                for w in range(LANES):
                    share += templates[b, j, w] * ratio[m, w]
                vector_gradient[g, j, m] += share
