"""Simulated maps for torch: stored ones, shuffled or not, and fresh ones that never touch a disk.

================== ========================================================================================
StoredMaps         map-style: any map by its number, some shards kept in memory
ShuffledMaps       iterable: every map once an epoch; as many shards in memory as its buffer says
FreshMaps          iterable: shard after shard, each drawn when it is asked for, without end
fresh_batches      batches of fresh maps, drawn ahead by worker processes, in an order they do not decide
================== ========================================================================================

The first two give single maps, for a ``DataLoader`` to collate. ``FreshMaps`` gives whole shards (pass
``batch_size=None`` to a ``DataLoader``). Its shards are numbered from :data:`FRESH`, beyond those of any store: fresh
maps are neither those that a store of the same seed holds, nor the run's mock observation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from gcesbi.errors import InputError
from gcesbi.simulation.rebuild import Recipe
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import SHARD, Simulator
from gcesbi.simulation.store import SimulationStore

__all__ = ["FRESH", "FreshMaps", "MapTensors", "ShuffledMaps", "StoredMaps", "fresh_batches", "shuffled_rows"]

FRESH = 2**32
"""Number of the first shard of fresh maps."""


class MapTensors(NamedTuple):
    """One map, or a batch of maps along the first axis; see :class:`gcesbi.Simulations` for shapes and units.

    Labels and parameters are float32. Counts are float32 too, exact up to 2²⁴, but in :class:`FreshMaps`, whose shards
    travel between processes in the smallest type that holds them.
    """

    theta: Tensor
    counts: Tensor
    flux: Tensor
    scd: Tensor
    n_sources: Tensor

    @classmethod
    def of(cls, part: Simulations) -> MapTensors:
        """Tensors of simulated maps, counts in their own type."""
        labels = {name: torch.from_numpy(getattr(part, name)).float() for name in cls._fields if name != "counts"}
        return cls(counts=torch.from_numpy(part.counts), **labels)

    def float(self) -> MapTensors:
        """The same with counts as float32."""
        return self._replace(counts=self.counts.float())

    def rows(self, index: int | slice | Tensor) -> MapTensors:
        """Some of a batch's maps."""
        return MapTensors(*(each[index] for each in self))


class StoredMaps(Dataset[MapTensors]):
    """Maps of a store by number.

    Random access reads a whole shard for one map unless that shard is still in memory; to shuffle a store that does not
    fit, take :class:`ShuffledMaps`.

    Parameters
    ----------
    store : SimulationStore
    start, stop : int, optional
        First map, and the first one that is left out.
    kept : int
        Shards kept in memory.
    """

    def __init__(self, store: SimulationStore, start: int = 0, stop: int | None = None, kept: int = 4) -> None:
        self.start, self.stop = store.check_range(start, stop)
        self.store, self.kept = store, _at_least_one("kept", kept)
        self._shards: OrderedDict[int, MapTensors] = OrderedDict()

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> MapTensors:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: must be below {len(self)}, got {index}")
        k, row = divmod(self.start + index % len(self), SHARD)
        if k not in self._shards:
            self._shards[k] = MapTensors.of(self.store.shard(k))
            if len(self._shards) > self.kept:
                self._shards.popitem(last=False)
        self._shards.move_to_end(k)
        return self._shards[k].rows(row).float()


class ShuffledMaps(IterableDataset[MapTensors]):
    """Maps of a store in random order, each once an epoch, without loading them all.

    The order of the shards is drawn first. Then `buffer` shards at a time are read and their maps shuffled together:
    two maps of one shard are at most ``buffer * SHARD`` maps apart. As maps of a store are independent draws, this
    serves as well as a full shuffle. The order follows from seed, epoch and the number of a loader's workers, which
    share the shards among them.

    Parameters
    ----------
    store : SimulationStore
    start, stop : int, optional
        First map, and the first one that is left out.
    buffer : int
        Shards in memory (in each worker).
    seed : int
    """

    def __init__(
        self, store: SimulationStore, start: int = 0, stop: int | None = None, buffer: int = 8, seed: int = 0
    ) -> None:
        self.start, self.stop = store.check_range(start, stop)
        self.store, self.buffer, self.seed, self.epoch = store, _at_least_one("buffer", buffer), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is; each has its own order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[MapTensors]:
        worker, n_worker = _worker()
        rng = np.random.default_rng([self.seed, self.epoch])
        shards = rng.permutation(np.arange(self.start // SHARD, -(-self.stop // SHARD)))
        rng = np.random.default_rng([self.seed, self.epoch, worker])
        for rows in shuffled_rows(shards[worker::n_worker], self.start, self.stop, self.buffer, rng):
            held = {k: MapTensors.of(self.store.shard(k)) for k in np.unique(rows // SHARD).tolist()}
            for row in rows.tolist():
                yield held[row // SHARD].rows(row % SHARD).float()
            del held  # before the next ones are read


def shuffled_rows(
    shards: NDArray[np.int64], start: int, stop: int, buffer: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Numbers of the maps from `start` to `stop` in these shards, in random order among `buffer` shards at a time."""
    for at in range(0, len(shards), buffer):
        rows = (shards[at : at + buffer, None] * SHARD + np.arange(SHARD)).ravel()
        yield rng.permutation(rows[(rows >= start) & (rows < stop)])


class FreshMaps(IterableDataset[MapTensors]):
    """Shards of new maps, without end: no map comes twice.

    Worker w of W draws shards w, w + W, ...: a ``DataLoader``, which asks its workers in turn, gives shard 0, 1, 2, ...
    whatever W.

    Parameters
    ----------
    simulator : Simulator
        A worker that is forked shares it; one that is spawned builds it again from its settings.
    seed : int
    first : int
        Shards to leave out, for a training that goes on.
    """

    def __init__(self, simulator: Simulator, seed: int, first: int = 0) -> None:
        if seed < 0 or first < 0:
            raise InputError(f"seed, first: must not be negative, got {seed}, {first}")
        simulator.prepare()
        self.seed, self.first = seed, first
        self._recipe = Recipe.of(simulator.model)
        self._simulator: Simulator | None = simulator

    def __iter__(self) -> Iterator[MapTensors]:
        worker, n_worker = _worker()
        simulator = self._simulator or self._recipe.simulator()
        k = self.first + worker
        while True:
            yield MapTensors.of(simulator.shard(FRESH + k, self.seed))
            k += n_worker

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_simulator": None}


def fresh_batches(
    simulator: Simulator, batch_size: int, seed: int, workers: int = 0, start: int = 0
) -> Iterator[MapTensors]:
    """Batches of new maps, without end.

    Parameters
    ----------
    simulator : Simulator
    batch_size : int
    seed : int
        Same seed, same batches, whatever `workers`.
    workers : int
        Processes that draw ahead; with 0 maps are drawn when they are asked for.
    start : int
        Maps to leave out: a training that has seen so many goes on with the next.

    Yields
    ------
    MapTensors
        `batch_size` maps, float32.
    """
    _at_least_one("batch_size", batch_size)
    if workers < 0 or start < 0:
        raise InputError(f"workers, start: must not be negative, got {workers}, {start}")
    skipped, within = divmod(start, SHARD)
    loader = DataLoader(FreshMaps(simulator, seed, skipped), batch_size=None, num_workers=workers, collate_fn=_same)
    return cut_batches(loader, batch_size, within)


def cut_batches(shards: Iterable[MapTensors], size: int, skip: int) -> Iterator[MapTensors]:
    """Cut shards into batches that know no border between them, leaving out the first `skip` maps."""
    held: MapTensors | None = None
    for shard in shards:
        fresh = shard.float().rows(slice(skip, None))
        held = fresh if held is None else MapTensors(*(torch.cat(pair) for pair in zip(held, fresh, strict=True)))
        skip = 0
        while len(held.theta) >= size:
            yield held.rows(slice(size))
            held = held.rows(slice(size, None))


def _same(item: Any) -> Any:
    return item


def _worker() -> tuple[int, int]:
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{name}: must be at least 1, got {value}")
    return value
