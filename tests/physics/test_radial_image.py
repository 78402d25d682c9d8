"""Pixel means of radial functions against closed forms and fine sampling."""

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.radial_image import radial_image
from gcesbi.sky.image import ImageGeometry, angular_distance


@pytest.mark.parametrize("pixel", [None, (9.0, 10.0), (9.2, 10.4)])
@pytest.mark.parametrize("slope", [0.0, -1.0, -1.6])
def test_power_law_about_any_place_in_a_pixel(slope, pixel):
    """Over a disc of radius R, ∫ ψ^s dΩ = 2π R^(2+s) / (2+s) on small scales."""
    geometry = ImageGeometry((20, 20), 0.05, (0.0, 0.0), pixel)
    image = radial_image(lambda psi: psi**slope, geometry)
    fine = geometry.refined(40)
    distance = angular_distance(*fine.glon_glat(), (0.0, 0.0))
    sampled = np.where(distance > 0.2, np.radians(distance) ** slope * fine.solid_angle, 0)
    far = sampled.reshape(20, 40, 20, 40).sum()
    radius = np.radians(0.2)
    expected = far + 2 * np.pi * radius ** (2 + slope) / (2 + slope)
    assert (image.ravel() * geometry.solid_angle).sum() == pytest.approx(expected, rel=2e-3)


def test_steep_pixels_match_fine_sampling():
    geometry = ImageGeometry((8, 8), 0.5)
    image = radial_image(lambda psi: psi**-1.4, geometry)
    fine = geometry.refined(64)
    values = np.radians(angular_distance(*fine.glon_glat(), (0.0, 0.0))) ** -1.4 * fine.solid_angle
    means = values.reshape(8, 64, 8, 64).sum(axis=(1, 3)) / geometry.solid_angle.reshape(8, 8)
    outer = np.ones((8, 8), dtype=bool)
    outer[3:5, 3:5] = False
    np.testing.assert_allclose(image[outer], means[outer], rtol=3e-4)
    assert np.all(image[~outer] > means[~outer])  # sampling misses the cusp


def test_another_centre():
    geometry = ImageGeometry((10, 10), 0.5, (20.0, 10.0))
    image = radial_image(lambda psi: np.exp(-psi * 60), geometry, (20.2, 10.3))
    y, x = np.unravel_index(image.argmax(), image.shape)
    assert geometry.index(20.2, 10.3) == y * 10 + x


def test_an_intensity_that_cannot_be_integrated_is_refused():
    with pytest.raises(InputError, match="intensity: must rise less steeply than psi"):
        radial_image(lambda psi: psi**-2.5, ImageGeometry((2, 2), 0.1))
