"""Fig. S12: coverage of the source counts on maps of skies that the networks were not trained for."""

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from gcesbi.simulation.sky_settings import INTERSTELLAR
from paper.panels import coverage_of, draw_curves, shared_legend
from paper.style import canvas, label, letters
from paper.view import RunView

NEEDS = ("ten",)
CAPTION = (
    "Coverage of the source counts where maps are drawn with another interstellar model (source distribution of "
    "cosmic rays, halo height in kpc, spin temperature in K), a thick disk or an NFW of slope 1, and the networks "
    "know the nominal sky alone. Lines below that of the nominal sky, whose band is shaded: error bars too "
    "narrow for a wrong sky."
)


def skies(view: RunView) -> list[str]:
    """Names of the skies, the nominal one first."""
    return list(view.json("misspecification.json")["skies"])


def title_of(sky: str) -> str:
    """What a sky is called: cosmic-ray sources, height of the halo and spin temperature of an interstellar model."""
    name = sky.removeprefix("interstellar ")
    if name not in INTERSTELLAR:
        return sky
    sources, height, temperature = INTERSTELLAR[name]
    spin = "10⁵" if temperature == 1e5 else f"{temperature:g}"
    return f"{sources if sources != 'snr' else 'SNR'}, {height:g} kpc, {spin} K".replace("lorimer", "Lorimer")


def draw(ten: Path) -> Figure:
    """Excess and disk, a line a sky."""
    view = RunView.open(ten, "several")
    stored = view.arrays("misspecification")
    figure, axes = canvas(1, 2, height=3.9)
    for panel, name in zip(axes[0], ("gce", "disk"), strict=True):
        curves = {title_of(sky): coverage_of(stored, f"{sky}/source counts/{name}") for sky in skies(view)}
        nominal, *others = curves
        bare = {sky: replace(curves[sky], low=curves[sky].coverage, high=curves[sky].coverage) for sky in others}
        draw_curves(panel, {nominal: curves[nominal], **bare}, label(name))
    letters(axes)
    shared_legend(figure, axes, 3)
    return figure
