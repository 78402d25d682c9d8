"""Whose a run folder is: which files runs write, so that no other is ever removed, and who writes there now.

A folder is a run's by its marker, a ``run.json`` with the settings of a run. It is replaced only if every file in it
has a name that runs give to files; so is a run whose making was stopped, which its card says, and nobody need ask for
that. It has one writer: while a process writes it holds the lock ``run.lock``, which the system takes back when the
process ends, however it ends; ``run.writer`` names the process. What processes left half-written that are gone is swept
away by the next writer. Runs that ship with the package lie on its shelf, which nobody writes.

Nothing here imports what takes long before a folder is overwritten, so that a command can ask first.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gcesbi.errors import InputError
from gcesbi.io.files import read_json, sweep, write_text

__all__ = [
    "CARD",
    "UNFINISHED",
    "check_free",
    "check_run",
    "clear",
    "exists",
    "is_free",
    "only_writer",
    "package_folder",
    "package_shelf",
    "shipped_names",
]

CARD = "run.json"
UNFINISHED = "unfinished"
"""Entry of a card, true until all that a new run is made of is written."""
_LOCK, _WRITER = "run.lock", "run.writer"
_PAGES = "validation|mismodel|misspecification|injection|comparison"
_METHODS = r"poisson|nptf|nptf-model-priors|networks|networks-in-rounds|\w+-networks(-refused)?|npe|fmpe"
_ROUNDS = r"(maps/[0-9a-f]{12}/)?rounds"
_PARTIAL = re.compile(r"(?P<folder>(.*/)?)\.[0-9a-f]{8}@[^/]*\.partial\.(?P<name>[^/]+)")


@cache
def _ours() -> re.Pattern[str]:
    """What runs write, by its path in the folder."""
    from gcesbi.estimators.store import KINDS
    from gcesbi.evaluation.images import ALL_NETWORKS

    networks = "|".join(sorted({*KINDS, *ALL_NETWORKS, "poisson_fraction"}))
    return re.compile(
        rf"{_ROUNDS}(/\d+)?|({_ROUNDS}/\d+/)?(run\.(json|lock|writer)|observation\.fits|sky\.(npz|toml)|sky_\d+\.npy|exposure\.npz|(results|inference|infer)\.json|(report|infer)\.html"
        rf"|gate\.(npz|json)|poisson\.(json|html)|nptf(-model-priors|-no-sources)?\.checkpoint\.h5|(errors|errors_testing|baselines|held_out|learning|evaluation|template_fits)\.json"
        rf"|({_PAGES})\.(html|json)"
        rf"|weights(/({networks})\.(safetensors|json|csv|checkpoint(\.head)?))?"
        rf"|(maps/[0-9a-f]{{12}}/)?posteriors(/({_METHODS})\.(nc|json))?"
        r"|maps(/[0-9a-f]{12}(/(observation\.fits|gate\.json|infer\.(html|json)|inference\.json))?)?"
        r"|simulations(/[\w.+-]+-(fixed|free))?(/(store\.json|\d{5,}\.zip))?)"
    )


def _card(folder: Path) -> dict[str, Any]:
    """The card of the run that a folder holds, or nothing."""
    try:
        card = read_json(folder / CARD)
    except InputError:
        return {}
    return card if "version" in card and isinstance(card.get("settings"), dict) else {}


def is_free(folder: Path) -> bool:
    """Whether a folder is to be had: it is not there, nothing of anybody's is in it, or a run that was not finished."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    begun = all(_whole(path.name) in (_LOCK, _WRITER) or _is_half(path) for path in folder.iterdir())
    return begun or (_card(folder).get(UNFINISHED) is True and not _strangers(folder))


def _is_half(path: Path) -> bool:
    """Whether this is a card of which half was written."""
    return path.name != CARD and _whole(path.name) == CARD


def _strangers(folder: Path) -> list[str]:
    """Files and folders in a folder that no run writes, by their paths in it."""
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")))
    return [name for name in found if not _ours().fullmatch(_whole(name))]


def exists(folder: str | Path) -> bool:
    """Whether a folder holds a run that was made to its end, or at least its card."""
    return (Path(folder) / CARD).is_file() and not is_free(Path(folder))


def check_run(folder: str | Path) -> None:
    """Raise InputError unless a folder is a run's."""
    if not (Path(folder) / CARD).is_file():
        raise InputError(f"run: {str(folder)!r} is no run folder (it holds no {CARD})")


def check_free(folder: str | Path, *, overwrite: bool = False) -> None:
    """Raise InputError unless a run may be made in `folder`; call it before long work."""
    folder = Path(folder)
    if is_free(folder):
        return
    if not overwrite:
        raise InputError(f"out: {str(folder)!r} exists; choose another folder or give --overwrite")
    _check_ours(folder)


def _check_ours(folder: Path) -> None:
    """Raise InputError unless a folder is a run's, and holds nothing else."""
    if not _card(folder):
        raise InputError(f"out: {str(folder)!r} is no run folder, and is not overwritten")
    if others := _strangers(folder):
        named = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise InputError(f"out: {str(folder)!r} holds what no run wrote, and is not overwritten: {named}")


def clear(folder: Path) -> None:
    """Remove what a run wrote, but for the lock; raise InputError, and keep all, if there is anything else."""
    if not is_free(folder):
        _check_ours(folder)
    for path in sorted(folder.rglob("*"), key=lambda path: (path == folder / CARD, -len(path.parts))):  # the card last
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        elif path.name not in (_LOCK, _WRITER):
            path.unlink()


def _whole(name: str) -> str:
    """The name that a half-written file would have had."""
    partial = _PARTIAL.fullmatch(name)
    return name if partial is None else partial["folder"] + partial["name"]


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the one process that writes a run folder; this process may enter again.

    Where no lock can be had (a folder that cannot be written, a file system without locks) nobody is kept out.

    Raises
    ------
    InputError
        If another process writes it, which is named.
    """
    lock = FileLock(folder.resolve() / _LOCK, timeout=0, is_singleton=True, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        held = f"run: {str(folder)!r} is being written by {_writer(folder)}"
        raise InputError(f"{held}; wait until it has ended") from None
    except (OSError, NotImplementedError):
        yield
        return
    try:
        if lock.lock_counter == 1:
            for place, _, _ in os.walk(folder):
                sweep(Path(place))
            with suppress(InputError):
                write_text(folder / _WRITER, f"process {os.getpid()} on {socket.gethostname()} ({_command()})\n")
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):
                (folder / _WRITER).unlink(missing_ok=True)
        lock.release()


def _writer(folder: Path) -> str:
    try:
        return (folder / _WRITER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return "another process"


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])


def package_shelf() -> Path:
    """Where the runs lie that ship with the package."""
    return Path(str(files("gcesbi") / "pretrained")).resolve()


def shipped_names() -> list[str]:
    """Runs that ship with the package."""
    return sorted(folder.name for folder in package_shelf().iterdir() if (folder / "run.json").is_file())


def package_folder(name: str) -> Path:
    """Where a run lies that ships with the package. InputError for other names."""
    shelf = package_shelf()
    there = sorted(each.name for each in shelf.iterdir())
    if name not in there:
        raise InputError(f"networks: must be one of {', '.join(there)}, got {name!r}")
    return shelf / name
