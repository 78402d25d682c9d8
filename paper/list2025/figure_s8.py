"""Fig. S8: coverage of the spectra on held-out maps."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import coverage_of, draw_curves
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Coverage of the flux fractions of every template in every energy bin on held-out maps, energy-dependent networks: "
    "(a) diffuse templates, (b) point-source templates. Shaded: 95 % band that finitely many maps leave."
)


def draw(ten: Path) -> Figure:
    """Diffuse and point-source templates."""
    view = RunView.open(ten, "several")
    stored = view.arrays("evaluation")
    figure, axes = canvas(1, 2, height=3.2)
    diffuse = [name for name in view.names if name not in view.point_sources]
    for panel, names in zip(axes[0], (diffuse, view.point_sources), strict=True):
        draw_curves(panel, {label(name): coverage_of(stored, f"spectrum/{name}") for name in names})
        panel.legend(loc="upper left")
    letters(axes)
    return figure
