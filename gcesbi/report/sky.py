"""Page of a composed sky: what it is made of, its priors, and what it draws."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.evaluation.described_sky import DescribedSky
from gcesbi.plots.sky import Scale, draw_sky
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock
from gcesbi.sky import Grid

__all__ = ["component_table", "expectation_table", "prior_table", "sky_report"]


def component_table(sky: DescribedSky) -> TableBlock:
    """What the sky is composed of."""
    return TableBlock(
        ("component", "kind", "template", "spectrum", "nuisances"),
        sky.components,
        f"Questions are about {sky.model.subject}; smooth components first.",
    )


def prior_table(sky: DescribedSky) -> TableBlock:
    """One row a parameter."""
    records = (
        {"parameter": each.name, "unit": each.unit, "prior": repr(each.marginal), "meaning": each.meaning}
        for each in sky.model.prior().parameters
    )
    return TableBlock.of(records, "All that a map is drawn from.")


def expectation_table(sky: DescribedSky) -> TableBlock:
    """Photons and share of the flux of every component."""
    records = (
        {"component": name, "expected counts": f"{counts:,.1f}", "flux fraction [%]": f"{100 * share:.2f}"}
        for name, counts, share in zip(sky.model.names, sky.counts, sky.flux_fraction, strict=True)
    )
    return TableBlock.of(records, "In the region, at the mean of the prior.")


def sky_report(sky: DescribedSky, subtitle: str = "") -> Report:
    """The page."""
    model, drawn = sky.model, sky.mocks.counts.sum(axis=1)
    templates = FigureBlock(
        _pictures(model.region, sky.pictures, model.names, "linear"),
        "Maps of every template in Galactic coordinates, all energies together.",
        "Each with a colour scale of its own; what floats stands at the mean of its prior. Of sources it is where "
        "their light falls on average.",
    )
    mocks = FigureBlock(
        _pictures(model.region, drawn, [f"{each.sum():,} photons" for each in drawn], "log"),
        "Maps of counts drawn from the prior, in Galactic coordinates.",
        "They should look like what may be observed; how they differ is what the prior leaves open.",
    )
    return Report(
        title="A composed sky",
        subtitle=subtitle,
        verdict=f"{len(model.names)} components, {len(model.prior().names)} parameters; {sky.counts.sum():,.0f} "
        f"photons expected in {model.region.n_pix:,} pixels and {model.n_energy} energy bins, "
        f"{model.energy_edges[0]:g} to {model.energy_edges[-1]:g} GeV.",
        sections=(
            Section("Composition", component_table(sky), expectation_table(sky)),
            Section("Priors", prior_table(sky)),
            Section("Templates", templates),
            _nuisances(sky),
            Section("What it draws", mocks),
        ),
        data=sky.to_dict(),
    )


def _nuisances(sky: DescribedSky) -> Section | None:
    """What log-fields make of the templates that have them; nothing where none has."""
    if not sky.modulations:
        return None
    maps = np.stack(list(sky.modulations.values()))
    picture = FigureBlock(
        _pictures(sky.model.region, maps, list(sky.modulations), "linear", "factor"),
        "What a template is multiplied by: one draw of the log-fields of each component that has them.",
        "At the mean of their amplitudes' priors, all energies together. Every map has fields of its own; the flux in "
        "the region stays.",
    )
    return Section("Nuisances", picture)


def _pictures(
    region: Grid,
    values: NDArray[np.floating | np.integer],
    titles: Sequence[str],
    scale: Scale,
    unit: str = "photons per pixel",
) -> Figure:
    columns = min(3, len(values))
    rows = -(-len(values) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, each, title in zip(panels, values, titles, strict=False):
        limits = (0.5, max(float(each.max()), 1.0)) if scale == "log" else None
        draw_sky(panel, region, each, unit, title, scale, limits, "bottom")
    for panel in panels[len(values) :]:
        panel.remove()
    return figure
