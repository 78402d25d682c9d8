"""Simulations on disk or in an object store: a folder of shards, each one file, written whole or not at all.

``store.json`` says what the maps were drawn from: full settings, region and fingerprint of the model, seed, version of
the draws, schema version. Shard k (``00042.zip``, see :mod:`gcesbi.simulation.shard_file`) holds maps
[k · SHARD, (k + 1) · SHARD) and says so itself. What is in a shard depends on model, seed and k alone, and so do the
bytes of its file (on one kind of processor, with the same versions of the packages): a store that was interrupted
anywhere goes on where it stopped, with any number of workers, and ends byte for byte as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from gcesbi.errors import InputError, checked_seed
from gcesbi.simulation.location import Place
from gcesbi.simulation.parallel import ShardJob, check_backend, draw_shards, shard_name
from gcesbi.simulation.rebuild import Recipe
from gcesbi.simulation.shard_file import SCHEMA, Stamp, decode_shard
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import SHARD, Simulator

__all__ = ["SimulationStore"]

_CARD = "store.json"


@dataclass(frozen=True)
class SimulationStore:
    """Simulated maps, shard by shard. Make one by :meth:`create` or :meth:`open`.

    Parameters
    ----------
    place : Place
    recipe : Recipe
        Of the model that the maps are drawn from.
    seed : int
    draws : int
        Version of the simulator that drew them (:data:`gcesbi.simulation.kernels.DRAWS`): another one draws other maps
        of the same law, so it may read the store, not fill it.

    Examples
    --------
    >>> from gcesbi import SimulationStore, Simulator, SkyModel
    >>> simulator = Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=2))
    >>> store = SimulationStore.create("memory://maps", simulator, seed=1)
    >>> store.fill(simulator, 100, workers=2)
    >>> len(store), store.read(0, 10).counts.shape[:2]
    (128, (10, 2))
    """

    place: Place
    recipe: Recipe
    seed: int
    draws: int

    @classmethod
    def open(cls, folder: str | Path) -> SimulationStore:
        """Open a store that exists.

        Parameters
        ----------
        folder : path or str
            A local folder, or any URL that fsspec knows.

        Raises
        ------
        InputError
            If there is none, or it was written under another schema.
        """
        place = Place.at(folder)
        try:
            told = json.loads(place.read(_CARD))
            if told["schema"] != SCHEMA:
                raise InputError(f"{place.url}/{_CARD}: schema must be {SCHEMA}, got {told['schema']}")
            if told["shard"] != SHARD:
                raise InputError(f"{place.url}/{_CARD}: maps per shard must be {SHARD}, got {told['shard']}")
            return cls(place, Recipe.from_dict(told), told["seed"], told["draws"])
        except FileNotFoundError:
            raise InputError(f"simulations: no store at {str(folder)!r}") from None
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{place.url}/{_CARD}: must describe a store, is damaged ({error!r})") from None

    @classmethod
    def create(cls, folder: str | Path, simulator: Simulator, seed: int, *, write: bool = True) -> SimulationStore:
        """Make a store, or open the one that is there if it holds maps of the same model and seed.

        Unless it is to `write`, where there is none nothing is made, and the store is empty.

        Raises
        ------
        InputError
            If the folder holds maps of another model or seed.
        """
        place, seed = Place.at(folder), checked_seed(seed)
        wanted = cls(place, Recipe.of(simulator.model), seed, simulator.draws)
        if _CARD in place.names():
            found = cls.open(folder)
            found._check_model(simulator)
            if found.seed != seed:
                raise InputError(f"simulations: {place.url!r} holds maps of seed {found.seed}, asked for {seed}")
            return found
        if not write:
            return wanted
        card = {"schema": SCHEMA, "shard": SHARD, "seed": seed, "draws": simulator.draws, **wanted.recipe.to_dict()}
        place.write(_CARD, (json.dumps(card, indent=1) + "\n").encode())
        return wanted

    @property
    def url(self) -> str:
        """Where the store lies: an absolute path, or a URL."""
        return self.place.url

    @property
    def fingerprint(self) -> str:
        """Of the model that the maps are drawn from."""
        return self.recipe.fingerprint

    def simulator(self) -> Simulator:
        """The simulator of the maps, built again from the stored settings (once in each process)."""
        return self.recipe.simulator()

    # -- writing ------------------------------------------------------------------------------------------------

    def fill(
        self,
        simulator: Simulator,
        n: int,
        workers: int = 1,
        progress: bool = False,
        *,
        backend: str = "threads",
        scheduler: str | None = None,
        kept_maps: Path | None = None,
    ) -> None:
        """Draw the shards that hold the first `n` maps and are not there yet.

        Parameters
        ----------
        simulator : Simulator
            Of the store's model.
        n : int
        workers, backend, scheduler
            See :func:`gcesbi.simulation.parallel.draw_shards`. Memory grows with workers, not with n.
        progress : bool
            Show how many maps are there, rate and time left.
        kept_maps : Path, optional
            File where the sky's maps are kept; other processes then need not compute them.

        Raises
        ------
        InputError
            If the simulator's model or version is not the store's, an argument breaks a rule, the disk cannot hold so
            many maps, or it is full; the store then holds whole shards only, and the same call goes on.
        """
        if n < 1 or workers < 1:
            raise InputError(f"n, workers: must be at least 1, got {n}, {workers}")
        self._check_model(simulator)
        check_backend(backend, workers, scheduler, self.place)
        self.place.sweep()
        self.check_room(simulator, n)
        n_shard = -(-n // SHARD)
        there = self._numbers()
        missing = [k for k in range(n_shard) if k not in there]
        if missing:
            self._check_draws(simulator)
        kept = None if kept_maps is None else str(kept_maps.resolve())
        self._draw(missing, n_shard, simulator, workers, progress, backend, scheduler, kept)

    def damaged(self, progress: bool = False) -> tuple[str, ...]:
        """Read every shard; names of those that are truncated, altered, or another store's."""
        found = []
        for k in tqdm(sorted(self._numbers()), desc="checking shards", unit="shard", disable=not progress):
            try:
                self.shard(k)
            except InputError:
                found.append(shard_name(k))
        return tuple(found)

    def repair(
        self,
        simulator: Simulator,
        workers: int = 1,
        progress: bool = False,
        *,
        backend: str = "threads",
        scheduler: str | None = None,
    ) -> tuple[str, ...]:
        """Draw again every shard that is damaged, and only those; returns their names."""
        self._check_model(simulator)
        self._check_draws(simulator)
        check_backend(backend, workers, scheduler, self.place)
        names = self.damaged(progress)
        shards = [_number(name) for name in names]
        self._draw(shards, len(shards), simulator, workers, progress, backend, scheduler)
        return names

    def _draw(
        self,
        shards: Sequence[int],
        total: int,
        simulator: Simulator,
        workers: int,
        progress: bool,
        backend: str,
        scheduler: str | None,
        kept: str | None = None,
    ) -> None:
        job = ShardJob(self.place, replace(Recipe.of(simulator.model), kept=kept), self.seed)
        done = draw_shards(job, shards, simulator, workers, backend, scheduler)
        there = (total - len(shards)) * SHARD
        with tqdm(total=total * SHARD, initial=there, desc="simulating", unit="map", disable=not progress) as bar:
            for _ in done:
                bar.update(SHARD)

    def _check_model(self, simulator: Simulator) -> None:
        if simulator.model.fingerprint != self.fingerprint:
            raise InputError(
                f"simulations: {self.url!r} holds maps of model {self.fingerprint}, asked for "
                f"{simulator.model.fingerprint} ({_difference(self.recipe, Recipe.of(simulator.model))})"
            )

    def check_room(self, simulator: Simulator, n: int) -> None:
        """Raise InputError where the disk cannot hold `n` maps, each of its least size."""
        labels, more = 8 * len(simulator.model.prior().names), max(-(-n // SHARD) - len(self._numbers()), 0) * SHARD
        needed, free = more * (labels + simulator.model.exposure.size // 20), self.place.room
        if free is not None and needed > free:
            raise InputError(
                f"n: {more} more maps take at least {needed // 10**6} MB, {self.url!r} has {free // 10**6} MB left"
            )

    def _check_draws(self, simulator: Simulator) -> None:
        if simulator.draws != self.draws:
            raise InputError(
                f"simulations: {self.url!r} was drawn by version {self.draws} of the simulator, which is now "
                f"{simulator.draws} and would draw other maps; read it as it is, or begin another store"
            )

    # -- reading ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of maps in the shards that are there without a gap."""
        there = self._numbers()
        return next(k for k in range(len(there) + 1) if k not in there) * SHARD

    def read(self, start: int = 0, stop: int | None = None) -> Simulations:
        """Read maps `start` up to, without, `stop` (all by default).

        Raises
        ------
        InputError
            If there are fewer, or a shard is damaged, naming it.
        """
        start, stop = self.check_range(start, stop)
        return _joined(self.shards(start, stop), stop - start)

    def shards(self, start: int, stop: int) -> Iterator[Simulations]:
        """Yield maps `start` up to `stop` shard by shard."""
        for k in range(start // SHARD, -(-stop // SHARD)):
            yield self.shard(k)[max(start - k * SHARD, 0) : stop - k * SHARD]

    def shard(self, k: int) -> Simulations:
        """Read shard `k`.

        Raises
        ------
        InputError
            If it is missing or damaged, naming it.
        """
        where = f"shard {self.url}/{shard_name(k)}"
        try:
            data = self.place.read(shard_name(k))
        except FileNotFoundError:
            raise InputError(f"{where}: is missing; run the simulation again to draw it") from None
        try:
            return decode_shard(data, Stamp(self.fingerprint, self.seed, k))
        except InputError as error:
            raise InputError(f"{where}: {error}; draw it again with `gcesbi simulate --repair`") from None

    def check_range(self, start: int, stop: int | None) -> tuple[int, int]:
        """Raise InputError unless maps `start` to `stop` (to the last by default) are there; returns both."""
        held = len(self)
        stop = held if stop is None else stop
        if not 0 <= start < stop <= held:
            raise InputError(f"simulations: {self.url!r} holds {held} maps, asked for {start} to {stop}")
        return start, stop

    def _numbers(self) -> set[int]:
        return {_number(name) for name in self.place.names() if name.endswith(".zip") and name[:-4].isdigit()}


def _number(name: str) -> int:
    return int(name.removesuffix(".zip"))


def _difference(found: Recipe, wanted: Recipe) -> str:
    """Settings in which two recipes differ, in words."""
    before, after = found.to_dict(), wanted.to_dict()
    old, new = before["sky"], after["sky"]
    told = [f"{key} {old.get(key)!r}, not {new.get(key)!r}" for key in old | new if old.get(key) != new.get(key)]
    if before["region"] != after["region"]:
        told.append("another region")
    return "; ".join(told) or "same settings, other maps or version"


def _joined(parts: Iterator[Simulations], n: int) -> Simulations:
    """All of `n` maps in arrays allocated once; counts widen when a part needs it."""
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for part in parts:
        for name in (field.name for field in fields(Simulations)):
            values = getattr(part, name)
            if name not in arrays:
                arrays[name] = np.empty((n, *values.shape[1:]), values.dtype)
            arrays[name] = arrays[name].astype(np.promote_types(arrays[name].dtype, values.dtype), copy=False)
            arrays[name][at : at + len(part)] = values
        at += len(part)
    return Simulations(**arrays)
