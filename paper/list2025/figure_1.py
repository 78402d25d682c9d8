"""Fig. 1: spectra with energies, and source counts of the excess with energies and without, beside two NPTFs."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import density, finish, spectra
from paper.style import canvas
from paper.view import RunView

NEEDS = ("ten", "real_o", "p6v11")
CAPTION = (
    "(a) Spectra of all components: energy-dependent networks (median and 68 % band) and a Poisson fit in every bin "
    "(points). (b) Source-count distribution of the excess as F² dN/dF by the same networks. (c) The same by "
    "networks that see one energy bin, on the real 573-week map with Model O, with two NPTFs (median and 68 % band): "
    "one with two breaks, and NPTF (2016) on p6v11 with one break and log-flat amplitudes. One line a quantile "
    "level, 5 % to 95 %, dark the dimmest; black the median. Dotted: one expected photon. Grey: threshold of the "
    "3FGL catalogue. A gap in a line: the CDF of that level does not rise there. Dashed: the truth of a mock.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, (a) and (b) look at a mock sky "
    "of the paper's composition, and the comparison with (c) is between two maps."
)


def draw(ten: Path, real_o: Path, p6v11: Path) -> Figure:
    """Spectra, and two panels of source counts of one scale."""
    with_energies, real, early = (
        RunView.open(folder, kind)  # type: ignore[arg-type]
        for folder, kind in ((ten, "several"), (real_o, "one"), (p6v11, None))
    )
    figure, axes = canvas(1, 3, height=2.9)
    spectra(axes[0, 0], with_energies, "spectra")
    density(axes[0, 1], with_energies, "gce", title="with energies")
    density(axes[0, 2], real, "gce", {"NPTF (68 %)": real, "NPTF (2016)": early}, "without")
    axes[0, 2].set(ylim=axes[0, 1].get_ylim(), ylabel="")
    finish(figure, axes)
    return figure
