"""Fig. S18: spectra by networks that were trained on jittered spectra."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.panels import bare_legend, spectra, views
from paper.style import canvas, letters

NEEDS = ("ten", "jitter")
CAPTION = (
    "Spectra E² dN/dE of all components on one map, (a) by the nominal networks, (b) by networks trained on maps "
    "whose spectra scatter by 50 % in every energy bin about the skew normals: median and 68 % band; points: Poisson "
    "fit. Dashed: the truth of a mock.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, a mock sky of its composition is "
    "looked at."
)


def draw(ten: Path, jitter: Path) -> Figure:
    """Two panels of spectra of one scale."""
    figure, axes = canvas(1, 2, height=3.0, sharey=True)
    shown = views({"nominal": ten, "jittered spectra": jitter}, "several")
    for panel, (name, view) in zip(axes[0], shown.items(), strict=True):
        spectra(panel, view, name)
    axes[0, 1].set_ylabel("")
    bare_legend(axes[0, 0], "lower left", fontsize="x-small")
    letters(axes)
    return figure
