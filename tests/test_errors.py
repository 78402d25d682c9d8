"""Messages stay one line, however much was given."""

import numpy as np
import pytest

from gcesbi.baselines import nptf_log_likelihood
from gcesbi.errors import InputError, shown
from gcesbi.physics.spectra import skew_normal_shares

MANY = np.linspace(3.0, -1.0, 5000)


def test_few_numbers_are_all_shown():
    assert shown(np.array([[1.0, np.inf]])) == "[[1.0, inf]]"


def test_of_many_numbers_a_message_shows_their_shape_and_ends():
    assert shown(MANY.reshape(2, 2500)) == "2 x 2500 numbers from -1.0 to 3.0"
    assert shown(np.append(MANY, np.nan)) == "5001 numbers from nan to nan"


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("omega2", lambda: skew_normal_shares([2.0, 20.0], 0.5, MANY, 1.0)),
        ("energy_edges", lambda: skew_normal_shares(MANY, 0.5, 1.0, 1.0)),
        ("theta", lambda: nptf_log_likelihood([1], [1.0], [[1.0]], [MANY * np.nan], [1.0], [1.0])),
    ],
)
def test_thousands_of_values_make_one_short_line(name, ask):
    with pytest.raises(InputError, match=name) as told:
        ask()
    assert len(str(told.value)) < 200
    assert "\n" not in str(told.value)
