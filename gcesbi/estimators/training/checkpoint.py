"""Checkpoints of a training, a file each: weights, best weights, optimiser, counters. A kill leaves the last whole."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.estimators.files import differences, read_tensors, write_tensors

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """State of a training: weights, best weights so far, optimiser's state, identity, counters."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Any]
    identity: dict[str, Any]
    counters: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing `path` in one move."""
    tensors = {f"weights/{name}": value for name, value in checkpoint.weights.items()}
    tensors |= {f"best/{name}": value.clone() for name, value in checkpoint.best.items()}
    for index, entries in checkpoint.optimizer["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value.detach().cpu() for key, value in entries.items()}
    write_tensors(path, tensors, {"identity": checkpoint.identity, "counters": checkpoint.counters})


def read_checkpoint(path: Path, identity: dict[str, Any], optimizer: dict[str, Any]) -> Checkpoint:
    """Read a checkpoint of the training with this identity; `optimizer` gives the parameter groups.

    Raises
    ------
    InputError
        If the file is no whole safetensors file, or belongs to another training; names what differs.
    """
    must = f"checkpoint {path}: must be a whole checkpoint of a training"
    tensors, (stored, counters) = read_tensors(path, ("identity", "counters"), must)
    if unlike := differences(stored, json.loads(json.dumps(identity))):
        raise InputError(f"checkpoint {path}: belongs to another training; {'; '.join(unlike)}")
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer", tensors).items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer = {"state": state, "param_groups": optimizer["param_groups"]}
    return Checkpoint(_under("weights", tensors), _under("best", tensors), optimizer, stored, counters)


def _under(head: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{head}/"): value for name, value in tensors.items() if name.startswith(f"{head}/")}
