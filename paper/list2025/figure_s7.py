"""Fig. S7: signed Earth mover's distance of the source counts on held-out maps."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import histograms
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "(a) Signed Earth mover's distance between true and median predicted source counts on held-out maps, in flux "
    "bins: negative where the prediction is too dim. (b) Its unsigned kin, the mean cost of the prediction.\n\n"
    "Differs from the paper's figure: (b) is ours; nside and training are those of this scale."
)


def draw(ten: Path) -> Figure:
    """Signed and unsigned distance."""
    view = RunView.open(ten, "several")
    stored = view.arrays("evaluation")
    figure, axes = canvas(1, 2)
    for panel, key, unit, origin in (
        (axes[0, 0], "semd", "signed Earth mover's distance [flux bins]", 0.0),
        (axes[0, 1], "emd", "Earth mover's distance [flux bins]", None),
    ):
        values = {label(name): stored[f"source counts/{name}/{key}"] for name in ("gce", "disk")}
        histograms(panel, values, unit, origin)
    letters(axes)
    return figure
