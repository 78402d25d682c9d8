"""Fig. S1: spectra of all templates."""

from pathlib import Path

from matplotlib.figure import Figure

from gcesbi import plots
from gcesbi.physics.spectra import e2dnde
from paper.style import label
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Spectra E² dN/dE of all templates on a mock sky in ten energy bins: energy-dependent networks and a Poisson fit "
    "in every bin, median with 68 % interval; steps: the truth."
)
METHODS = {"networks": "networks", "Poisson fit": "poisson"}
SCALE = 1e7


def draw(ten: Path) -> Figure:
    """One panel a template."""
    view = RunView.open(ten, "several")
    found = {name: view.answer(key).summary("spectrum") for name, key in METHODS.items()}  # type: ignore[arg-type]
    methods = {name: {key: SCALE * values for key, values in each.items()} for name, each in found.items()}
    truth = SCALE * e2dnde(view.true("flux"), view.sky["energy_edges"]) if view.is_mock else None
    figure = plots.spectra(
        [label(name) for name in view.names],
        view.sky["energy_edges"],
        methods,
        truth,
        unit="E² dN/dE [10⁻⁷ GeV cm⁻² s⁻¹]",
        solid_angle=view.solid_angle,
    )
    figure.set_size_inches(7.0, 4.6)
    return figure
