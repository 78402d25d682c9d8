"""How to train, and what a training did: settings checked at construction, and a record to go beside the weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gcesbi.errors import InputError, checked_seed
from gcesbi.estimators.training.seeds import Purpose, seed_for

__all__ = ["TrainingHistory", "TrainingSettings"]

PRECISIONS = ("auto", "bfloat16", "float32")
SOURCES = ("store", "stream")
STARTS = ("scratch", "shipped", "full")
SCHEDULES = ("one-cycle", "two-step")
PARTS = ("all", "head")
_COUNTED = ("max_maps", "batch_size", "checkpoint_every", "log_every", "n_validation", "devices")
_OPTIONAL = ("patience", "max_presentations", "validate_every")
_ORGANISATION = frozenset({"head_maps", "checkpoint_every", "log_every", "max_memory", "source", "workers"})


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How to train.

    Parameters
    ----------
    max_maps : int
        Maps presented, repeats included.
    head_maps : int
        Maps presented after these to the head alone, with the encoder fixed, dropout off, and a twentieth of the
        learning rate falling to zero. Dropout widens the head's answers and shifts medians of skewed ones; here it
        learns what to say without. Neither `max_seconds` nor `max_presentations` counts them.
    part : {"all", "head"}
        What is trained.
    max_seconds : float, optional
        Wall-clock limit; the learning rate then falls with the larger share used up of maps and seconds, and the
        result depends on the machine's speed.
    max_presentations : int, optional
        No map is seen more often than this; training ends earlier where `max_maps` would need it. Fresh maps are seen
        once in any case.
    batch_size : int
        Of all devices together.
    learning_rate : float
        Largest rate.
    schedule : {"one-cycle", "two-step"}
        "one-cycle": linear rise over `warmup`, then half a cosine down to zero. "two-step": linear rise over `warmup`,
        the largest rate until two thirds of the training, a tenth of it to the end.
    warmup : float
        Share of the training over which the rate rises.
    weight_decay : float
        AdamW's.
    clip_norm : float
        Gradients are scaled down to this norm.
    precision : {"auto", "bfloat16", "float32"}
        "auto" takes bfloat16 autocast where the processor multiplies it natively.
    source : {"store", "stream"}
        What a run trains on: the maps of its store, or fresh maps that are drawn as they are needed.
        (:meth:`gcesbi.estimators.Estimator.fit` trains on what it is given.)
    start : {"scratch", "shipped", "full"}
        What a run's networks start from: random weights, or those that ship with the package. Of the very sky that
        these were trained for they are taken as they are; of another they are fine-tuned, with a quarter of the maps
        and of the learning rate, where all sizes fit; where only those of the encoder fit, they are the encoder's.
        "full" is for images: convolutions of the other networks start as those of the network of the full image, and
        those of f_src alone learn with an eighth of the maps and a quarter of the learning rate.
    workers : int
        Processes that draw fresh maps ahead; with 0 they are drawn in the training process.
    max_memory : float
        GiB. A run's stored maps are read at once where they take no more, else shard by shard while training.
    validation_share : float
        Share of the stored maps held out for validation, when no validation maps are given.
    n_validation : int
        Fresh maps held out for validation of a training on fresh maps, when none are given.
    validate_every : int, optional
        Maps between two validations; by default one pass over stored maps, and 10 000 fresh maps.
    patience : int, optional
        Stop after this many validations without a lower loss; the best weights are kept.
    checkpoint_every, log_every : int
        Steps between checkpoints, and between rows of the log.
    devices : int
        Devices that share the batches, each in a process of its own: GPUs where there are any, else processes of the
        CPU. They train with Lightning's distributed data parallel, which starts the running script once more for every
        further device. Batch normalisation then takes its statistics over all GPUs, but over each CPU process alone.
    seed : int
    """

    max_maps: int = 100_000
    head_maps: int = 0
    part: str = "all"
    max_seconds: float | None = None
    max_presentations: int | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    schedule: str = "one-cycle"
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    precision: str = "auto"
    source: str = "store"
    start: str = "scratch"
    workers: int = 1
    max_memory: float = 4.0
    validation_share: float = 0.05
    n_validation: int = 1024
    validate_every: int | None = None
    patience: int | None = None
    checkpoint_every: int = 200
    log_every: int = 50
    devices: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", checked_seed(self.seed))
        for name in _COUNTED:
            _require(getattr(self, name) >= 1, name, "must be at least 1", getattr(self, name))
        for name in _OPTIONAL:
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "must be at least 1", value)
        for name in ("learning_rate", "clip_norm", "max_memory"):
            _require(getattr(self, name) > 0, name, "must be positive", getattr(self, name))
        for name in ("warmup", "validation_share"):
            _require(0 <= getattr(self, name) < 1, name, "must lie in [0, 1)", getattr(self, name))
        for name in ("head_maps", "weight_decay", "workers"):
            _require(getattr(self, name) >= 0, name, "must not be negative", getattr(self, name))
        _require(self.max_seconds is None or self.max_seconds > 0, "max_seconds", "must be positive", self.max_seconds)
        for name, known in (
            ("precision", PRECISIONS),
            ("source", SOURCES),
            ("schedule", SCHEDULES),
            ("part", PARTS),
            ("start", STARTS),
        ):
            value = getattr(self, name)
            _require(value in known, name, f"must be one of {', '.join(known)}", value)
        shared = self.batch_size % self.devices == 0
        _require(shared, "batch_size", f"must be a multiple of devices, {self.devices}", self.batch_size)

    def stages(self) -> tuple[TrainingSettings, ...]:
        """The trainings that these settings ask for, one after the other: of all, and of the head."""
        first = replace(self, head_maps=0)
        if not self.head_maps:
            return (first,)
        second = replace(
            first,
            part="head",
            max_maps=self.head_maps,
            max_seconds=None,
            max_presentations=None,
            patience=None,
            learning_rate=self.learning_rate / 20,
            warmup=0.0,
            seed=seed_for(self.seed, Purpose.head),
        )
        return first, second

    def shorter(self, share: float) -> TrainingSettings:
        """A training that goes on from weights that have learnt: a share of the maps, a quarter of the rate."""
        maps = {name: math.ceil(share * getattr(self, name)) for name in ("max_maps", "head_maps")}
        return replace(self, **maps, learning_rate=self.learning_rate / 4)

    def law(self) -> dict[str, Any]:
        """All settings that decide what is learnt, as plain values."""
        return {name: value for name, value in asdict(self).items() if name not in _ORGANISATION}


def _require(true: bool, name: str, rule: str, value: object) -> None:
    if not true:
        raise InputError(f"{name}: {rule}, got {value!r}")


@dataclass(frozen=True)
class TrainingHistory:
    """What a training did.

    Attributes
    ----------
    train_loss, validation_loss : tuple of float
        Mean loss between two validations, and held-out loss at each; the training loss is a running mean, taken while
        weights changed.
    maps_at : tuple of int
        Maps presented until each validation.
    maps : int
        Maps presented.
    n_train, n_validation : int
        Distinct maps at hand, or drawn.
    most_presentations : int
        How often the maps were seen that were seen most.
    max_presentations : int or None
        The limit on it that was set.
    seconds : float
        Wall-clock time of the steps, validation included; of all runs, when resumed.
    precision : str
    stopped_early : bool
    maps_wanted : int or None
        Maps that `max_maps` and `max_presentations` asked for; not known of trainings of version 0.1.0.
    stages : tuple of int
        Maps presented when the head was put back and trained alone: what the training loss means changes there.
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    maps_at: tuple[int, ...]
    maps: int
    n_train: int
    n_validation: int
    most_presentations: int
    max_presentations: int | None
    seconds: float
    precision: str
    stopped_early: bool
    maps_wanted: int | None = None
    stages: tuple[int, ...] = ()

    def followed_by(self, other: TrainingHistory) -> TrainingHistory:
        """The history of both trainings, of which the other one went on with the weights of this."""
        return replace(
            other,
            train_loss=self.train_loss + other.train_loss,
            validation_loss=self.validation_loss + other.validation_loss,
            maps_at=self.maps_at + tuple(self.maps + maps for maps in other.maps_at),
            maps=self.maps + other.maps,
            n_train=max(self.n_train, other.n_train),
            most_presentations=self.most_presentations + other.most_presentations,
            max_presentations=self.max_presentations,
            seconds=self.seconds + other.seconds,
            stopped_early=self.stopped_early,
            maps_wanted=(self.maps_wanted or self.maps) + (other.maps_wanted or other.maps),
            stages=(*self.stages, self.maps),
        )

    @property
    def ran_out_of_time(self) -> bool:
        """Whether `max_seconds` ended the training before all maps were presented."""
        return self.maps_wanted is not None and self.maps < self.maps_wanted and not self.stopped_early

    @property
    def maps_per_second(self) -> float:
        """Maps presented per second, validation included."""
        return self.maps / max(self.seconds, 1e-9)

    @property
    def presentations(self) -> float:
        """How often each map was seen, on average."""
        return self.maps / max(self.n_train, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return {**asdict(self), "maps_per_second": self.maps_per_second, "presentations": self.presentations}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingHistory:
        """The history that :meth:`to_dict` gave, from JSON too."""
        own = ((field.name, values[field.name]) for field in fields(cls) if field.name in values)
        known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in own}
        return cls(**known)
