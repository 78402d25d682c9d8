"""Estimators on disk: weights as safetensors, all else as JSON beside them. No pickle.

``name.safetensors`` holds the tensors, the region's pixels and the exposure; ``name.json``, its card, the kind, the
network's sizes, the range of exposure that it knows, the settings of the model, the library's version, what the caller
notes (seed, training settings and history, validation figures), and the digest of the tensors, by which a truncated or
exchanged file is known.

A file of another version of the library, that is of other first two numbers, is refused, and so is one made for another
model: what differs is named, setting by setting.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from gcesbi.errors import InputError
from gcesbi.estimators.base import COMMON_IDENTITY, Estimator, NetworkSettings, digest, numbering
from gcesbi.estimators.files import check_version, differences
from gcesbi.estimators.images import ImageEstimator, ImageNpe, ShareEstimator, ShareQuantiles
from gcesbi.estimators.neural_posterior import FmpeEstimator, NpeEstimator
from gcesbi.estimators.shapes import ShapeEstimator
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.estimators.spectra import SpectralEstimator
from gcesbi.io.files import write_bytes
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.rebuild import Recipe
from gcesbi.sky import Grid

__all__ = ["KINDS", "KINDS_OF_MAPS", "add_notes", "load_estimator", "read_notes", "save_estimator"]

KINDS: dict[str, type[Estimator]] = {
    kind.kind: kind
    for kind in (
        SpectralEstimator,
        SourceCountEstimator,
        ShapeEstimator,
        NpeEstimator,
        FmpeEstimator,
        ShareEstimator,
        ShareQuantiles,
        ImageNpe,
    )
}
"""Kinds of estimators, of maps and of images, by the names under which they are stored."""
KINDS_OF_MAPS = {name: kind for name, kind in KINDS.items() if not issubclass(kind, ImageEstimator)}
"""Those that a run on maps of a :class:`gcesbi.SkyModel` may train."""

_RETIRED = {ShareQuantiles.kind: {"n_bin"}}  # what cards of older files say beyond what is said today
_CHECKSUM = "checksum"  # of a card, over all else in it; cards of 0.1.0 had none
_HALF_FROM = 1024  # numbers in a tensor
_HALF_RANGE = (2.0**-14, 65504.0)  # normal numbers of float16
_BYTES_FROM = 2**20  # numbers in a matrix
_ROW_SCALE = "row_scale/"


def save_estimator(
    estimator: Estimator,
    path: str | Path,
    notes: Mapping[str, Any] | None = None,
    *,
    model: SkyModel | None = None,
    half: bool = False,
) -> Path:
    """Write ``path.safetensors`` and ``path.json``; returns the former.

    Parameters
    ----------
    path : path
        Without suffix, or with ``.safetensors``.
    notes : mapping, optional
        JSON-ready: seed, training settings and history, validation figures.
    model : SkyModel, optional
        That the estimator was trained for: its settings are stored, and named where they differ on loading.
    half : bool
        Store large tensors in 16 bits (relative error up to 2⁻¹¹), and matrices of a million numbers and more in 8
        (error up to 1/254 of the row's largest); loading gives 32 bits again.

    Raises
    ------
    InputError
        If the model is not the estimator's.
    """
    if model is not None and model.fingerprint != estimator.fingerprint:
        raise InputError(f"model: must be the estimator's, {estimator.fingerprint!r}, got {model.fingerprint!r}")
    weights, card = _paths(path)
    tensors = {f"weights/{name}": value.contiguous() for name, value in estimator.state_dict().items()}
    tensors["pixels"] = torch.from_numpy(estimator.region.pixels.copy())
    tensors["exposure"] = torch.from_numpy(estimator.exposure)
    if half:
        tensors["exposure"] = tensors["exposure"].float()
        tensors = {name: part for whole in tensors.items() for name, part in _shortened(*whole).items()}
    data = save(tensors)
    text = {
        "version": version("gcesbi"),
        "digest": hashlib.sha256(data).hexdigest(),
        "identity": estimator.identity(),
        "exposure_range": list(estimator.exposure_range),
        "model": None if model is None else Recipe.of(model).to_dict(),
        "notes": dict(notes or {}),
    }
    write_bytes(weights, data)
    _write_card(card, text)
    return weights


def add_notes(path: str | Path, notes: Mapping[str, Any]) -> None:
    """Note more beside stored weights; a note of the same name is replaced.

    Parameters
    ----------
    path : path
        As given to :func:`save_estimator`.
    notes : mapping
        JSON-ready.
    """
    card = _paths(path)[1]
    stored = _read_card(card)
    _write_card(card, stored | {"notes": {**stored["notes"], **notes}})


def load_estimator(
    path: str | Path,
    *,
    model: SkyModel | None = None,
    region: Grid | None = None,
    exposure: ArrayLike | None = None,
    names: tuple[str, ...] | None = None,
    fingerprint: str | None = None,
) -> Estimator:
    """Read an estimator, ready to predict.

    Parameters
    ----------
    path : path
        As given to :func:`save_estimator`.
    model : SkyModel, optional
        Whose maps the caller means to show it; stands for region, exposure and fingerprint.
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
    with _whole(weights):
        tensors = _whole_rows(load(data))
        pixels, own_exposure = tensors.pop("pixels").numpy(), tensors.pop("exposure").double().numpy()
        estimator = _empty(KINDS[stored["identity"]["kind"]], stored["identity"], pixels, own_exposure)
        estimator.load_state_dict({name.removeprefix("weights/"): value for name, value in tensors.items()})
        low, high = stored.get("exposure_range", estimator.exposure_range)
        estimator.exposure_range = float(low), float(high)
    if model is not None:
        region, exposure, fingerprint = model.region, model.exposure, model.fingerprint
    if unlike := _other_settings(stored.get("model"), model):
        raise InputError(f"weights {weights}: made for another model; {'; '.join(unlike)}")
    wanted = _wanted(estimator, region, exposure, names, fingerprint)
    if unlike := differences(stored["identity"], wanted):
        raise InputError(f"weights {weights}: made for another model; {'; '.join(unlike)}")
    return estimator.eval()


def read_notes(path: str | Path) -> dict[str, Any]:
    """What the caller of :func:`save_estimator` noted."""
    return dict(_read_card(_paths(path)[1])["notes"])


@contextmanager
def _whole(weights: Path) -> Iterator[None]:
    """Say in one line what of a card or of weights breaks what builds an estimator from them."""
    try:
        yield
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"weights {weights}: the card beside them is damaged ({told})") from None


def _empty(
    kind: type[Estimator], identity: dict[str, Any], pixels: NDArray[np.int64], exposure: ArrayLike
) -> Estimator:
    """An untrained estimator; what its kind adds to the identity of all estimators are arguments of its own."""
    region, network = kind.stored_region(identity, pixels), kind.network_settings(**identity["network"])
    own = {name: value for name, value in identity.items() if name not in COMMON_IDENTITY}
    return kind(region, exposure, identity["names"], network=network, fingerprint=identity["fingerprint"], **own)


def _other_settings(stored: dict[str, Any] | None, model: SkyModel | None) -> list[str]:
    """Settings in which a model differs from the stored one; where their maps lie does not matter."""
    if stored is None or model is None or stored["fingerprint"] == model.fingerprint:
        return []
    here = Recipe.of(model).to_dict()
    then, now = ({name: value for name, value in each["sky"].items() if name != "path"} for each in (stored, here))
    unlike = differences(then, now, "sky.")
    if not unlike and stored["region"] == here["region"]:
        return ["its settings are the same, its maps or the simulator's law are not"]
    return unlike or ["region: other pixels"]


def _wanted(
    estimator: Estimator,
    region: Grid | None,
    exposure: ArrayLike | None,
    names: tuple[str, ...] | None,
    fingerprint: str | None,
) -> dict[str, Any]:
    """Identity of the estimator that the caller's own region, exposure, names and fingerprint would have."""
    identity = estimator.identity()
    if region is not None:
        identity |= {**numbering(region), "n_pix": region.n_pix, "pixels": digest(region.pixels)}
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
        found, identity = stored["version"], stored["identity"]
        kind = identity["kind"]
        checksum = stored.pop(_CHECKSUM, None)
        stored["digest"], dict(stored["notes"]), dict(identity["network"])
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"estimator {card}: must be the JSON card of an estimator ({error})") from error
    check_version(found, f"estimator {card}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"estimator {card}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if checksum not in (None, _checksum(stored)):
        raise InputError(f"estimator {card}: checksum differs, it was altered")
    stored["identity"] = {name: value for name, value in identity.items() if name not in _RETIRED.get(kind, ())}
    if isinstance(KINDS[kind].network_settings(), NetworkSettings) and "padding" not in identity["network"]:
        with _whole(card):  # of a time when every level had pairs only
            identity["network"]["padding"] = 2 ** len(identity["network"]["widths"])
    return stored


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"estimator: cannot read {path} ({error.strerror})") from error


def _shortened(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """A very large matrix as bytes and the scale of each row; a large tensor in 16 bits; any other as it is.

    That is float16, or bfloat16 if the largest number is out of float16's range.
    """
    if name == "exposure" or not value.is_floating_point() or value.numel() < _HALF_FROM:
        return {name: value}
    if value.ndim == 2 and value.numel() >= _BYTES_FROM:
        scale = value.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(value.dtype).tiny) / 127
        return {name: (value / scale).round().to(torch.int8), _ROW_SCALE + name: scale}
    low, high = _HALF_RANGE
    return {name: value.to(torch.float16 if low <= float(value.abs().max()) <= high else torch.bfloat16)}


def _whole_rows(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices that are stored as bytes and scales of rows, in 32 bits again; all else as it is."""
    scales = {name.removeprefix(_ROW_SCALE): value for name, value in tensors.items() if name.startswith(_ROW_SCALE)}
    kept = {name: value for name, value in tensors.items() if not name.startswith(_ROW_SCALE)}
    return kept | {name: kept[name].float() * scale for name, scale in scales.items()}


def _write_card(card: Path, text: dict[str, Any]) -> None:
    text = {name: value for name, value in text.items() if name != _CHECKSUM}
    write_bytes(card, (json.dumps(text | {_CHECKSUM: _checksum(text)}, indent=1) + "\n").encode())


def _checksum(text: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()
