"""Presets: TOML files of the package or of a user, and changes to them, ``section.key=value``."""

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from gcesbi.errors import InputError
from gcesbi.io.files import reason

__all__ = ["apply_changes", "preset_names", "read_preset"]


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package."""
    return tuple(sorted(p.name.removesuffix(".toml") for p in files(__name__).iterdir() if p.name.endswith(".toml")))


def read_preset(preset: str) -> dict[str, Any]:
    """Content of a preset of the package, by its name, or of a TOML file, by its path.

    A file of a sky that it names is relative to it.

    Raises
    ------
    InputError
        If there is none, or it is no TOML file.
    """
    known = preset_names()
    path = Path(preset) if preset.endswith(".toml") or preset not in known else files(__name__) / f"{preset}.toml"
    if not path.is_file():
        raise InputError(f"preset: must be one of {', '.join(known)} or a TOML file, got {preset!r}")
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # TOML is UTF-8, whatever the locale is
    except OSError as error:
        raise InputError(f"preset {preset}: cannot be read ({reason(error)})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"preset {preset}: is no TOML file ({error})") from None
    sky = told.get("sky")
    if isinstance(sky, dict) and isinstance(sky.get("file"), str):
        sky["file"] = str(Path(str(path)).parent / Path(sky["file"]).expanduser())
    return told


def apply_changes(values: dict[str, Any], changes: Iterable[str], seed: int | None) -> None:
    """Make changes, each ``"section.key=value"``, to a preset's content; a seed, if given, replaces the preset's.

    A value is as TOML writes it, or a word.

    Raises
    ------
    InputError
        If a change does not read so, or names a key as a section.
    """
    for change in changes:
        _apply_change(values, change)
    if seed is not None:
        values["seed"] = seed


def _apply_change(values: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    if not equals or not key.strip():
        raise InputError(f"set: must read section.key=value, got {change!r}")
    *sections, name = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"set: {section!r} is no section, got {change!r}")
    values[name] = parsed
