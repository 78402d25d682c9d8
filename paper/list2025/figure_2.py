"""Fig. 2: source counts of the disk, with energies and without, beside the NPTF."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import density, finish
from paper.style import canvas
from paper.view import RunView

NEEDS = ("ten", "real_o")
CAPTION = (
    "Source-count distribution of the disk as F² dN/dF: (a) energy-dependent networks, (b) networks that see one "
    "energy bin, on the real 573-week map with Model O, beside the NPTF (median and 68 % band). Lines as in Fig. 1.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, (a) looks at a mock sky of the "
    "paper's composition (dashed: the sources that were drawn)."
)


def draw(ten: Path, real_o: Path) -> Figure:
    """Two panels of one scale."""
    with_energies, real = RunView.open(ten, "several"), RunView.open(real_o, "one")
    figure, axes = canvas(1, 2, height=2.9, sharey=True)
    density(axes[0, 0], with_energies, "disk", title="disk, with energies")
    density(axes[0, 1], real, "disk", real, "disk, without")
    axes[0, 1].set_ylabel("")
    finish(figure, axes)
    return figure
