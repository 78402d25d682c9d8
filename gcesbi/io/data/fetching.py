"""Data on this machine: where they lie, whether they are what they should be, and downloads of what is missing.

Data lie in ``$GCESBI_DATA``, else in the platform's cache folder, each in the folder of its name. ``$GCESBI_DATA_URL``
is the address of a mirror that serves such a folder; it takes the place of the sources that the registry knows.

A file that is there is used if its check is right, and is never replaced. One that is downloaded is checked before it
gets its name, so that whoever looks sees all of it or nothing, and processes that fetch at a time do no harm.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

from tqdm import tqdm

from gcesbi.errors import InputError, nearest
from gcesbi.io.data.registry import DataEntry, DataFile, describe, names
from gcesbi.io.files import reason, sweep, unwritten, write_atomically

__all__ = ["check_known", "fetch", "located", "where"]


def where(name: str) -> Path:
    """Folder of data, whether they are there or not.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    given = os.environ.get("GCESBI_DATA")
    return (Path(given).expanduser() if given else _cache()) / describe(name).name


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("gcesbi"))


def fetch(name: str, *, url: str | None = None, progress: bool = True) -> Path:
    """Check the files of data that are there, and download those that are not.

    Parameters
    ----------
    name : str
        Of data (:func:`names`), or of one file of theirs, "catalogs/gll_psc_v27.fit.gz", say.
    url : str, optional
        Address of a mirror: files are looked for at URL/NAME/FILE. By default ``$GCESBI_DATA_URL``, and without it the
        sources that the registry knows.
    progress : bool
        Show a bar for every download, on a terminal.

    Returns
    -------
    Path
        The folder, or the file.

    Raises
    ------
    InputError
        If the name is unknown; a file that is there has other content (it is named, and left alone); one that is
        missing cannot be had (the message says what to put where); or the folder cannot be written.
    """
    data, _, file = name.partition("/")
    entry, folder = describe(data), where(data)
    wanted = (entry.file(file),) if file else entry.files
    missing = [each for each in wanted if not _is_there(folder / each.name, each, data)]
    if missing:
        _download(entry, folder, missing, url, progress)
    return folder / file


def located(path: str | os.PathLike[str], argument: str = "path") -> Path:
    """A path that exists; else what a data name stands for, NAME or NAME/FILE, fetched if need be.

    Raises
    ------
    InputError
        If it is neither, or as :func:`fetch`.
    """
    check_known(path, argument)
    found = Path(path)
    return found if _stands(found) else fetch(found.as_posix())


def check_known(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Raise InputError unless a path exists, or is the name of data or of a file of theirs; nothing is fetched."""
    found = Path(path)
    if _stands(found) or (found.parts and found.parts[0] in names()):
        return
    hint = "" if found.parent.parts else f", or the name of data ({nearest(found.name, names())})"
    place = "" if found.is_absolute() else f" in {str(Path.cwd())!r}"
    raise InputError(f"{argument}: must be an existing file or folder, got {str(found)!r}{place}{hint}")


def _stands(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - the path's own method raises where a name is too long


def _is_there(path: Path, file: DataFile, name: str) -> bool:
    """Whether a file is there; InputError if it is another."""
    try:
        state = path.stat()
        found = _digest(path, file, state.st_size, state.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"data {name}: {path} cannot be read ({reason(error)})") from None
    if found != file.digest:
        raise InputError(
            f"data {name}: {path} is not the file meant, it is damaged or another ({_told(file)}, got {found}); "
            f"move it away and run `gcesbi data fetch {name}`"
        )
    return True


@lru_cache(maxsize=256)
def _digest(path: Path, file: DataFile, size: int, changed: int) -> str:
    """Digest of a file, which is read again when its size or time has changed."""
    return file.digest_of(path)


def _told(file: DataFile) -> str:
    return f"{'SHA-256' if file.algorithm == 'sha256' else 'git blob SHA-1'} must be {file.digest}"


class _Refused(Exception):
    """Why a file cannot be had."""


def _download(entry: DataEntry, folder: Path, files: Sequence[DataFile], url: str | None, progress: bool) -> None:
    mirror = url or os.environ.get("GCESBI_DATA_URL")
    addresses = (f"{mirror.rstrip('/')}/{entry.name}",) if mirror else entry.addresses
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(str(folder), error) from None
    sweep(folder)
    left = list(files)
    try:
        while left:
            get = partial(_get_from, addresses, left[0], progress)
            write_atomically(folder / left[0].name, get, overwrite=True)
            left.pop(0)
    except _Refused as error:
        more = f" and {len(left) - 1} more (`gcesbi data list {entry.name}`)" if len(left) > 1 else ""
        raise InputError(
            f"data {entry.name}: {left[0].name} cannot be downloaded ({error}); put it{more}, from {entry.source}, "
            f"into {folder}, or name a mirror by GCESBI_DATA_URL"
        ) from None
    finally:
        if made and left:
            with suppress(OSError):  # it holds what came before
                folder.rmdir()


def _get_from(addresses: Sequence[str], file: DataFile, progress: bool, target: Path) -> None:
    """Download a file from the first address that gives it."""
    failures = []
    for address in addresses:
        try:
            return _get(f"{address}/{file.name}", target, file, progress)
        except _Refused as error:
            failures.append(f"{address}/{file.name}: {error}")
    raise _Refused("; ".join(failures))


def _get(address: str, target: Path, file: DataFile, progress: bool) -> None:
    import pooch
    import requests

    with tqdm(
        desc=file.name,
        total=file.size or 1,  # until the server tells
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None if progress else True,
    ) as bar:
        try:
            headers = {"Accept-Encoding": "identity"}  # the bytes as they are
            pooch.HTTPDownloader(progressbar=bar, chunk_size=2**18, headers=headers)(address, str(target), None)
        except requests.Timeout:
            raise _Refused("no answer in time") from None
        except requests.ConnectionError:
            raise _Refused("no connection") from None
        except requests.exceptions.ChunkedEncodingError:
            raise _Refused("cut short") from None
        except requests.RequestException as error:
            told = error.response
            raise _Refused(str(error) if told is None else f"{told.status_code} {told.reason}") from None
    found = file.digest_of(target)
    if found != file.digest:
        raise _Refused(f"not the file meant, {_told(file)}, got {found}")
