"""Fluxes of sources against quadrature and their own distribution function."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from gcesbi.errors import InputError
from gcesbi.physics.source_flux import PowerLawFluxes


def quadrature(alpha, low, power):
    """∫ S^(α + power) dS, S in units of the threshold, over ln S."""
    return quad(lambda t: np.exp((alpha + power + 1) * t), np.log(low), 0, epsabs=0)[0]


@settings(deadline=None, max_examples=30)
@given(st.floats(-3, 3), st.floats(-5, -0.1))
def test_mean_is_the_ratio_of_two_integrals(alpha, log_low):
    low = 10**log_low
    expected = quadrature(alpha, low, 1) / quadrature(alpha, low, 0)
    assert PowerLawFluxes(alpha, 1e-9, low * 1e-9).mean / 1e-9 == pytest.approx(expected, rel=1e-7)


def test_mean_is_continuous_where_logarithms_replace_powers():
    for alpha in (-1.0, -2.0):
        near = [PowerLawFluxes(alpha + d).mean for d in (-1e-7, 0.0, 1e-7)]
        np.testing.assert_allclose(near, near[1], rtol=1e-5)


@pytest.mark.parametrize("alpha", [-1.7, -1.05, -1.0, 0.3, 1.05])
def test_draws_follow_the_law(alpha):
    law = PowerLawFluxes(alpha)
    drawn = law.sample(4000, np.random.default_rng(2)) / law.high
    total = quadrature(alpha, 1e-3, 0)

    def share(x):
        return 1 - np.array([quadrature(alpha, each, 0) for each in x]) / total

    assert kstest(drawn, share).pvalue > 1e-3
    assert drawn.mean() == pytest.approx(law.mean / law.high, abs=4 * drawn.std() / np.sqrt(4000))  # k = 4


def test_the_lowest_flux_may_be_zero():
    law = PowerLawFluxes(0.5, 1e-9, 0.0)
    assert law.mean / 1e-9 == pytest.approx(1.5 / 2.5)
    drawn = law.sample(2000, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(law.mean, abs=4 * drawn.std() / np.sqrt(2000))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((np.nan, 1e-9, 1e-12), "alpha: must be finite, got nan"),
        ((0.0, 1e-9, -1.0), "flux_low: must not be negative, got -1"),
        ((0.0, 1e-13, 1e-12), "flux_threshold: must be above the lowest flux 1e-12, got 1e-13"),
        ((-2.5, 1e-9, 0.0), "alpha: must be above -2 where the lowest flux is 0, or the flux diverges, got -2.5"),
        ((-1.5, 1e-9, 0.0), "alpha: must be above -1 where the lowest flux is 0, or the number diverges, got -1.5"),
    ],
)
def test_guards_name_argument_rule_and_value(values, message):
    with pytest.raises(InputError, match=message):
        PowerLawFluxes(*values)
