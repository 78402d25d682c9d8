"""Arrays and files as fields of statements: kept as they are, told as plain data, known by their content."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer

from gcesbi.errors import InputError
from gcesbi.io.data import located

__all__ = ["ArrayField", "FileField", "FileOrArrayField", "array_of", "data_of_array", "digest_of", "is_array"]


def _as_array(value: Any) -> NDArray[np.float64]:
    return array_of(value) if is_array(value) else np.array(value, dtype=np.float64)


def data_of_array(values: NDArray[np.float64]) -> dict[str, Any]:
    """An array as plain data, to the last bit."""
    packed = zlib.compress(np.ascontiguousarray(values, dtype="<f8").tobytes(), 1)
    return {"shape": list(values.shape), "data": base64.b64encode(packed).decode()}


def is_array(told: Any) -> bool:
    """Whether plain data are those of an array."""
    return isinstance(told, Mapping) and set(told) == {"shape", "data"}


def array_of(told: Mapping[str, Any]) -> NDArray[np.float64]:
    """The array of plain data."""
    packed = zlib.decompress(base64.b64decode(told["data"]))
    return np.frombuffer(packed, dtype="<f8").reshape(told["shape"]).copy()


def _as_file(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"file: must be a path, got {path!r}")
    return str(Path(path).expanduser())


def _as_file_or_array(value: Any) -> str | NDArray[np.float64]:
    return _as_file(value) if isinstance(value, (str, os.PathLike)) else _as_array(value)


ArrayField = Annotated[Any, BeforeValidator(_as_array), PlainSerializer(data_of_array, return_type=Any)]
"""Numbers given in Python, kept as they are."""


FileField = Annotated[str, BeforeValidator(_as_file)]
"""Path of a file; in TOML relative to the TOML file."""


FileOrArrayField = Annotated[
    Any,
    BeforeValidator(_as_file_or_array),
    PlainSerializer(lambda told: told if isinstance(told, str) else data_of_array(told), return_type=Any),
]
"""Path of a file, or numbers given in Python."""


def digest_of(file: str) -> str:
    """SHA-256 of a file, or of all files of a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    path = Path(file)
    if path.is_dir():
        parts = [f"{each.name}:{digest_of(str(each))}" for each in sorted(path.iterdir()) if each.is_file()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with located(path, "file").open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
