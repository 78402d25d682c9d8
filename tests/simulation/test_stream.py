"""Stored and fresh maps for torch: every map once, in an order that the seed decides."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gcesbi import InputError, Simulations, SimulationStore, Simulator, SkyModel
from gcesbi.simulation.simulator import SHARD
from gcesbi.simulation.torch_maps import FRESH, FreshMaps, MapTensors, ShuffledMaps, StoredMaps, fresh_batches

N = 6 * SHARD


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=2, weeks=30))


@pytest.fixture(scope="module")
def store(simulator, tmp_path_factory):
    store = SimulationStore.create(tmp_path_factory.mktemp("stream"), simulator, seed=2)
    store.fill(simulator, N, workers=2)
    return store


@pytest.fixture(scope="module")
def wanted(store):
    return store.read()


def rows_of(wanted, theta):
    """Which stored maps these parameters belong to."""
    number = {row.tobytes(): i for i, row in enumerate(wanted.theta.astype(np.float32))}
    return [number[row.tobytes()] for row in np.asarray(theta)]


def test_stored_maps_by_number(store, wanted):
    maps = StoredMaps(store, 100, 600, kept=2)
    assert len(maps) == 500
    for i in (0, 499, 30, -1):
        found, at = maps[i], 100 + i % 500
        assert found.counts.dtype == torch.float32
        assert np.array_equal(found.counts.numpy(), wanted.counts[at])
        for name in ("theta", "flux", "scd", "n_sources"):
            assert np.array_equal(getattr(found, name).numpy(), getattr(wanted, name)[at].astype(np.float32))
    assert len(maps._shards) == 2
    with pytest.raises(IndexError, match="below 500"):
        maps[500]
    batch = next(iter(DataLoader(maps, batch_size=7)))
    assert isinstance(batch, MapTensors)
    assert np.array_equal(batch.counts.numpy(), wanted.counts[100:107])


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffled_maps_come_once_each(store, wanted, workers):
    maps = ShuffledMaps(store, 50, N - 30, buffer=2, seed=1)
    loader = DataLoader(maps, batch_size=64, num_workers=workers)
    orders = []
    for epoch in (0, 1, 0):
        maps.set_epoch(epoch)
        batches = list(loader)
        order = rows_of(wanted, torch.cat([batch.theta for batch in batches]))
        assert sorted(order) == list(range(50, N - 30))
        counts = torch.cat([batch.counts for batch in batches]).numpy()
        assert np.array_equal(counts, wanted.counts[order])
        orders.append(order)
    assert orders[0] == orders[2] != orders[1]


def test_the_shuffle_crosses_shards_and_mixes_them(store, wanted):
    order = np.array(rows_of(wanted, torch.stack([each.theta for each in ShuffledMaps(store, buffer=3, seed=4)])))
    for window in np.split(order, 2):
        numbers = np.bincount(window // SHARD, minlength=6)
        assert sorted(numbers) == [0, 0, 0, SHARD, SHARD, SHARD]
        # shards in the first half of a window: hypergeometric, standard deviation 4.6 maps
        first = np.bincount(window[: len(window) // 2] // SHARD, minlength=6)[numbers > 0]
        assert np.abs(first - SHARD / 2).max() < 5 * 4.6
    assert list(dict.fromkeys(order // SHARD)) != list(range(6))


class HeavyStore:
    """A store of twelve shards of 4 MB each."""

    def check_range(self, start, stop):
        return start, stop

    def shard(self, k):
        labels = np.zeros((SHARD, 1))
        counts = np.full((SHARD, 1, 2**15), k, dtype=np.uint8)
        return Simulations(labels, counts, labels[:, :, None], labels[:, :, None], labels)


def test_shuffling_holds_no_more_than_its_buffer():
    def peak(buffer):
        tracemalloc.start()
        try:
            assert sum(1 for _ in ShuffledMaps(HeavyStore(), 0, 12 * SHARD, buffer=buffer)) == 12 * SHARD
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    size = SHARD * 2**15
    peak(1)
    for buffer in (1, 4):
        assert buffer * size < peak(buffer) < (buffer + 1.5) * size


def test_fresh_batches_are_the_same_whatever_the_workers(simulator):
    def draw(workers, n=3, **more):
        return list(islice(fresh_batches(simulator, 100, seed=8, workers=workers, **more), n))

    alone = draw(0)
    assert alone[0].counts.dtype == torch.float32
    for workers in (1, 2):
        for mine, theirs in zip(alone, draw(workers), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    later = draw(2, 1, start=200)
    assert all(torch.equal(a.counts, b.counts) for a, b in zip(later, alone[2:], strict=True))
    direct = simulator.shard(FRESH, 8)
    assert np.array_equal(alone[0].counts.numpy(), direct.counts[:100])


def test_no_map_is_seen_twice(simulator):
    theta = torch.cat([batch.theta for batch in islice(fresh_batches(simulator, 64, seed=2, workers=2), 10)])
    stored = np.concatenate([simulator.shard(k, 2).theta for k in range(5)]).astype(np.float32)
    everything = np.concatenate([theta.numpy(), stored])
    assert len(np.unique(everything, axis=0)) == 10 * 64 + 5 * SHARD
    other = next(fresh_batches(simulator, 64, seed=3))
    assert not np.isin(other.theta[:, 0].numpy(), theta[:, 0].numpy()).any()


def test_fresh_shards_travel_in_the_smallest_type_and_survive_a_spawned_worker(simulator):
    import pickle  # what torch's loader does to hand a data set to a spawned process

    maps = pickle.loads(pickle.dumps(FreshMaps(simulator, seed=8, first=1)))
    assert maps._simulator is None
    shard = next(iter(maps))
    assert shard.counts.dtype in (torch.uint8, torch.uint16)
    assert np.array_equal(shard.counts.numpy(), simulator.shard(FRESH + 1, 8).counts)


def test_a_network_learns_from_the_stream(simulator):
    """Regression of the log of total flux on the logs of total counts, on fresh batches only."""
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for batch in islice(fresh_batches(simulator, 64, seed=1, workers=1), 60):
        x = batch.counts.sum(dim=-1).log()
        y = (batch.flux.sum(dim=(1, 2)) / 1e-7).log()[:, None]
        loss = torch.nn.functional.mse_loss(network(x - 7), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:10])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda store, s: StoredMaps(store, kept=0), "kept: must be at least 1, got 0"),
        (lambda store, s: ShuffledMaps(store, buffer=0), "buffer: must be at least 1, got 0"),
        (lambda store, s: ShuffledMaps(store, 0, N + 1), f"holds {N} maps, asked for 0 to {N + 1}"),
        (lambda store, s: FreshMaps(s, -1), "seed, first: must not be negative, got -1, 0"),
        (lambda store, s: fresh_batches(s, 0, 1), "batch_size: must be at least 1, got 0"),
        (lambda store, s: fresh_batches(s, 1, 1, workers=-1), "workers, start: must not be negative, got -1, 0"),
    ],
)
def test_bad_input_is_refused(store, simulator, call, message):
    with pytest.raises(InputError, match=message):
        call(store, simulator)
