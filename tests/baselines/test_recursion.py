from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from gcesbi.baselines.nptf.recursion import (
    LANES,
    STRIDE,
    PixelBlocks,
    log_likelihood,
    log_probabilities,
    log_probability_gradients,
    saddle_point,
)


def evaluate(counts, mean, templates, x):
    """ln p_k (n_pix,) for vectors x (n_ps, n), x[:, 0] the sum; their sum in one go is compared with it."""
    counts, templates = np.asarray(counts), np.asarray(templates, dtype=float)
    blocks = PixelBlocks.build(counts, templates)
    vectors = np.pad(np.asarray(x, dtype=float), ((0, 0), (0, STRIDE)))[None]
    lanes = np.where(blocks.order >= 0, np.asarray(mean, dtype=float)[blocks.order], 0.0)
    out = np.empty(blocks.counts.shape)
    log_probabilities(blocks.counts, blocks.templates, blocks.group, lanes, vectors, out)
    assert not out[blocks.order < 0].any()
    summed = log_likelihood(blocks.counts, blocks.templates, blocks.group, lanes, vectors)
    np.testing.assert_allclose(summed, out.sum(), rtol=3e-15, atol=1e-11)
    result = np.empty(counts.size)
    result[blocks.order[blocks.order >= 0]] = out[blocks.order >= 0]
    return result


def textbook(k, mean, x):
    """ln p_k by the recursion with 60 digits; x[m], m >= 1."""
    with mp.workdps(60):
        y = [mp.mpf(0)] + [m * mp.mpf(float(x[m])) for m in range(1, k + 1)]
        total = mp.mpf(float(x[0])) + mp.mpf(float(mean))
        if k:
            y[1] += mp.mpf(float(mean))
        p = [mp.mpf(1)]
        for i in range(1, k + 1):
            p.append(mp.fdot(y[1 : i + 1], p[::-1]) / i)
        return float(mp.log(p[k]) - total) if p[k] > 0 else -np.inf


def by_fft(mean, x, n=4096):
    """All p_k by inverting the generating function on the unit circle."""
    t = np.exp(2j * np.pi * np.arange(n) / n)
    exponent = mean * (t - 1) + np.polyval(np.append(x[:0:-1], 0.0), t) - x[1:].sum()
    return np.fft.fft(np.exp(exponent)).real / n


def spectrum(rng, n, total):
    x = rng.random(n + 1) * np.arange(1, n + 2) ** -1.8
    x *= total / x[1:].sum()
    x[0] = x[1:].sum()
    return x


@given(seed=st.integers(0, 10**6), mean=st.floats(0, 60), total=st.floats(0.01, 30))
@settings(deadline=None, max_examples=25)
def test_probabilities_agree_with_fft(seed, mean, total):
    x = spectrum(np.random.default_rng(seed), 200, total)
    k = np.arange(200)
    got = np.exp(evaluate(k, np.full(k.size, mean), np.ones((1, k.size)), x[None]))
    np.testing.assert_allclose(got, by_fft(mean, x)[:200], atol=2e-14)


@given(seed=st.integers(0, 10**6), mean=st.sampled_from([0.0, 1e-3, 4.0, 300.0, 1900.0]), total=st.floats(1e-3, 900))
@settings(deadline=None, max_examples=10)
def test_probabilities_agree_with_60_digits(seed, mean, total):
    rng = np.random.default_rng(seed)
    x = spectrum(rng, 300, total)
    k = np.array([0, 1, 2, 5, 17, 64, 150, 299, 300])
    got = evaluate(k, np.full(k.size, mean), np.ones((1, k.size)), x[None])
    expected = [textbook(int(i), mean, x) for i in k]
    np.testing.assert_allclose(got, expected, rtol=2e-13, atol=1e-11)


def test_two_thousand_counts_do_not_underflow():
    rng = np.random.default_rng(2)
    x = spectrum(rng, 2000, 40.0)
    for mean in (0.5, 2000.0):
        got = evaluate([2000, 0], np.full(2, mean), np.ones((1, 2)), x[None])
        for k, value in zip((2000, 0), got, strict=True):
            assert value == pytest.approx(textbook(k, mean, x), rel=1e-12, abs=1e-10)


def test_without_sources_it_is_poisson():
    k = np.array([0, 3, 50, 1500, 2000])
    mean = np.array([0.0, 2.5, 80.0, 1400.0, 30.0])
    got = evaluate(k, mean, np.zeros((1, 5)), np.ones((1, 2001)))
    np.testing.assert_allclose(got, poisson.logpmf(k, mean), rtol=1e-12)


def test_an_impossible_count_has_probability_zero():
    got = evaluate([2, 0], [0.0, 0.0], np.zeros((1, 2)), np.ones((1, 3)))
    assert got.tolist() == [-np.inf, 0.0]


def test_probabilities_sum_to_one():
    x = spectrum(np.random.default_rng(5), 1500, 6.0) * 0
    x[1:60] = 0.3 * np.arange(1, 60) ** -1.5
    x[0] = x[1:].sum()
    k = np.arange(1500)
    total = np.exp(evaluate(k, np.full(k.size, 30.0), np.ones((1, k.size)), x[None])).sum()
    assert abs(total - 1) < 1e-12


def test_templates_add_up_and_blocks_keep_pixels_apart():
    rng = np.random.default_rng(7)
    n = 3 * LANES + 5
    counts, mean, templates = rng.poisson(9, n), rng.random(n) * 8, rng.random((2, n))
    x = np.stack([spectrum(rng, 40, 1.5), spectrum(rng, 40, 0.7)])
    got = evaluate(counts, mean, templates, x)
    for p in range(n):
        assert got[p] == pytest.approx(textbook(int(counts[p]), mean[p], templates[:, p] @ x), abs=1e-11)


@pytest.mark.parametrize("mean", [3.0, 800.0])
def test_gradient_agrees_with_differences_of_60_digits(mean):
    rng = np.random.default_rng(9)
    counts = np.array([0, 1, 4, 30, 700 if mean > 100 else 12])
    templates = rng.random((1, 5)) + 0.2
    x = spectrum(rng, int(counts.max()), 2.0)
    blocks = PixelBlocks.build(counts, templates)
    vectors = np.pad(x[None], ((0, 0), (0, STRIDE)))[None]
    lanes = np.where(blocks.order >= 0, mean, 0.0)
    out, by_mean = np.empty(blocks.counts.shape), np.empty(blocks.counts.shape)
    slope = np.empty_like(vectors)
    log_probability_gradients(blocks.counts, blocks.templates, blocks.group, lanes, vectors, out, slope, by_mean)

    def total(vector, shift=0.0):
        return sum(textbook(int(k), mean + shift, t * vector) for k, t in zip(counts, templates[0], strict=True))

    assert out.sum() == pytest.approx(total(x), rel=1e-12)
    for m in (0, 1, 12):
        h = 1e-5 * max(x[m], 1e-3)
        up, down = x.copy(), x.copy()
        up[m] += h
        down[m] -= h
        assert slope[0, 0, m] == pytest.approx((total(up) - total(down)) / (2 * h), rel=2e-5, abs=1e-5)
    assert by_mean[blocks.order >= 0].sum() == pytest.approx(
        (total(x, 1e-4) - total(x, -1e-4)) / 2e-4, rel=1e-5, abs=1e-6
    )


def test_the_saddle_point_holds_where_powers_overflow_and_terms_do_not():
    """Terms below the least normal number reach the mean at powers above the largest number."""
    y = np.zeros(1301)
    y[1], y[1300] = 1e-3, 1e-315
    rho = saddle_point(y, 1300, 900.0)
    log_terms = np.log([1e-3, y[1300]]) + rho * np.array([1, 1300])
    assert rho * 1300 > np.log(np.finfo(float).max)
    np.testing.assert_allclose(np.exp(log_terms).sum(), 900.0, rtol=1e-9)
