"""How estimators are stored: tensors with a JSON header in one safetensors file, written whole; no pickle.

What a file was made for and what it is to be used for are compared entry by entry, and it must be of this version of
the library, by its first two numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.io.files import write_atomically

__all__ = ["check_version", "differences", "read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors under a header of JSON-ready values in one move, replacing what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {name: value.contiguous() for name, value in tensors.items()}
    told = {name: json.dumps(value) for name, value in header.items()}
    write_atomically(path, lambda partial: save_file(held, partial, metadata=told), overwrite=True)


def read_tensors(path: Path, entries: tuple[str, ...], must: str) -> tuple[dict[str, Tensor], list[Any]]:
    """Tensors of a file, and some entries of its header.

    Parameters
    ----------
    path : Path
    entries : tuple of str
    must : str
        What is told of a file that is not whole: it must be this.

    Raises
    ------
    InputError
        If it is no whole safetensors file whose header has the entries.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return tensors, [json.loads(header[name]) for name in entries]
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"{must} ({error})") from error


def check_version(found: str, what: str) -> None:
    """Raise InputError unless a file is from this version of the library."""
    here = version("gcesbi")
    if found.split(".")[:2] != here.split(".")[:2]:
        raise InputError(f"{what}: made by gcesbi {found}, this is gcesbi {here}; train it again")


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
