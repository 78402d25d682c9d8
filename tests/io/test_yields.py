"""Tables of photon yields: read, interpolated between masses, refused."""

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.io.yields import read_yield
from gcesbi.physics.dark_matter import Annihilation, b_quark_yield
from gcesbi.simulation.image_sky_model import ImageSkyModel


@pytest.fixture
def table(tmp_path):
    """A table in the layout of Cirelli et al., whose b column is the built-in yield and whose tau column is flat."""
    log_x = np.arange(-2.0, 0.001, 0.02)
    rows = ["mDM Log[10,x] b \\[Tau]"]
    for mass in (40.0, 50.0, 100.0):
        energy = mass * 10**log_x
        photons = b_quark_yield(np.minimum(energy, mass), mass) * energy * np.log(10)
        rows += [f"{mass} {x:.2f} {value:.8e} {mass:.1f}" for x, value in zip(log_x, photons, strict=True)]
    path = tmp_path / "AtProduction_gammas.dat"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_of_the_built_in_yield_gives_its_flux(table):
    edges = [1.0, 6.0]
    told = Annihilation(photons=read_yield(table, "b", 50.0)).flux(edges, 10.0)
    np.testing.assert_allclose(told, Annihilation().flux(edges, 10.0), rtol=1e-3)


def test_between_masses_a_yield_is_linear_in_their_logarithm(table):
    middle = read_yield(table, "tau", np.sqrt(50.0 * 100.0))
    np.testing.assert_allclose(middle.per_log_energy, 75 / np.log(10))
    assert middle([200.0], 70.7) == 0


def test_a_sky_takes_a_table(table):
    tau, b = (
        ImageSkyModel.preset(
            shape=(8, 8), pixel_size=1.0, yields=str(table), channel=name, energy_edges=(1.0, 2.0, 6.0)
        )
        for name in ("tau", "b")
    )
    assert tau.fingerprint != b.fingerprint
    assert tau.spectrum[1] > 1.3 * b.spectrum[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"channel": "tau", "yields": None},
            "channel: needs sky.yields, a table; the built-in yield is of b, got 'tau'",
        ),
        ({"channel": "W"}, "channel: must be one of tau, b: 'W'"),
        ({"mass": 500.0}, r"mass: must lie in 40 to 100 GeV, those of AtProduction_gammas.dat, got 500"),
        ({"yields": "nowhere.dat"}, "yields: must be a file, got 'nowhere.dat'"),
        ({"mass": 500.0, "yields": None}, r"mass: must lie in \(25.0, 100.0\) GeV"),
    ],
)
def test_what_a_table_does_not_hold_is_refused(table, settings, message):
    with pytest.raises(InputError, match=message):
        ImageSkyModel.preset(**{"shape": (8, 8), "pixel_size": 1.0, "yields": str(table), **settings})


def test_no_table_is_refused(tmp_path):
    path = tmp_path / "bad.dat"
    path.write_text("a b\n1 2\n")
    with pytest.raises(InputError, match=r"bad.dat: must have columns mDM, Log\[10,x\]"):
        read_yield(path, "b", 50.0)
    path.write_text("mDM Log[10,x] b\n1 x 2\n")
    with pytest.raises(InputError, match=r"bad.dat: cannot be read"):
        read_yield(path, "b", 50.0)
