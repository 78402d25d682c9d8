"""The training loop, carried by Lightning Fabric: AdamW, a one-cycle learning rate, bfloat16 where the machine has it.

Every random choice is a function of the seed and a counter (order of maps: seed and epoch; quantile levels and dropout:
seed and step), so that a training that was killed and resumed from its checkpoint ends, on CPU, with the same weights
as one that was not. A limit in seconds makes the schedule depend on the clock, and the weights with it.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gcesbi.errors import InputError
from gcesbi.estimators.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from gcesbi.estimators.base import Estimator
    from gcesbi.simulation.simulations import Simulations

__all__ = ["TrainingError", "TrainingHistory", "TrainingSettings", "has_bfloat16", "train"]

PRECISIONS = ("auto", "bfloat16", "float32")


class TrainingError(ArithmeticError):
    """Training came to a loss that is not finite."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How to train.

    Parameters
    ----------
    max_maps : int
        Maps presented, repeats included.
    max_seconds : float, optional
        Wall-clock limit; the learning rate then falls with the larger share used up of maps and seconds, and the
        result depends on the machine's speed.
    batch_size : int
    learning_rate : float
        Largest rate of the one-cycle schedule: linear rise over `warmup`, then half a cosine down to zero.
    warmup : float
        Share of the training over which the rate rises.
    weight_decay : float
        AdamW's.
    clip_norm : float
        Gradients are scaled down to this norm.
    precision : {"auto", "bfloat16", "float32"}
        "auto" takes bfloat16 autocast where the processor multiplies it natively.
    validation_share : float
        Share of the maps held out for validation, when no validation maps are given.
    patience : int, optional
        Stop after this many epochs without a lower validation loss; the best weights are kept.
    checkpoint_every : int
        Steps between checkpoints.
    seed : int
    """

    max_maps: int = 100_000
    max_seconds: float | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    precision: str = "auto"
    validation_share: float = 0.05
    patience: int | None = None
    checkpoint_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_maps", "batch_size", "checkpoint_every"):
            _require(getattr(self, name) >= 1, name, "must be at least 1", getattr(self, name))
        for name in ("learning_rate", "clip_norm"):
            _require(getattr(self, name) > 0, name, "must be positive", getattr(self, name))
        for name in ("warmup", "validation_share"):
            _require(0 <= getattr(self, name) < 1, name, "must lie in [0, 1)", getattr(self, name))
        _require(self.weight_decay >= 0, "weight_decay", "must not be negative", self.weight_decay)
        _require(self.max_seconds is None or self.max_seconds > 0, "max_seconds", "must be positive", self.max_seconds)
        _require(self.patience is None or self.patience >= 1, "patience", "must be at least 1", self.patience)
        _require(self.seed >= 0, "seed", "must not be negative", self.seed)
        _require(self.precision in PRECISIONS, "precision", f"must be one of {', '.join(PRECISIONS)}", self.precision)


def _require(true: bool, name: str, rule: str, value: object) -> None:
    if not true:
        raise InputError(f"{name}: {rule}, got {value!r}")


@dataclass(frozen=True)
class TrainingHistory:
    """What a training did.

    Attributes
    ----------
    train_loss, validation_loss : tuple of float
        Mean loss per epoch; the training loss is the running mean of an epoch while weights changed.
    maps : int
        Maps presented.
    n_train, n_validation : int
        Maps at hand.
    seconds : float
        Wall-clock time of the steps, validation included; of all runs, when resumed.
    precision : str
    stopped_early : bool
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    maps: int
    n_train: int
    n_validation: int
    seconds: float
    precision: str
    stopped_early: bool

    @property
    def maps_per_second(self) -> float:
        """Maps presented per second, validation included."""
        return self.maps / max(self.seconds, 1e-9)

    @property
    def presentations(self) -> float:
        """How often each map was seen, on average."""
        return self.maps / self.n_train

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return {**asdict(self), "maps_per_second": self.maps_per_second, "presentations": self.presentations}


def has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 natively (AVX512-BF16 or AMX; CUDA devices that support it)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def train(
    estimator: Estimator,
    simulations: Simulations,
    settings: TrainingSettings,
    validation: Simulations | None = None,
    *,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> TrainingHistory:
    """Train an estimator in place; it ends in evaluation mode, on the CPU.

    Parameters
    ----------
    estimator : Estimator
    simulations : Simulations
        Training maps.
    settings : TrainingSettings
    validation : Simulations, optional
        Held-out maps; by default the last `validation_share` of the simulations.
    progress : bool
        Show a progress bar on standard error.
    checkpoint : path, optional
        File to write checkpoints to; where it exists, training resumes from it.

    Raises
    ------
    InputError
        If there are no training maps, or the checkpoint belongs to another training or is truncated.
    TrainingError
        If the loss is not finite. The estimator then holds the weights of the last finite epoch or checkpoint.
    """
    simulations, validation = _split(simulations, validation, settings)
    loop = _Loop(estimator, simulations, validation, settings, None if checkpoint is None else Path(checkpoint))
    with tqdm(total=settings.max_maps, unit="map", unit_scale=True, disable=not progress, desc=estimator.kind) as bar:
        return loop.run(bar)


def _split(
    simulations: Simulations, validation: Simulations | None, settings: TrainingSettings
) -> tuple[Simulations, Simulations | None]:
    if validation is None and settings.validation_share > 0:
        n = math.ceil(len(simulations) * settings.validation_share)
        simulations, validation = simulations[: len(simulations) - n], simulations[len(simulations) - n :]
    if len(simulations) == 0:
        raise InputError("simulations: no map is left to train on")
    return simulations, validation


@dataclass
class _State:
    """Counters of a training, as stored in checkpoints."""

    step: int = 0
    seconds: float = 0.0
    epoch_sum: float = 0.0
    epoch_steps: int = 0
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    since_best: int = 0


class _Loop:
    """One training: state, and the steps that change it."""

    def __init__(
        self,
        estimator: Estimator,
        simulations: Simulations,
        validation: Simulations | None,
        settings: TrainingSettings,
        path: Path | None,
    ) -> None:
        self.estimator, self.settings, self.path = estimator, settings, path
        self.data = _Data(estimator, simulations)
        self.held_out = None if validation is None or len(validation) == 0 else _Data(estimator, validation)
        self.batch_size = min(settings.batch_size, len(simulations))
        self.steps_per_epoch = len(simulations) // self.batch_size
        self.n_step = math.ceil(settings.max_maps / self.batch_size)
        self.state = _State()
        self.order: NDArray[np.int64] | None = None
        self.precision = settings.precision
        if self.precision == "auto":
            self.precision = "bfloat16" if has_bfloat16() else "float32"

    def run(self, bar: tqdm) -> TrainingHistory:
        self._start()
        bar.update(self.state.step * self.batch_size)
        before, clock = self.state.seconds, time.monotonic()
        stopped = self._impatient()
        while self.state.step < self.n_step and not stopped and self._share() < 1:
            self._step()
            bar.update(self.batch_size)
            self.state.seconds = before + time.monotonic() - clock
            if self.state.step % self.steps_per_epoch == 0 or self.state.step == self.n_step:
                stopped = self._end_epoch(bar)
            if self.state.step % self.settings.checkpoint_every == 0:
                self._save()
        self.state.seconds = before + time.monotonic() - clock
        return self._finish(bar, stopped)

    def _start(self) -> None:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins import MixedPrecision, Precision

        first = self.data.counts[: min(len(self.data), 2000)]
        self.estimator.prepare(_tensor(first), self.data.targets)
        self.estimator.train()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        plugin = MixedPrecision("bf16-mixed", device) if self.precision == "bfloat16" else Precision()
        self.fabric = Fabric(accelerator=device, devices=1, plugins=[plugin])
        self.estimator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            self.estimator.parameters(),
            self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        self.module, self.optimizer = self.fabric.setup(self.estimator, optimizer)
        self._keep()
        self.best = self.good
        if self.path is not None and self.path.exists():
            self._resume(self.path)

    def _share(self) -> float:
        """Share of the training done, in maps or seconds, whichever is larger."""
        share, limit = self.state.step / self.n_step, self.settings.max_seconds
        return share if limit is None else max(share, self.state.seconds / limit)

    def _rate(self) -> float:
        share, warmup = min(self._share() + 1 / self.n_step, 1.0), self.settings.warmup
        if share < warmup:
            return self.settings.learning_rate * share / warmup
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))

    def _step(self) -> None:
        step, settings = self.state.step, self.settings
        counts, targets = self.data.batch(self._rows(step), self.fabric.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(settings.seed, 1, step))
            output = self.module(counts)
            loss = self.estimator.loss(output, targets)
        self.fabric.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip_norm)
        value = float(loss.detach())
        if not math.isfinite(value + float(norm)):
            self._fail(value)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        self.state.epoch_sum += value
        self.state.epoch_steps += 1

    def _rows(self, step: int) -> NDArray[np.int64]:
        """Maps of a step: a batch of the epoch's permutation, ascending for the store's sake."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self.order is None or position == 0:
            self.order = np.random.default_rng(_seed(self.settings.seed, 0, epoch)).permutation(len(self.data))
        return np.sort(self.order[position * self.batch_size : (position + 1) * self.batch_size])

    def _fail(self, value: float) -> None:
        self.estimator.load_state_dict(self.good)
        self.estimator.eval().cpu()
        stored = "" if self.path is None else f", checkpoint {self.path}"
        raise TrainingError(
            f"loss: must be finite, got {value} or such a gradient at step {self.state.step} "
            f"(training seed {self.settings.seed}); kept the last good weights, of step {self.good_step}{stored}"
        )

    def _end_epoch(self, bar: tqdm) -> bool:
        state = self.state
        state.train_loss.append(state.epoch_sum / max(state.epoch_steps, 1))
        state.epoch_sum, state.epoch_steps = 0.0, 0
        self._keep()
        if self.held_out is None:
            bar.set_postfix(loss=f"{state.train_loss[-1]:.4f}", refresh=False)
            return False
        loss = self._validate(self.held_out)
        state.validation_loss.append(loss)
        bar.set_postfix(loss=f"{state.train_loss[-1]:.4f}", held_out=f"{loss:.4f}", refresh=False)
        if loss < state.best_loss:
            state.best_loss, state.since_best = loss, 0
            self.best = self.good
        else:
            state.since_best += 1
        return self._impatient()

    def _impatient(self) -> bool:
        return self.settings.patience is not None and self.state.since_best >= self.settings.patience

    @torch.no_grad()
    def _validate(self, data: _Data) -> float:
        self.estimator.eval()
        total = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(self.settings.seed, 2, 0))
            for rows in np.array_split(np.arange(len(data)), math.ceil(len(data) / 256)):
                counts, targets = data.batch(rows, self.fabric.device)
                total += float(self.estimator.loss(self.module(counts), targets)) * len(rows)
        self.estimator.train()
        return total / len(data)

    def _finish(self, bar: tqdm, stopped: bool) -> TrainingHistory:
        state = self.state
        if state.epoch_steps:
            self._end_epoch(bar)
        if self.settings.patience is not None:
            self.estimator.load_state_dict(self.best)
        self.estimator.eval().cpu()
        self._save()
        return TrainingHistory(
            tuple(state.train_loss),
            tuple(state.validation_loss),
            state.step * self.batch_size,
            len(self.data),
            0 if self.held_out is None else len(self.held_out),
            state.seconds,
            self.precision,
            stopped,
        )

    def _identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed."""
        return {
            "estimator": self.estimator.identity(),
            "settings": {k: v for k, v in asdict(self.settings).items() if k != "checkpoint_every"},
            "n_train": len(self.data),
            "precision": self.precision,
        }

    def _keep(self) -> None:
        """Remember the present weights as good: their loss was finite."""
        self.good, self.good_step = _copy(self.estimator), self.state.step

    def _save(self) -> None:
        if self.path is not None:
            self._keep()
            optimizer = self.optimizer.state_dict()
            write_checkpoint(self.path, Checkpoint(self.good, self.best, optimizer, self._identity(), vars(self.state)))

    def _resume(self, path: Path) -> None:
        stored = read_checkpoint(path, self._identity(), self.optimizer.state_dict())
        self.estimator.load_state_dict(stored.weights)
        self.optimizer.load_state_dict(stored.optimizer)
        for weight, entries in self.optimizer.state.items():  # the fused AdamW wants the weights' order in memory
            for name, value in entries.items():
                entries[name] = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
        self.state = _State(**stored.counters)
        self.best, self.good, self.good_step = stored.best, stored.weights, self.state.step


class _Data:
    """Maps and targets, gathered by row."""

    def __init__(self, estimator: Estimator, simulations: Simulations) -> None:
        estimator.check_counts(simulations.counts[:1])
        self.counts = simulations.counts
        self.targets = estimator.targets(simulations)

    def __len__(self) -> int:
        return len(self.counts)

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        return _tensor(self.counts[rows]).to(device), self.targets[torch.from_numpy(rows)].to(device)


def _tensor(counts: NDArray) -> Tensor:
    return torch.from_numpy(np.asarray(counts, dtype=np.float32))


def _copy(estimator: Estimator) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in estimator.state_dict().items()}


def _seed(*key: int) -> int:
    """A 63-bit seed for a stream of random numbers, a function of the key alone."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
