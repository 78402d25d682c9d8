"""Compiled random numbers, thrice as fast as a generator's own: a map takes some 10⁵ of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from gcesbi.sky.compiled import njit

__all__ = ["alias_table", "fast_state", "from_table", "poisson", "turned", "two_or_more", "uniform"]

_N_TURN = 1024
_TURN = np.stack([trig(2.0 * np.pi * np.arange(_N_TURN) / _N_TURN) for trig in (np.cos, np.sin)], axis=1)
_TABULATED, _N_COLUMN = 25, 80
_INVERSE = 1.0 / np.maximum(np.arange(200.0), 1.0)  # a product is thrice as fast as a quotient


@njit(cache=True, nogil=True)
def fast_state(rng: np.random.Generator) -> NDArray[np.uint64]:  # pragma: no cover - compiled
    """State of the fast generator (xoshiro256++, Blackman & Vigna 2021), filled by SplitMix64 from `rng`."""
    state = np.empty(4, np.uint64)
    z = np.uint64(rng.integers(0, 2**62)) ^ (np.uint64(rng.integers(0, 2**62)) << np.uint64(2))
    for i in range(4):
        z += np.uint64(0x9E3779B97F4A7C15)
        x = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state[i] = x ^ (x >> np.uint64(31))
    return state


@njit(cache=True, nogil=True, inline="always")
def uniform(state: NDArray[np.uint64]) -> float:  # pragma: no cover - compiled
    """Uniform number in [0, 1) of 53 bits: thrice as fast as a call of NumPy's generator, of which a map takes 10⁵."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    shifted = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    state[1] = s1 ^ s2
    state[0] = s0 ^ s3
    state[2] = s2 ^ shifted
    state[3] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return float(result >> np.uint64(11)) * 1.1102230246251565e-16


@njit(cache=True, nogil=True, error_model="numpy")
def alias_table(
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:  # pragma: no cover - compiled
    """Walker's alias table (Vose 1991): draw i evenly, take either[i, 0] = i with chance[i], else either[i, 1]."""
    n = len(weights)
    chance = weights * (n / weights.sum())
    either = np.empty((n, 2), np.int32)
    small = np.empty(n, np.int64)
    large = np.empty(n, np.int64)
    n_small, n_large = 0, 0
    for i in range(n):
        either[i, 0] = either[i, 1] = i
        if chance[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        s, g = small[n_small], large[n_large - 1]
        either[s, 1] = g
        chance[g] -= 1.0 - chance[s]
        if chance[g] < 1.0:
            n_large -= 1
            small[n_small] = g
            n_small += 1
    for i in range(n_large):
        chance[large[i]] = 1.0
    for i in range(n_small):
        chance[small[i]] = 1.0
    return chance, either


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def from_table(
    state: NDArray[np.uint64], chance: NDArray[np.floating], either: NDArray[np.int32]
) -> int:  # pragma: no cover - compiled
    """Number drawn from an alias table: by an address, since the guess of a branch would fail every other time."""
    u = uniform(state) * len(chance)
    i = int(u)
    return either[i, int(u - i >= chance[i])]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def turned(state: NDArray[np.uint64]) -> tuple[float, float]:  # pragma: no cover - compiled
    """Cosine and sine of an even angle: those of a table's angle, turned by the rest (a series good to 10⁻¹⁶)."""
    turn = uniform(state) * _N_TURN
    i = int(turn)
    rest = (turn - i) * (2.0 * math.pi / _N_TURN)
    q = rest * rest
    c, s = 1.0 - q * (0.5 - q * (1.0 / 24.0)), rest * (1.0 - q * (1.0 / 6.0 - q * (1.0 / 120.0)))
    return _TURN[i, 0] * c - _TURN[i, 1] * s, _TURN[i, 1] * c + _TURN[i, 0] * s


def _poisson_tables() -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Alias tables of Poisson variables of mean 0, 1/8, 2/8 .. 25: beyond the 80 columns lies less than 10⁻¹⁶."""
    mean = np.arange(8 * _TABULATED + 1)[:, None] / 8.0
    k = np.arange(_N_COLUMN)
    tables = [alias_table.py_func(row) for row in np.exp(xlogy(k, mean) - mean - gammaln(k + 1.0))]
    return np.stack([chance for chance, _ in tables]), np.stack([either for _, either in tables])


_CHANCE, _EITHER = _poisson_tables()


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def poisson(rng: np.random.Generator, state: NDArray[np.uint64], mean: float) -> int:  # pragma: no cover - compiled
    """Poisson variable: the sum of one whose mean is a multiple of 1/8, from a table, and of one of the small rest."""
    if mean >= _TABULATED:
        return rng.poisson(mean)
    row = int(8.0 * mean)
    k = from_table(state, _CHANCE[row], _EITHER[row])
    rest = mean - 0.125 * row
    u = uniform(state)
    if u <= 1.0 - rest:  # less than e^-rest, which need not be computed
        return k
    p = 1.0  # e^-rest, to 10⁻¹⁶
    for i in range(10, 0, -1):
        p = 1.0 - rest * _INVERSE[i] * p
    n = 0
    while u > p and n < 30:
        u -= p
        n += 1
        p *= rest * _INVERSE[n]
    return k + n


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def two_or_more(
    rng: np.random.Generator, state: NDArray[np.uint64], mean: float, none: float, chance: float
) -> int:  # pragma: no cover - compiled
    """Poisson variable given that it is at least two, which has the probability `chance`; none = e^-mean."""
    if mean >= 12.0:
        k = 0
        while k < 2:
            k = rng.poisson(mean)
        return k
    u = uniform(state) * chance
    p = 0.5 * mean * mean * none
    k = 2
    while u > p and k < 150:
        u -= p
        k += 1
        p *= mean * _INVERSE[k]
    return k
