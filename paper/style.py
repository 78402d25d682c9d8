"""The look of all figures: one style sheet, two widths, lettered panels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import write_atomically

__all__ = ["LARGEST", "canvas", "label", "letters", "save", "styled"]

STYLE = Path(__file__).with_name("paper.mplstyle")
WIDTHS = {"single": 3.4, "double": 7.0}  # inches: one column of a journal, and both
LARGEST = 1_000_000
"""Bytes that a figure's file may have."""
LABELS = {
    "pi": "π⁰ + bremsstrahlung",
    "ic": "inverse Compton",
    "iso": "isotropic",
    "bub": "Fermi bubbles",
    "gce": "excess",
    "disk": "disk",
}


def label(name: str) -> str:
    """What a component of the built-in sky is called in a figure; the name of any other."""
    return LABELS.get(name, name)


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save within it: the style sheet over matplotlib's own defaults, whatever the user's are."""
    with context(["default", str(STYLE)], after_reset=True):
        yield


def canvas(
    rows: int = 1, columns: int = 1, width: Literal["single", "double"] = "double", height: float = 2.6, **options: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """Figure and its panels (rows, columns); `height` is that of a row, inches, `options` go to ``subplots``."""
    figure = Figure(figsize=(WIDTHS[width], height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def letters(axes: NDArray[np.object_]) -> None:
    """Name panels (a), (b), ... in reading order, above their upper left corner."""
    panels: list[Axes] = axes.ravel().tolist()
    for letter, panel in zip("abcdefghijklmnop", panels, strict=False):
        panel.set_title(f"({letter})", loc="left", fontweight="bold")


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.pdf`` and ``stem.png``; a figure that is drawn anew gives the same bytes.

    Raises
    ------
    InputError
        If a file is larger than :data:`LARGEST`.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = stem.with_name(f"{stem.name}.pdf"), stem.with_name(f"{stem.name}.png")
    dateless: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {}}
    for path in paths:
        kind = path.suffix[1:]

        def write(target: Path, kind: str = kind) -> None:
            figure.savefig(target, format=kind, metadata=dateless[kind])

        write_atomically(path, write, overwrite=True)
        if path.stat().st_size > LARGEST:
            raise InputError(f"figure {path}: must have at most {LARGEST} bytes, has {path.stat().st_size}")
    return paths
