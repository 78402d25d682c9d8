"""Fig. S17: the same sky observed for 567 and for 812 weeks."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import source_count_grid, views

__all__ = ["CAPTION", "NEEDS", "draw"]

NEEDS = ("weeks_567", "weeks_812")
CAPTION = (
    "Source counts of excess and disk on mock maps of one composition observed for 567 and for 812 weeks, each by "
    "energy-dependent networks trained at its exposure. The sources of the two maps are drawn independently "
    "(dashed). The flux of one photon (dotted) falls with exposure."
)


def draw(weeks_567: Path, weeks_812: Path) -> Figure:
    """One column an exposure."""
    return source_count_grid(views({"567 weeks": weeks_567, "812 weeks": weeks_812}, "several"))
