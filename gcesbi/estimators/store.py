"""Estimators on disk: weights as safetensors, all else as JSON beside them. No pickle.

``name.safetensors`` holds the tensors, the region's pixels and the exposure; ``name.json`` the kind, the network's
sizes, the model's fingerprint, the library's version, what the caller adds (seed, history, validation figures), and the
digest of the tensors, by which a truncated or exchanged file is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.torch import load, save

from gcesbi.errors import InputError
from gcesbi.estimators.base import Estimator, NetworkSettings, digest
from gcesbi.estimators.checkpoint import differences
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.estimators.spectra import SpectralEstimator
from gcesbi.sky.region import Region

__all__ = ["load_estimator", "read_notes", "save_estimator"]

_KINDS: dict[str, type[Estimator]] = {kind.kind: kind for kind in (SpectralEstimator, SourceCountEstimator)}
_OPTIONS = ("n_bin", "n_level", "tail_weight")


def save_estimator(estimator: Estimator, path: str | Path, notes: Mapping[str, Any] | None = None) -> Path:
    """Write ``path.safetensors`` and ``path.json``; returns the former.

    Parameters
    ----------
    path : path
        Without suffix, or with ``.safetensors``.
    notes : mapping, optional
        JSON-ready: seed, training history, validation figures.
    """
    weights, card = _paths(path)
    tensors = {f"weights/{name}": value.contiguous() for name, value in estimator.state_dict().items()}
    tensors["pixels"] = torch.from_numpy(estimator.region.pixels.copy())
    tensors["exposure"] = torch.from_numpy(estimator.exposure)
    data = save(tensors)
    text = {
        "version": version("gcesbi"),
        "digest": hashlib.sha256(data).hexdigest(),
        "identity": estimator.identity(),
        "notes": dict(notes or {}),
    }
    weights.parent.mkdir(parents=True, exist_ok=True)
    _replace(weights, data)
    _replace(card, (json.dumps(text, indent=1) + "\n").encode())
    return weights


def load_estimator(
    path: str | Path,
    *,
    region: Region | None = None,
    exposure: ArrayLike | None = None,
    names: tuple[str, ...] | None = None,
    fingerprint: str | None = None,
) -> Estimator:
    """Read an estimator, ready to predict.

    Parameters
    ----------
    path : path
        As given to :func:`save_estimator`.
    region, exposure, names, fingerprint : optional
        What the caller means to use it with; each that is given must be the stored one.

    Raises
    ------
    InputError
        If a file is missing, truncated, or from another version of the library (first two numbers), or if anything
        given differs from what is stored: names what differs.
    """
    weights, card = _paths(path)
    stored, data = _read_card(card), _read_bytes(weights)
    if hashlib.sha256(data).hexdigest() != stored["digest"]:
        raise InputError(f"weights {weights}: must be the whole file that {card.name} describes; truncated or changed")
    tensors = load(data)
    own_region = Region(int(stored["identity"]["nside"]), tensors.pop("pixels").numpy())
    estimator = _empty(stored["identity"], own_region, tensors.pop("exposure").numpy())
    wanted = _wanted(estimator, region, exposure, names, fingerprint)
    if unlike := differences(stored["identity"], wanted):
        raise InputError(f"weights {weights}: made for another model; {'; '.join(unlike)}")
    estimator.load_state_dict({name.removeprefix("weights/"): value for name, value in tensors.items()})
    return estimator.eval()


def read_notes(path: str | Path) -> dict[str, Any]:
    """What the caller of :func:`save_estimator` noted."""
    return dict(_read_card(_paths(path)[1])["notes"])


def _empty(identity: dict[str, Any], region: Region, exposure: ArrayLike) -> Estimator:
    kind = _KINDS[identity["kind"]]
    options = {name: identity[name] for name in _OPTIONS if name in identity}
    network = NetworkSettings(**identity["network"])
    return kind(region, exposure, identity["names"], network=network, fingerprint=identity["fingerprint"], **options)


def _wanted(
    estimator: Estimator,
    region: Region | None,
    exposure: ArrayLike | None,
    names: tuple[str, ...] | None,
    fingerprint: str | None,
) -> dict[str, Any]:
    """Identity of the estimator that the caller's own region, exposure, names and fingerprint would have."""
    identity = estimator.identity()
    if region is not None:
        identity |= {"nside": region.nside, "n_pix": region.n_pix, "pixels": digest(region.pixels)}
    if exposure is not None:
        exposure = np.atleast_2d(np.asarray(exposure, dtype=np.float64))
        identity |= {"n_energy": len(exposure), "exposure": digest(exposure.astype(np.float32))}
    if names is not None:
        identity["names"] = list(names)
    if fingerprint is not None:
        identity["fingerprint"] = fingerprint
    return identity


def _paths(path: str | Path) -> tuple[Path, Path]:
    path = Path(path)
    stem = path.name.removesuffix(".safetensors")
    return path.with_name(f"{stem}.safetensors"), path.with_name(f"{stem}.json")


def _read_card(card: Path) -> dict[str, Any]:
    try:
        stored = json.loads(_read_bytes(card))
        found, here = stored["version"], version("gcesbi")
        kind = stored["identity"]["kind"]
        stored["digest"], stored["notes"]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"estimator {card}: must be the JSON card of an estimator ({error})") from error
    if found.split(".")[:2] != here.split(".")[:2]:
        raise InputError(f"estimator {card}: made by gcesbi {found}, this is gcesbi {here}; train it again")
    if kind not in _KINDS:
        raise InputError(f"estimator {card}: kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    return stored


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"estimator: cannot read {path} ({error.strerror})") from error


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
