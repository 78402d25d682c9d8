"""Fig. S15: the difference between networks with energies and without, map by map, under Model A and nominally."""

from pathlib import Path

from matplotlib.figure import Figure

from paper.list2025.skies import PAIRED, WITH, WITHOUT, stored_skies
from paper.panels import histograms
from paper.style import canvas, label, letters
from paper.view import Array

NEEDS = ("skies",)
MEASURES = {
    "semd": "difference of the signed distances [flux bins]",
    "emd": "difference of the distances [flux bins]",
}
CAPTION = (
    "Distance of the median source counts to the truth by networks with energies, less that by networks without, map "
    "by map, on the maps of Fig. S14: signed Earth mover's distances (left; negative: with energies dimmer) and "
    "unsigned ones (right; negative: with energies closer to the truth), for excess (upper row) and disk.\n\n"
    "Differs from the paper's figure: Model A as in Fig. S12."
)


def differences(skies: Path, source: str, measure: str) -> dict[str, Array]:
    """With energies less without (n_map,), by sky."""
    key = f"source counts/{source}/{measure}"
    stored = stored_skies(skies, PAIRED)
    return {sky: arrays[f"{WITH}/{key}"] - arrays[f"{WITHOUT}/{key}"] for sky, arrays in reversed(stored.items())}


def draw(skies: Path) -> Figure:
    """One row a template."""
    figure, axes = canvas(2, 2, height=2.4)
    for row, source in zip(axes, ("gce", "disk"), strict=True):
        for panel, (measure, unit) in zip(row, MEASURES.items(), strict=True):
            histograms(panel, differences(skies, source, measure), unit, 0.0)
            panel.set_title(label(source))
    letters(axes)
    return figure
