"""Fig. S19: a prior that knows bright sources alone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import source_count_grid, views

__all__ = ["CAPTION", "NEEDS", "draw"]

NEEDS = ("real_o", "real_bright")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, Model O, with the nominal prior of the "
    "excess' location, ξ ≥ -13, and with ξ ≥ -11.5. NPTF: median and 68 % band, the same in both columns."
)


def draw(real_o: Path, real_bright: Path) -> Figure:
    """One column a prior."""
    shown = views({"ξ ≥ −13": real_o, "ξ ≥ −11.5": real_bright}, "one")
    return source_count_grid(shown, nptf=dict.fromkeys(shown, shown["ξ ≥ −13"]))
