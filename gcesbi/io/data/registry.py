"""Entries of ``registry.toml``: data that have a name, and what each of their files must be."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gcesbi.errors import InputError, nearest

__all__ = ["DataEntry", "DataFile", "describe", "names"]


@dataclass(frozen=True)
class DataFile:
    """A file and its check.

    Parameters
    ----------
    name : str
    algorithm : "sha256" | "git"
        Of the content; or git's SHA-1 of a blob, that of ``blob SIZE``, a zero byte and the content.
    digest : str
        In hexadecimal digits.
    size : int, bytes, optional
    """

    name: str
    algorithm: str
    digest: str
    size: int | None = None

    def digest_of(self, path: Path) -> str:
        """What a file gives in place of :attr:`digest`."""
        start = b"blob %d\0" % path.stat().st_size if self.algorithm == "git" else b""
        make = hashlib.sha1 if self.algorithm == "git" else hashlib.sha256
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: make(start, usedforsecurity=False)).hexdigest()


@dataclass(frozen=True)
class DataEntry:
    """Data that have a name.

    Parameters
    ----------
    name, title : str
    source, licence, citation : str
        Where they come from, in words; under which terms; what to cite.
    addresses : tuple of str
        Each file lies below one of them.
    size : int, bytes
        Of all files; where nobody here has seen them, of the arrays that they are said to hold.
    files : tuple of DataFile
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    addresses: tuple[str, ...]
    size: int
    files: tuple[DataFile, ...]

    def file(self, name: str) -> DataFile:
        """The file of a name.

        Raises
        ------
        InputError
            If there is none.
        """
        known = {file.name: file for file in self.files}
        if name not in known:
            raise InputError(f"data {self.name}: has no file {name!r}; {nearest(name, known)}")
        return known[name]

    def __str__(self) -> str:
        told = {"source": self.source, "licence": self.licence, "cite": self.citation}
        lines = [f"{self.name}: {self.title}", *(f"{key}: {value}" for key, value in told.items())]
        return "\n".join([*lines, f"size: {self.size / 1e6:.1f} MB in {len(self.files)} files"])


def names() -> tuple[str, ...]:
    """Names of all data."""
    return tuple(_entries())


def describe(name: str) -> DataEntry:
    """Source, licence, citation, size and files of data.

    Raises
    ------
    InputError
        If the name is unknown; the nearest is told.
    """
    if name not in _entries():
        raise InputError(f"data: {name!r} is unknown; {nearest(name, _entries())}")
    return _entries()[name]


@cache
def _entries() -> MappingProxyType[str, DataEntry]:
    content = tomllib.loads(files(__package__).joinpath("registry.toml").read_text("utf-8"))
    return MappingProxyType({name: _entry(name, **values) for name, values in content.items()})


def _entry(name: str, files: dict[str, dict[str, Any]], addresses: list[str], **words: Any) -> DataEntry:
    held = tuple(_file(name, **values) for name, values in files.items())
    size = sum(file.size or 0 for file in held)
    return DataEntry(**{"name": name, "size": size, "files": held, "addresses": tuple(addresses), **words})


def _file(name: str, size: int | None = None, **check: str) -> DataFile:
    ((algorithm, digest),) = check.items()
    return DataFile(name, algorithm, digest, size)
