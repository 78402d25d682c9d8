"""The least ellipsoid about points: nautilus' own, and closed forms."""

import numpy as np
import pytest
from nautilus.bounds import basic

from gcesbi.baselines.samplers.ellipsoid import enclosing_ellipsoid, fast_ellipsoids


@pytest.mark.parametrize(("n", "d"), [(40, 2), (300, 6), (600, 17)])
def test_it_is_the_ellipsoid_that_nautilus_finds(n, d):
    points = np.random.default_rng(n).random((n, d)) @ np.diag(np.linspace(0.1, 1, d))
    for mine, own in zip(enclosing_ellipsoid(points), basic.minimum_volume_enclosing_ellipsoid(points), strict=True):
        np.testing.assert_allclose(mine, own, rtol=1e-6, atol=1e-9 * np.abs(own).max())


def test_all_points_lie_within_and_a_cubes_is_its_sphere():
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    c, matrix, inverse = enclosing_ellipsoid(corners)
    np.testing.assert_allclose(c, 0, atol=1e-12)
    np.testing.assert_allclose(matrix, np.eye(3) / 3, atol=1e-12)
    np.testing.assert_allclose(matrix @ inverse, np.eye(3), atol=1e-12)


def test_nautilus_has_its_own_function_back():
    own = basic.minimum_volume_enclosing_ellipsoid
    with fast_ellipsoids():
        assert basic.minimum_volume_enclosing_ellipsoid is enclosing_ellipsoid
    assert basic.minimum_volume_enclosing_ellipsoid is own
