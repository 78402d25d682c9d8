"""Energy spectra: shares of flux in bins."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from gcesbi.physics import skew_normal
from gcesbi.physics.power_law import power_integral
from gcesbi.physics.spectra import e2dnde, skew_normal_shares
from gcesbi.sky import log_energy_edges

EDGES = log_energy_edges(10)


@given(st.floats(0.3, 1.3), st.floats(0.02, 20), st.floats(-12, 12))
@settings(deadline=None, max_examples=40)
def test_skew_normal_shares_are_differences_of_the_cdf(xi, omega2, a):
    ours = skew_normal_shares(EDGES, xi, omega2, a)
    exact = np.diff(skew_normal.cdf(np.log10(EDGES), xi, omega2, a))
    assert ours.sum() == pytest.approx(1)
    if exact.sum() > 1e-4:
        assert np.allclose(ours, exact / exact.sum(), atol=1e-6)


def test_wild_corners_still_have_shares():
    lines = skew_normal_shares(EDGES, [0.35, 1.25], [0.0, 0.0], [0.0, 0.0])
    assert np.allclose(lines[0], np.eye(10)[0])
    assert np.allclose(lines[1], np.eye(10)[9])
    outside = skew_normal_shares(EDGES, 0.30103, 1e-4, -15.0)
    assert np.isfinite(outside).all()
    assert outside[0] == pytest.approx(1)


@pytest.mark.parametrize("index", [0.0, 1.0, 1 + 1e-13, 2.4])
def test_power_integrals_are_integrals(index):
    exact = np.array([integrate.quad(lambda e: e**-index, a, b)[0] for a, b in itertools.pairwise(EDGES)])
    np.testing.assert_allclose(power_integral(1 - index, EDGES[:-1], EDGES[1:]), exact, rtol=1e-9)


def test_e2dnde_of_an_inverse_square_is_flat():
    flux = power_integral(-1.0, EDGES[:-1], EDGES[1:])
    assert np.ptp(e2dnde(flux, EDGES)) < 1e-12
