"""Fig. S5: coverage of the source counts on held-out maps."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import coverage_of, draw_curves
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Coverage of the source counts on held-out maps, energy-dependent networks: share of true CDF values inside the "
    "central interval of level α, over pairs of map and flux bin whose CDF is neither 0 nor 1. Shaded: 95 % band that "
    "finitely many maps leave. Pointwise in bins, not of whole curves."
)


def draw(ten: Path) -> Figure:
    """Excess and disk."""
    view = RunView.open(ten, "several")
    stored = view.arrays("evaluation")
    figure, axes = canvas(1, 2, height=3.2)
    for panel, name in zip(axes[0], ("gce", "disk"), strict=True):
        draw_curves(panel, {"networks": coverage_of(stored, f"source counts/{name}")}, label(name))
        panel.legend(loc="upper left")
    letters(axes)
    return figure
