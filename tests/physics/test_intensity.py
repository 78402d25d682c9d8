"""Intensities of files on images: closed forms of power laws and planes."""

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.intensity import IntensityCube, IsotropicSpectrum
from gcesbi.sky.image import ImageGeometry

ENERGY = np.array([1.0, 3.0, 10.0])
EDGES = np.array([1.5, 4.0, 9.0])
COARSE = ImageGeometry((20, 20), 0.5)


def power_law(index):
    return (EDGES[1:] ** (1 - index) - EDGES[:-1] ** (1 - index)) / (1 - index)


def test_isotropic_bands_are_integrals():
    spectrum = IsotropicSpectrum(ENERGY, 3 * ENERGY**-2.2)
    np.testing.assert_allclose(spectrum.band(EDGES), 3 * power_law(2.2), rtol=1e-10)
    image = spectrum.intensity(ImageGeometry((3, 4), 1.0), EDGES)
    np.testing.assert_allclose(image, np.broadcast_to(3 * power_law(2.2)[:, None, None], (2, 3, 4)), rtol=1e-10)


def test_planes_are_interpolated_exactly_and_edges_repeated():
    lat, lon = np.meshgrid(COARSE.native_lat, COARSE.native_lon, indexing="ij")
    cube = IntensityCube(ENERGY, ENERGY[:, None, None] ** -2.0 * (100 + 2 * lon + 5 * lat), COARSE)
    fine = ImageGeometry((30, 30), 0.3)
    glon, glat = fine.glon_glat()
    expected = power_law(2.0)[:, None] * (100 + 2 * glon + 5 * glat)
    np.testing.assert_allclose(cube.intensity(fine, EDGES).reshape(2, -1), expected, rtol=1e-10)
    wide = cube.intensity(ImageGeometry((40, 40), 0.5), EDGES)
    np.testing.assert_allclose(wide[0, 0, 0], power_law(2.0)[0] * (100 + 2 * lon[0, 0] + 5 * lat[0, 0]), rtol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IsotropicSpectrum(np.array([2.0, 1.0]), np.ones(2)), "energy: must be at least two energies"),
        (lambda: IsotropicSpectrum(ENERGY, np.array([1.0, 0.0, 1.0])), "values: must be finite and above 0.*1 places"),
        (lambda: IsotropicSpectrum(ENERGY, np.ones((3, 1))), r"values: must have shape \(3,\)"),
        (lambda: IntensityCube(ENERGY, np.ones((3, 2, 2)), COARSE), r"values: must have shape \(n, n_lat, n_lon\)"),
        (lambda: IsotropicSpectrum(ENERGY, np.ones(3)).band([0.5, 2.0]), "energies: must cover 0.5 to 2 GeV"),
    ],
)
def test_guards_name_argument_rule_and_value(make, message):
    with pytest.raises(InputError, match=message):
        make()
