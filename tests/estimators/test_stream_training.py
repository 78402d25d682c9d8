"""Training on fresh maps, and on a store that is read shard by shard: which maps come, how often, and from where on."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from gcesbi import SimulationStore, Simulator, SkyModel
from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, SpectralEstimator, TrainingError, TrainingSettings
from gcesbi.estimators.training import batches as training_batches
from gcesbi.estimators.training.batches import (
    FreshBatches,
    MemoryBatches,
    StoredBatches,
    batch_rows,
    fresh_simulations,
    stored_batch_rows,
)
from gcesbi.simulation.simulator import SHARD
from gcesbi.simulation.torch_maps import StoredMaps, fresh_batches

CPU = torch.device("cpu")
STREAM = TrainingSettings(
    max_maps=600, batch_size=50, precision="float32", workers=0, n_validation=60, validate_every=200, checkpoint_every=4
)


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=2, weeks=60))


@pytest.fixture(scope="module")
def store(simulator, tmp_path_factory):
    store = SimulationStore.create(tmp_path_factory.mktemp("maps") / "store", simulator, seed=4)
    store.fill(simulator, 5 * SHARD)
    return store


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """A few maps to standardise the input by, and shards in pairs."""
    monkeypatch.setattr(training_batches, "FIRST", 128)
    monkeypatch.setattr(training_batches, "BUFFER", 2)
    training_batches._stored_order.cache_clear()
    yield
    training_batches._stored_order.cache_clear()


def make(simulator, seed=0):
    small = NetworkSettings(widths=(4, 8), n_features=8)
    return SpectralEstimator.for_model(simulator.model, network=small, seed=seed)


def stream(simulator, **plan):
    return FreshBatches(make(simulator), simulator, 0, CPU, **{"batch_size": 50, "seed": 3} | plan)


def taken(counts):
    """Maps as hashable bytes."""
    return [row.numpy().astype(np.int64).tobytes() for row in counts]


def same_weights(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


class Killed(Exception):
    pass


def dies_in_step(estimator, step):
    loss, steps = estimator.loss, []

    def deadly(output, targets):
        steps.append(estimator.training)
        if sum(steps) == step:
            raise Killed
        return loss(output, targets)

    estimator.loss = deadly
    return estimator


# -- fresh maps ---------------------------------------------------------------------------------------------------


def test_a_stream_gives_the_simulators_fresh_maps_in_order_and_none_twice(simulator):
    source = stream(simulator)
    batches = [source.batch(step) for step in range(6)]
    drawn = fresh_batches(simulator, 50, source.seed)
    for batch, expected in zip(batches, drawn, strict=False):
        assert torch.equal(batch.inputs, expected.counts)
    seen = Counter(each for batch in batches for each in taken(batch.inputs))
    assert set(seen.values()) == {1}
    assert len(seen) == 300


def test_targets_are_those_of_the_maps(simulator):
    source = stream(simulator)
    drawn = fresh_simulations(simulator, 100, source.seed)
    expected = make(simulator).targets(drawn)
    torch.testing.assert_close(torch.cat([source.batch(0).targets, source.batch(1).targets]), expected)


def test_a_stream_goes_on_anywhere(simulator):
    source, again = stream(simulator), stream(simulator)
    batches = [source.batch(step) for step in range(5)]
    for step in (3, 1, 2, 4):  # back and forth
        assert torch.equal(again.batch(step).inputs, batches[step].inputs)


def test_processes_and_validation_have_maps_of_their_own(simulator):
    parts = [stream(simulator, rank=rank, world=2) for rank in (0, 1)]
    counts = [part.batch(0).inputs for part in parts]
    assert [len(each) for each in counts] == [25, 25]
    seen = taken(torch.cat(counts))
    assert len(set(seen)) == 50


def test_fit_on_a_simulator_sees_every_map_once(simulator):
    estimator = make(simulator)
    shown = []
    handle = estimator.embedding.register_forward_pre_hook(
        lambda module, given: shown.append((module.training, given[0]))
    )
    history = estimator.fit(simulator, STREAM)
    handle.remove()
    trained = [each for training, counts in shown if training for each in taken(counts)]
    held_out = {each for training, counts in shown if not training for each in taken(counts)}
    assert len(trained) == len(set(trained)) == history.maps == history.n_train == 600
    assert (len(held_out), history.n_validation) == (60, 60)
    assert not held_out & set(trained)
    assert (history.presentations, history.most_presentations) == (1.0, 1)
    assert history.maps_at == (200, 400, 600)
    assert len(history.validation_loss) == 3


def test_interrupted_stream_ends_with_the_same_weights_whatever_the_workers(simulator, tmp_path):
    whole, cut, resumed = make(simulator), dies_in_step(make(simulator), 11), make(simulator, seed=9)
    reference = whole.fit(simulator, replace(STREAM, workers=2))
    with pytest.raises(Killed):
        cut.fit(simulator, STREAM, checkpoint=tmp_path / "run.ckpt")
    history = resumed.fit(simulator, replace(STREAM, workers=1), checkpoint=tmp_path / "run.ckpt")
    assert same_weights(whole, resumed)
    assert history.validation_loss == reference.validation_loss


def test_early_stopping_on_fresh_maps_keeps_the_best(simulator):
    settings = replace(STREAM, max_maps=5000, validate_every=50, patience=2, learning_rate=0.3)
    history = make(simulator).fit(simulator, settings)
    assert history.stopped_early
    assert history.maps < 5000
    assert len(history.validation_loss) == int(np.argmin(history.validation_loss)) + 1 + 2


def test_a_loss_that_is_not_finite_says_how_to_draw_its_maps_again(simulator):
    estimator = make(simulator)
    loss, shown = estimator.loss, []

    def breaking(output, targets):
        shown.append(targets)
        return loss(output, targets) * (float("nan") if len(shown) == 3 else 1.0)

    estimator.loss = breaking
    with pytest.raises(TrainingError, match=r"at step 2 .* on fresh maps .*; no checkpoint was written") as caught:
        estimator.fit(simulator, STREAM)
    size, seed, start = map(int, re.search(r"simulator, (\d+), seed=(\d+), start=(\d+)", caught.value.batch).groups())
    again = next(fresh_batches(simulator, size, seed, start=start))
    assert torch.equal(make(simulator).targets(training_batches._labels(again)).float(), shown[-1])


# -- a store, shard by shard --------------------------------------------------------------------------------------


def test_a_pass_over_a_store_takes_every_map_once(simulator, store):
    start, stop = 100, 600  # not at the border of a shard
    for epoch in (0, 1):
        rows = np.concatenate([stored_batch_rows(start, stop, 50, 3, 10 * epoch + k) for k in range(10)])
        assert sorted(rows) == list(range(start, stop))
    assert not np.array_equal(stored_batch_rows(start, stop, 50, 3, 0), stored_batch_rows(start, stop, 50, 3, 10))


def test_stored_maps_come_with_their_labels_and_each_shard_is_read_once_a_pass(simulator, store, monkeypatch):
    maps, everything = StoredMaps(store, 100, 600), store.read()
    reads, read = [], SimulationStore.shard
    monkeypatch.setattr(SimulationStore, "shard", lambda self, k: reads.append(k) or read(self, k))
    estimator = make(simulator)
    source = StoredBatches(estimator, maps, batch_size=50, seed=3)
    targets = estimator.targets(everything).float()
    for step in range(10):
        batch, rows = source.batch(step), stored_batch_rows(100, 600, 50, 3, step)
        np.testing.assert_array_equal(batch.inputs.numpy(), everything.counts[rows])
        assert torch.equal(batch.targets, targets[rows])
        assert len(source._held) <= 2 * training_batches.BUFFER + 1
    assert sorted(set(reads)) == [0, 1, 2, 3, 4]
    assert len(reads) <= 5 + training_batches.BUFFER  # those that the next pass begins with may be there already
    source.close()


@pytest.mark.parametrize("kind", ["memory", "store"])
def test_processes_share_a_batch(simulator, store, kind):
    estimator = make(simulator)

    def opened(rank, world):
        sharing = {"batch_size": 50, "seed": 3, "rank": rank, "world": world}
        if kind == "memory":
            return MemoryBatches(estimator, store.read(), **sharing)
        return StoredBatches(estimator, StoredMaps(store), **sharing)

    found = [opened(rank, world) for rank, world in ((0, 1), (0, 2), (1, 2))]
    whole, *parts = (taken(source.batch(7).inputs.int()) for source in found)
    assert whole[0::2] == parts[0]
    assert whole[1::2] == parts[1]
    for source in found:
        source.close()


def test_interrupted_training_from_a_store_ends_with_the_same_weights(simulator, store, tmp_path):
    settings = replace(STREAM, validate_every=None, validation_share=0.2)
    maps = StoredMaps(store, 100, 600)
    whole, cut, resumed = make(simulator), dies_in_step(make(simulator), 11), make(simulator, seed=9)
    reference = whole.fit(maps, settings)
    with pytest.raises(Killed):
        cut.fit(maps, settings, checkpoint=tmp_path / "run.ckpt")
    history = resumed.fit(maps, settings, checkpoint=tmp_path / "run.ckpt")
    assert same_weights(whole, resumed)
    assert history.validation_loss == reference.validation_loss
    assert (history.n_train, history.n_validation, history.most_presentations) == (400, 100, 2)
    with pytest.raises(InputError, match=r"belongs to another training; maps.start: 100, now 110"):
        make(simulator).fit(StoredMaps(store, 110, 600), settings, checkpoint=tmp_path / "run.ckpt")


@pytest.mark.parametrize(("limit", "steps"), [(1, 6), (2, 12), (None, 18)])
def test_no_map_is_seen_more_than_stated(simulator, store, limit, steps):
    settings = replace(STREAM, max_maps=900, max_presentations=limit, validation_share=0.0, validate_every=None)
    estimator, shown = make(simulator), Counter()
    estimator.embedding.register_forward_pre_hook(lambda module, given: shown.update(taken(given[0])))
    history = estimator.fit(store.read(0, 320), settings)
    assert history.maps == 50 * steps
    assert max(shown.values()) == history.most_presentations == (limit or 3)
    assert history.max_presentations == limit


def test_more_maps_to_a_batch_than_there_are_is_refused():
    with pytest.raises(InputError, match="batch_size: must be at most the number of maps, 10, got 11"):
        batch_rows(10, 11, 0, 0)
