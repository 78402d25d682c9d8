"""Where files of a store lie: a local folder, or any URL that fsspec knows. Files are written whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import fsspec

from gcesbi.errors import InputError
from gcesbi.io.files import reason, sweep, unwritten, write_atomically

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """A folder.

    On a local disk a file is written whole or not at all; elsewhere it is put as one object.

    Parameters
    ----------
    url : str
        An absolute path, or a URL such as ``s3://bucket/maps`` (credentials come from the environment, as fsspec reads
        them).
    """

    url: str

    @classmethod
    def at(cls, where: str | Path) -> Place:
        """The place that a path or URL names.

        Raises
        ------
        InputError
            If fsspec does not know the protocol, or its package is not installed.
        """
        text = str(where).removeprefix("file://")
        if "://" not in text:
            return cls(str(Path(text).absolute()))
        place = cls(text.rstrip("/"))
        try:
            place._remote  # noqa: B018
        except (ValueError, ImportError) as error:
            raise InputError(f"store: {text!r} cannot be opened ({' '.join(str(error).split())})") from None
        return place

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return "://" not in self.url

    @property
    def is_private(self) -> bool:
        """Whether no other process can see it."""
        return self.url.startswith("memory://")

    @property
    def room(self) -> int | None:
        """Bytes that are free on the disk; None where that is not known."""
        if not self.is_local:
            return None
        there = next(folder for folder in (Path(self.url), *Path(self.url).parents) if folder.exists())
        return shutil.disk_usage(there).free

    def names(self) -> set[str]:
        """Names of the files that are there."""
        try:
            if self.is_local:
                return {path.name for path in Path(self.url).iterdir()}
            files, path = self._remote
            files.invalidate_cache(path)
            return {str(each).rstrip("/").rpartition("/")[2] for each in files.ls(path, detail=False)}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise InputError(f"store: {self.url!r} cannot be listed ({reason(error)})") from None

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        InputError
            If it cannot be read.
        """
        try:
            if self.is_local:
                return Path(self.url, name).read_bytes()
            files, path = self._remote
            return bytes(files.cat_file(f"{path}/{name}"))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{self.url}/{name}: cannot be read ({reason(error)})") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that is there.

        Raises
        ------
        InputError
            If the disk is full or refuses for another reason; files that were there are untouched.
        """
        try:
            if self.is_local:
                Path(self.url).mkdir(parents=True, exist_ok=True)
                write_atomically(Path(self.url, name), lambda partial: partial.write_bytes(data), overwrite=True)
            else:
                files, path = self._remote
                files.makedirs(path, exist_ok=True)
                files.pipe_file(f"{path}/{name}", data)
        except OSError as error:
            raise unwritten(f"{self.url}/{name}", error) from None

    def sweep(self) -> None:
        """Remove half-written files of a local folder whose writer is gone (:func:`gcesbi.io.files.sweep`)."""
        if self.is_local:
            sweep(Path(self.url))

    @cached_property
    def _remote(self) -> tuple[fsspec.AbstractFileSystem, str]:
        files, path = fsspec.core.url_to_fs(self.url)
        return files, str(path)
