"""Places of sources against the J-factor and the density along lines of sight."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from gcesbi.errors import InputError
from gcesbi.physics.dark_matter import DarkMatterHalo
from gcesbi.physics.halo_sources import HaloSources
from gcesbi.physics.templates.nfw import NFW
from gcesbi.sky.image import angular_distance

PLACES = HaloSources(DarkMatterHalo(NFW(gamma=1.2)), 20.0)


def test_angles_follow_the_j_factor():
    angles = PLACES.angles(20_000, np.random.default_rng(1))
    limits = np.array([0.1, 0.5, 2.0, 5.0, 10.0, 15.0])
    expected = np.array([PLACES.halo.j_disc(each) for each in limits]) / PLACES.halo.j_disc(20.0)
    got = (angles[:, None] < limits).mean(axis=0)
    error = np.sqrt(expected * (1 - expected) / len(angles))
    np.testing.assert_array_less(np.abs(got - expected), 4 * error)  # k = 4
    assert angles.max() < 20


def test_directions_surround_the_centre_evenly():
    glon, glat = PLACES.directions(5000, np.random.default_rng(2))
    assert kstest(np.arctan2(glat, glon) / (2 * np.pi), "uniform", (-0.5, 1)).pvalue > 1e-3
    distance = angular_distance(glon, glat, (0.0, 0.0))
    again = PLACES.angles(5000, np.random.default_rng(2))
    np.testing.assert_allclose(distance, again, rtol=1e-6)


@pytest.mark.parametrize("psi", [0.2, 5.0, 18.0])
def test_distances_follow_the_density_squared(psi):
    drawn = PLACES.distances(np.full(3000, psi), np.random.default_rng(3))

    def squared(s):
        radius = np.sqrt(s**2 + 8.5**2 - 2 * s * 8.5 * np.cos(np.radians(psi)))
        return float(PLACES.halo.density(radius)) ** 2

    tangent = 8.5 * np.cos(np.radians(psi))
    width = 8.5 * np.sin(np.radians(psi))
    cuts = [0.0, tangent - width, tangent, tangent + width, tangent + 20]
    pieces = [quad(squared, a, b, limit=200)[0] for a, b in pairwise(cuts)]
    expected = np.cumsum(pieces)[:-1] / np.sum(pieces)
    got = (drawn[:, None] < cuts[1:-1]).mean(axis=0)
    np.testing.assert_array_less(np.abs(got - expected), 4 * np.sqrt(expected * (1 - expected) / 3000) + 2e-3)


def test_guard():
    with pytest.raises(InputError, match=r"radius: must lie in \(0, 180\] degrees, got 0"):
        HaloSources(DarkMatterHalo(), 0.0)
