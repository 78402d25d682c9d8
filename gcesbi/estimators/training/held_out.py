"""Maps that a training does not see: which they are, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from gcesbi.errors import InputError
from gcesbi.estimators.training.seeds import Purpose, seed_for
from gcesbi.estimators.training.settings import TrainingSettings
from gcesbi.estimators.training.sources import Batch, fresh_simulations
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.torch_maps import StoredMaps

if TYPE_CHECKING:
    from gcesbi.estimators.base import Estimator

__all__ = ["HeldOut", "split"]

_AT_ONCE = 256


class HeldOut:
    """Maps that training does not see.

    Parameters
    ----------
    estimator : Estimator
        Whose targets they are read with.
    maps : Simulations or StoredMaps
    """

    def __init__(self, estimator: Estimator, maps: Simulations | StoredMaps) -> None:
        self.estimator, self.maps = estimator, maps
        if isinstance(maps, Simulations):
            estimator.check_counts(maps.counts[:1])

    def __len__(self) -> int:
        return len(self.maps)

    def batches(self) -> Iterator[Batch]:
        """All maps in order, a few hundred at once."""
        for part in self._parts():
            yield Batch(torch.from_numpy(part.counts), self.estimator.targets(part).float())

    def _parts(self) -> Iterator[Simulations]:
        maps = self.maps
        if isinstance(maps, StoredMaps):
            yield from maps.store.shards(maps.start, maps.stop)
        else:
            yield from (maps[at : at + _AT_ONCE] for at in range(0, len(maps), _AT_ONCE))


def split(
    maps: Simulations | StoredMaps | Simulator, validation: Simulations | StoredMaps | None, settings: TrainingSettings
) -> tuple[Simulations | StoredMaps | Simulator, Simulations | StoredMaps | None]:
    """Maps to train on, and maps held out: those given, else the last of them, or fresh ones of a stream of their own.

    Raises
    ------
    InputError
        If no map is left to train on.
    """
    if isinstance(maps, Simulator):
        return maps, _fresh_validation(maps, settings) if validation is None else validation
    last = len(maps)
    if validation is None and settings.validation_share > 0:
        last -= math.ceil(len(maps) * settings.validation_share)
        validation = _part(maps, last, len(maps))
    if last == 0:
        raise InputError("simulations: no map is left to train on")
    return _part(maps, 0, last), validation


def _part(maps: Simulations | StoredMaps, start: int, stop: int) -> Simulations | StoredMaps:
    """Some of the maps, at least one if they are stored."""
    if isinstance(maps, StoredMaps):
        return StoredMaps(maps.store, maps.start + start, maps.start + stop)
    return maps[start:stop]


def _fresh_validation(simulator: Simulator, settings: TrainingSettings) -> Simulations:
    """Maps of a stream that no process trains on."""
    seed = seed_for(settings.seed, Purpose.held_out)
    return fresh_simulations(simulator, settings.n_validation, seed, max(settings.workers, 1))
