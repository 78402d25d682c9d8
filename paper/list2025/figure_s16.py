"""Fig. S16: the same map with energies and without."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import source_count_grid, views

__all__ = ["CAPTION", "NEEDS", "draw"]

NEEDS = ("ten", "summed")
CAPTION = (
    "Source counts of excess and disk on one mock map, by networks that see ten energy bins (left) and by their "
    "twins that see the sum (right). Dashed: the sources that were drawn."
)


def draw(ten: Path, summed: Path) -> Figure:
    """One column a network."""
    return source_count_grid(views({"with energies": ten, "without": summed}, "several"))
