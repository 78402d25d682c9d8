"""Drawing shards in several threads, processes or machines.

A shard is a function of model, seed and number: it does not matter who draws it, in which order, or how often. Every
backend therefore runs the same task, "draw shard k and write it", and the files come out the same byte for byte.

======== ==================================================================================================
threads  in this process; the kernels release the interpreter's lock and the model is built once
loky     processes of this machine (joblib); each builds the model from its settings once (one worker: this process)
dask     processes of a cluster, reached through its scheduler (``tcp://...``); each builds the model once
======== ==================================================================================================

A worker that dies, out of memory or killed, is replaced, and the shards it had in hand are drawn again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Any

from gcesbi.errors import InputError
from gcesbi.simulation.location import Place
from gcesbi.simulation.rebuild import Recipe
from gcesbi.simulation.shard_file import Stamp, encode_shard
from gcesbi.simulation.simulator import Simulator

__all__ = ["Backend", "ShardJob", "draw_shards", "shard_name"]

PATIENCE = 30.0
"""Seconds to wait for a scheduler."""
_ATTEMPTS = 3  # deaths in a row, with nothing finished between them, that end a job
_MOST_WORKERS = 1024
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_ADDRESS = re.compile(r"(\w+://)?[^\s/:]+:\d{1,5}|(inproc|ucx)://\S+")
_AHEAD = 4  # tasks handed to a cluster for each thread of it


class Backend(StrEnum):
    """Who draws."""

    threads = "threads"
    loky = "loky"
    dask = "dask"


@dataclass(frozen=True)
class ShardJob:
    """What every task of a job shares; small, and made of text.

    Parameters
    ----------
    place : Place
        Where shards are written.
    recipe : Recipe
    seed : int
    """

    place: Place
    recipe: Recipe
    seed: int

    def draw(self, k: int, simulator: Simulator | None = None) -> int:
        """Draw shard `k` and write it; returns k."""
        simulator = self.recipe.simulator() if simulator is None else simulator
        stamp = Stamp(self.recipe.fingerprint, self.seed, k)
        self.place.write(shard_name(k), encode_shard(simulator.shard(k, self.seed), stamp))
        return k


def shard_name(k: int) -> str:
    """Name of a shard's file."""
    return f"{k:05d}.zip"


def draw_shards(
    job: ShardJob,
    shards: Sequence[int],
    simulator: Simulator,
    workers: int = 1,
    backend: str = "threads",
    scheduler: str | None = None,
) -> Iterator[int]:
    """Draw and write shards; yield the number of each when its file is there.

    Parameters
    ----------
    job : ShardJob
    shards : sequence of int
    simulator : Simulator
        Of the job's model; only threads use it, other workers build their own.
    workers : int
        Threads or processes; a cluster has its own number.
    backend : {"threads", "loky", "dask"}
    scheduler : str, optional
        Address of dask's scheduler.

    Raises
    ------
    InputError
        If an argument breaks a rule, the disk is full, the scheduler cannot be reached, or workers keep dying.
    """
    check_backend(backend, workers, scheduler, job.place)
    if not shards:
        return iter(())
    if backend == Backend.threads or (backend == Backend.loky and workers == 1):
        simulator.prepare()
        return _in_threads(job, shards, simulator, workers)
    if backend == Backend.loky:
        return _in_processes(job, shards, workers)
    return _on_cluster(job, shards, str(scheduler))


def check_backend(backend: str, workers: int, scheduler: str | None, place: Place) -> None:
    """Raise InputError unless the arguments go together."""
    if backend not in list(Backend):
        raise InputError(f"backend: must be one of {', '.join(Backend)}, got {backend!r}")
    if not 1 <= workers <= _MOST_WORKERS:
        raise InputError(f"workers: must be 1 to {_MOST_WORKERS}, got {workers}")
    if (backend == Backend.dask) != (scheduler is not None):
        raise InputError(f"scheduler: the dask backend, and no other, needs one (tcp://...), got {scheduler!r}")
    if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
        raise InputError(f"scheduler: must be an address such as tcp://host:8786, got {scheduler!r}")
    if backend != Backend.threads and place.is_private:
        raise InputError(f"backend: {place.url!r} is seen by this process only; must be threads, got {backend!r}")


def _in_threads(job: ShardJob, shards: Sequence[int], simulator: Simulator, workers: int) -> Iterator[int]:
    with ThreadPoolExecutor(workers) as pool:
        yield from _in_turn(lambda k: pool.submit(job.draw, k, simulator), shards, workers + 1)


def _in_processes(job: ShardJob, shards: Sequence[int], workers: int) -> Iterator[int]:
    from joblib.executor import get_memmapping_executor

    left, deaths = dict.fromkeys(shards), 0
    while left:
        pool = get_memmapping_executor(workers, env=_ONE_THREAD)  # joblib's own: whoever calls it later shares it
        try:
            for k in _in_turn(partial(pool.submit, job.draw), list(left), 2 * workers):
                del left[k]
                deaths = 0
                yield k
        except BrokenProcessPool:
            deaths += 1
            if deaths == _ATTEMPTS:
                raise _dying(f"processes died {deaths} times in a row") from None
        except BaseException:  # a signal, a full disk: nobody waits for what is still being drawn
            pool.terminate(kill_workers=True)  # at once: nothing outlives this process
            raise


def _in_turn(submit: Callable[[int], Future[int]], shards: Sequence[int], ahead: int) -> Iterator[int]:
    """Results as they come, with no more than `ahead` shards handed out at a time."""
    left = iter(shards)
    working = {submit(k) for k in islice(left, ahead)}
    try:
        while working:
            done, working = wait(working, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                working |= {submit(k) for k in islice(left, 1)}
    finally:
        for future in working:
            future.cancel()


def _on_cluster(job: ShardJob, shards: Sequence[int], scheduler: str) -> Iterator[int]:
    try:
        from dask.distributed import Client, as_completed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise InputError("backend: dask needs the packages of pip install 'gcesbi[dask]'") from None
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"scheduler: {scheduler!r} cannot be reached ({type(error).__name__})") from None
    with client:
        left = iter(shards)
        hand_out = _hand_out(client, job)
        first = [hand_out(k) for k in islice(left, _AHEAD * max(1, sum(client.nthreads().values())))]
        working = as_completed(first, loop=client.loop)
        for future in working:
            try:
                done = future.result()
            except KilledWorker as error:
                raise _dying(" ".join(str(error).split())) from None
            future.release()
            for k in islice(left, 1):
                working.add(hand_out(k))
            yield done


def _hand_out(client: Any, job: ShardJob) -> Any:
    return lambda k: client.submit(job.draw, k, pure=False)


def _dying(what: str) -> InputError:
    return InputError(f"workers: {what}; is there memory enough? The shards that are there are whole: run again")
