"""Where a training takes its batches from: each follows from the seed and the number of its step alone.

============= ==================================================================================================
MemoryBatches of maps in memory: every pass is a permutation of all
StoredBatches of maps of a store that may be larger than memory: every pass is a permutation of the shards; the maps of
              :data:`BUFFER` shards at a time are shuffled together. In memory: these shards, and the next ones
FreshBatches  of fresh maps from a simulator, each seen once; only its workers' shards and a batch are in memory
============= ==================================================================================================

In a pass over n maps there are ⌊n / batch size⌋ batches: after k passes no map was seen more than k times. With several
processes each gives its own share of a batch: of stored maps every `world`-th; fresh maps are drawn by every process
from a stream of its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.estimators.training.seeds import Purpose, seed_for
from gcesbi.estimators.training.settings import TrainingSettings
from gcesbi.estimators.training.trainable import Batch, Trainable
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import SHARD, Simulator
from gcesbi.simulation.torch_maps import FRESH, MapTensors, StoredMaps, fresh_batches, shuffled_rows

__all__ = [
    "BUFFER",
    "BatchSource",
    "FreshBatches",
    "InMemory",
    "MemoryBatches",
    "StoredBatches",
    "batch_rows",
    "fresh_simulations",
    "held_out_batches",
    "split",
    "stored_batch_rows",
]

BUFFER = 8
"""Shards of a store whose maps are shuffled together."""

FIRST = 2048
"""Maps by which the input is standardised, at most."""

_READERS = 2
_AT_ONCE = 256


class InMemory(Protocol):
    """Maps in memory, such as :class:`gcesbi.Simulations`: any that the network to be trained can read."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> InMemory: ...


class BatchSource(ABC):
    """Batches for training, of which every process takes its share.

    Parameters
    ----------
    network : Trainable
        Whose inputs and labels they are.
    batch_size : int
        Of all processes together.
    seed : int
    rank, world : int
        This process, and how many there are.

    Attributes
    ----------
    n_map : int or None
        Distinct maps; None if there is no end.
    """

    n_map: int | None = None

    def __init__(self, network: Trainable, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.network, self.batch_size, self.seed, self.rank, self.world = network, batch_size, seed, rank, world

    @abstractmethod
    def first(self) -> Batch:
        """Some maps to standardise the input by, and labels that stand for all."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """Maps of a step: the share of them that falls to this process."""

    @abstractmethod
    def draw_again(self, step: int) -> str:
        """In words, how to get the maps of a step again."""

    @abstractmethod
    def identity(self) -> dict[str, object]:
        """What tells this source's batches from another's, as plain values."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """End what runs in the background."""


class MemoryBatches(BatchSource):
    """Batches of maps in memory."""

    def __init__(self, network: Trainable, maps: InMemory, **sharing: int) -> None:
        super().__init__(network, **sharing)
        self.maps = network.batch_of(maps)
        self.n_map = len(self.maps.targets)

    def first(self) -> Batch:
        """The first maps, and all labels."""
        return self.maps._replace(inputs=self.maps.inputs[:FIRST])

    def batch(self, step: int) -> Batch:
        """Maps of a step, ascending."""
        rows = batch_rows(len(self.maps.targets), self.batch_size, self.seed, step)
        return _rows(self.maps, rows[self.rank :: self.world])

    def draw_again(self, step: int) -> str:
        """The call that gives the maps' numbers."""
        return (
            f"training maps {__name__}.batch_rows(n={self.n_map}, batch_size={self.batch_size}, seed={self.seed}, "
            f"step={step})"
        )

    def identity(self) -> dict[str, object]:
        """Number of maps."""
        return {"kind": "memory", "n": self.n_map}


class StoredBatches(BatchSource):
    """Batches of maps of a store, read shard by shard."""

    def __init__(self, network: Trainable, maps: StoredMaps, **sharing: int) -> None:
        super().__init__(network, **sharing)
        self.store, self.start, self.stop = maps.store, maps.start, maps.stop
        self.n_map = self.stop - self.start
        self._pool = ThreadPoolExecutor(_READERS)
        self._held: dict[int, Future[Batch]] = {}

    def first(self) -> Batch:
        """The first maps and their labels."""
        return self.network.batch_of(self.store.read(self.start, min(self.start + FIRST, self.stop)))

    def batch(self, step: int) -> Batch:
        """Maps of a step, ascending; begins to read the shards of the steps to come."""
        rows = stored_batch_rows(self.start, self.stop, self.batch_size, self.seed, step)
        self._hold(np.unique(rows // SHARD), step)
        rows = rows[self.rank :: self.world]
        shards = np.unique(rows // SHARD).tolist()
        inputs, targets = zip(
            *(_rows(self._held[k].result(), rows[rows // SHARD == k] % SHARD) for k in shards), strict=True
        )
        return Batch(torch.from_numpy(np.concatenate([each.numpy() for each in inputs])), torch.cat(targets))

    def draw_again(self, step: int) -> str:
        """The call that gives the maps' numbers in the store."""
        return (
            f"stored maps {__name__}.stored_batch_rows(start={self.start}, stop={self.stop}, "
            f"batch_size={self.batch_size}, seed={self.seed}, step={step}) of {self.store.url}"
        )

    def identity(self) -> dict[str, object]:
        """Model, seed and range of the maps."""
        made = {"model": self.store.fingerprint, "seed": self.store.seed}
        return {"kind": "store", **made, "start": self.start, "stop": self.stop}

    def close(self) -> None:
        """End the readers."""
        self._pool.shutdown(cancel_futures=True)
        self._held = {}

    def _hold(self, now: NDArray[np.int64], step: int) -> None:
        """Keep the shards of this step and the next :data:`BUFFER` ones; let go of all others."""
        wanted = dict.fromkeys([*now.tolist(), *_shards_ahead(self.start, self.stop, self.batch_size, self.seed, step)])
        self._held = {k: held for k, held in self._held.items() if k in wanted}
        for k in wanted:
            if k not in self._held:
                self._held[k] = self._pool.submit(lambda k: self.network.batch_of(self.store.shard(k)), k)


class FreshBatches(BatchSource):
    """Batches of fresh maps, each seen once.

    Parameters
    ----------
    workers : int
        Processes that draw ahead, on a CPU.
    device : device
        On a GPU the maps are drawn there, in the training process.
    """

    def __init__(
        self, network: Trainable, simulator: Simulator, workers: int, device: torch.device, **sharing: int
    ) -> None:
        super().__init__(network, **sharing)
        self.simulator, self.workers, self.device = simulator, workers, device
        self.size = self.batch_size // self.world
        self.seed = seed_for(self.seed, Purpose.stream, self.rank)
        self._batches: Iterator[MapTensors] = iter(())
        self._next = -1

    def first(self) -> Batch:
        """The first maps of the stream; training sees them again as its first."""
        return self.network.batch_of(fresh_simulations(self.simulator, FIRST, self.seed, max(self.workers, 1)))

    def batch(self, step: int) -> Batch:
        """New maps; those before them are left out where the last step was not the one before."""
        if step != self._next:
            self._batches = self._open(step * self.size)
        drawn = next(self._batches)
        self._next = step + 1
        return Batch(drawn.counts, self.network.batch_of(_labels(drawn)).targets.to(drawn.counts.device))

    def draw_again(self, step: int) -> str:
        """The call that gives the maps."""
        draw, where = "torch_maps.fresh_batches", ""
        if self.device.type == "cuda":
            draw, where = "device.device_batches", f"device={str(self.device)!r}, "
        return (
            f"fresh maps next(gcesbi.simulation.{draw}(simulator, {self.size}, seed={self.seed}, {where}"
            f"start={step * self.size}))"
        )

    def identity(self) -> dict[str, object]:
        """Model of the maps."""
        return {"kind": "stream", "model": self.simulator.model.fingerprint}

    def close(self) -> None:
        """End the workers."""
        self._batches, self._next = iter(()), -1

    def _open(self, start: int) -> Iterator[MapTensors]:
        if self.device.type == "cuda":
            from gcesbi.simulation.device import device_batches

            return device_batches(self.simulator, self.size, self.seed, self.device, start)
        return fresh_batches(self.simulator, self.size, self.seed, self.workers, start)


# -- held-out maps ------------------------------------------------------------------------------------------------


def split(
    maps: InMemory | StoredMaps | Simulator, validation: InMemory | StoredMaps | None, settings: TrainingSettings
) -> tuple[InMemory | StoredMaps | Simulator, InMemory | StoredMaps | None]:
    """Maps to train on, and maps held out: those given, else the last of them, or fresh ones of a stream of their own.

    Raises
    ------
    InputError
        If no map is left to train on.
    """
    if isinstance(maps, Simulator):
        if validation is None:
            seed = seed_for(settings.seed, Purpose.held_out)
            validation = fresh_simulations(maps, settings.n_validation, seed, max(settings.workers, 1))
        return maps, validation
    last = len(maps)
    if validation is None and settings.validation_share > 0:
        last -= math.ceil(len(maps) * settings.validation_share)
        validation = _part(maps, last, len(maps))
    if last == 0:
        raise InputError("simulations: no map is left to train on")
    return _part(maps, 0, last), validation


def held_out_batches(network: Trainable, maps: InMemory | StoredMaps) -> Iterator[Batch]:
    """All maps in order, a few hundred at once."""
    if isinstance(maps, StoredMaps):
        return map(network.batch_of, maps.store.shards(maps.start, maps.stop))
    return (network.batch_of(maps[at : at + _AT_ONCE]) for at in range(0, len(maps), _AT_ONCE))


def _part(maps: InMemory | StoredMaps, start: int, stop: int) -> InMemory | StoredMaps:
    """Some of the maps, at least one if they are stored."""
    if isinstance(maps, StoredMaps):
        return StoredMaps(maps.store, maps.start + start, maps.start + stop)
    return maps[start:stop]


# -- orders -------------------------------------------------------------------------------------------------------


def fresh_simulations(simulator: Simulator, n: int, seed: int, workers: int = 1) -> Simulations:
    """The first `n` maps that :func:`gcesbi.simulation.torch_maps.fresh_batches` draws from a seed, as arrays."""
    simulator.prepare()
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda k: simulator.shard(FRESH + k, seed), range(-(-n // SHARD)))
        return Simulations.concatenate(list(parts))[:n]


def batch_rows(n: int, batch_size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Numbers of the maps of a step among `n` maps in memory, ascending."""
    epoch, position = divmod(step, _steps_per_pass(n, batch_size))
    return np.sort(_order(n, seed, epoch)[position * batch_size : (position + 1) * batch_size])


def stored_batch_rows(start: int, stop: int, batch_size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Numbers of the maps of a step among maps `start` to `stop` of a store, ascending."""
    epoch, position = divmod(step, _steps_per_pass(stop - start, batch_size))
    return np.sort(_stored_order(start, stop, seed, epoch)[position * batch_size : (position + 1) * batch_size])


def _steps_per_pass(n: int, batch_size: int) -> int:
    if n < batch_size:
        raise InputError(f"batch_size: must be at most the number of maps, {n}, got {batch_size}")
    return n // batch_size


@lru_cache(maxsize=2)
def _order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed_for(seed, Purpose.order, epoch)).permutation(n)


@lru_cache(maxsize=4)
def _stored_order(start: int, stop: int, seed: int, epoch: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed_for(seed, Purpose.order, epoch))
    shards = rng.permutation(np.arange(start // SHARD, -(-stop // SHARD)))
    return np.concatenate(list(shuffled_rows(shards, start, stop, BUFFER, rng)))


def _rows(held: Batch, rows: NDArray[np.int64]) -> Batch:
    return Batch(*(each[torch.from_numpy(rows)] for each in held))


def _shards_ahead(start: int, stop: int, size: int, seed: int, step: int) -> list[int]:
    """Shards of the next maps after a step, as many maps as :data:`BUFFER` shards hold, of the next pass too."""
    steps = _steps_per_pass(stop - start, size)
    epoch, position = divmod(step + 1, steps)
    ahead = _stored_order(start, stop, seed, epoch)[position * size : steps * size][: BUFFER * SHARD]
    if len(ahead) < BUFFER * SHARD:
        ahead = np.concatenate([ahead, _stored_order(start, stop, seed, epoch + 1)[: BUFFER * SHARD - len(ahead)]])
    return list(dict.fromkeys((ahead // SHARD).tolist()))


def _labels(drawn: MapTensors) -> Simulations:
    """Labels of drawn maps; their counts stay where they are."""
    label: dict[str, Any] = {
        name: getattr(drawn, name).cpu().double().numpy() for name in drawn._fields if name != "counts"
    }
    return Simulations(counts=np.empty((len(drawn.theta), 0), np.uint8), **label)
