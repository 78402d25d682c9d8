"""The store of simulations: whole or not at all, same bytes however it was filled."""

import json

import numpy as np
import pytest

from gcesbi import InputError, SimulationStore
from gcesbi.simulation.simulator import SHARD

NAMES = ("theta", "counts", "flux", "scd", "n_sources")


@pytest.fixture(scope="module")
def folder(simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "maps"
    SimulationStore.create(folder, simulator, seed=3).fill(simulator, 2 * SHARD, workers=2)
    return folder


def test_what_is_read_is_what_is_drawn(simulator, folder):
    store = SimulationStore.open(folder)
    assert len(store) == 2 * SHARD
    read, drawn = store.read(10, SHARD + 20), simulator.sample(SHARD + 20, seed=3)
    for name in NAMES:
        assert np.array_equal(getattr(read, name), getattr(drawn, name)[10:])
    assert read.counts.dtype == drawn.counts.dtype


def test_an_interrupted_store_ends_with_the_same_maps(simulator, folder, tmp_path):
    store = SimulationStore.create(tmp_path / "maps", simulator, seed=3)
    store.fill(simulator, 2 * SHARD)
    first = store.folder / "00000.zip"
    untouched = (store.folder / "00001.zip").stat().st_mtime_ns
    first.unlink()
    (store.folder / "00000.99.partial").write_bytes(b"torn")
    assert len(store) == 0
    store.fill(simulator, 2 * SHARD)
    assert (store.folder / "00001.zip").stat().st_mtime_ns == untouched
    again, whole = store.read(), SimulationStore.open(folder).read()
    for name in NAMES:
        assert np.array_equal(getattr(again, name), getattr(whole, name))


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_shard_is_named_and_never_read(simulator, tmp_path, damage):
    store = SimulationStore.create(tmp_path / "maps", simulator, seed=3)
    store.fill(simulator, SHARD)
    path = store.folder / "00000.zip"
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "altered":
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    else:
        path.unlink()
        path.with_name("00001.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"00000\.zip: is|holds 0 maps"):
        store.read(0, SHARD)


def test_another_model_or_seed_is_refused(simulator, model, folder):
    from gcesbi import Simulator, SkyModel

    with pytest.raises(InputError, match="holds maps of seed 3, asked for 4"):
        SimulationStore.create(folder, simulator, seed=4)
    other = Simulator(SkyModel.preset(nside=8, n_energy=1))
    with pytest.raises(InputError, match="holds maps of fingerprint"):
        SimulationStore.create(folder, other, seed=3)
    with pytest.raises(InputError, match="holds maps of model"):
        SimulationStore.open(folder).fill(other, 5)


def test_bad_stores_are_refused(folder, tmp_path, simulator):
    with pytest.raises(InputError, match="no store at"):
        SimulationStore.open(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        SimulationStore.open(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps({"schema": 99, "fingerprint": "", "seed": 1}))
    with pytest.raises(InputError, match="schema must be 1, got 99"):
        SimulationStore.open(tmp_path)
    with pytest.raises(InputError, match=f"holds {2 * SHARD} maps, asked for 0 to 5000"):
        SimulationStore.open(folder).read(0, 5000)
    with pytest.raises(InputError, match="n, workers: must be at least 1, got 0, 1"):
        SimulationStore.open(folder).fill(simulator, 0)
