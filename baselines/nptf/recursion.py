r"""Photon-count probabilities of a compound Poisson process, pixel by pixel.

The number of photons k in a pixel has the generating function

.. math:: \sum_k p_k t^k = \exp\Big(\mu\,(t - 1) + \sum_{m \ge 1} x_m (t^m - 1)\Big),

with μ the mean of the smooth emission and x_m the expected number of point sources that give m photons in the
pixel. Its logarithmic derivative gives the recursion (Malyshev & Hogg 2011, arXiv:1104.0010)

.. math:: k\,p_k = \sum_{m=1}^{k} m\,x_m\,p_{k-m}, \qquad p_0 = e^{-\lambda}, \quad x_1 \to x_1 + \mu,

with λ = μ + Σ_m x_m. Templates factorise, x_m(pixel) = Σ_j T_j(pixel) X_m^{(j)}: only the short vectors X^{(j)}
depend on the source-count distribution. The derivative needs no second recursion: ∂p_k/∂x_m = p_{k-m} - p_k.

Pixels are sorted by their counts and worked off in blocks of :data:`LANES`, one pixel in each lane of the vector
registers, by terms q_k = p_k exp(λ), which begin with q_0 = 1. A lane that may leave the range of doubles is done
again, alone, with tilted (x_m r^m, r at the saddle point) and rescaled terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from gcesbi.sky.compiled import njit

__all__ = [
    "LANES",
    "STRIDE",
    "PixelBlocks",
    "log_likelihood",
    "log_probabilities",
    "log_probability_gradients",
    "saddle_point",
    "tilted",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LANES = 16  # two AVX-512 registers: their sums are independent, so that one is added to while the other is waited for
STRIDE = 4  # counts k that share one sweep: vectors X carry this many zeros after their last entry
_LARGEST_EXPONENT = 600.0  # terms q_k = p_k exp(λ) stay below exp(600) = 4e260
_LOG_2 = math.log(2.0)
_SMALLEST = 1e-200  # a term above it has lost nothing that matters to terms below 1e-300


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
        return cls(*_sorted_lanes(counts, np.ascontiguousarray(templates), group))

    @property
    def n_pix(self) -> int:
        """Number of pixels, padding left out."""
        return int(np.count_nonzero(self.order >= 0))

    @property
    def max_count(self) -> int:
        """Largest count."""
        return int(self.counts.max())


@njit(cache=True, nogil=True)
def _sorted_lanes(
    counts: IntArray, templates: FloatArray, group: IntArray
) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
    """Counts, templates and group of the blocks, and the pixel in every lane: a counting sort by group and counts."""
    n_count = counts.max() + 1
    n_key = (group.max() + 1) * n_count
    place = np.zeros(n_key, dtype=np.int64)  # how many pixels have a key; then where the next one of them goes
    for p in range(counts.size):
        place[group[p] * n_count + counts[p]] += 1
    end = 0
    for key in range(n_key):
        if key % n_count == 0:
            end += -end % LANES
        here = place[key]
        place[key] = end
        end += here
    n_block = -(-end // LANES)
    flat = np.full(n_block * LANES, -1, dtype=np.int64)
    for p in range(counts.size):
        key = group[p] * n_count + counts[p]
        flat[place[key]] = p
        place[key] += 1
    order = flat.reshape(n_block, LANES)
    sorted_counts = np.zeros((n_block, LANES), dtype=np.int64)
    lanes = np.zeros((n_block, templates.shape[0], LANES))
    block_group = np.zeros(n_block, dtype=np.int64)
    for b in range(n_block):
        block_group[b] = group[order[b, 0]]
        for w in range(LANES):
            p = order[b, w]
            if p >= 0:
                sorted_counts[b, w] = counts[p]
                for j in range(templates.shape[0]):
                    lanes[b, j, w] = templates[j, p]
    return sorted_counts, lanes, block_group, order


@intrinsic
def _recurse(
    typing_context: Any, templates: Any, mean: Any, weighted: Any, inverse: Any, k_max: Any, y: Any, q: Any
) -> Any:
    """Fill y_m = m x_m and q_k = (1/k) sum_m y_m q_{k-m} with q_0 = 1, up to k_max and at most STRIDE - 1 further.

    Arrays are `templates` (n_ps, LANES) and `mean` (LANES,) of a block, `weighted` m X_m (n_ps, n), `inverse` 1 / k
    (n,), `y` and `q` (n, LANES). Written in LLVM's vector types, one pixel a lane, because numba's own vectoriser keeps
    neither the lanes nor the sums in registers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        arrays = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 2, 3, 5, 6)]
        last = arguments[4]
        n_ps, n_row = (builder.extract_value(arrays[2].shape, i) for i in (0, 1))
        templates_, mean_, y_, q_ = (builder.bitcast(arrays[i].data, vector.as_pointer()) for i in (0, 1, 4, 5))
        weighted_, inverse_ = arrays[2].data, arrays[3].data

        def constant(value: int) -> Any:
            return ir.Constant(last.type, value)

        def plus(index: Any, value: int) -> Any:
            return builder.add(index, constant(value))

        def load(base: Any, index: Any) -> Any:
            value = builder.load(builder.gep(base, [index]))
            value.align = 8
            return value

        def store(value: Any, base: Any, index: Any) -> None:
            builder.store(value, builder.gep(base, [index])).align = 8

        def splat(base: Any, index: Any) -> Any:
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), load(base, index), ir.IntType(32)(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

        def multiply_add(a: Any, b: Any, c: Any) -> Any:
            return builder.fadd(c, builder.fmul(a, b, flags=("contract",)), flags=("contract",))

        zero = ir.Constant(vector, [0.0] * LANES)
        total = cgutils.alloca_once(builder, vector)
        with cgutils.for_range(builder, plus(last, STRIDE - 1)) as loop:
            m = plus(loop.index, 1)
            builder.store(zero, total)
            with cgutils.for_range(builder, n_ps) as inner:
                x = splat(weighted_, builder.add(builder.mul(inner.index, n_row), m))
                builder.store(multiply_add(load(templates_, inner.index), x, builder.load(total)), total)
            store(builder.load(total), y_, m)
        y1, y2, y3 = (
            builder.fadd(load(y_, constant(1)), load(mean_, constant(0))),
            *(load(y_, constant(i)) for i in (2, 3)),
        )
        store(y1, y_, constant(1))
        store(ir.Constant(vector, [1.0] * LANES), q_, constant(0))

        sums = [cgutils.alloca_once(builder, vector) for _ in range(STRIDE)]
        n_sweep = builder.udiv(plus(last, STRIDE - 1), constant(STRIDE))
        with cgutils.for_range(builder, n_sweep) as loop:
            k = plus(builder.mul(loop.index, constant(STRIDE)), 1)
            for i, each in enumerate(sums):
                builder.store(load(y_, plus(k, i)), each)
            with cgutils.for_range(builder, loop.index) as inner:
                j = plus(builder.mul(inner.index, constant(STRIDE)), 1)
                m = builder.sub(k, j)
                rows = {o: load(y_, plus(m, o)) for o in range(1 - STRIDE, STRIDE)}  # a row that several sums use
                for o in range(STRIDE):
                    known = load(q_, plus(j, o))
                    for i, each in enumerate(sums):
                        builder.store(multiply_add(rows[i - o], known, builder.load(each)), each)
            w = [splat(inverse_, plus(k, i)) for i in range(STRIDE)]
            s = [builder.fmul(builder.load(each), w[i]) for i, each in enumerate(sums)]
            ahead = {(i, o): builder.fmul((y1, y2, y3)[o - 1], w[i]) for i in range(STRIDE) for o in range(1, i + 1)}
            done: list[Any] = []
            for i in range(STRIDE):
                value = s[i]
                for o in range(i, 0, -1):
                    value = multiply_add(ahead[i, o], done[i - o], value)
                done.append(value)
                store(value, q_, plus(k, i))
        return context.get_dummy_value()

    return types.void(templates, mean, weighted, inverse, types.intp, y, q), generate


@njit(cache=True, nogil=True, error_model="numpy")
def saddle_point(y: FloatArray, k: int, mean: float) -> float:
    """Logarithm of the r > 0 at which Σ_m y_m r^m = mean, m = 1 .. k: convex in log r, Newton starts above the root."""
    rho = np.inf
    for m in range(1, k + 1):
        if y[m] > 0:
            rho = min(rho, (math.log(mean) - math.log(y[m])) / m)
    for _ in range(100):
        total = slope = 0.0
        r, power = math.exp(rho), 1.0
        for m in range(1, k + 1):
            power *= r
            if y[m] > 0:
                term = y[m] * power if power < np.inf else math.exp(math.log(y[m]) + m * rho)
                total += term
                slope += m * term
        step = math.log(total / mean) * total / slope
        rho -= step
        if not abs(step) > 1e-6:
            break
    return rho


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _inner(a: FloatArray, b: FloatArray) -> float:
    """Σ a b, added in any order, which lets several products be taken at once."""
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def tilted(y: FloatArray, q: FloatArray, k: int, rho: float) -> float:
    """Fill q[0 .. k] for y_m r^m, rho = log r, on one scale; return the logarithm of the scale. y is overwritten."""
    back = np.zeros(k)  # from y_k to y_1
    for m in range(1, k + 1):
        y[m] = math.exp(math.log(y[m]) + m * rho) if y[m] > 0 else 0.0
        back[k - m] = y[m]
    scale = 0.0
    q[0] = 1.0
    for i in range(1, k + 1):
        q[i] = _inner(back[k - i :], q[:i]) / i
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
    rho = saddle_point(y, k, float(k))
    scale = tilted(y, q, k, rho)
    return math.log(q[k]) + scale - k * rho - total, rho


@njit(cache=True, nogil=True, error_model="numpy")
def _terms(
    counts: IntArray,
    templates: FloatArray,
    mean: FloatArray,
    vectors: FloatArray,
    work: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    total: FloatArray,
) -> int:
    """Fill λ (LANES,) of one block, y, and q of lanes whose λ allows it; return the block's largest count.

    `vectors` X_m (n_ps, n) and `work` (m X_m, 1 / m, y, q).
    """
    weighted, inverse, y, q = work
    total[:] = mean
    for j in range(templates.shape[0]):
        for w in range(LANES):
            total[w] += templates[j, w] * vectors[j, 0]
    k_max, last = counts.max(), -1
    for w in range(LANES):
        if total[w] < _LARGEST_EXPONENT:
            last = max(last, counts[w])
    if last < k_max:
        y[1 : k_max + 1] = 0.0
        y[1] += mean
        for m in range(1, k_max + 1):
            for j in range(templates.shape[0]):
                y[m] += templates[j] * weighted[j, m]
    if last >= 0:
        _recurse(templates, mean, weighted, inverse, last, y, q)  # type: ignore[call-arg]
    return int(k_max)


@njit(cache=True, nogil=True, error_model="numpy")
def _safe(total: float, term: float) -> bool:
    return total < _LARGEST_EXPONENT and term > _SMALLEST


@njit(cache=True, nogil=True, error_model="numpy")
def _work(vectors: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Vectors m X_m (n_group, n_ps, n); 1 / m; room for y, q (n, LANES) and λ (LANES,)."""
    m = np.arange(vectors.shape[2])
    rows = (len(m), LANES)
    return vectors * m, 1.0 / m, np.zeros(rows), np.zeros(rows), np.zeros(LANES)


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
    weighted, inverse, y, q, total = _work(vectors)
    for b in range(counts.shape[0]):
        work = (weighted[group[b]], inverse, y, q)
        _terms(counts[b], templates[b], mean[b], vectors[group[b]], work, total)
        for w in range(LANES):
            k = counts[b, w]
            if _safe(total[w], q[k, w]):
                out[b, w] = math.log(q[k, w]) - total[w]
            else:
                out[b, w] = _tilted_log_probability(y[:, w].copy(), q[:, w].copy(), k, total[w])[0]


@njit(cache=True, nogil=True, error_model="numpy")
def log_likelihood(
    counts: IntArray, templates: FloatArray, group: IntArray, mean: FloatArray, vectors: FloatArray
) -> float:
    """Sum of what :func:`log_probabilities` fills in.

    Logarithms are taken of products of some pixels' terms, whose powers of 2 are counted apart.
    """
    weighted, inverse, y, q, total = _work(vectors)
    value, lost, product = 0.0, 0.0, 1.0
    for b in range(counts.shape[0]):
        work = (weighted[group[b]], inverse, y, q)
        _terms(counts[b], templates[b], mean[b], vectors[group[b]], work, total)
        part, powers = 0.0, 0
        for w in range(LANES):
            k = counts[b, w]
            term = q[k, w]
            if _safe(total[w], term):
                mantissa, power = math.frexp(term)
                product *= mantissa
                powers += power
                part -= total[w]
            else:
                part += _tilted_log_probability(y[:, w].copy(), q[:, w].copy(), k, total[w])[0]
        part += powers * _LOG_2
        if product < 1e-100:
            part += math.log(product)
            product = 1.0
        part -= lost  # what rounding took from the sum before (Kahan)
        before = value
        value = before + part
        lost = (value - before) - part if part > -math.inf else 0.0
    return value + (math.log(product) - lost)


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
    n_ps = vectors.shape[1]
    weighted, inverse, y, q, total = _work(vectors)
    ratio = np.zeros_like(q)
    vector_gradient[:] = 0.0
    for b in range(counts.shape[0]):
        g = group[b]
        k_max = _terms(counts[b], templates[b], mean[b], vectors[g], (weighted[g], inverse, y, q), total)
        ratio[: k_max + 1] = 0.0
        for w in range(LANES):
            k = counts[b, w]
            if _safe(total[w], q[k, w]):
                out[b, w] = math.log(q[k, w]) - total[w]
                scale = 1.0 / q[k, w]
                for m in range(1, k + 1):
                    ratio[m, w] = q[k - m, w] * scale
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
