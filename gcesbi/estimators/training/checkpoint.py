"""Checkpoints of a training in one safetensors file: weights, best weights, optimiser, counters. No pickle.

Written to a temporary file and renamed, so that a kill leaves the previous checkpoint whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gcesbi.errors import InputError

__all__ = ["Checkpoint", "differences", "read_checkpoint", "write_checkpoint"]


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
    header = {"identity": json.dumps(checkpoint.identity), "counters": json.dumps(checkpoint.counters)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial, metadata=header)
    partial.replace(path)


def read_checkpoint(path: Path, identity: dict[str, Any], optimizer: dict[str, Any]) -> Checkpoint:
    """Read a checkpoint of the training with this identity; `optimizer` gives the parameter groups.

    Raises
    ------
    InputError
        If the file is no whole safetensors file, or belongs to another training; names what differs.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        stored, counters = json.loads(header["identity"]), json.loads(header["counters"])
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(f"checkpoint {path}: must be a whole checkpoint of a training ({error})") from error
    if unlike := differences(stored, json.loads(json.dumps(identity))):
        raise InputError(f"checkpoint {path}: belongs to another training; {'; '.join(unlike)}")
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer", tensors).items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer = {"state": state, "param_groups": optimizer["param_groups"]}
    return Checkpoint(_under("weights", tensors), _under("best", tensors), optimizer, stored, counters)


def differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Entries that differ, each as ``name: ..., now ...``; dictionaries are compared entry by entry."""
    lines: list[str] = []
    for key in dict.fromkeys([*stored, *wanted]):
        a, b = stored.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r}, now {b!r}")
    return lines


def _under(head: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{head}/"): value for name, value in tensors.items() if name.startswith(f"{head}/")}
