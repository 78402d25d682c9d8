"""Fig. S20: an excess of two populations and of one."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import source_count_grid, views

__all__ = ["CAPTION", "NEEDS", "draw"]

NEEDS = ("real_o", "real_single")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, Model O, where the prior lets the "
    "excess be two populations, and where it is one. NPTF: median and 68 % band, the same in both columns."
)


def draw(real_o: Path, real_single: Path) -> Figure:
    """One column a prior."""
    shown = views({"two populations": real_o, "one population": real_single}, "one")
    return source_count_grid(shown, nptf=dict.fromkeys(shown, shown["two populations"]))
