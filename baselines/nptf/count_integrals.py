r"""Expected numbers of sources that give m photons, for broken power laws: X_m by stable recurrences.

For a source-count distribution dN/dS over expected counts S and a table of the share f of a source's light that a
pixel receives,

.. math:: X_m = \sum_i \Delta\rho_i \int_0^\infty \frac{dN}{dS}\,\frac{(f_i S)^m e^{-f_i S}}{m!}\,dS, \qquad
          X_\Sigma = \sum_{m\ge1} X_m = \sum_i \Delta\rho_i \int_0^\infty \frac{dN}{dS}\,(1 - e^{-f_i S})\,dS .

With u = f S every segment of a broken power law needs I_m = ∫ (u/r)^{-n} u^m e^{-u}/m! du between f times its breaks, r
being f times its brighter break (its only break for the brightest segment). Integration by parts gives

.. math:: I_m = \frac{m-n}{m} I_{m-1} + \Big[(a/r)^{-n} P(m; a) - (b/r)^{-n} P(m; b)\Big],

P(m; u) the Poisson probability. Each segment runs it in the direction in which all terms are positive, so that nothing
cancels: upwards for the brightest (a, ∞); downwards for the faintest (0, b); upwards below and downwards above the m at
which the bracket changes sign for the others. Start values are incomplete gamma functions (series, continued fraction,
and a form that is regular where the order passes through zero), or Gauss-Legendre quadrature where a segment is so
narrow that differences of them would cancel.

Indices may be complex: every step is analytic in n, and an imaginary part of 1e-100 carries the derivative by n
exactly (complex step; Squire & Trapp 1998).

Notation: E(p, x) = e^x ∫_1^∞ e^{-x t} t^{-p} dt, the scaled exponential integral.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import zeta

from gcesbi.sky.compiled import njit

__all__ = ["count_vectors", "count_vectors_with_derivatives", "mean_counts"]

Number: TypeAlias = Any  # a float, or a complex number that carries a derivative
NumberArray: TypeAlias = NDArray[Any]
FloatArray: TypeAlias = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_EULER = 0.5772156649015329
# ln Γ(1 + s) / s = -γ + sum_k c_k s^k
_LOG_GAMMA = np.array([-_EULER] + [(-1) ** k * zeta(k) / k for k in range(2, 54)])
_STIRLING = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156])
_STEP = 1e-100
_CROSSOVER = 1.5  # below this x the exponential integral is summed as a series


@njit(cache=True, nogil=True, error_model="numpy")
def _exprel(z: Number) -> Number:
    """(e^z - 1) / z."""
    if abs(z.real) > 0.5:
        return (np.exp(z) - 1.0) / z
    total = 1.0 + 0.0 * z
    for k in range(16, 1, -1):
        total = 1.0 + total * z / k
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _log_gamma(s: Number) -> Number:
    """Logarithm of Γ(s) for Re s > 0, by Stirling's series above 15."""
    product = 1.0 + 0.0 * s
    while s.real < 15.0:
        product = product * s
        s = s + 1.0
    inverse = 1.0 / s
    square = inverse * inverse
    tail = 0.0 * s
    for k in range(6, -1, -1):
        tail = tail * square + _STIRLING[k]
    return (s - 0.5) * np.log(s) - s + 0.5 * math.log(2 * math.pi) + tail * inverse - np.log(product)


@njit(cache=True, nogil=True, error_model="numpy")
def _fraction(p: Number, x: float) -> Number:
    """E(p, x) by its continued fraction (Lentz's method); x >= 1.5 and x + Re p > 0."""
    b = x + p
    c = 1e300 + 0.0 * b
    d = 1.0 / b
    h = d
    for i in range(1, 2000):
        a = -i * (p - 1.0 + i)
        b = b + 2.0
        d = 1.0 / (a * d + b)
        c = b + a / c
        delta = c * d
        h = h * delta
        if abs(delta.real - 1.0) < 2e-16 and abs(delta.imag) < 1e-15 * _STEP:
            break  # where a vanishes the value is done, but not yet its derivative
    return h


@njit(cache=True, nogil=True, error_model="numpy")
def _regular(s: Number, x: float) -> Number:
    """E(1 - s, x) for |Re s| <= 1/2 and small x, without a pole at s = 0."""
    g = _LOG_GAMMA[-1] + 0.0 * s
    for k in range(len(_LOG_GAMMA) - 2, -1, -1):
        g = g * s + _LOG_GAMMA[k]
    g = g - math.log(x)
    total = _exprel(s * g) * g
    term = 1.0
    for k in range(1, 60):
        term *= -x / k
        total = total - term / (s + k)
        if abs(term) < 1e-18:
            break
    return total * math.exp(x)


@njit(cache=True, nogil=True, error_model="numpy")
def _series(s: Number, x: float) -> Number:
    """x^-s e^x γ(s, x) = sum_k x^k / (s (s + 1) .. (s + k)), Re s > 0."""
    term = 1.0 / s
    total = term
    for k in range(1, 20000):
        term = term * x / (s + k)
        total = total + term
        if term.real < 1e-17 * total.real:
            break
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _gamma_ratio(m: int, n: Number) -> Number:
    """Γ(m + 1 - n) / m! for m + 1 > Re n, by a product that keeps full precision where both are large."""
    start = min(m, max(1, math.ceil(n.real)))
    value = np.exp(_log_gamma(start + 1.0 - n) - math.lgamma(start + 1.0))
    for j in range(start + 1, m + 1):
        value = value * ((j - n) / j)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _upper(s: Number, x: float) -> Number:
    """x^-s e^x Γ(s, x) = E(1 - s, x), any Re s, x > 0."""
    if x >= _CROSSOVER and x >= s.real - 1.0:
        return _fraction(1.0 - s, x)
    if s.real > 0.5:
        return np.exp(_log_gamma(s) - s * math.log(x) + x) - _series(s, x)
    n_down = 0
    while s.real < -0.5:
        s = s + 1.0
        n_down += 1
    value = _regular(s, x)
    for _ in range(n_down):
        value = (1.0 - x * value) / (1.0 - s)  # p E(p + 1) = 1 - x E(p), p = 1 - s
        s = s - 1.0
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _poisson(x: float, out: NumberArray) -> None:
    """Fill out[m] with e^-x x^m / m!."""
    last = len(out) - 1
    if x < 700.0:
        m = 0
        out[0] = math.exp(-x)
    else:
        m = min(last, int(x))  # large: Stirling's series for m!, and no difference of large logarithms near m = x
        if m < 100:
            out[m] = math.exp(m * math.log(x) - x - math.lgamma(m + 1.0))
        else:
            tail = (1.0 / 12 - (1.0 / 360 - 1.0 / (1260.0 * m * m)) / (m * m)) / m
            out[m] = math.exp(m * math.log1p((x - m) / m) - (x - m) - tail) / math.sqrt(2 * math.pi * m)
    value = out[m]
    for i in range(m + 1, last + 1):
        value *= x / i
        out[i] = value
    value = out[m]
    for i in range(m, 0, -1):
        value *= i / x
        out[i - 1] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _brightest(n: Number, a: float, poisson: FloatArray, out: NumberArray) -> None:
    """I_m, m = 0 .., of the segment (a, ∞), r = a, Re n > 1; `poisson` holds P(m; a)."""
    last = len(out) - 1
    start = max(0, round(n.real - 1.0) if a < _CROSSOVER else math.floor(n.real - a))
    probability = poisson[start] if start <= last else math.exp(start * math.log(a) - a - math.lgamma(start + 1.0))
    value = a * probability * _upper(start + 1.0 - n, a)
    below = value
    for m in range(start, -1, -1):
        if m <= last:
            out[m] = below
        if m > 0:
            below = (below - probability) * (m / (m - n))
            probability *= m / a
    for m in range(start + 1, last + 1):
        value = value * ((m - n) / m) + poisson[m]
        out[m] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _faintest(n: Number, b: float, poisson: FloatArray, out: NumberArray) -> None:
    """I_m, m = 1 .., of the segment (0, b), r = b, Re n < 2; `poisson` holds P(m; b)."""
    last = len(out) - 1
    s = last + 1.0 - n
    if b > s.real + 1.0:
        whole = _gamma_ratio(last, n) * np.exp(n * math.log(b))
        value = whole - b * poisson[last] * _fraction(1.0 - s, b)
    else:
        value = b * poisson[last] * _series(s, b)
    out[last] = value
    for m in range(last, 1, -1):
        value = (value + poisson[m]) * (m / (m - n))
        out[m - 1] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _quadrature(n: Number, m: int, a: float, b: float) -> Number:
    """I_m of a narrow segment (a, b), r = b, by Gauss-Legendre nodes in ln u."""
    half = 0.5 * math.log1p((b - a) / a)
    total = 0.0 * n
    for i in range(len(_NODES)):
        below = half * (1.0 - _NODES[i])  # ln(b / u)
        u = b * math.exp(-below)
        total = total + _WEIGHTS[i] * u * np.exp(n * below + m * math.log(u) - u - math.lgamma(m + 1.0))
    return total * half


@njit(cache=True, nogil=True, error_model="numpy")
def _between(n: Number, m: int, a: float, b: float, at_a: Number, at_b: Number) -> Number:
    """I_m of the segment (a, b), r = b; at_a = (a/b)^-n P(m; a), at_b = P(m; b)."""
    s = m + 1.0 - n
    if s.real > 0 and b <= s.real + 1.0:
        whole = b * at_b * _series(s, b)
        part = whole - a * at_a * _series(s, a)
    elif s.real > 0.5 and a < max(s.real - 1.0, _CROSSOVER):
        whole = _gamma_ratio(m, n) * np.exp(n * math.log(b))
        part = whole - a * at_a * _series(s, a) - b * at_b * _upper(s, b)
    else:
        whole = a * at_a * _upper(s, a)
        part = whole - b * at_b * _upper(s, b)
    if not part.real > 0.1 * whole.real:
        return _quadrature(n, m, a, b)
    return part


@njit(cache=True, nogil=True, error_model="numpy")
def _middle(
    n: Number, a: float, b: float, ratio: float, poisson_a: FloatArray, poisson_b: FloatArray, out: NumberArray
) -> None:
    """I_m, m = 1 .., of the segment (a, b), r = b; `ratio` is ln(b / a), the others P(m; a) and P(m; b)."""
    last = len(out) - 1
    rise = np.exp(n * ratio)
    width = b - a
    turn = n.real + width / ratio  # the bracket is positive below this m
    low = min(last, max(1, math.ceil(n.real)))
    for m in range(1, low + 1):
        out[m] = _between(n, m, a, b, rise * poisson_a[m], poisson_b[m])
    top = min(last, max(low, math.floor(turn)))
    value = out[low]
    for m in range(low + 1, last + 1):
        drop = (n - m) * ratio + width  # ln of the ratio of the bracket's two terms
        bracket = rise * poisson_a[m] - poisson_b[m]
        if abs(drop.real) < 0.5:
            bracket = poisson_b[m] * drop * _exprel(drop)
        if m <= top:
            value = bracket + value * ((m - n) / m)
        out[m] = value if m <= top else bracket
    if top < last:
        value = _between(n, last, a, b, rise * poisson_a[last], poisson_b[last])
        for m in range(last, top, -1):
            bracket = out[m]
            out[m] = value
            value = (value - bracket) * (m / (m - n))


@njit(cache=True, nogil=True, error_model="numpy")
def _at_least_one(n: Number, x: float, r: float) -> Number:
    """∫_0^x (u/r)^-n (1 - e^-u) du for 1/2 < Re n < 3/2."""
    s = 1.0 - n
    small = min(x, _CROSSOVER)
    term = -1.0
    total = 0.0 * n
    for k in range(1, 60):
        term *= -small / k
        total = total + term / (s + k)
        if abs(term) < 1e-18:
            break
    total = total * small * np.exp(-n * math.log(small / r))
    if x > small:
        rise = math.log(x / small)
        at_small, at_x = np.exp(-n * math.log(small / r)), np.exp(-n * math.log(x / r))
        total = total + small * at_small * rise * _exprel(s * rise)
        total = total - small * at_small * math.exp(-small) * _fraction(n, small)
        total = total + x * at_x * math.exp(-x) * _fraction(n, x)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _segment_sum(n: Number, a: float, b: float, first: Number) -> Number:
    """∫_a^b (u/b)^-n (1 - e^-u) du, a >= 0; `first` is I_1 of the segment."""
    if abs(n.real - 1.0) >= 0.5:
        at_a = -a * math.expm1(-a) * np.exp(n * math.log(b / a)) if a > 0 else 0.0 * n
        return (-b * math.expm1(-b) - at_a - first) / (1.0 - n)
    return _at_least_one(n, b, b) - (_at_least_one(n, a, b) if a > 0 else 0.0 * n)


@njit(cache=True, nogil=True, error_model="numpy")
def _segments(
    indices: NumberArray, breaks: FloatArray, shares: FloatArray, density: FloatArray, out: NumberArray
) -> None:
    """Fill out (n_segment, K + 1) with the segments' X_m, densities 1 at their brighter breaks, X_Σ at m = 0."""
    n_break = len(breaks)
    work = np.zeros_like(out[0])
    poisson = np.zeros((n_break, out.shape[1]))
    out[:] = 0.0
    for i in range(len(shares)):
        if density[i] == 0.0:
            continue
        weight = density[i] / shares[i]
        for j in range(n_break):
            _poisson(shares[i] * breaks[j], poisson[j])
        for j in range(n_break + 1):
            n = indices[j]
            if j == 0:
                a = shares[i] * breaks[0]
                _brightest(n, a, poisson[0], work)
                work[0] = (work[1] - a * math.expm1(-a)) / (n - 1.0)
            else:
                b = shares[i] * breaks[j - 1]
                if j == n_break:
                    a = 0.0
                    _faintest(n, b, poisson[j - 1], work)
                else:
                    a = shares[i] * breaks[j]
                    ratio = math.log1p((breaks[j - 1] - breaks[j]) / breaks[j])
                    _middle(n, a, b, ratio, poisson[j], poisson[j - 1], work)
                work[0] = _segment_sum(n, a, b, work[1])
            for m in range(out.shape[1]):
                out[j, m] += weight * work[m]


@njit(cache=True, nogil=True, error_model="numpy")
def _densities(theta: NumberArray, n_break: int) -> NumberArray:
    """dN/dS at the brighter break of every segment."""
    density = np.empty_like(theta[: n_break + 1])
    density[0] = density[1] = theta[0]
    breaks = theta[n_break + 2 :]
    for j in range(2, n_break + 1):
        density[j] = density[j - 1] * np.exp(theta[j] * np.log(breaks[j - 2] / breaks[j - 1]))
    return density


@njit(cache=True, nogil=True, error_model="numpy")
def count_vectors(theta: FloatArray, shares: FloatArray, density: FloatArray, out: NumberArray) -> None:
    """Fill out (n,) with X_Σ at index 0 and X_m at index m = 1 .. n - 1 (all zero where A = 0).

    Parameters
    ----------
    theta : array (2 n_break + 2,)
        [A, n_1 .., S_1 ..]: dN/dS = A at the brightest break S_1, indices from bright to faint, breaks descending, in
        counts. Needs n_1 > 1 and the last index < 2.
    shares, density : array (n_share,)
        f and Δρ: number of pixels per source that receive the share f of its light.
    """
    n_break = (len(theta) - 2) // 2
    segments = np.empty((n_break + 1, max(len(out), 2)))  # X_Σ needs X_1
    _segments(theta[1 : n_break + 2], theta[n_break + 2 :], shares, density, segments)
    norms = _densities(theta, n_break)
    out[:] = 0.0
    for j in range(n_break + 1):
        for m in range(len(out)):
            out[m] += norms[j] * segments[j, m]


@njit(cache=True, nogil=True, error_model="numpy")
def count_vectors_with_derivatives(
    theta: FloatArray, shares: FloatArray, density: FloatArray, out: NumberArray, derivatives: FloatArray
) -> None:
    """As :func:`count_vectors`; also fill derivatives (2 n_break + 2, n) by the entries of theta."""
    n_break = (len(theta) - 2) // 2
    breaks = theta[n_break + 2 :]
    segments = np.empty((n_break + 1, max(len(out), 2)), dtype=np.complex128)
    _segments(theta[1 : n_break + 2] + 1j * _STEP, breaks, shares, density, segments)
    norms = _densities(theta, n_break)
    out[:] = 0.0
    derivatives[:] = 0.0
    for j in range(n_break + 1):
        for m in range(len(out)):
            value = norms[j] * segments[j, m].real
            out[m] += value
            derivatives[0, m] += value / theta[0] if theta[0] != 0 else segments[j, m].real
            derivatives[1 + j, m] += norms[j] * segments[j, m].imag / _STEP
            derivatives[n_break + 2, m] += theta[1 if j == 0 else 2] / breaks[0] * value
            for b in range(1, j):  # fainter than break b: the density scales with its position and with index b
                derivatives[1 + b, m] += value * math.log1p((breaks[b - 1] - breaks[b]) / breaks[b])
                derivatives[n_break + 2 + b, m] += (theta[b + 2] - theta[b + 1]) / breaks[b] * value


@njit(cache=True, nogil=True, error_model="numpy")
def mean_counts(theta: NumberArray) -> NumberArray:
    """∫ S dN/dS dS (n,) of source-count distributions theta (n, 2 n_break + 2), n_1 > 2 and the last index < 2."""
    n_break = theta.shape[1] // 2 - 1
    out = np.zeros_like(theta[:, 0])
    for i in range(len(theta)):
        density = _densities(theta[i], n_break)
        breaks = theta[i, n_break + 2 :]
        for j in range(n_break + 1):
            n = theta[i, j + 1]
            if j == 0:
                out[i] += density[0] * breaks[0] ** 2 / (n - 2.0)
            elif j == n_break:
                out[i] += density[j] * breaks[j - 1] ** 2 / (2.0 - n)
            else:
                ratio = np.log(breaks[j - 1] / breaks[j])
                out[i] += density[j] * breaks[j - 1] ** 2 * ratio * _exprel((n - 2.0) * ratio)
    return out
