import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.templates import Isotropic


def test_ones():
    np.testing.assert_array_equal(Isotropic().map(2), np.ones(48))
    values = Isotropic().map(2, [5, 1])
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [1, 1])


def test_guard():
    with pytest.raises(InputError, match="pixels: must lie in"):
        Isotropic().map(2, [48])
