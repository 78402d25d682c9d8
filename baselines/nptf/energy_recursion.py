r"""The recursion of the template fit with energies: see :mod:`gcesbi.baselines.nptf.energies`.

Pixels are worked off in blocks of :data:`LANES`, of about as many photons each, one in each lane of the vector
registers. Numbers b_n, n a vector of photons of every kind of source, lie in rows: one for each n of all kinds but the
last (a :class:`Simplex`), along which the last kind's photons run from column 1 on. A lane of fewer photons begins with
steps that change nothing. Photons may be taken in any order: one of every energy is left to the end, so that
derivatives by means and splits are sums over few b_n.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from scipy.special import gammaln

from gcesbi.baselines.nptf.recursion import saddle_point, tilted
from gcesbi.sky.compiled import njit

__all__ = ["LANES", "LOG_FACTORIALS", "Simplex", "gradients", "log_probabilities", "simplex"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

LANES = 8  # one AVX-512 register
_MARGIN = 3  # columns of a row beyond its largest number of photons
_DIRECT = 120  # up to so many photons n! P(n) is computed as it stands
_LEAST = 0.01  # photons of a kind of sources, in whose units they are measured: its powers stay within range
_SAFE = 1e-250
_FORBIDDEN = 1e280  # products of weights above belong to numbers of photons that the other factors forbid
_FACTORIALS = np.array([math.factorial(n) for n in range(_DIRECT + 1)], dtype=np.float64)
LOG_FACTORIALS = gammaln(np.arange(100_001) + 1.0)


class Simplex(NamedTuple):
    """Points of Z^n_axis, none below 0, of degree up to k, sorted by degree.

    Attributes
    ----------
    points : array (n_row, n_axis)
    degree : array (n_row,)
    up, down : array (n_row, n_axis)
        Row of the point that is one higher, or lower, along an axis; -1 where there is none.
    number : array (k + 1,)
        Points of degree up to d.
    """

    points: Ints
    degree: Ints
    up: Ints
    down: Ints
    number: Ints


def simplex(k: int, n_axis: int) -> Simplex:
    """Points of degree up to k."""
    cells = np.indices((k + 1,) * n_axis).reshape(n_axis, -1).T if n_axis else np.zeros((1, 0), dtype=np.int64)
    degree = cells.sum(axis=1)
    order = np.argsort(degree, kind="stable")
    order = order[degree[order] <= k]
    points = np.ascontiguousarray(cells[order], dtype=np.int64)
    degree = points.sum(axis=1)
    row = np.full(len(cells) + 1, -1)
    row[order] = np.arange(len(order))
    strides = (k + 1) ** np.arange(n_axis - 1, -1, -1)
    up = row[np.where(degree[:, None] < k, order[:, None] + strides, -1)]
    down = row[np.where(points > 0, order[:, None] - strides, -1)]
    number = np.searchsorted(degree, np.arange(k + 1), side="right")
    return Simplex(points, degree, up.astype(np.int64), down.astype(np.int64), number.astype(np.int64))


# -- weights of one pixel, of any brightness --------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _tilted_law(x: Array, n: int, centre: float, v: Array) -> tuple[float, float]:
    """Fill v so that e^λ P(n) = e^scale v_n τ^n, with v about as large at 0 as at `centre`; return scale and ln τ."""
    y = x[: n + 1] * np.arange(n + 1)
    rho = saddle_point(y, n, max(centre, 1.0)) if np.any(y[1:] > 0) else 0.0
    return tilted(y, v, n, rho), -rho


@njit(cache=True, nogil=True, error_model="numpy")
def _saddle(k: Ints, mu: Array, a: Array, log_w: Array, n: int, sigma: Array, at: Ints) -> float:
    """Move sigma and `at`, photons of every kind, to where the terms of ln p are largest; return the logarithm there.

    `log_w` (n_kind, n + 1) is ln w_n = ln n! P(n); at the saddle w_n / σ^n is flat about the photons that σ gives.
    """
    value = -np.inf
    for _ in range(30):
        value = 0.0
        at[:] = 0
        photons = np.zeros(len(a))
        for e in range(len(k)):
            if k[e] > 0:
                g = mu[e]
                for j in range(len(a)):
                    g += a[j, e] * sigma[j]
                if not g > 0:
                    return -np.inf
                value += k[e] * math.log(g)
                for j in range(len(a)):
                    photons[j] += k[e] * a[j, e] * sigma[j] / g
        moved = 0.0
        for j in range(len(a)):
            at[j] = min(int(photons[j]), n - 1)
            value += log_w[j, at[j]] - at[j] * math.log(sigma[j])
            slope = log_w[j, at[j] + 1] - log_w[j, at[j]] - math.log(sigma[j])
            if abs(slope) < 1e3:
                sigma[j] *= math.exp(0.5 * slope)
                moved = max(moved, abs(slope))
        if moved < 1e-2:
            break
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _tilted_weights(k: Ints, mu: Array, a: Array, x: Array, sigma: Array, v: Array, f: Array, log_tau: Array) -> float:
    """Weights f v of all kinds for any number of photons, near 1 where it counts; sigma moves.

    Returns the logarithm of what f v is to be multiplied by.
    """
    n, n_kind = k.sum(), len(x)
    log_w, scale = np.full((n_kind, n + 1), -np.inf), np.empty(n_kind)
    for j in range(n_kind):
        scale[j], log_tau[j] = _tilted_law(x[j], n, min(max(sigma[j], 1.0), n), v[j])
        for i in range(n + 1):
            if v[j, i] > 0:
                log_w[j, i] = math.log(v[j, i]) + i * log_tau[j] + LOG_FACTORIALS[i]
    other, at, there = np.empty(n_kind), np.zeros(n_kind, np.int64), np.zeros(n_kind, np.int64)
    for j in range(n_kind):
        other[j] = max(x[j, 1], 1e-300)
    if _saddle(k, mu, a, log_w, n, other, there) > _saddle(k, mu, a, log_w, n, sigma, at):
        sigma[:], at[:] = other, there
    total = 0.0
    for j in range(n_kind):
        log_sigma = math.log(sigma[j])
        reference = log_w[j, at[j]] - at[j] * log_sigma
        total += reference + scale[j]
        for i in range(n + 1):
            exponent = LOG_FACTORIALS[i] + i * (log_tau[j] - log_sigma) - reference
            # weights above e^600 belong to numbers of photons that the other factors forbid
            room = 600.0 - math.log(v[j, i]) if v[j, i] > 0 else 0.0
            f[j, i] = math.exp(min(exponent, room, 700.0))
    return total


# -- blocks of pixels -------------------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """Room for one block of pixels; lanes last.

    Attributes
    ----------
    pixel : array (LANES,)
        Padding repeats the first.
    photons : array (LANES,)
    x, v, f : array (n_kind, n_row, LANES)
        Expected sources by photons, X_Σ at index 0; the weights are f v, e^λ n! P(n) / σ^n but for a factor.
    sigma, log_tau : array (n_kind, LANES)
    step : array (n_row, max(n_kind - 1, 1), 3, LANES)
        What every photon multiplies b_n, b_(n + 1 of the last kind) and b_(n + 1 of another kind) by.
    energy : array (n_row, LANES)
        Of the photons in the order they are taken.
    factor : array (n_energy, LANES)
        1 / (μ + Σ_j a_j σ_j).
    kinds : array (LANES,)
        Number of energies with photons.
    """

    pixel: Ints
    photons: Ints
    x: Array
    v: Array
    f: Array
    sigma: Array
    log_tau: Array
    step: Array
    energy: Ints
    factor: Array
    kinds: Ints


@njit(cache=True, nogil=True, error_model="numpy")
def _room(n_kind: int, n_row: int, n_energy: int) -> _Block:
    rows = (n_kind, n_row, LANES)
    return _Block(
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros((n_kind, LANES)),
        np.zeros((n_kind, LANES)),
        np.zeros((n_row, max(n_kind - 1, 1), 3, LANES)),
        np.zeros((n_row, LANES), np.int64),
        np.zeros((n_energy, LANES)),
        np.zeros(LANES, np.int64),
    )


@intrinsic
def _combine(typing_context: Any, cells: Any, first: Any, other: Any, n: Any, stride: Any, step: Any) -> Any:
    """Replace c_q by s_0 c_q + s_1 c_(q + stride) + s_2 c_(q + other) at q = first, first + stride, .., n of them.

    Arrays are `cells` (n_cell, LANES) and `step` (3, LANES), s. Written in LLVM's vector types, one pixel a lane.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        cells_, step_ = (
            builder.bitcast(
                context.make_array(signature.args[i])(context, builder, arguments[i]).data, vector.as_pointer()
            )
            for i in (0, 5)
        )
        first_, other_, n_, stride_ = arguments[1:5]

        def load(base: Any, index: Any) -> Any:
            value = builder.load(builder.gep(base, [index]))
            value.align = 8
            return value

        def multiply_add(a: Any, b: Any, c: Any) -> Any:
            return builder.fadd(c, builder.fmul(a, b, flags=("contract",)), flags=("contract",))

        s = [load(step_, ir.Constant(n_.type, i)) for i in range(3)]
        here = cgutils.alloca_once_value(builder, load(cells_, first_))
        with cgutils.for_range(builder, n_) as loop:
            q = builder.add(first_, builder.mul(loop.index, stride_))
            ahead = load(cells_, builder.add(q, stride_))
            value = builder.fmul(s[0], builder.load(here))
            value = multiply_add(s[2], load(cells_, builder.add(q, other_)), multiply_add(s[1], ahead, value))
            builder.store(value, builder.gep(cells_, [q])).align = 8
            builder.store(ahead, here)
        return context.get_dummy_value()

    return types.void(cells, first, other, n, stride, step), generate


@njit(cache=True, nogil=True, error_model="numpy")
def _load(pixels: Ints, counts: Ints, templates: Array, vectors: Array, kind: Ints, block: _Block) -> int:
    """Fill the block's pixels, photons and x; return the largest number of photons."""
    n = 0
    for w in range(LANES):
        block.pixel[w] = pixels[w] if pixels[w] >= 0 else pixels[0]
        block.photons[w] = counts[block.pixel[w]].sum()
        n = max(n, block.photons[w])
    block.x[:, : n + 1] = 0.0
    share = np.empty(LANES)
    for j in range(len(kind)):
        for w in range(LANES):
            share[w] = templates[j, block.pixel[w]]
        x = block.x[kind[j]]
        for m in range(n + 1):
            value = vectors[j, m]
            for w in range(LANES):
                x[m, w] += share[w] * value
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _scales(mean: Array, block: _Block) -> None:
    """Fill sigma: about the photons that each kind gives to the pixel."""
    n_kind = len(block.x)
    for w in range(LANES):
        total = 0.0
        for j in range(n_kind):
            value = 0.0
            for m in range(1, block.photons[w] + 1):
                value += m * block.x[j, m, w]
            block.sigma[j, w] = value
            total += value
        more = block.photons[w] - mean[block.pixel[w]].sum()
        stretch = max(1.0, more / total) if total > 0 else 1.0
        for j in range(n_kind):
            block.sigma[j, w] = max(block.sigma[j, w] * stretch, _LEAST) if block.sigma[j, w] > 0 else 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _direct_weights(n: int, block: _Block) -> None:
    """Fill v and f so that e^λ n! P(n) / σ^n = f_n v_n, with f_n = n! and v_n = e^λ P(n) / σ^n."""
    y, total = np.empty((n + 1, LANES)), np.empty(LANES)
    for j in range(len(block.x)):
        x, v, f, sigma = block.x[j], block.v[j], block.f[j], block.sigma[j]
        total[:] = 1.0
        for w in range(LANES):
            v[0, w], f[0, w] = 1.0, 1.0
            block.log_tau[j, w] = math.log(sigma[w])
        for i in range(1, n + 1):
            for w in range(LANES):
                total[w] /= sigma[w]
                y[i, w] = i * x[i, w] * total[w]
        for i in range(1, n + 1):
            total[:] = 0.0
            for m in range(1, i + 1):
                for w in range(LANES):
                    total[w] += y[m, w] * v[i - m, w]
            for w in range(LANES):
                v[i, w] = total[w] / i if i <= block.photons[w] else 0.0
                f[i, w] = _FACTORIALS[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _tilt(w: int, n: int, counts: Ints, mean: Array, splits: Array, first: Ints, block: _Block) -> float:
    """Weights of one lane by :func:`_tilted_weights`; returns the logarithm of what they are to be multiplied by."""
    n_kind, p, own = len(block.x), block.pixel[w], block.photons[w]
    block.v[:, : n + 1, w], block.f[:, : n + 1, w] = 0.0, 0.0
    if own == 0:
        block.v[:, 0, w], block.f[:, 0, w] = 1.0, 1.0
        return 0.0
    a = np.empty((n_kind, splits.shape[2]))
    for j in range(n_kind):
        a[j] = splits[first[j], p]
    x = np.ascontiguousarray(block.x[:, : own + 1, w])
    sigma, log_tau, v, f = block.sigma[:, w].copy(), np.empty(n_kind), np.zeros_like(x), np.zeros_like(x)
    scale = _tilted_weights(counts[p], mean[p], a, x, sigma, v, f, log_tau)
    block.sigma[:, w], block.log_tau[:, w] = sigma, log_tau
    block.v[:, : own + 1, w], block.f[:, : own + 1, w] = v, f
    return scale


@njit(cache=True, nogil=True, error_model="numpy")
def _photons(n: int, w: int, counts: Ints, mean: Array, splits: Array, first: Ints, block: _Block) -> float:
    """Put the photons of a lane in order; returns ln p but for what b_0 gives and for P's masses."""
    p, value, last, n_axis = block.pixel[w], 0.0, len(first) - 1, block.step.shape[1]
    k, mu = counts[p], mean[p]
    for t in range(n):
        for j in range(n_axis):
            block.step[t, j, 0, w], block.step[t, j, 1, w], block.step[t, j, 2, w] = 1.0, 0.0, 0.0
    block.kinds[w] = np.count_nonzero(k)
    t, end = n - block.photons[w], n - block.kinds[w]
    for e in range(len(k)):
        value -= mu[e]
        if k[e] == 0:
            continue
        g = mu[e]
        for j in range(len(first)):
            g += splits[first[j], p, e] * block.sigma[j, w]
        value += (k[e] * math.log(g) if g > 0 else -np.inf) - LOG_FACTORIALS[k[e]]
        inverse = 1.0 / g if g > 0 else 0.0
        block.factor[e, w] = inverse
        along = splits[first[last], p, e] * block.sigma[last, w] * inverse
        for i in range(k[e]):
            at = t + i if i < k[e] - 1 else end
            block.energy[at, w] = e
            block.step[at, 0, 0, w], block.step[at, 0, 1, w] = mu[e] * inverse, along
            for j in range(last):
                block.step[at, j, 2, w] = splits[first[j], p, e] * block.sigma[j, w] * inverse
        t += k[e] - 1
        end += 1
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _start(n: int, grid: Simplex, block: _Block, b: Array) -> None:
    """Fill b with Π_j w_j."""
    last, width = len(block.v) - 1, n + _MARGIN
    weight, front = np.empty((n + 1, LANES)), np.empty(LANES)
    for i in range(n + 1):
        for w in range(LANES):
            weight[i, w] = block.f[last, i, w] * block.v[last, i, w]
    for r in range(grid.number[n]):
        _front(r, grid, block, front)
        row = b[r * width + 1 : (r + 1) * width]
        for i in range(n - grid.degree[r] + 1):
            for w in range(LANES):
                value = front[w] * weight[i, w]
                row[i, w] = value if value < _FORBIDDEN else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _front(r: int, grid: Simplex, block: _Block, front: Array) -> None:
    """Fill front (LANES,) with the product of the weights of all kinds but the last in a row."""
    front[:] = 1.0
    for j in range(grid.points.shape[1]):
        i = grid.points[r, j]
        for w in range(LANES):
            front[w] *= block.f[j, i, w] * block.v[j, i, w]


@njit(cache=True, nogil=True, error_model="numpy")
def _take(n: int, grid: Simplex, block: _Block, b: Array, kept: Array) -> None:
    """Let all photons take b to b_0; `kept` (n_step, .., LANES) has b as it is before each of the last photons."""
    width, n_axis = n + _MARGIN, grid.points.shape[1]
    for t in range(n):
        left = n - 1 - t
        if left < len(kept):
            for r in range(grid.number[left + 1]):
                for i in range(left + 2 - grid.degree[r]):
                    kept[left, r * (left + 2) + i] = b[r * width + 1 + i]
        for r in range(grid.number[left]):
            place, long = r * width + 1, left - grid.degree[r] + 1
            other = grid.up[r, 0] * width + 1 - place if n_axis > 0 else 0
            _combine(b, place, other, long, 1, block.step[t, 0])  # type: ignore[call-arg]
            for j in range(1, n_axis):
                _combine(b, place, grid.up[r, j] * width + 1 - place, long, 1, block.step[t, j])


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    pixels: Ints,
    counts: Ints,
    mean: Array,
    templates: Array,
    vectors: Array,
    kind: Ints,
    splits: Array,
    first: Ints,
    grid: Simplex,
    block: _Block,
    room: Array,
    kept: Array,
    out: Array,
) -> int:
    """Fill out (n_pix,) with ln p of a block's pixels; return its largest number of photons. room[1] is b_0 then."""
    n = _load(pixels, counts, templates, vectors, kind, block)
    b = room[: grid.number[n] * (n + _MARGIN)]
    scale, value = np.zeros(LANES), np.zeros(LANES)
    _scales(mean, block)
    if n <= _DIRECT:
        _direct_weights(n, block)
    for attempt in range(2):
        wrong = 0
        for w in range(LANES):
            if n > _DIRECT if attempt == 0 else not _SAFE < b[1, w] < 1 / _SAFE:
                scale[w] = _tilt(w, n, counts, mean, splits, first, block)
                wrong += 1
            value[w] = _photons(n, w, counts, mean, splits, first, block)
        if attempt == 0 or wrong > 0:
            _start(n, grid, block, b)
            _take(n, grid, block, b, kept)
        if n > _DIRECT:
            break
    for w in range(LANES):
        value[w] += scale[w] - block.x[:, 0, w].sum()
        out[block.pixel[w]] = value[w] + math.log(b[1, w]) if b[1, w] > 0 else -np.inf
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def log_probabilities(
    blocks: Ints,
    counts: Ints,
    mean: Array,
    templates: Array,
    vectors: Array,
    kind: Ints,
    splits: Array,
    first: Ints,
    grid: Simplex,
    out: Array,
) -> None:
    """Fill out (n_pix,) with ln p of pixels.

    Parameters
    ----------
    blocks : array (n_block, LANES)
        Pixels of every block; -1 where there is none.
    counts, mean : array (n_pix, n_energy)
    templates : array (n_ps, n_pix)
    vectors : array (n_ps, n_row)
        X_m of every template, X_Σ at index 0.
    kind : array (n_ps,)
        Of spectra of every template.
    splits : array (n_ps, n_pix, n_energy)
    first : array (n_kind,)
        A template of every kind.
    grid : Simplex
        Of n_kind - 1 axes and the blocks' photons.
    """
    n = len(grid.number) - 1
    block = _room(len(first), n + 1, counts.shape[1])
    room, kept = np.empty((grid.number[n] * (n + _MARGIN), LANES)), np.empty((0, 0, LANES))
    for pixels in blocks:
        _evaluate(pixels, counts, mean, templates, vectors, kind, splits, first, grid, block, room, kept, out)


@njit(cache=True, nogil=True, error_model="numpy")
def gradients(
    blocks: Ints,
    counts: Ints,
    mean: Array,
    templates: Array,
    vectors: Array,
    kind: Ints,
    splits: Array,
    first: Ints,
    grid: Simplex,
    out: Array,
    by_mean: Array,
    by_vectors: Array,
    by_templates: Array,
    by_splits: Array,
) -> None:
    """Fill out as :func:`log_probabilities`, and the derivatives of the sum of ln p by all that it depends on.

    `by_splits` (n_kind, n_pix, n_energy) is by those of every kind; to `by_vectors` (n_ps, n_row) is added.
    """
    n_max, n_energy, n_kind = len(grid.number) - 1, counts.shape[1], len(first)
    block, tail = _room(n_kind, n_max + 1, n_energy), min(n_energy, n_max)
    room = np.empty((grid.number[n_max] * (n_max + _MARGIN), LANES))
    derivative = np.empty(((grid.number[n_max] + 1) * (n_max + _MARGIN), LANES))
    kept = np.empty((tail, grid.number[tail] * (tail + 1), LANES))
    by_x, inverse = np.empty((n_kind, n_max + 1, LANES)), np.empty(LANES)
    for pixels in blocks:
        n = _evaluate(pixels, counts, mean, templates, vectors, kind, splits, first, grid, block, room, kept, out)
        for w in range(LANES):
            inverse[w] = 1.0 / room[1, w] if room[1, w] > 0 else 0.0
            block.kinds[w] *= pixels[w] >= 0  # slopes of padding are not added
            by_mean[block.pixel[w]] = -1.0
            by_splits[:, block.pixel[w]] = 0.0
        c = derivative[: (grid.number[n] + 1) * (n + _MARGIN)]
        c[:] = 0.0
        c[1] = 1.0
        for left in range(n):
            if left < tail:
                _photon_slopes(n, left, counts, inverse, grid, block, c, kept[left], by_mean, by_splits)
            _give(n, left, grid, block, c)
        _weight_slopes(n, grid, block, c, inverse, by_x)
        for j in range(len(kind)):
            slope = by_x[kind[j]]
            for w in range(LANES):
                share, total = templates[j, block.pixel[w]] * (pixels[w] >= 0), 0.0
                for m in range(n + 1):
                    total += slope[m, w] * vectors[j, m]
                    by_vectors[j, m] += share * slope[m, w]
                by_templates[j, block.pixel[w]] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _photon_slopes(
    n: int,
    left: int,
    counts: Ints,
    inverse: Array,
    grid: Simplex,
    block: _Block,
    c: Array,
    b: Array,
    by_mean: Array,
    by_splits: Array,
) -> None:
    """Derivatives of ln p by μ_e and a_je: from b before a photon of energy e and c, the derivatives by b after it."""
    n_axis, width, small = grid.points.shape[1], n + _MARGIN, left + 2
    total = np.zeros((n_axis + 2, LANES))
    for r in range(grid.number[left]):
        for i in range(left - grid.degree[r] + 1):
            here, place = c[r * width + 1 + i], r * small + i
            for w in range(LANES):
                total[0, w] += here[w] * b[place, w]
                total[1, w] += here[w] * b[place + 1, w]
            for j in range(n_axis):
                above = b[grid.up[r, j] * small + i]
                for w in range(LANES):
                    total[2 + j, w] += here[w] * above[w]
    for w in range(LANES):
        if left < block.kinds[w] and inverse[w] > 0:
            e, p = block.energy[n - 1 - left, w], block.pixel[w]
            weight = counts[p, e] * block.factor[e, w] * inverse[w]
            by_mean[p, e] += weight * total[0, w]
            by_splits[n_axis, p, e] += weight * block.sigma[n_axis, w] * total[1, w]
            for j in range(n_axis):
                by_splits[j, p, e] += weight * block.sigma[j, w] * total[2 + j, w]


@njit(cache=True, nogil=True, error_model="numpy")
def _give(n: int, left: int, grid: Simplex, block: _Block, c: Array) -> None:
    """Derivatives c by b before a photon from those after it, of degree up to `left`: the transpose of a step."""
    t, width, n_axis = n - 1 - left, n + _MARGIN, grid.points.shape[1]
    nothing = grid.number[n]
    for r in range(grid.number[left + 1] - 1, -1, -1):
        long = left + 2 - grid.degree[r]
        place = r * width + long
        for j in range(max(n_axis, 1)):
            other = 0
            if n_axis > 0:
                below = grid.down[r, j] if grid.down[r, j] >= 0 else nothing
                other = (below - r) * width
            _combine(c, place, other, long, -1, block.step[t, j])  # type: ignore[call-arg]


@njit(cache=True, nogil=True, error_model="numpy")
def _weight_slopes(n: int, grid: Simplex, block: _Block, c: Array, inverse: Array, by_x: Array) -> None:
    """Fill by_x (n_kind, n + 1, LANES), derivatives of ln p by x, from those of b_0 by every weight w_j(n_j) = f v."""
    last, width = len(block.v) - 1, n + _MARGIN
    slope = np.zeros((last + 1, n + 1, LANES))
    front, along, total = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for r in range(grid.number[n]):
        _front(r, grid, block, front)
        along[:] = 0.0
        for i in range(n - grid.degree[r] + 1):
            for w in range(LANES):
                here, weight = c[r * width + 1 + i, w], block.f[last, i, w] * block.v[last, i, w]
                if front[w] * weight < _FORBIDDEN:
                    slope[last, i, w] += front[w] * here
                    along[w] += here * weight
        for j in range(last):
            for w in range(LANES):
                others = along[w]
                for h in range(last):
                    if h != j:
                        others *= block.f[h, grid.points[r, h], w] * block.v[h, grid.points[r, h], w]
                slope[j, grid.points[r, j], w] += others
    for j in range(last + 1):
        for i in range(n + 1):
            for w in range(LANES):
                slope[j, i, w] = slope[j, i, w] * block.f[j, i, w] if inverse[w] > 0 else 0.0
        by_x[j, 0] = -1.0
        scale = inverse.copy()
        for m in range(1, n + 1):
            total[:] = 0.0
            for i in range(m, n + 1):
                for w in range(LANES):
                    total[w] += slope[j, i, w] * block.v[j, i - m, w]
            for w in range(LANES):
                scale[w] *= math.exp(-block.log_tau[j, w])
                by_x[j, m, w] = total[w] * scale[w] if m <= block.photons[w] else 0.0
