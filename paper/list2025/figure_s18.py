"""Fig. S18: networks that were trained on jittered spectra."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import source_count_grid, views

__all__ = ["CAPTION", "NEEDS", "draw"]

NEEDS = ("ten", "jitter")
CAPTION = (
    "Source counts of excess and disk on one mock map, by the nominal networks (left) and by networks trained on "
    "maps whose spectra scatter by 50 % in every energy bin about the skew normals (right). Dashed: the sources "
    "that were drawn."
)


def draw(ten: Path, jitter: Path) -> Figure:
    """One column a training."""
    return source_count_grid(views({"nominal": ten, "jittered spectra": jitter}, "several"))
