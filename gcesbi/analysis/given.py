"""An answer that a run has given about its own map, read again while all that it depends on is as it was.

It depends on the run's card, sky, map, weights and gate, on what was asked, and on the library: its source files, and
the versions of those that compute. One digest of them all lies with the answer (``answer.json``); another digest, or a
file of the answer's that is gone, and the question is asked anew. Nothing here takes time to import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["ANSWER", "given_answer", "with_digest"]

ANSWER = "answer.json"
_OF_A_RUN = ("run.json", "sky.toml", "sky_*.npy", "exposure.npz", "observation.fits", "gate.npz", "weights/*")
_LIBRARIES = ("gcesbi", "torch", "numpy", "scipy", "numba")
_SOURCES = ("gcesbi", "gcesbi.baselines", "gcesbi.validation")


def with_digest(folder: Path, asked: Mapping[str, Any], written: Sequence[str], answer: Mapping[str, Any]) -> Any:
    """What to keep as :data:`ANSWER`: an answer to what was asked, of which files are `written` too, by their names."""
    return {"of": _digest(folder, asked), "files": list(written), "answer": dict(answer)}


def given_answer(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer that lies in a folder; None if there is none, it is damaged or of anything else, or files are gone."""
    try:
        kept = json.loads((folder / ANSWER).read_bytes())
        whole = all((folder / name).is_file() for name in kept["files"])
        return dict(kept["answer"]) if whole and kept["of"] == _digest(folder, asked) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _digest(folder: Path, asked: Mapping[str, Any]) -> str:
    """Of all that an answer depends on."""
    found = hashlib.sha256(json.dumps([asked, [version(name) for name in _LIBRARIES]], sort_keys=True).encode())
    for name in _SOURCES:
        spec = find_spec(name)
        for path in sorted(Path(str(spec and spec.origin)).parent.rglob("*.py")):
            found.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    for pattern in _OF_A_RUN:
        for path in sorted(folder.glob(pattern)):
            found.update(f"{path.name} {path.stat().st_size}\n".encode())
            found.update(path.read_bytes())
    return found.hexdigest()
