"""Reading files that may be broken: sizes are bounded, and whatever is wrong with their bytes is told in one line.

A packed file (gzip) is unpacked in memory, and may hold at most `MAX_UNPACKED` bytes; a plain file is read in place, as
far as it is needed. A map that is taken into memory has at most `MAX_VALUES` numbers.
"""

from __future__ import annotations

import gzip
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from astropy.io.fits import VerifyError
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.data.fetching import located
from gcesbi.io.files import naming

__all__ = ["MAX_UNPACKED", "MAX_VALUES", "check_number", "gunzipped", "load_array", "load_rows", "reading"]

MAX_UNPACKED = 2**29
MAX_VALUES = 2**28
_MAX_TEXT = 2**24
_CHUNK = 2**22

_BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RecursionError),
    *(SyntaxError, TypeError, ValueError, Warning, VerifyError, struct.error, tokenize.TokenError, zlib.error),
)
"""What astropy, NumPy and Python raise of bytes that are not what they should be."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what goes wrong within into an InputError: the file must be `kind`. An InputError gets the file's name.

    Raises
    ------
    InputError
        The error behind it is its cause.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(), naming(path):
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="(?s).*(truncated|non-standard|corrupt|no data).*")
            yield
    except InputError:
        raise
    except _BROKEN as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: must be {kind} ({why[:200]})") from error


@contextmanager
def gunzipped(path: Path) -> Iterator[IO[bytes]]:
    """A plain file, open; a packed one's bytes in memory.

    Raises
    ------
    InputError
        If a packed one holds more than `MAX_UNPACKED` bytes; they are counted before any is kept.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.open(file) as unpacked:
            size = 0
            while chunk := unpacked.read(_CHUNK):
                size += len(chunk)
                if size > MAX_UNPACKED:
                    raise InputError(
                        f"must unpack to at most {MAX_UNPACKED >> 20} MiB, as it is held in memory: unpack it with "
                        "gunzip, a plain file is read in place"
                    )
            unpacked.seek(0)
            content = BytesIO(unpacked.read())
    yield content


def check_number(values: int, what: str) -> None:
    """Raise InputError if so many numbers are more than may be taken into memory."""
    if values > MAX_VALUES:
        raise InputError(f"{what}: must be at most {MAX_VALUES} numbers, got {values}")


def load_array(path: Path) -> NDArray[np.generic]:
    """Load a `.npy` file of plain numbers, never a pickle; it is mapped, not copied.

    Raises
    ------
    InputError
        If the file is missing, is no `.npy` file, or holds no numbers.
    """
    path = located(path, "file")
    with reading(path, "a NumPy file of plain numbers"):
        values = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
            kind = values.dtype if isinstance(values, np.ndarray) else "an archive"
            raise InputError(f"must be a NumPy file of plain real numbers, got {kind}")
        check_number(values.size, "file")
        return values


def load_rows(path: Path, what: str) -> NDArray[np.float64]:
    """Numbers (n_row, n_column) of a text file, lines after # left out; `what` a line must hold, for the message.

    Raises
    ------
    InputError
        If the file is missing, is larger than 16 MiB, or holds anything but lines of equally many numbers.
    """
    path = located(path)
    with reading(path, f"a text file with lines of {what}"):
        if path.stat().st_size > _MAX_TEXT:
            raise InputError(f"must be a text file of at most {_MAX_TEXT >> 20} MiB")
        return np.asarray(np.loadtxt(path, ndmin=2, encoding="utf-8-sig"), dtype=np.float64)
