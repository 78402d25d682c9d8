"""Fig. S11: source counts on the real map with interstellar Models O and A."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import source_count_grid, views

__all__ = ["CAPTION", "NEEDS", "draw"]

NEEDS = ("real_o", "real_a")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, with interstellar Models O and A: "
    "networks trained on each, and the NPTF with each (median and 68 % band)."
)


def draw(real_o: Path, real_a: Path) -> Figure:
    """One column a model."""
    shown = views({"Model O": real_o, "Model A": real_a}, "one")
    return source_count_grid(shown, nptf=shown)
