"""Simulations on disk: a folder of shards, each a zarr group in one file, written whole or not at all.

``store.json`` says what the maps were drawn from: settings and fingerprint of the model, seed, schema version. Shard k
(``00042.zip``) holds maps [k · SHARD, (k + 1) · SHARD), with counts in the smallest unsigned integer type that holds
them. A store that was interrupted goes on where it stopped, and ends with the same maps.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np
import zarr
from numpy.typing import NDArray
from tqdm.auto import tqdm
from zarr.storage import ZipStore

from gcesbi.errors import InputError
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import SHARD, Simulator

__all__ = ["SCHEMA", "SimulationStore"]

SCHEMA = 1
_FIELDS = tuple(field.name for field in fields(Simulations))


@dataclass(frozen=True)
class SimulationStore:
    """A folder of simulated maps.

    Parameters
    ----------
    folder : Path
    fingerprint : str
        Of the model that the maps are drawn from.
    seed : int
    """

    folder: Path
    fingerprint: str
    seed: int

    @classmethod
    def open(cls, folder: str | Path) -> SimulationStore:
        """Open a store that exists.

        Raises
        ------
        InputError
            If there is none, or it was written under another schema.
        """
        folder = Path(folder)
        card = folder / "store.json"
        if not card.is_file():
            raise InputError(f"simulations: no store at {str(folder)!r}")
        try:
            told = json.loads(card.read_text())
            schema, fingerprint, seed = told["schema"], told["fingerprint"], told["seed"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(f"{card}: must be the description of a store, is damaged ({error!r})") from None
        if schema != SCHEMA:
            raise InputError(f"{card}: schema must be {SCHEMA}, got {schema}")
        return cls(folder, fingerprint, seed)

    @classmethod
    def create(cls, folder: str | Path, simulator: Simulator, seed: int) -> SimulationStore:
        """Make a store, or open the one that is there if it holds maps of the same model and seed.

        Raises
        ------
        InputError
            If the folder holds maps of another model or seed.
        """
        folder = Path(folder)
        wanted = cls(folder, simulator.model.fingerprint, seed)
        if (folder / "store.json").is_file():
            found = cls.open(folder)
            for name in ("fingerprint", "seed"):
                if getattr(found, name) != getattr(wanted, name):
                    raise InputError(
                        f"simulations: {str(folder)!r} holds maps of {name} {getattr(found, name)!r}, "
                        f"asked for {getattr(wanted, name)!r}"
                    )
            return found
        folder.mkdir(parents=True, exist_ok=True)
        settings = simulator.model.settings.model_dump(mode="json")
        card = {"schema": SCHEMA, "fingerprint": wanted.fingerprint, "seed": seed, "sky": settings}
        _write(folder / "store.json", json.dumps(card, indent=1).encode())
        return wanted

    def fill(self, simulator: Simulator, n: int, workers: int = 1, progress: bool = False) -> None:
        """Draw the shards that hold the first `n` maps and are not there yet.

        Raises
        ------
        InputError
            If the simulator's model is not the store's, or n or workers is below 1.
        """
        if simulator.model.fingerprint != self.fingerprint:
            raise InputError(
                f"simulations: {str(self.folder)!r} holds maps of model {self.fingerprint}, "
                f"asked for {simulator.model.fingerprint}"
            )
        if n < 1 or workers < 1:
            raise InputError(f"n, workers: must be at least 1, got {n}, {workers}")
        missing = [k for k in range(-(-n // SHARD)) if not self._path(k).is_file()]
        simulator.prepare()
        with (
            ThreadPoolExecutor(workers) as pool,
            tqdm(total=len(missing) * SHARD, desc="simulating maps", unit="map", disable=not progress) as bar,
        ):
            for _ in pool.map(lambda k: _write_shard(self._path(k), simulator.shard(k, self.seed)), missing):
                bar.update(SHARD)

    def __len__(self) -> int:
        """Number of maps in the shards that are there without a gap."""
        k = 0
        while self._path(k).is_file():
            k += 1
        return k * SHARD

    def read(self, start: int = 0, stop: int | None = None) -> Simulations:
        """Read maps `start` up to, without, `stop` (all by default).

        Raises
        ------
        InputError
            If there are fewer, or a shard is damaged, naming it.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start < stop <= len(self):
            raise InputError(f"simulations: {str(self.folder)!r} holds {len(self)} maps, asked for {start} to {stop}")
        return Simulations.concatenate(list(self.shards(start, stop)))

    def shards(self, start: int, stop: int) -> Iterator[Simulations]:
        """Yield maps `start` up to `stop` shard by shard."""
        for k in range(start // SHARD, -(-stop // SHARD)):
            yield _read_shard(self._path(k))[max(start - k * SHARD, 0) : stop - k * SHARD]

    def _path(self, k: int) -> Path:
        return self.folder / f"{k:05d}.zip"


def _digest(part: Simulations) -> str:
    digest = hashlib.sha256()
    for name in _FIELDS:
        digest.update(np.ascontiguousarray(getattr(part, name)).tobytes())
    return digest.hexdigest()


def _write_shard(path: Path, part: Simulations) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with ZipStore(partial, mode="w") as store, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # zarr rewrites its metadata entry; zip keeps both
            group = zarr.create_group(store, attributes={"sha256": _digest(part)})
            for name in _FIELDS:
                group.create_array(name, data=getattr(part, name), chunks=getattr(part, name).shape)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_shard(path: Path) -> Simulations:
    if path.is_file() and not is_zipfile(path):
        raise InputError(f"shard {path}: is damaged (truncated, or no zip file); delete it and simulate again")
    try:
        with ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r")
            part = Simulations(*(_array(group, name) for name in _FIELDS))
            intact = group.attrs["sha256"] == _digest(part)
    except FileNotFoundError:
        raise InputError(f"shard {path}: is missing; run the simulation again to draw it") from None
    except (BadZipFile, KeyError, ValueError, RuntimeError, OSError) as error:
        raise InputError(f"shard {path}: is damaged ({error}); delete it and simulate again") from None
    if not intact:
        raise InputError(f"shard {path}: is damaged (checksum differs); delete it and simulate again")
    return part


def _array(group: zarr.Group, name: str) -> NDArray:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise KeyError(name)
    return np.asarray(found[:])


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
