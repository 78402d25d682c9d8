"""Where a training takes its maps from: a source gives the batch of a step, by the seed and the step alone.

============= ==================================================================================================
MemorySource  maps in memory: every pass is a permutation of all
StoredSource  maps of a store that may be larger than memory: every pass is a permutation of the shards; the maps of
              :data:`BUFFER` shards at a time are shuffled together. In memory: these shards, and the next ones
StreamSource  fresh maps from a simulator, each seen once; only its workers' shards and a batch are in memory
============= ==================================================================================================

In a pass over n maps there are ⌊n / batch size⌋ batches: after k passes no map was seen more than k times. With several
processes each gives its own share of a batch: of stored maps every `world`-th; fresh maps are drawn by every process
from a stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.estimators.training.seeds import Purpose, seed_for
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import SHARD, Simulator
from gcesbi.simulation.torch_maps import FRESH, MapTensors, StoredMaps, fresh_batches

__all__ = [
    "BUFFER",
    "Batch",
    "MapSource",
    "MemorySource",
    "Plan",
    "StoredSource",
    "StreamSource",
    "batch_rows",
    "fresh_simulations",
    "stored_batch_rows",
]

BUFFER = 8
"""Shards of a store whose maps are shuffled together."""

FIRST = 2048
"""Maps by which the input is standardised, at most."""

_READERS = 2


class Batch(NamedTuple):
    """Counts (n, n_energy, n_pix) of any number type, and targets (n, ...)."""

    counts: Tensor
    targets: Tensor


Targets = Callable[[Simulations], Tensor]
"""Labels that an estimator learns, of simulated maps; it reads labels only, no counts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes which maps.

    Parameters
    ----------
    batch_size : int
        Of all processes together.
    seed : int
    rank, world : int
        This process, and how many there are.
    """

    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1


class MapSource(Protocol):
    """Maps for training.

    Attributes
    ----------
    n_map : int or None
        Distinct maps; None if there is no end.
    """

    n_map: int | None

    def first(self) -> Batch:
        """Some maps to standardise the input by, and labels that stand for all."""

    def batch(self, step: int) -> Batch:
        """Maps of a step: the share of them that falls to this process."""

    def draw_again(self, step: int) -> str:
        """In words, how to get the maps of a step again."""

    def identity(self) -> dict[str, object]:
        """What tells this source's batches from another's, as plain values."""

    def close(self) -> None:
        """End what runs in the background."""


class MemorySource:
    """Maps in memory.

    Parameters
    ----------
    simulations : Simulations
    targets : callable
    plan : Plan
    """

    def __init__(self, simulations: Simulations, targets: Targets, plan: Plan) -> None:
        self.counts, self.targets, self.plan = simulations.counts, targets(simulations).float(), plan
        self.n_map: int | None = len(self.counts)

    def first(self) -> Batch:
        """The first maps, and all labels."""
        return Batch(torch.from_numpy(self.counts[:FIRST]), self.targets)

    def batch(self, step: int) -> Batch:
        """Maps of a step, ascending."""
        plan = self.plan
        rows = batch_rows(len(self.counts), plan.batch_size, plan.seed, step)[plan.rank :: plan.world]
        return Batch(torch.from_numpy(self.counts[rows]), self.targets[torch.from_numpy(rows)])

    def draw_again(self, step: int) -> str:
        """The call that gives the maps' numbers."""
        plan = self.plan
        return (
            f"training maps gcesbi.estimators.training.sources.batch_rows(n={len(self.counts)}, "
            f"batch_size={plan.batch_size}, seed={plan.seed}, step={step})"
        )

    def identity(self) -> dict[str, object]:
        """Number of maps."""
        return {"kind": "memory", "n": len(self.counts)}

    def close(self) -> None:
        """Nothing runs in the background."""


class StoredSource:
    """Maps of a store, read shard by shard.

    Parameters
    ----------
    maps : StoredMaps
        Says which maps of which store.
    targets : callable
    plan : Plan
    """

    def __init__(self, maps: StoredMaps, targets: Targets, plan: Plan) -> None:
        self.store, self.start, self.stop = maps.store, maps.start, maps.stop
        self.targets, self.plan = targets, plan
        self.n_map: int | None = self.stop - self.start
        self._pool = ThreadPoolExecutor(_READERS)
        self._held: dict[int, Future[_Shard]] = {}

    def first(self) -> Batch:
        """The first maps and their labels."""
        part = self.store.read(self.start, min(self.start + FIRST, self.stop))
        return Batch(torch.from_numpy(part.counts), self.targets(part).float())

    def batch(self, step: int) -> Batch:
        """Maps of a step, ascending; begins to read the shards of the steps to come."""
        rows = self._rows(step)
        self._hold(np.unique(rows // SHARD), step)
        rows = rows[self.plan.rank :: self.plan.world]
        parts = [self._held[k].result().rows(rows[rows // SHARD == k] % SHARD) for k in np.unique(rows // SHARD)]
        counts, targets = zip(*parts, strict=True)
        return Batch(torch.from_numpy(np.concatenate(counts)), torch.cat(targets))

    def draw_again(self, step: int) -> str:
        """The call that gives the maps' numbers in the store."""
        plan = self.plan
        return (
            f"stored maps gcesbi.estimators.training.sources.stored_batch_rows(start={self.start}, stop={self.stop}, "
            f"batch_size={plan.batch_size}, seed={plan.seed}, step={step}) of {self.store.url}"
        )

    def identity(self) -> dict[str, object]:
        """Model, seed and range of the maps."""
        return {
            "kind": "store",
            "model": self.store.fingerprint,
            "seed": self.store.seed,
            "start": self.start,
            "stop": self.stop,
        }

    def close(self) -> None:
        """End the readers."""
        self._pool.shutdown(cancel_futures=True)
        self._held = {}

    def _rows(self, step: int) -> NDArray[np.int64]:
        return stored_batch_rows(self.start, self.stop, self.plan.batch_size, self.plan.seed, step)

    def _hold(self, now: NDArray[np.int64], step: int) -> None:
        """Keep the shards of this step and the next :data:`BUFFER` ones; let go of all others."""
        soon = _shards_ahead(self.start, self.stop, self.plan, step)
        wanted = dict.fromkeys([*now.tolist(), *soon])
        self._held = {k: held for k, held in self._held.items() if k in wanted}
        for k in wanted:
            if k not in self._held:
                self._held[k] = self._pool.submit(self._read, k)

    def _read(self, k: int) -> _Shard:
        part = self.store.shard(k)
        return _Shard(part.counts, self.targets(part).float())


class _Shard(NamedTuple):
    counts: NDArray[np.unsignedinteger]
    targets: Tensor

    def rows(self, rows: NDArray[np.int64]) -> _Shard:
        return _Shard(self.counts[rows], self.targets[torch.from_numpy(rows)])


class StreamSource:
    """Fresh maps, each seen once.

    Parameters
    ----------
    simulator : Simulator
    targets : callable
    plan : Plan
    workers : int
        Processes that draw ahead, on a CPU.
    device : device
        On a GPU the maps are drawn there, in the training process.
    """

    def __init__(self, simulator: Simulator, targets: Targets, plan: Plan, workers: int, device: torch.device) -> None:
        self.simulator, self.targets, self.plan, self.workers, self.device = simulator, targets, plan, workers, device
        self.n_map: int | None = None
        self.seed = seed_for(plan.seed, Purpose.stream, plan.rank)
        self.size = plan.batch_size // plan.world
        self._batches: Iterator[MapTensors] = iter(())
        self._next = -1

    def first(self) -> Batch:
        """The first maps of the stream; training sees them again as its first."""
        part = fresh_simulations(self.simulator, FIRST, self.seed, max(self.workers, 1))
        return Batch(torch.from_numpy(part.counts), self.targets(part).float())

    def batch(self, step: int) -> Batch:
        """New maps; those before them are left out where the last step was not the one before."""
        if step != self._next:
            self._batches = self._open(step * self.size)
        drawn = next(self._batches)
        self._next = step + 1
        return Batch(drawn.counts, self.targets(_labels(drawn)).float().to(drawn.counts.device))

    def draw_again(self, step: int) -> str:
        """The call that gives the maps."""
        draw, where = "stream.fresh_batches", ""
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
    groups = (shards[at : at + BUFFER, None] * SHARD + np.arange(SHARD) for at in range(0, len(shards), BUFFER))
    return np.concatenate([rng.permutation(group[(group >= start) & (group < stop)]) for group in groups])


def _shards_ahead(start: int, stop: int, plan: Plan, step: int) -> list[int]:
    """Shards of the next maps after a step, as many maps as :data:`BUFFER` shards hold, of the next pass too."""
    steps = _steps_per_pass(stop - start, plan.batch_size)
    epoch, position = divmod(step + 1, steps)
    here = _stored_order(start, stop, plan.seed, epoch)[position * plan.batch_size : steps * plan.batch_size]
    ahead = here[: BUFFER * SHARD]
    if len(ahead) < BUFFER * SHARD:
        beyond = _stored_order(start, stop, plan.seed, epoch + 1)
        ahead = np.concatenate([ahead, beyond[: BUFFER * SHARD - len(ahead)]])
    return list(dict.fromkeys((ahead // SHARD).tolist()))


def _labels(drawn: MapTensors) -> Simulations:
    """Labels of drawn maps; their counts stay where they are."""
    label = {name: getattr(drawn, name).cpu().double().numpy() for name in drawn._fields if name != "counts"}
    return Simulations(counts=np.empty((len(drawn.theta), 0), np.uint8), **label)
