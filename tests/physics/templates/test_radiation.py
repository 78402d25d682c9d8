from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import dblquad

from gcesbi.physics.templates.radiation import (
    DISK_LENGTH,
    DISK_THICKNESS,
    U_CMB,
    U_LOCAL,
    _disk_light,
    radiation_energy_density,
)


@pytest.mark.parametrize(("radius", "height"), [(0.0, 0.0), (4.0, 0.2), (8.5, 3.0), (15.0, 8.0)])
def test_agrees_with_the_sum_over_the_disk(radius, height):
    def light(phi, ring):
        square = radius**2 + ring**2 - 2 * radius * ring * np.cos(phi) + height**2 + DISK_THICKNESS**2
        return ring * np.exp(-ring / DISK_LENGTH) / square / (2 * np.pi)

    split = [0.0, max(radius, 0.5), radius + 3, 12 * DISK_LENGTH + radius]
    exact = sum(2 * dblquad(light, a, b, 0, np.pi, epsrel=1e-6)[0] for a, b in pairwise(split))
    assert _disk_light(np.array(radius), np.array(height)) == pytest.approx(exact, rel=1e-4)


def test_local_value_and_far_limit():
    assert radiation_energy_density(np.array(8.5), np.array(0.0), 8.5) == pytest.approx(U_CMB + U_LOCAL)
    far = radiation_energy_density(np.array([0.0, 0.0]), np.array([100.0, 200.0]), 8.5) - U_CMB
    assert far[0] / far[1] == pytest.approx(4, rel=0.01)  # inverse squares


def test_falls_outwards():
    values = radiation_energy_density(*np.meshgrid([0.0, 4.0, 8.5, 15.0], [0.0, 1.0, 4.0], indexing="ij"), 8.5)
    assert np.all(np.diff(values, axis=0) < 0)
    assert np.all(np.diff(values, axis=1) < 0)
    assert 5 < values[0, 0] < 20  # eV/cm³ at the centre
