r"""The recursion of the template fit with energies, pixel by pixel: see :mod:`gcesbi.baselines.nptf.energies`.

Kernels take one pixel: counts k (n_energy,), mean mu (n_energy,), splits a (n_kind, n_energy), and x (n_kind, K + 1)
with X_Σ at index 0. Numbers b_n, n a vector of photons of every kind, lie in rows: one for each n of all kinds but the
last (a :class:`Simplex`), along which the last kind's photons run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from gcesbi.baselines.nptf.recursion import saddle_point, tilted
from gcesbi.sky.compiled import njit

__all__ = ["LOG_FACTORIALS", "Simplex", "gradients", "log_probabilities", "simplex"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_DIRECT = 120  # up to so many photons n! P(n) is computed as it stands
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
    up : array (n_row, n_axis)
        Row of the point that is one higher along an axis; -1 beyond degree k.
    number : array (k + 1,)
        Points of degree up to d.
    """

    points: Ints
    degree: Ints
    up: Ints
    number: Ints


def simplex(k: int, n_axis: int) -> Simplex:
    """Points of degree up to k."""
    cells = np.indices((k + 1,) * n_axis).reshape(n_axis, -1).T if n_axis else np.zeros((1, 0), dtype=np.int64)
    degree = cells.sum(axis=1)
    order = np.argsort(degree, kind="stable")
    order = order[degree[order] <= k]
    row = np.full(len(cells) + 1, -1)
    row[order] = np.arange(len(order))
    strides = (k + 1) ** np.arange(n_axis - 1, -1, -1)
    higher = np.where(degree[order, None] < k, order[:, None] + strides, -1) if n_axis else np.zeros((1, 0), np.int64)
    number = np.searchsorted(degree[order], np.arange(k + 1), side="right")
    points = cells[order].astype(np.int64)
    return Simplex(points, points.sum(axis=1), row[higher].astype(np.int64), number.astype(np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def _scales(k: Ints, mu: Array, x: Array, sigma: Array) -> None:
    """Fill sigma (n_kind,): about the photons that each kind gives to the pixel."""
    photons = 0
    smooth = 0.0
    for e in range(len(k)):
        photons += k[e]
        smooth += mu[e]
    total = 0.0
    for j in range(len(x)):
        sigma[j] = 0.0
        for m in range(1, photons + 1):
            sigma[j] += m * x[j, m]
        total += sigma[j]
    stretch = max(1.0, (photons - smooth) / total) if total > 0 else 1.0
    for j in range(len(x)):
        sigma[j] = sigma[j] * stretch if sigma[j] > 0 else 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _direct_weights(x: Array, n: int, sigma: float, v: Array, f: Array) -> None:
    """Fill v and f so that e^λ n! P(n) / σ^n = f_n v_n, with f_n = n! and v_n = e^λ P(n) / σ^n."""
    y = np.empty(n + 1)
    power = 1.0
    v[0], f[0] = 1.0, 1.0
    for i in range(1, n + 1):
        power /= sigma
        y[i] = i * x[i] * power
        f[i] = _FACTORIALS[i]
        total = 0.0
        for m in range(1, i + 1):
            total += y[m] * v[i - m]
        v[i] = total / i


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
    """As :func:`_direct_weights` for all kinds and any number of photons, with f v near 1 where it counts; sigma moves.

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


@njit(cache=True, nogil=True, error_model="numpy")
def _start(n: int, grid: Simplex, v: Array, f: Array, b: Array) -> None:
    """Fill b with Π_j w_j: rows (number[n], n + 1)."""
    last = len(v) - 1
    for r in range(grid.number[n]):
        degree, first = grid.degree[r], 1.0
        for j in range(last):
            i = grid.points[r, j]
            first *= f[j, i] * v[j, i]
        for i in range(n - degree + 1):
            weight = first * f[last, i] * v[last, i]
            b[r, i] = weight if weight < _FORBIDDEN else 0.0


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _take(
    left: int,
    smooth: float,
    a: Array,
    grid: Simplex,
    b: Array,
) -> None:
    """One photon: b_n <- smooth b_n + Σ_j a_j b_(n + e_j) for all n of degree up to `left`."""
    n_axis = grid.points.shape[1]
    last = a[n_axis]
    for r in range(grid.number[left]):
        degree = grid.degree[r]
        row = b[r]
        if n_axis == 0:
            for i in range(left + 1):
                row[i] = smooth * row[i] + last * row[i + 1]
        elif n_axis == 1:
            above, share = b[grid.up[r, 0]], a[0]
            for i in range(left - degree + 1):
                row[i] = smooth * row[i] + last * row[i + 1] + share * above[i]
        else:
            for i in range(left - degree + 1):
                row[i] = smooth * row[i] + last * row[i + 1]
            for j in range(n_axis):
                above, share = b[grid.up[r, j]], a[j]
                for i in range(left - degree + 1):
                    row[i] += share * above[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _factors(mu: Array, a: Array, sigma: Array, e: int, share: Array) -> float:
    """Fill share (n_kind,) with a_j σ_j / g and return g = μ + Σ_j a_j σ_j."""
    g = mu[e]
    for j in range(len(a)):
        share[j] = a[j, e] * sigma[j]
        g += share[j]
    for j in range(len(a)):
        share[j] /= g
    return g


@njit(cache=True, nogil=True, error_model="numpy")
def _pixel(
    k: Ints,
    mu: Array,
    a: Array,
    x: Array,
    grid: Simplex,
    sigma: Array,
    v: Array,
    f: Array,
    log_tau: Array,
    b: Array,
    kept: Array,
) -> tuple[float, float]:
    """Ln p and b_0 of a pixel; `kept` (n_energy, ..), unless empty, takes b as it is before each energy's photons."""
    n = k.sum()
    _scales(k, mu, x, sigma)
    if n <= _DIRECT:
        for j in range(len(x)):
            _direct_weights(x[j], n, sigma[j], v[j], f[j])
            log_tau[j] = math.log(sigma[j])
        value, b_0 = _take_all(k, mu, a, grid, sigma, v, f, b, kept)
        if _SAFE < b_0 < 1 / _SAFE:
            return value - x[:, 0].sum(), b_0
    scale = _tilted_weights(k, mu, a, x, sigma, v, f, log_tau)
    value, b_0 = _take_all(k, mu, a, grid, sigma, v, f, b, kept)
    return value + scale - x[:, 0].sum(), b_0


@njit(cache=True, nogil=True, error_model="numpy")
def _take_all(
    k: Ints,
    mu: Array,
    a: Array,
    grid: Simplex,
    sigma: Array,
    v: Array,
    f: Array,
    b: Array,
    kept: Array,
) -> tuple[float, float]:
    """Let all photons of a pixel take b from the weights f v to b_0; returns ln p, P's masses left out, and b_0."""
    value, left, share = 0.0, k.sum(), np.empty(len(a))
    _start(left, grid, v, f, b)
    for e in range(len(k)):
        value -= mu[e]
        if k[e] == 0:
            continue
        g = _factors(mu, a, sigma, e, share)
        if not g > 0:
            return -np.inf, 0.0
        value += k[e] * math.log(g) - LOG_FACTORIALS[k[e]]
        if len(kept):
            kept[e, : grid.number[left], : left + 1] = b[: grid.number[left], : left + 1]
        for _ in range(k[e]):
            left -= 1
            _take(left, mu[e] / g, share, grid, b)
    return (value + math.log(b[0, 0]) if b[0, 0] > 0 else -np.inf), b[0, 0]


@njit(cache=True, nogil=True, error_model="numpy")
def log_probabilities(
    counts: Ints,
    mean: Array,
    x: Array,
    a: Array,
    grid: Simplex,
    out: Array,
) -> None:
    """Fill out (n_pix,) with ln p of every pixel."""
    n_kind, n_row = x.shape[1], x.shape[2]
    sigma, log_tau = np.empty(n_kind), np.empty(n_kind)
    v, f = np.empty((n_kind, n_row)), np.empty((n_kind, n_row))
    b, kept = np.empty((grid.number[n_row - 1], n_row + 1)), np.empty((0, 0, 0))
    for p in range(len(counts)):
        out[p] = _pixel(counts[p], mean[p], a[p], x[p], grid, sigma, v, f, log_tau, b, kept)[0]


@njit(cache=True, nogil=True, error_model="numpy")
def gradients(
    counts: Ints,
    mean: Array,
    x: Array,
    a: Array,
    grid: Simplex,
    out: Array,
    by_mean: Array,
    by_x: Array,
    by_a: Array,
) -> None:
    """Fill out (n_pix,) and the derivatives of every ln p by mean, by x (X_Σ at index 0) and by splits."""
    n_kind, n_row, n_energy = x.shape[1], x.shape[2], counts.shape[1]
    sigma, log_tau, share = np.empty(n_kind), np.empty(n_kind), np.empty(n_kind)
    v, f, slope = np.empty((n_kind, n_row)), np.empty((n_kind, n_row)), np.empty((n_kind, n_row))
    b, c = np.empty((grid.number[n_row - 1], n_row + 1)), np.empty((grid.number[n_row - 1], n_row + 1))
    kept = np.empty((n_energy, grid.number[n_row - 1], n_row + 1))
    for p in range(len(counts)):
        k, mu, split = counts[p], mean[p], a[p]
        out[p], b_0 = _pixel(k, mu, split, x[p], grid, sigma, v, f, log_tau, b, kept)
        by_mean[p] = -1.0
        by_x[p, :, 0] = -1.0
        if not b_0 > 0:
            continue
        n, done = k.sum(), 0
        c[: grid.number[n], : n + 1] = 0.0
        c[0, 0] = 1.0
        for e in range(n_energy - 1, -1, -1):
            if k[e] == 0:
                continue
            g = _factors(mu, split, sigma, e, share)
            for i in range(k[e]):
                if i == k[e] - 1:
                    _photon_slopes(done, k[e] / (g * b_0), e, sigma, grid, c, kept[e], by_mean[p], by_a[p])
                _give(done, mu[e] / g, share, grid, c)
                done += 1
        _weight_slopes(n, grid, v, f, c, slope)
        for j in range(n_kind):
            for m in range(1, n + 1):
                total = 0.0
                for i in range(m, n + 1):
                    total += slope[j, i] * f[j, i] * v[j, i - m]
                by_x[p, j, m] = total / b_0 * math.exp(-m * log_tau[j])


@njit(cache=True, nogil=True, error_model="numpy")
def _photon_slopes(
    done: int,
    weight: float,
    e: int,
    sigma: Array,
    grid: Simplex,
    c: Array,
    b: Array,
    by_mean: Array,
    by_a: Array,
) -> None:
    """Derivatives of ln p by μ_e and a_je, from b before and the derivatives c after the first photon of energy e."""
    n_axis = grid.points.shape[1]
    for r in range(grid.number[done]):
        degree = grid.degree[r]
        for i in range(done - degree + 1):
            here = weight * c[r, i]
            by_mean[e] += here * b[r, i]
            by_a[n_axis, e] += here * sigma[n_axis] * b[r, i + 1]
            for j in range(n_axis):
                by_a[j, e] += here * sigma[j] * b[grid.up[r, j], i]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _give(
    done: int,
    smooth: float,
    a: Array,
    grid: Simplex,
    c: Array,
) -> None:
    """The transpose of :func:`_take`: derivatives c by b before a photon, from those after it, of degree up to done."""
    n_axis = grid.points.shape[1]
    for r in range(grid.number[done] - 1, -1, -1):
        degree = grid.degree[r]
        for i in range(done - degree, -1, -1):
            value = c[r, i]
            c[r, i] = smooth * value
            c[r, i + 1] += a[n_axis] * value
            for j in range(n_axis):
                c[grid.up[r, j], i] += a[j] * value


@njit(cache=True, nogil=True, error_model="numpy")
def _weight_slopes(n: int, grid: Simplex, v: Array, f: Array, c: Array, slope: Array) -> None:
    """Fill slope (n_kind, n + 1): derivatives of b_0 by every weight w_j(n_j) = f v."""
    last = len(v) - 1
    slope[:, : n + 1] = 0.0
    for r in range(grid.number[n]):
        degree, first = grid.degree[r], 1.0
        for j in range(last):
            i = grid.points[r, j]
            first *= f[j, i] * v[j, i]
        along = 0.0
        for i in range(n - degree + 1):
            if first * f[last, i] * v[last, i] < _FORBIDDEN:
                slope[last, i] += first * c[r, i]
                along += c[r, i] * f[last, i] * v[last, i]
        for j in range(last):
            others = along
            for h in range(last):
                if h != j:
                    others *= f[h, grid.points[r, h]] * v[h, grid.points[r, h]]
            slope[j, grid.points[r, j]] += others
