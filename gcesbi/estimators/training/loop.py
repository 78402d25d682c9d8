"""The training loop, carried by Lightning Fabric: AdamW, a one-cycle learning rate, bfloat16 where the machine has it.

Every random choice is a function of the seed and a counter (order of maps: seed and pass; fresh maps: seed and number;
quantile levels and dropout: seed and step), so that a training that was killed and resumed from its checkpoint ends, on
CPU, with the same weights as one that was not. A limit in seconds makes the schedule depend on the clock, and the
weights with it.

On several devices every process computes its share of each batch, gradients are averaged, and losses, hence decisions,
are those of the whole batch: the same training as on one device, up to rounding, up to random draws of loss and
dropout, and up to batch normalisation on the CPU, whose statistics are those of one process' share.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from gcesbi.estimators.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from gcesbi.estimators.training.devices import chosen_precision, has_bfloat16, launch
from gcesbi.estimators.training.held_out import HeldOut, split
from gcesbi.estimators.training.log import LogRow, TrainingLog
from gcesbi.estimators.training.seeds import Purpose, seed_for
from gcesbi.estimators.training.settings import PARTS, TrainingHistory, TrainingSettings
from gcesbi.estimators.training.sources import (
    Batch,
    MapSource,
    MemorySource,
    Plan,
    StoredSource,
    StreamSource,
)
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.torch_maps import StoredMaps

if TYPE_CHECKING:
    from gcesbi.estimators.base import Estimator

__all__ = ["TrainingError", "TrainingHistory", "TrainingSettings", "has_bfloat16", "remove_checkpoints", "train"]

FRESH_BETWEEN_VALIDATIONS = 10_000


class TrainingError(ArithmeticError):
    """Training came to a loss that is not finite.

    Attributes
    ----------
    step : int
        Whose loss or gradient it was.
    batch : str
        How to get its maps again.
    checkpoint : Path or None
        The last one that was written.
    """

    def __init__(self, message: str, step: int, batch: str, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.step, self.batch, self.checkpoint = step, batch, checkpoint


def train(
    estimator: Estimator,
    maps: Simulations | StoredMaps | Simulator,
    settings: TrainingSettings,
    validation: Simulations | StoredMaps | None = None,
    *,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
) -> TrainingHistory:
    """Train an estimator in place; it ends in evaluation mode, on the CPU.

    Parameters
    ----------
    estimator : Estimator
    maps : Simulations, StoredMaps or Simulator
        Maps in memory; maps of a store, read shard by shard; or what draws fresh maps, each seen once. See
        :mod:`gcesbi.estimators.training.sources` for what is in memory when.
    settings : TrainingSettings
    validation : Simulations or StoredMaps, optional
        Held-out maps; by default the last `validation_share` of the maps, or fresh ones of a stream of their own.
    progress : bool
        Show a progress bar on standard error.
    checkpoint : path, optional
        File to write checkpoints to; where it exists, training resumes from it. The head's stage has another beside it:
        :func:`remove_checkpoints` removes both.
    log : path, optional
        CSV file of losses, a row every `log_every` steps and at every validation.

    Raises
    ------
    InputError
        If there are no training maps, or the checkpoint belongs to another training or is truncated.
    TrainingError
        If the loss is not finite. The estimator then holds the weights of the last finite validation or checkpoint.
    """
    fabric = launch(settings.devices, settings.precision)
    if checkpoint is not None and not Path(checkpoint).exists() and fabric.is_global_zero:
        remove_checkpoints(checkpoint)  # a later stage's is left over from a training that was over

    def run(stage: TrainingSettings, before: TrainingHistory | None = None) -> TrainingHistory:
        path = None if checkpoint is None else _checkpoint(checkpoint, stage.part)
        loop = _Loop(estimator, fabric, maps, validation, stage, path, before)
        return _run(loop, progress and fabric.is_global_zero, _path(log))

    first, *others = settings.stages()
    history = run(first)
    for stage in others:
        history = history.followed_by(run(stage, history))
    return history


def _run(loop: _Loop, progress: bool, log: Path | None) -> TrainingHistory:
    name = loop.estimator.kind if loop.settings.part == "all" else f"{loop.estimator.kind}, {loop.settings.part}"
    with tqdm(total=loop.n_step * loop.batch_size, unit="map", unit_scale=True, disable=not progress, desc=name) as bar:
        try:
            return loop.run(bar, log)
        finally:
            loop.source.close()


def remove_checkpoints(path: str | Path) -> None:
    """Remove what a training with this checkpoint has written, where it is there."""
    for part in PARTS:
        _checkpoint(path, part).unlink(missing_ok=True)


def _checkpoint(path: str | Path, part: str) -> Path:
    """Every stage has a checkpoint of its own."""
    return Path(path if part == "all" else f"{path}.{part}")


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


@dataclass
class _State:
    """Counters of a training, as stored in checkpoints."""

    step: int = 0
    seconds: float = 0.0
    epoch_sum: float = 0.0
    epoch_steps: int = 0
    log_sum: float = 0.0
    log_steps: int = 0
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    maps_at: list[int] = field(default_factory=list)
    best_loss: float = math.inf
    since_best: int = 0


class _Loop:
    """One training: state, and the steps that change it."""

    def __init__(
        self,
        estimator: Estimator,
        fabric: Any,
        maps: Simulations | StoredMaps | Simulator,
        validation: Simulations | StoredMaps | None,
        settings: TrainingSettings,
        path: Path | None,
        before: TrainingHistory | None = None,
    ) -> None:
        self.before = before
        self.estimator, self.fabric, self.settings, self.path = estimator, fabric, settings, path
        maps, validation = split(maps, validation, settings)
        self.batch_size = settings.batch_size
        if not isinstance(maps, Simulator):
            self.batch_size = max(min(settings.batch_size, len(maps)) // settings.devices, 1) * settings.devices
        plan = Plan(batch_size=self.batch_size, seed=settings.seed, rank=fabric.global_rank, world=fabric.world_size)
        self.source = _source(estimator, maps, plan, settings.workers, fabric.device)
        self.held_out = None if validation is None or len(validation) == 0 else HeldOut(estimator, validation)
        self.n_step, self.steps_per_epoch = _lengths(settings, self.source.n_map, self.batch_size)
        self.state = _State()
        self.saved_step: int | None = None

    def run(self, bar: tqdm, log: Path | None) -> TrainingHistory:
        self._start()
        self.log = self._log(log)
        bar.update(self.state.step * self.batch_size)
        before, clock = self.state.seconds, time.monotonic()
        stopped = self._impatient()
        while self.state.step < self.n_step and not stopped and self._share() < 1:
            self._step()
            bar.update(self.batch_size)
            self.state.seconds = self._agreed(before + time.monotonic() - clock)
            ends = self.state.step % self.steps_per_epoch == 0 or self.state.step == self.n_step
            loss = self._end_epoch(bar) if ends else None
            stopped = self._impatient()
            if ends or self.state.step % self.settings.log_every == 0:
                self._write_log(loss)
            if self.state.step % self.settings.checkpoint_every == 0:
                self._save()
        self.state.seconds = before + time.monotonic() - clock
        return self._finish(bar, stopped)

    def _log(self, path: Path | None) -> TrainingLog:
        """The log from here on; nothing is written by a training that is over already."""
        unwritten = not self.fabric.is_global_zero or self.state.step >= self.n_step
        return TrainingLog(None if unwritten else path, self._step_before() + self.state.step)

    def _step_before(self) -> int:
        return 0 if self.before is None else self.before.maps // self.batch_size

    def _set_mode(self) -> None:
        """Training mode of what is trained; the rest answers as in evaluation, without dropout."""
        self.network.train()
        if self.settings.part == "head":
            self.network.embedding.eval()

    def _start(self) -> None:
        if self.path is None or not self.path.exists():
            first = self.source.first()
            self.estimator.prepare(first.counts.float(), first.targets)
        self.network = _with_shared_statistics(self.estimator, self.fabric)
        self._set_mode()
        self.network.embedding.requires_grad_(self.settings.part == "all")
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            [weight for weight in self.network.parameters() if weight.requires_grad],
            self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        self.module, self.optimizer = self.fabric.setup(self.network, optimizer)
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
        if self.settings.schedule == "two-step":
            return self.settings.learning_rate * (1.0 if share <= 2 / 3 else 0.1)
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))

    def _step(self) -> None:
        step, settings = self.state.step, self.settings
        counts, targets = self._to_device(self.source.batch(step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        with self._randomness(Purpose.step, step, *self._rank()):
            output = self.module(counts)
            loss = self._loss(output, targets)
        self.fabric.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip_norm)
        value = self._agreed(float(loss.detach()))
        if not math.isfinite(value + float(norm)):
            self._fail(value)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        self.state.epoch_sum += value
        self.state.epoch_steps += 1
        self.state.log_sum += value
        self.state.log_steps += 1

    def _loss(self, output: Any, targets: Tensor) -> Tensor:
        """What is minimised; held-out losses are the estimator's own in every stage."""
        network = self.network
        return network.loss(output, targets) if self.settings.part == "all" else network.head_loss(output, targets)

    def _to_device(self, batch: Batch) -> Batch:
        device = self.fabric.device
        return Batch(batch.counts.to(device).float(), batch.targets.to(device))

    def _rank(self) -> tuple[int, ...]:
        """Processes after the first have random numbers of their own."""
        return (self.fabric.global_rank,) if self.fabric.global_rank else ()

    def _randomness(self, purpose: Purpose, *counters: int) -> Any:
        return _seeded(seed_for(self.settings.seed, purpose, *counters), self.fabric.device)

    def _agreed(self, value: float) -> float:
        """Mean over processes."""
        if self.fabric.world_size == 1:
            return value
        return float(self.fabric.all_reduce(torch.tensor(value, dtype=torch.float64, device=self.fabric.device)))

    def _fail(self, value: float) -> None:
        step, batch = self.state.step, self.source.draw_again(self.state.step)
        self._restore(self.good)
        stored = None if self.saved_step is None else self.path
        where = "no checkpoint was written" if stored is None else f"checkpoint {stored} is of step {self.saved_step}"
        raise TrainingError(
            f"loss: must be finite, got {value} or such a gradient at step {step} (training seed {self.settings.seed}) "
            f"on {batch}; kept the last good weights, of step {self.good_step}; {where}",
            step,
            batch,
            stored,
        )

    def _end_epoch(self, bar: tqdm) -> float | None:
        """Validate; returns the held-out loss, if any maps are held out."""
        state = self.state
        state.train_loss.append(state.epoch_sum / max(state.epoch_steps, 1))
        state.maps_at.append(state.step * self.batch_size)
        state.epoch_sum, state.epoch_steps = 0.0, 0
        self._share_buffers()
        self._keep()
        if self.held_out is None:
            bar.set_postfix(loss=f"{state.train_loss[-1]:.4f}", refresh=False)
            return None
        loss = self._validate(self.held_out)
        state.validation_loss.append(loss)
        bar.set_postfix(loss=f"{state.train_loss[-1]:.4f}", held_out=f"{loss:.4f}", refresh=False)
        if loss < state.best_loss:
            state.best_loss, state.since_best = loss, 0
            self.best = self.good
        else:
            state.since_best += 1
        return loss

    def _impatient(self) -> bool:
        return self.settings.patience is not None and self.state.since_best >= self.settings.patience

    @torch.no_grad()
    def _validate(self, held_out: HeldOut) -> float:
        self.network.eval()
        total, n, rank = 0.0, 0, self.fabric.global_rank
        with self._randomness(Purpose.validation, 0):
            for i, batch in enumerate(held_out.batches()):
                if i % self.fabric.world_size == rank:
                    counts, targets = self._to_device(batch)
                    total += float(self.network.loss(self._predict(counts), targets)) * len(targets)
                n += len(batch.targets)
        self._set_mode()
        return self._agreed(total) * self.fabric.world_size / n

    def _predict(self, counts: Tensor) -> Any:
        """The network's output without waiting for other processes."""
        with self.fabric.autocast():
            return self.network(counts)

    def _write_log(self, loss: float | None) -> None:
        state = self.state
        mean = state.log_sum / max(state.log_steps, 1)
        state.log_sum, state.log_steps = 0.0, 0
        rate = self.optimizer.param_groups[0]["lr"]
        step = self._step_before() + state.step
        seconds = state.seconds + (0.0 if self.before is None else self.before.seconds)
        self.log.write(LogRow(step, step * self.batch_size, round(seconds, 3), rate, mean, loss))

    def _finish(self, bar: tqdm, stopped: bool) -> TrainingHistory:
        state = self.state
        if state.epoch_steps:
            self._write_log(self._end_epoch(bar))
        weights = self.best if self.settings.patience is not None else _copy(self.network)
        self._save(weights)
        self._restore(weights)
        seen, n_map = state.step * self.batch_size, self.source.n_map
        return TrainingHistory(
            train_loss=tuple(state.train_loss),
            validation_loss=tuple(state.validation_loss),
            maps_at=tuple(state.maps_at),
            maps=seen,
            n_train=seen if n_map is None else n_map,
            n_validation=0 if self.held_out is None else len(self.held_out),
            most_presentations=1 if n_map is None else math.ceil(state.step / (n_map // self.batch_size)),
            max_presentations=self.settings.max_presentations,
            seconds=state.seconds,
            precision=chosen_precision(self.settings.precision),
            stopped_early=stopped,
        )

    def _identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed."""
        return {
            "estimator": self.estimator.identity(),
            "settings": self.settings.law(),
            "maps": self.source.identity(),
            "precision": chosen_precision(self.settings.precision),
        }

    def _share_buffers(self) -> None:
        """Let all processes have the first one's buffers, which are those that are stored."""
        if self.fabric.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _keep(self) -> None:
        """Remember the present weights as good: their loss was finite."""
        self.good, self.good_step = _copy(self.network), self.state.step

    def _restore(self, weights: dict[str, Tensor]) -> None:
        """Give the caller's estimator these weights, on the CPU."""
        self.estimator.load_state_dict(weights)
        self.estimator.requires_grad_(True).eval().cpu()

    def _save(self, weights: dict[str, Tensor] | None = None) -> None:
        """Write a checkpoint of the present weights, or of those given."""
        if self.path is None:
            return
        self._keep()
        self.good, self.saved_step = weights or self.good, self.state.step
        if self.fabric.is_global_zero:
            optimizer = self.optimizer.state_dict()
            write_checkpoint(self.path, Checkpoint(self.good, self.best, optimizer, self._identity(), vars(self.state)))

    def _resume(self, path: Path) -> None:
        stored = read_checkpoint(path, self._identity(), self.optimizer.state_dict())
        self.network.load_state_dict(stored.weights)
        self.optimizer.load_state_dict(stored.optimizer)
        for weight, entries in self.optimizer.state.items():  # the fused AdamW wants the weights' order in memory
            for name, value in entries.items():
                entries[name] = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
        self.state = _State(**stored.counters)
        self.best, self.good = stored.best, stored.weights
        self.good_step = self.saved_step = self.state.step


def _source(
    estimator: Estimator, maps: Simulations | StoredMaps | Simulator, plan: Plan, workers: int, device: torch.device
) -> MapSource:
    if isinstance(maps, Simulations):
        estimator.check_counts(maps.counts[:1])
        return MemorySource(maps, estimator.targets, plan)
    if isinstance(maps, StoredMaps):
        return StoredSource(maps, estimator.targets, plan)
    return StreamSource(maps, estimator.targets, plan, workers, device)


def _lengths(settings: TrainingSettings, n_map: int | None, batch_size: int) -> tuple[int, int]:
    """Steps of the training, and steps from one validation to the next."""
    n_step = math.ceil(settings.max_maps / batch_size)
    every = FRESH_BETWEEN_VALIDATIONS if n_map is None else n_map
    if n_map is not None and settings.max_presentations is not None:
        n_step = min(n_step, settings.max_presentations * (n_map // batch_size))
    return n_step, max((settings.validate_every or every) // batch_size, 1)


def _with_shared_statistics(estimator: Estimator, fabric: Any) -> Estimator:
    """The estimator itself; on several GPUs a copy whose batch normalisation sees the maps of all."""
    if fabric.world_size == 1 or fabric.device.type == "cpu":
        return estimator
    return torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(estimator))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from torch's global generators by a seed, and leave them as they were."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)
        yield


def _copy(estimator: Estimator) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in estimator.state_dict().items()}
