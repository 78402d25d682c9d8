"""Fig. S12: spectra on maps of skies that the networks were not trained for."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.list2025.figure_s13 import misspecified

NEEDS = ("skies",)
CAPTION = (
    "Spectra where maps are drawn with interstellar Models A and F of the data folder, a thick disk (1 kpc) or an "
    "NFW of slope 1, and the energy-dependent networks know the nominal sky alone. Left: coverage of the flux "
    "fractions in every energy bin (below the nominal line: error bars too narrow for a wrong sky; shaded: 95 % band "
    "of the nominal line). Right: width of the 68 % interval, median and central 68 % over maps and bins. Upper row: "
    "excess, lower row: disk.\n\n"
    "Differs from the paper's figure: networks of the built-in sky meet the folder's maps, which are those of one "
    "bin, in place of its interstellar templates in all bins, and Model O among them; its own nominal sky is Model "
    "O."
)


def draw(skies: Path) -> Figure:
    """Coverage and sharpness."""
    return misspecified(skies, "spectrum", "width of the 68 % interval of the flux fraction")
