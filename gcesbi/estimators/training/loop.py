"""The training loop: AdamW, a one-cycle learning rate, bfloat16 where the machine has it; Fabric on several devices.

Every random choice is a function of the seed and a counter (order of maps: seed and pass; fresh maps: seed and number;
quantile levels and dropout: seed and step), so that a training that was killed and resumed from its checkpoint ends, on
CPU, with the same weights as one that was not. A limit in seconds makes the schedule depend on the clock, and the
weights with it.

On several devices every process computes its share of each batch, gradients are averaged, and losses, hence decisions,
are those of the whole batch: the same training as on one device, up to rounding, up to random draws of loss and
dropout, and up to batch normalisation on the CPU, whose statistics are those of one process' share.

Ctrl-C and SIGTERM end a training on one device at the end of its step, with a checkpoint; on several devices the last
checkpoint is what is left.

Why not ``lightning.Trainer``: it was tried (2.6.6). Weights are the same, whole or killed and resumed. But where a
checkpoint and a validation fall on one step, its checkpoint comes first and the resumed run skips the validation, so
that early stopping and history are not those of an uninterrupted run; its ``CSVLogger`` deletes the log of the run
before; its own checkpoints are pickles, and best weights are kept in files alone; Ctrl-C ends the whole process. With
all that, the clock's learning rate and :class:`TrainingError` in hooks of our own no line is saved, and every step
takes 1 ms more.
"""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gcesbi.estimators.training.batches import (
    BatchSource,
    FreshBatches,
    InMemory,
    MemoryBatches,
    StoredBatches,
    held_out_batches,
    split,
)
from gcesbi.estimators.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from gcesbi.estimators.training.devices import chosen_precision, launch, with_shared_statistics
from gcesbi.estimators.training.interrupt import Interrupt
from gcesbi.estimators.training.log import LogRow, TrainingLog
from gcesbi.estimators.training.seeds import Purpose, seed_for
from gcesbi.estimators.training.settings import PARTS, TrainingHistory, TrainingSettings
from gcesbi.estimators.training.trainable import Batch, Trainable
from gcesbi.networks.defaults import own_defaults
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.torch_maps import StoredMaps

__all__ = ["TrainingError", "remove_checkpoints", "train"]

FRESH_BETWEEN_VALIDATIONS = 10_000

Maps = InMemory | StoredMaps
Weights = dict[str, Tensor]


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


@own_defaults()
@torch.enable_grad()
def train(
    network: Trainable,
    maps: Maps | Simulator,
    settings: TrainingSettings,
    validation: Maps | None = None,
    *,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
) -> TrainingHistory:
    """Train a network in place; it ends in evaluation mode, on the CPU.

    Parameters
    ----------
    network : Trainable
    maps : Simulations, StoredMaps, Simulator or what else the network reads
        Maps in memory; maps of a store, read shard by shard; or what draws fresh maps, each seen once. See
        :mod:`gcesbi.estimators.training.batches` for what is in memory when.
    settings : TrainingSettings
    validation : Simulations, StoredMaps or what else the network reads, optional
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
        If the loss is not finite. The network then holds the weights of the last finite validation or checkpoint.
    """
    fabric = launch(settings.devices, settings.precision)
    if checkpoint is not None and not Path(checkpoint).exists() and fabric.is_global_zero:
        remove_checkpoints(checkpoint)  # a later stage's is left over from a training that was over
    history: TrainingHistory | None = None
    for stage in settings.stages():
        path = None if checkpoint is None else _checkpoint(checkpoint, stage.part)
        loop = _Loop(network, fabric, maps, validation, stage, path)
        done = loop.run(progress and fabric.is_global_zero, None if log is None else Path(log), history)
        history = done if history is None else history.followed_by(done)
    assert history is not None  # there is one stage at least
    return history


def remove_checkpoints(path: str | Path) -> None:
    """Remove what a training with this checkpoint has written, where it is there."""
    for part in PARTS:
        _checkpoint(path, part).unlink(missing_ok=True)


def _checkpoint(path: str | Path, part: str) -> Path:
    """Every stage has a checkpoint of its own."""
    return Path(path if part == "all" else f"{path}.{part}")


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
    """One stage of a training: state, and the steps that change it."""

    def __init__(
        self,
        given: Trainable,
        fabric: Any,
        maps: Maps | Simulator,
        validation: Maps | None,
        settings: TrainingSettings,
        path: Path | None,
    ) -> None:
        self.given, self.fabric, self.settings, self.path = given, fabric, settings, path
        maps, validation = split(maps, validation, settings)
        self.batch_size = settings.batch_size
        if not isinstance(maps, Simulator):
            self.batch_size = max(min(settings.batch_size, len(maps)) // settings.devices, 1) * settings.devices
        self.source = self._source(maps)
        self.held_out = None if validation is None or len(validation) == 0 else validation
        self.n_step, self.steps_per_epoch = _lengths(settings, self.source.n_map, self.batch_size)
        self.state = _State()
        self.saved_step: int | None = None
        self.good: Weights = {}

    def _source(self, maps: Maps | Simulator) -> BatchSource:
        fabric, settings = self.fabric, self.settings
        sharing = {"rank": fabric.global_rank, "world": fabric.world_size}
        sharing |= {"batch_size": self.batch_size, "seed": settings.seed}
        if isinstance(maps, Simulator):
            return FreshBatches(self.given, maps, settings.workers, fabric.device, **sharing)
        if isinstance(maps, StoredMaps):
            return StoredBatches(self.given, maps, **sharing)
        return MemoryBatches(self.given, maps, **sharing)

    def run(self, progress: bool, log: Path | None, before: TrainingHistory | None) -> TrainingHistory:
        """Train to the end, after the stage that had this history."""
        name = self.given.kind if self.settings.part == "all" else f"{self.given.kind}, {self.settings.part}"
        n_map = self.n_step * self.batch_size
        with tqdm(total=n_map, unit="map", unit_scale=True, disable=not progress, desc=name) as self.bar:
            try:
                self._start()
                self._open_log(log, before)
                with Interrupt() as interrupt:
                    return self._train(interrupt)
            finally:
                self.source.close()

    # -- before ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        resumed = self.path is not None and self.path.exists()
        if not resumed:
            first = self.source.first()
            self.given.prepare(first.inputs.float(), first.targets)
        self.network = with_shared_statistics(self.given, self.fabric)
        if self.settings.part == "head":
            self.network.embedding.requires_grad_(False)
        self._set_mode()
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
        if self.path is not None and resumed:
            self._resume(self.path)
        self.bar.update(self.state.step * self.batch_size)

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

    def _open_log(self, path: Path | None, before: TrainingHistory | None) -> None:
        """The log from here on; nothing is written by a training that is over already."""
        self.steps_before, self.seconds_before = 0, 0.0
        if before is not None:
            self.steps_before, self.seconds_before = before.maps // self.batch_size, before.seconds
        unwritten = not self.fabric.is_global_zero or self.state.step >= self.n_step
        self.log = TrainingLog(None if unwritten else path, self.steps_before + self.state.step)

    # -- steps ----------------------------------------------------------------------------------------------------

    def _train(self, interrupt: Interrupt) -> TrainingHistory:
        state, settings = self.state, self.settings
        began = time.monotonic() - state.seconds
        stopped = self._impatient()
        while state.step < self.n_step and not stopped and self._share() < 1:
            self._step()
            self.bar.update(self.batch_size)
            state.seconds = self._agreed(time.monotonic() - began)
            ends = state.step % self.steps_per_epoch == 0 or state.step == self.n_step
            loss = self._end_epoch() if ends else None
            stopped = self._impatient()
            if ends or state.step % settings.log_every == 0:
                self._write_log(loss)
            stops = interrupt.asked is not None and self.fabric.world_size == 1
            if state.step % settings.checkpoint_every == 0 or stops:
                self._keep()
                self._save(self.good)
            if stops:
                interrupt.obey()
        state.seconds = time.monotonic() - began
        return self._finish(stopped)

    def _step(self) -> None:
        state, settings = self.state, self.settings
        inputs, targets = self._to_device(self.source.batch(state.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        own = (self.fabric.global_rank,) if self.fabric.global_rank else ()  # random numbers of further processes
        with self._randomness(Purpose.step, state.step, *own):
            output = self.module(inputs)
            loss = (self.network.loss if settings.part == "all" else self.network.head_loss)(output, targets)
        self.fabric.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        value = self._agreed(float(loss.detach()))
        if not math.isfinite(value + float(norm)):
            self._fail(value)
        self.optimizer.step()
        self.optimizer.zero_grad()
        state.step += 1
        state.epoch_sum, state.epoch_steps = state.epoch_sum + value, state.epoch_steps + 1
        state.log_sum, state.log_steps = state.log_sum + value, state.log_steps + 1

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

    # -- validation -----------------------------------------------------------------------------------------------

    def _end_epoch(self) -> float | None:
        """Validate; returns the held-out loss, if any maps are held out."""
        state = self.state
        state.train_loss.append(state.epoch_sum / max(state.epoch_steps, 1))
        state.maps_at.append(state.step * self.batch_size)
        state.epoch_sum, state.epoch_steps = 0.0, 0
        if self.fabric.world_size > 1:  # all processes take the first one's buffers, which are those that are stored
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
        self._keep()
        shown, loss = {"loss": f"{state.train_loss[-1]:.4f}"}, None
        if self.held_out is not None:
            loss = self._validate(self.held_out)
            state.validation_loss.append(loss)
            shown["held_out"] = f"{loss:.4f}"
            state.since_best += 1
            if loss < state.best_loss:
                state.best_loss, state.since_best, self.best = loss, 0, self.good
        self.bar.set_postfix(shown, refresh=False)
        return loss

    def _impatient(self) -> bool:
        return self.settings.patience is not None and self.state.since_best >= self.settings.patience

    @torch.no_grad()
    def _validate(self, held_out: Maps) -> float:
        """Mean of the network's own loss, whatever the stage minimises; no process waits for another."""
        self.network.eval()
        total, world = 0.0, self.fabric.world_size
        with self._randomness(Purpose.validation, 0):
            for i, batch in enumerate(held_out_batches(self.given, held_out)):
                if i % world == self.fabric.global_rank:
                    inputs, targets = self._to_device(batch)
                    with self.fabric.autocast():
                        output = self.network(inputs)
                    total += float(self.network.loss(output, targets)) * len(targets)
        self._set_mode()
        return self._agreed(total) * world / len(held_out)

    def _write_log(self, loss: float | None) -> None:
        state = self.state
        mean = state.log_sum / max(state.log_steps, 1)
        state.log_sum, state.log_steps = 0.0, 0
        step, seconds = self.steps_before + state.step, round(self.seconds_before + state.seconds, 3)
        rate = self.optimizer.param_groups[0]["lr"]
        self.log.write(LogRow(step, step * self.batch_size, seconds, rate, mean, loss))

    # -- weights --------------------------------------------------------------------------------------------------

    def _finish(self, stopped: bool) -> TrainingHistory:
        state = self.state
        if state.epoch_steps:
            self._write_log(self._end_epoch())
        self._keep()
        weights = self.good if self.settings.patience is None else self.best
        self._save(weights)
        self._restore(weights)
        seen, n_map = state.step * self.batch_size, self.source.n_map
        history = TrainingHistory(
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
            maps_wanted=self.n_step * self.batch_size,
        )
        if history.ran_out_of_time and self.fabric.is_global_zero:
            warnings.warn(
                f"{self.given.kind}: training.max_seconds ({self.settings.max_seconds:g} s) ran out after {seen} of "
                f"{history.maps_wanted} maps; the network has learnt less than it was meant to",
                stacklevel=2,
            )
        return history

    def _keep(self) -> None:
        """Remember the present weights as good: their loss was finite."""
        self.good = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        self.good_step = self.state.step

    def _restore(self, weights: Weights) -> None:
        """Give the caller's network these weights, on the CPU."""
        self.given.load_state_dict(weights)
        self.given.requires_grad_(True).eval().cpu()

    def _save(self, weights: Weights) -> None:
        """Write a checkpoint of these weights."""
        if self.path is None:
            return
        self.good, self.saved_step = weights, self.state.step
        if self.fabric.is_global_zero:
            optimizer = self.optimizer.state_dict()
            write_checkpoint(self.path, Checkpoint(weights, self.best, optimizer, self._identity(), vars(self.state)))

    def _identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be resumed."""
        return {
            "estimator": self.given.identity(),
            "settings": self.settings.law(),
            "maps": self.source.identity(),
            "precision": chosen_precision(self.settings.precision),
        }

    # -- processes ------------------------------------------------------------------------------------------------

    def _set_mode(self) -> None:
        """Training mode of what is trained; the rest answers as in evaluation, without dropout."""
        self.network.train()
        if self.settings.part == "head":
            self.network.embedding.eval()

    def _to_device(self, batch: Batch) -> Batch:
        device = self.fabric.device
        return Batch(batch.inputs.to(device).float(), batch.targets.to(device))

    def _randomness(self, purpose: Purpose, *counters: int) -> Any:
        return _seeded(seed_for(self.settings.seed, purpose, *counters), self.fabric.device)

    def _agreed(self, value: float) -> float:
        """Mean over processes."""
        if self.fabric.world_size == 1:
            return value
        return float(self.fabric.all_reduce(torch.tensor(value, dtype=torch.float64, device=self.fabric.device)))


def _lengths(settings: TrainingSettings, n_map: int | None, batch_size: int) -> tuple[int, int]:
    """Steps of the training, and steps from one validation to the next."""
    n_step = math.ceil(settings.max_maps / batch_size)
    every = FRESH_BETWEEN_VALIDATIONS if n_map is None else n_map
    if n_map is not None and settings.max_presentations is not None:
        n_step = min(n_step, settings.max_presentations * (n_map // batch_size))
    return n_step, max((settings.validate_every or every) // batch_size, 1)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from torch's global generators by a seed, and leave them as they were."""
    alone = device.type == "cpu"
    seeded = torch.default_generator.manual_seed if alone else torch.manual_seed  # which notes the stack for each GPU
    with torch.random.fork_rng(devices=[] if alone else [device]):
        seeded(seed)
        yield
