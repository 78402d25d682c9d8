from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw

THREE = BrokenPowerLaw(2.0, (5.0, 1.5, -0.5), (4.0, 0.5))


def integral(scd, power, low, high):
    inner = [f for f in scd.breaks if low < f < high]
    edges = np.log([low, *sorted(inner), high])

    def integrand(v):
        return np.exp(v * (power + 1)) * float(scd.density(np.exp(v)))

    return sum(quad(integrand, a + 1e-14, b - 1e-14, epsrel=1e-12, epsabs=0)[0] for a, b in pairwise(edges))


def test_density_is_the_definition_and_continuous():
    assert float(THREE.density(4.0)) == 2.0
    assert float(THREE.density(8.0)) == pytest.approx(2.0 * 2**-5)
    assert float(THREE.density(1.0)) == pytest.approx(2.0 * 0.25**-1.5)
    for f in THREE.breaks:
        assert float(THREE.density(f * (1 - 1e-12))) == pytest.approx(float(THREE.density(f)), rel=1e-9)


INDEX = st.one_of(st.floats(-3, 1.9), st.sampled_from([1.0, 1 + 1e-12, 1 - 1e-7, 0.0]))
MIDDLE = st.one_of(st.floats(-3, 6), st.sampled_from([1.0, 2.0, 2 - 1e-12, 2 + 1e-7, 1 + 1e-9]))


@given(first=st.floats(2.1, 12), middle=MIDDLE, last=INDEX, gap=st.floats(0.001, 0.99))
@settings(deadline=None, max_examples=40)
def test_moments_agree_with_quadrature(first, middle, last, gap):
    scd = BrokenPowerLaw(0.7, (first, middle, last), (3.0, 3.0 * (1 - gap)))
    for low, high in ((1e-3, 0.02), (0.01, 50.0), (2.9, 3.2)):
        assert float(scd.number_between(low, high)) == pytest.approx(integral(scd, 0, low, high), rel=1e-8)
        assert float(scd.flux_between(low, high)) == pytest.approx(integral(scd, 1, low, high), rel=1e-8)


def test_parts_add_up_and_totals_are_closed_forms():
    edges = np.array([0.0, 0.1, 0.5, 1.0, 4.0, 9.0, np.inf])
    assert THREE.flux_between(edges[:-1], edges[1:]).sum() == pytest.approx(THREE.total_flux, rel=1e-14)
    simple = BrokenPowerLaw(1.0, (3.0, 1.0), (2.0,))
    assert simple.total_flux == pytest.approx(4.0 / 1 + 4.0 / 1)
    assert float(simple.number_between(2.0, np.inf)) == pytest.approx(2.0 / 2)
    assert math.isinf(float(simple.number_between(0.0, 2.0)))
    assert float(THREE.flux_between(3.0, 2.0)) == 0.0


def test_histogram_counts_what_lies_beyond():
    shares = THREE.histogram([0.1, 0.5, 1.0, 2.0])
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] == pytest.approx(float(THREE.flux_between(0, 0.5)) / THREE.total_flux)
    assert shares[2] == pytest.approx(float(THREE.flux_between(1.0, np.inf)) / THREE.total_flux)
    assert not BrokenPowerLaw(0.0, (3.0, 1.0), (2.0,)).histogram([0.0, 1.0, 2.0]).any()


@pytest.mark.parametrize(
    ("scd", "low"),
    [
        (THREE, None),
        (BrokenPowerLaw(1.0, (3.0, 1.0), (2.0,)), 0.01),
        (BrokenPowerLaw(1.0, (2.5,), (), low=0.1), None),
        (BrokenPowerLaw(1.0, (1.0,), (), low=0.1, high=7.0), None),
        (BrokenPowerLaw(1.0, (-2.0,), (), high=7.0), None),
    ],
)
def test_samples_follow_the_distribution(scd, low):
    floor = max(low or 0.0, scd.low)
    flux = scd.sample(4000, np.random.default_rng(1), low=low)
    total = float(scd.number_between(floor, np.inf))
    assert kstest(flux, lambda f: scd.number_between(floor, f) / total).pvalue > 1e-3
    assert flux.min() >= floor
    assert flux.max() <= scd.high


def test_power_law_is_normalised_at_its_cut():
    assert float(BrokenPowerLaw(3.0, (1.0,), (), high=7.0).density(7.0)) == 3.0
    assert float(BrokenPowerLaw(3.0, (2.5,), (), low=0.1).density(0.1)) == pytest.approx(3.0)
    assert float(BrokenPowerLaw(3.0, (1.0,), (), high=7.0).density(7.1)) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, (3.0, 1.0), (1.0, 2.0)), "indices: must be one more"),
        ((1.0, (3.0, 1.5, 1.0), (1.0, 2.0)), "breaks: must be positive and descending"),
        ((1.0, (3.0, 1.5, 1.0), (1.0, 1.0)), "breaks: must be positive and descending"),
        ((1.0, (3.0, 1.0), (-1.0,)), "breaks: must be positive and descending"),
        ((-1.0, (3.0, 1.0), (1.0,)), "norm: must not be negative"),
        ((1.0, (2.0, 1.0), (1.0,)), "indices: the first must be above 2"),
        ((1.0, (3.0, 2.0), (1.0,)), "indices: the last must be below 2"),
        ((1.0, (1.5,), ()), "indices: the first must be above 2"),
        ((1.0, (2.5,), ()), "indices: the last must be below 2"),
        ((np.nan, (3.0, 1.0), (1.0,)), "broken power law: must be finite"),
        ((1.0, (3.0, 1.0), (1.0,), 2.0, 1.0), "low, high: must satisfy"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        BrokenPowerLaw(*arguments)


def test_sampling_needs_a_finite_number():
    scd = BrokenPowerLaw(1.0, (3.0, 1.0), (2.0,))
    with pytest.raises(InputError, match="low: the number of sources diverges"):
        scd.sample(3, np.random.default_rng(0))
    with pytest.raises(InputError, match="low: there must be sources above it"):
        BrokenPowerLaw(1.0, (1.0,), (), high=2.0).sample(3, np.random.default_rng(0), low=3.0)
