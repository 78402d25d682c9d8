"""Compositions as TOML files: what Python states, in a file that can be kept, sent and changed.

A file may begin with ``include = "other.toml"``: what it says itself then comes in place of what the other says; of
components, those of the same name. Other files that it names are relative to it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from gcesbi.errors import InputError
from gcesbi.io.data import names
from gcesbi.io.files import write_atomically
from gcesbi.simulation.composition import FILES, Composition
from gcesbi.simulation.stated_data import array_of, is_array
from gcesbi.simulation.statement import make_settings

__all__ = ["read_toml", "stated", "write_toml"]


def read_toml(path: str | Path) -> Composition:
    """The composition that a TOML file states.

    Raises
    ------
    InputError
        If the file is missing, is no TOML, includes itself, or states what breaks a rule; the message names it.
    """
    try:
        return make_settings(Composition, stated(path))
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None


def stated(path: str | Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a TOML file states, as plain values, its files where they lie; `changes` come in its place.

    Raises
    ------
    InputError
        If the file is missing, is no TOML, or includes itself.
    """
    return {"kind": "composed"} | _merged(_read(Path(path), ()), dict(changes or {}))


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    here = path.resolve()
    if here in above:
        raise InputError(f"{path}: includes itself, by way of {', '.join(each.name for each in above)}")
    if not here.is_file():
        raise InputError(f"sky: there is no file {str(path)!r}")
    try:
        told = tomllib.loads(here.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML ({error})") from None
    told = _located(told, here.parent)
    include = told.pop("include", None)
    if include is None:
        return told
    if not isinstance(include, str):
        raise InputError(f"{path}: include must be the name of a file, got {include!r}")
    return _merged(_read(here.parent / include, (*above, here)), told)


def _located(told: Any, folder: Path) -> Any:
    """The same, its files relative to where the program runs; what is no file beside it may be the name of data."""
    if isinstance(told, dict):
        return {
            key: _beside(folder, value) if key in FILES and isinstance(value, str) else _located(value, folder)
            for key, value in told.items()
        }
    return [_located(each, folder) for each in told] if isinstance(told, list) else told


def _beside(folder: Path, file: str) -> str:
    path = folder / Path(file).expanduser()
    return file if not path.exists() and Path(file).parts[:1] and Path(file).parts[0] in names() else str(path)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = {**below, **{key: value for key, value in above.items() if key != "components"}}
    own = {each.get("name"): each for each in above.get("components", [])}
    components = [
        {**each, **own.pop(each["name"])} if each.get("name") in own else each for each in below.get("components", [])
    ]
    return found | {"components": [*components, *own.values()]}


def write_toml(sky: Composition, path: str | Path | None = None, *, overwrite: bool = False) -> str:
    """TOML of a composition; written to `path`, arrays in ``.npy`` files beside it, where it is given.

    Raises
    ------
    InputError
        If there are arrays and no path, or a file exists and `overwrite` is false.
    """
    folder = None if path is None else Path(path).resolve().parent
    arrays: dict[str, np.ndarray] = {}
    told = _plain(sky.model_dump(mode="json", exclude_defaults=False), "" if path is None else Path(path).stem, arrays)
    if arrays and folder is None:
        raise InputError("path: must be given, the sky holds arrays that are written beside it")
    text = tomli_w.dumps(_relative(told, folder))
    if path is not None and folder is not None:
        if Path(path).exists() and not overwrite:
            raise InputError(f"path: {str(path)!r} exists, and overwrite is False")
        for name, values in arrays.items():
            write_atomically(folder / name, partial(np.save, arr=values), overwrite=True)
        write_atomically(Path(path), lambda half: half.write_text(text, encoding="utf-8"), overwrite=overwrite)
    return text


def _plain(told: Any, stem: str, arrays: dict[str, np.ndarray]) -> Any:
    """Without what is not said, and arrays as the names of files."""
    if isinstance(told, dict):
        found: dict[str, Any] = {}
        for key, value in told.items():
            if is_array(value):
                values = array_of(value)
                if values.ndim == 0:
                    found[key] = float(values)
                    continue
                name = f"{stem}_{len(arrays) + 1}.npy"
                arrays[name] = values
                found["mask" if key == "mask" else "file"] = name
            elif value is not None:
                found[key] = _plain(value, stem, arrays)
        return found
    return [_plain(each, stem, arrays) for each in told] if isinstance(told, list) else told


def _relative(told: Any, folder: Path | None) -> Any:
    if isinstance(told, dict):
        return {
            key: _from(folder, value) if key in FILES and isinstance(value, str) else _relative(value, folder)
            for key, value in told.items()
        }
    return [_relative(each, folder) for each in told] if isinstance(told, list) else told


def _from(folder: Path | None, file: str) -> str:
    path = Path(file)
    if folder is None or (not path.is_absolute() and not path.exists()):
        return file
    absolute = path.resolve()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)
