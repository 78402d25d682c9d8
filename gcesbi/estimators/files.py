"""How estimators are stored: tensors with a JSON header in one safetensors file, written whole; no pickle.

The header holds the SHA-256 of everything else, by which a file that was cut or altered anywhere is known. What a file
was made for and what it is to be used for are compared entry by entry, and it must be of this version of the library,
by its first two numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.io.files import reason, write_bytes

__all__ = ["check_version", "differences", "read_tensors", "write_tensors"]

_DIGEST = "sha256"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors under a header of JSON-ready values in one move, replacing what is there."""
    held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    told = {name: json.dumps(value) for name, value in header.items()}
    write_bytes(path, _in_order(save(held, told | {_DIGEST: _digest(held, told)})))


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
        If it is no whole safetensors file whose header has the entries, or not as it was written.
    """
    try:
        data = path.read_bytes()
        tensors, header = load(data), _header(data)
        wanted = [json.loads(header[name]) for name in entries]
    except OSError as error:
        raise InputError(f"{must} ({reason(error)})") from None
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError, RuntimeError) as error:
        raise InputError(f"{must} ({' '.join(str(error).split())})") from None
    if header.pop(_DIGEST, None) != _digest(tensors, header):
        raise InputError(f"{must} (checksum differs: truncated or altered, or written before there were checksums)")
    return tensors, wanted


def _header(data: bytes) -> dict[str, str]:
    """The texts in the header of a safetensors file: eight bytes of length, then JSON."""
    size = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + size])["__metadata__"])


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its texts in the order of their names; as it is saved, their order is random."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """SHA-256 of the header's entries and of every tensor's name, type, shape and bytes."""
    found = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    found.update(save({name: tensors[name] for name in sorted(tensors)}))
    return found.hexdigest()


def check_version(found: str, what: str) -> None:
    """Raise InputError unless a file is from this version of the library."""
    here = version("gcesbi")
    if str(found).split(".")[:2] != here.split(".")[:2]:
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
