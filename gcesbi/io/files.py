"""Files and folders: what must be there, what must not, reading what may be damaged, writing without half a file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import struct
import time
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError

__all__ = [
    "make_folder",
    "naming",
    "read_arrays",
    "read_json",
    "reason",
    "sealed",
    "sweep",
    "unsealed",
    "unwritten",
    "write_arrays",
    "write_atomically",
    "write_bytes",
    "write_text",
]

_STALE = 86_400.0  # seconds after which another machine's half-written file counts as left behind
_SEAL = 64  # digits of a SHA-256
_CHECKSUM = "sha256"
"""Member of an archive."""


@contextmanager
def naming(where: str | os.PathLike[str]) -> Iterator[None]:
    """Put a file's name before the message of any InputError raised within, unless it is there."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(where)) else f"{where}: {error}") from None


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a NumPy archive, as they were written: the zip format has checksums, and so has :func:`write_arrays`.

    Raises
    ------
    InputError
        If it cannot be read, is no whole archive of plain arrays, or does not hold what its checksum is of.
    """
    damaged = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, KeyError, RuntimeError, MemoryError)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise ValueError("is a single array")
            arrays = dict(archive)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    except (*damaged, AttributeError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"{path}: must be a whole NumPy archive ({' '.join(str(error).split())})") from None
    if (stated := arrays.pop(_CHECKSUM, None)) is not None and str(stated) != _digest(arrays):
        raise InputError(f"{path}: is damaged (altered: checksum differs)")
    return arrays


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of arrays, their names, types and shapes."""
    found = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.dtype.str} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises
    ------
    InputError
        If it cannot be read, or holds none.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: is damaged (must hold a JSON object, got {type(found).__name__})")
    return found


def unwritten(where: str, error: OSError) -> InputError:
    """What to say of a file that could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "make room" if full else "mend this"
    return InputError(
        f"{where}: cannot be written ({reason(error)}); what was written before is whole: {hint} and run the same "
        "command again"
    )


def reason(error: OSError) -> str:
    """Why the system refused, in its own words; of a folder that was copied, the first reason."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return error.strerror or " ".join(str(error).split()) or type(error).__name__


def write_atomically(path: Path, write: Callable[[Path], object], *, overwrite: bool = False) -> None:
    """Let `write` fill a file or folder of another name beside `path`, then rename it to `path`.

    A file is flushed to the disk first: whoever looks sees all of it or nothing, even after kill -9 or a power cut. The
    other name tells which process of which machine writes: ``.XXXXXXXX@host-pid.partial.NAME``.

    Raises
    ------
    InputError
        If `path` exists and `overwrite` is false, its folder does not exist, or the disk is full or refuses otherwise;
        files that were there are untouched.
    """
    if path.exists() and not overwrite:
        raise InputError(f"path: {str(path)!r} exists, and overwrite is False")
    if not path.parent.is_dir():
        raise InputError(f"path: must lie in an existing folder, got {str(path)!r}")
    partial = path.with_name(f".{uuid4().hex[:8]}@{socket.gethostname()}-{os.getpid()}.partial.{path.name}")
    try:
        write(partial)
        if partial.is_file():
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise unwritten(str(path), error) from None
    finally:
        with suppress(OSError):  # a file system that is read-only refuses to remove even what is not there
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what was half-written by who is gone: killed on this machine, or not heard of for a day."""
    for path in folder.glob(".*@*.partial.*"):
        host, _, pid = path.name.partition("@")[2].partition(".partial.")[0].rpartition("-")
        with suppress(OSError):
            if _is_alive(host, pid, path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _is_alive(host: str, pid: str, path: Path) -> bool:
    if host != socket.gethostname() or not pid.isdigit():
        return path.exists() and time.time() - path.stat().st_mtime < _STALE
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sealed(data: bytes) -> bytes:
    """Bytes with their SHA-256 behind them, in 64 digits, as the last of a file."""
    return data + hashlib.sha256(data).hexdigest().encode()


def unsealed(data: bytes) -> bytes:
    """The bytes that :func:`sealed` was given.

    Raises
    ------
    InputError
        If they are not as they were.
    """
    if len(data) <= _SEAL or sealed(data[:-_SEAL]) != data:
        raise InputError("is damaged (truncated or altered: checksum differs)")
    return data[:-_SEAL]


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none; InputError if that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: no such folder can be made ({reason(error)})") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, in place of what is there; its folder is made."""
    make_folder(path.parent)
    write_atomically(path, lambda partial: partial.write_bytes(data), overwrite=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as :func:`write_bytes` does."""
    write_bytes(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, Any], save: Callable[..., None] = np.savez_compressed) -> None:
    """Write a NumPy archive with a checksum of all that it holds, as :func:`write_bytes` does."""
    held = {name: np.asarray(values) for name, values in arrays.items()}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            save(file, **held, **{_CHECKSUM: _digest(held)})

    make_folder(path.parent)
    write_atomically(path, write, overwrite=True)
