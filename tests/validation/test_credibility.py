"""Credibility levels: uniform for exact posteriors at any number of samples, and equal to closed forms."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from gcesbi.errors import InputError
from gcesbi.validation import credibility, credibility_from_density, expected_coverage


@pytest.mark.parametrize("order", ["density", "ellipsoid", "band"])
@pytest.mark.parametrize("shape", ["gaussian", "skewed"])
def test_levels_are_uniform_for_an_exact_posterior_even_with_few_samples(order, shape):
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(13, 1500, 3)) @ np.array([[1, 0.9, 0], [0, 0.3, 0], [0, 0, 5]])
    pool = np.exp(pool / 4) if shape == "skewed" else pool
    levels = credibility(pool[0], pool[1:], order, seed=1)
    assert kstest(levels, "uniform").pvalue > 1e-3


def test_a_shifted_posterior_is_found_though_its_marginals_are_as_wide():
    rng = np.random.default_rng(1)
    samples, truth = rng.normal(size=(100, 500, 3)), rng.normal(size=(500, 3)) + 0.7
    assert expected_coverage(credibility(truth, samples), [0.68]).high[0] < 0.68


def test_a_wrong_correlation_is_found_by_joint_orders_alone():
    """Truths are correlated, samples are not: marginals are exact, the joint regions are not."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(800, 1)) * np.ones(4) * 0.95 + np.sqrt(1 - 0.95**2) * rng.normal(size=(800, 4))
    samples = rng.normal(size=(150, 800, 4))
    curve = expected_coverage(credibility(truth, samples, "ellipsoid"), [0.5, 0.9])
    assert curve.low[0] > 0.5
    assert curve.high[1] < 0.9


def test_agrees_with_the_closed_form_of_a_gaussian():
    """Level = F_χ²(|z|²); its Monte Carlo error with n samples is at most 0.5/√n: 5 of those, and 0.08 for kernels."""
    rng = np.random.default_rng(3)
    truth, samples = rng.normal(size=(20, 2)), rng.normal(size=(2000, 20, 2))
    exact = chi2(2).cdf((truth**2).sum(axis=1))
    np.testing.assert_allclose(credibility(truth, samples, "ellipsoid"), exact, atol=5 * 0.5 / np.sqrt(2000))
    density = [norm.logpdf(x).sum(axis=-1) for x in (truth, samples)]
    np.testing.assert_allclose(credibility_from_density(*density), exact, atol=5 * 0.5 / np.sqrt(2000))
    np.testing.assert_allclose(credibility(truth[:4], samples[:, :4], "density"), exact[:4], atol=0.08)


def test_components_that_sum_to_one_are_no_obstacle():
    rng = np.random.default_rng(4)
    pool = rng.dirichlet([2, 3, 4], size=(60, 300))
    assert kstest(credibility(pool[0], pool[1:], "ellipsoid"), "uniform").pvalue > 1e-3


def test_bad_input_is_named():
    good = np.zeros((5, 2)), np.zeros((10, 5, 2))
    with pytest.raises(InputError, match=r"samples: must have shape .* got \(10, 4, 2\)"):
        credibility(good[0], np.zeros((10, 4, 2)))
    with pytest.raises(InputError, match=r"samples: must be more than d \+ 1 = 3, got 3"):
        credibility(good[0], np.zeros((3, 5, 2)))
    with pytest.raises(InputError, match="order: must be one of density, ellipsoid, band, got 'hpd'"):
        credibility(*good, "hpd")
    with pytest.raises(InputError, match="truth: must be finite"):
        credibility(good[0] * np.nan, good[1])
    with pytest.raises(InputError, match=r"samples: must have shape \(n_sample, 5\)"):
        credibility_from_density(np.zeros(5), np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"levels: must be a vector of numbers in \[0, 1\]"):
        expected_coverage([1.2], [0.5])
