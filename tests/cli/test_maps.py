"""What commands state of a map whose file does not."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from gcesbi.cli.options import Stated, settings_and_map
from gcesbi.errors import InputError

N_PIX = 12 * 16**2
CHANGES = ["sky.nside=16", "sky.n_energy=2"]


def silent(tmp_path):
    """Counts and exposure, RING, Galactic, without a word about it; a mask."""
    counts = np.random.default_rng(1).poisson(3.0, (2, N_PIX))
    np.save(tmp_path / "counts.npy", counts)
    np.save(tmp_path / "exposure.npy", np.full((2, N_PIX), 1e11))
    np.save(tmp_path / "mask.npy", np.arange(N_PIX) < N_PIX // 2)
    return counts


def test_a_silent_map_is_stated(tmp_path):
    counts = silent(tmp_path)
    stated = Stated(
        order="ring",
        energies="2:20:2",
        exposure=tmp_path / "exposure.npy",
        mask_file=tmp_path / "mask.npy",
        mask_order="ring",
    )
    _, seen = settings_and_map("test", CHANGES, None, tmp_path / "counts.npy", None, None, told=stated)
    np.testing.assert_allclose(seen.energy_edges, np.geomspace(2, 20, 3))
    ring = hp.nest2ring(16, seen.region.pixels)
    np.testing.assert_array_equal(seen.counts, counts[:, ring])
    assert ring.min() >= N_PIX // 2


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"order": None}, "order: must be 'ring' or 'nested' for .*counts.npy, an array over the whole sky, got None"),
        ({"energies": "2:20"}, r"energies: must be LOW:HIGH:NUMBER or E1,E2,... in GeV, got '2:20'"),
        ({"energies": "20:2:3"}, r"energies: must be LOW:HIGH:NUMBER"),
        ({"energies": "2,x"}, r"energies: must be LOW:HIGH:NUMBER"),
        ({"energies": None}, r"counts.npy: energy_edges: must be given, as an array has none"),
        ({"mask_order": "ring"}, r"mask_order: needs --mask-file, got 'ring' without"),
        ({"frame": "altaz"}, "frame: must be one of .*, got 'altaz'"),
    ],
)
def test_what_is_stated_wrongly_is_named(tmp_path, stated, message):
    silent(tmp_path)
    given = {"order": "ring", "energies": "2,6,20", "exposure": tmp_path / "exposure.npy"} | stated
    with pytest.raises(InputError, match=message):
        settings_and_map("test", CHANGES, None, tmp_path / "counts.npy", None, None, told=Stated(**given))


@pytest.mark.parametrize("place", [None, "folder"])
def test_options_of_files_are_refused_elsewhere(tmp_path, place):
    assert Stated().arguments(None) == {}
    with pytest.raises(InputError, match=r"exposure: needs --observation with a file, got 'x.fits'"):
        Stated(exposure=Path("x.fits")).arguments(None if place is None else tmp_path)


def test_what_a_map_lacks_is_told_with_the_option_that_states_it(tmp_path):
    silent(tmp_path)
    for told, option in (
        (Stated(order="ring"), r"energy_edges: must be given, .*; --energies 2:20:10, .* states it"),
        (Stated(order="ring", energies="2:20:2"), r"exposure: must be given, .*; --exposure FILE states it"),
        (Stated(energies="2:20:2", exposure=tmp_path / "exposure.npy"), r"order: must be .*; --order ring states it"),
    ):
        with pytest.raises(InputError, match=option):
            settings_and_map("test", CHANGES, None, tmp_path / "counts.npy", None, None, told=told)
