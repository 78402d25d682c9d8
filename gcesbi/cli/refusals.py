"""What is refused while a command is read, before anything is imported that takes long.

Callbacks of options: each is given what was typed, and hands it on or raises InputError.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from gcesbi.analysis.keeping import check_free, check_run, exists, package_folder
from gcesbi.analysis.presets import apply_changes, read_preset
from gcesbi.errors import InputError
from gcesbi.io.data import check_known

__all__ = [
    "changes",
    "free",
    "known",
    "mask",
    "named",
    "networks",
    "preset",
    "run",
    "run_unless_shipped",
    "sky",
    "unfinished",
]


def run(folder: Path | None) -> Path | None:
    """A run folder, if any is named."""
    if folder is not None:
        check_run(folder)
    return folder


def named(folder: Path | None) -> Path:
    """A run folder, which must be named."""
    if folder is None:
        raise InputError("run: name a run folder, or give --pretrained")
    check_run(folder)
    return folder


def run_unless_shipped(context: typer.Context, folder: Path | None) -> Path | None:
    """A run folder, unless networks of the package are asked for, whose options must be eager: then it may be new."""
    asked = context.params
    return folder if asked.get("pretrained") or asked.get("networks") else named(folder)


def networks(name: str | None) -> str | None:
    """The name of networks of the package, if any is given."""
    if name is not None:
        package_folder(name)
    return name


def known(argument: str) -> Callable[[Path | None], Path | None]:
    """Callback for a file or folder that exists, or the name of data, which are not fetched yet."""

    def check(path: Path | None) -> Path | None:
        if path is not None:
            check_known(path, argument)
        return path

    return check


def mask(name: str | None) -> str | None:
    """The name of a source mask, if any is given."""
    if name not in (None, "3fgl", "4fgl", "none"):
        raise InputError(f"mask: must be 3fgl, 4fgl or none, got {name!r}")
    return name


def sky(file: Path | None) -> Path | None:
    """A file that exists, if any is named."""
    if file is not None and not file.is_file():
        raise InputError(f"sky: there is no file {str(file)!r}")
    return file


def preset(name: str | None) -> str | None:
    """A preset that can be read, if any is given."""
    if name is not None:
        read_preset(name)
    return name


def changes(told: list[str]) -> list[str]:
    """Changes that read like settings."""
    apply_changes({}, told, None)
    return told


def free(context: typer.Context, folder: Path) -> Path:
    """A folder for a new run; the option to overwrite one must be eager."""
    check_free(folder, overwrite=context.params.get("overwrite", False))
    return folder


def unfinished(context: typer.Context, folder: Path) -> Path:
    """The same, or one with a run that goes on."""
    return folder if exists(folder) else free(context, folder)
