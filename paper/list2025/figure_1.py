"""Fig. 1: source counts of the excess, with energies (mock sky) and without (real map), beside the NPTF."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import density, finish
from paper.style import canvas
from paper.view import RunView

NEEDS = ("ten", "real_o")
CAPTION = (
    "Source-count distribution of the excess as F² dN/dF. (a) Energy-dependent networks on a mock sky in ten "
    "energy bins; dashed: the sources that were drawn. (b) Networks that see one energy bin, on the real 573-week "
    "map, with the NPTF's median and 68 % band. One line a quantile level, 5 % to 95 %, dark the dimmest; black "
    "the median. Dotted: one expected photon. Grey: threshold of the 3FGL catalogue. A gap in a line: the CDF of "
    "that level does not rise there."
)


def draw(ten: Path, real_o: Path) -> Figure:
    """Two panels of one scale."""
    mock, real = RunView.open(ten, "several"), RunView.open(real_o, "one")
    figure, axes = canvas(1, 2, height=2.9, sharey=True)
    density(axes[0, 0], mock, "gce", title="with energies, mock sky")
    density(axes[0, 1], real, "gce", nptf=real, title="without, real map")
    axes[0, 1].set_ylabel("")
    finish(figure, axes)
    return figure
