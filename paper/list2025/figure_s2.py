"""Fig. S2: flux fractions of all templates on the real map, method by method."""

from pathlib import Path

from matplotlib.figure import Figure

from gcesbi import plots
from paper.style import label
from paper.view import RunView

NEEDS = ("real_o",)
CAPTION = (
    "Share of every template in the flux of the region, real 573-week map, one energy bin, Model O: networks, "
    "Poisson fit and NPTF, median with 68 % interval. The excess' share by the NPTF is that of its point sources "
    "and its smooth template together."
)
METHODS = {"networks": "networks", "Poisson fit": "poisson", "NPTF": "nptf"}


def draw(real_o: Path) -> Figure:
    """One row a template."""
    view = RunView.open(real_o, "one")
    methods = {name: view.answer(key).summary("flux_fraction") for name, key in METHODS.items()}  # type: ignore[arg-type]
    figure = plots.flux_fractions([label(name) for name in view.names], methods, unit="share of the flux")
    figure.set_size_inches(4.6, 3.2)
    return figure
