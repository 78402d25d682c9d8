"""Compiled random numbers follow their laws."""

import numpy as np
import pytest
from scipy import stats

from gcesbi.simulation import draws

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.3, 7.0, 12.125, 24.99, 25.0, 300.0])
def test_poisson_draws_are_poisson(mean):
    rng = np.random.default_rng(7)
    state = draws.fast_state(rng)
    drawn = np.array([draws.poisson(rng, state, mean) for _ in range(20_000)])
    assert abs(drawn.mean() - mean) <= K * np.sqrt(mean / 20_000)
    assert abs(drawn.var() - mean) <= K * np.sqrt((mean + 2 * mean**2) / 20_000)
    if mean:
        low, high = stats.poisson.ppf([0.001, 0.999], mean)
        found = np.mean((drawn >= low) & (drawn <= high))
        exact = stats.poisson.cdf(high, mean) - stats.poisson.cdf(low - 1, mean)
        assert abs(found - exact) < K * np.sqrt(0.002 / 20_000) + 1e-3


def test_tabulated_poisson_draws_have_every_probability():
    """χ² of 200,000 draws of a mean between two rows of the table."""
    rng, mean, n = np.random.default_rng(9), 8.7, 200_000
    state = draws.fast_state(rng)
    drawn = np.bincount([draws.poisson(rng, state, mean) for _ in range(n)], minlength=40)
    expected = n * stats.poisson.pmf(np.arange(len(drawn)), mean)
    used = expected > 20
    assert np.sum((drawn - expected)[used] ** 2 / expected[used]) < stats.chi2.isf(1e-4, used.sum())


def test_the_fast_generator_is_xoshiro():
    """Against the reference recurrence in Python integers, and even in [0, 1)."""
    state = draws.fast_state(np.random.default_rng(3))
    words, mask = [int(word) for word in state], 2**64 - 1

    def turn(word, by):
        return ((word << by) | (word >> (64 - by))) & mask

    for _ in range(100):
        expected = (turn((words[0] + words[3]) & mask, 23) + words[0]) & mask
        shifted = (words[1] << 17) & mask
        words[2] ^= words[0]
        words[3] ^= words[1]
        words[1] ^= words[2]
        words[0] ^= words[3]
        words[2] ^= shifted
        words[3] = turn(words[3], 45)
        assert draws.uniform(state) == (expected >> 11) * 2.0**-53
    drawn = np.array([draws.uniform(state) for _ in range(50_000)])
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    other = draws.fast_state(np.random.default_rng(4))
    assert not np.array_equal(other, draws.fast_state(np.random.default_rng(5)))


def test_directions_are_even_and_of_unit_length():
    state = draws.fast_state(np.random.default_rng(8))
    cosine, sine = np.array([draws.turned(state) for _ in range(20_000)]).T
    assert np.abs(np.hypot(cosine, sine) - 1).max() < 1e-15
    assert stats.kstest(np.arctan2(sine, cosine) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3
    within_a_step = np.arctan2(sine, cosine) * draws._N_TURN / (2 * np.pi) % 1
    assert stats.kstest(within_a_step, "uniform").pvalue > 1e-3
