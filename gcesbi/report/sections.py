"""What the pages say of posteriors: sections of figures and sentences."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.estimators.neural_posterior_quantities import scd_moments
from gcesbi.physics.scd import cdf_to_pdf
from gcesbi.posterior import Posterior
from gcesbi.report.html import FigureBlock, Section
from gcesbi.report.populations import Population, drawn_from
from gcesbi.report.tables import interval
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = ["joint_section", "source_count_section", "spectra_section", "subject_spectrum"]

Array = NDArray[np.float64]

_TAILS = (0.16, 0.5, 0.84)
_TRUTH = "truth"


def subject_spectrum(model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None) -> Section | None:
    """Spectrum of the subject alone, by every method that knows it; nothing where none does."""
    name, silent = label(model.subject), [method for method, p in posteriors.items() if "spectrum" not in p.names]
    if model.n_energy == 1 or len(silent) == len(posteriors):
        return None
    return Section(
        f"Spectrum of {name}",
        f"Not known by: {', '.join(silent)}, which sum over energies." if silent else "",
        FigureBlock(
            _spectra(model, posteriors, truth, [model.names.index(model.subject)]),
            f"E² dN/dE of {name} in the region against energy, with 68 % error bars, a colour a method.",
            "Points of different colours should agree within their bars. A level line is a power law of index two.",
        ),
    )


def spectra_section(model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None = None) -> Section:
    """Flux fractions and E² dN/dE of every template, by method."""
    names, true = tuple(map(label, model.names)), _true(truth, "flux_fraction")
    fractions = FigureBlock(
        plots.flux_fractions(
            names,
            _known(posteriors, "flux_fraction", 100),
            None if true is None else 100 * true,
            "flux fraction [%]",
        ),
        "One panel a template: its share in the flux of the region, with error bars, one colour a method.",
        "Each panel has a scale of its own. Points of different colours should agree within their bars"
        + ("." if truth is None else ", and bars hold the black truth two times in three."),
    )
    spectra = None
    if model.n_energy > 1 and any("spectrum" in p.names for p in posteriors.values()):
        spectra = FigureBlock(
            _spectra(model, posteriors, truth, range(len(names))),
            "One panel a template: its spectrum E² dN/dE in the region, with error bars, a colour a method.",
            "Each panel has a scale of its own. Templates of like shape on the sky trade flux.",
        )
    return Section("Flux fractions and spectra", "Medians and 68 % intervals.", fractions, spectra)


def _spectra(
    model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None, templates: Iterable[int]
) -> Figure:
    """Spectra of some templates, by every method that knows them."""
    rows, true = list(templates), _true(truth, "spectrum")
    known = {m: {end: v[rows] for end, v in each.items()} for m, each in _known(posteriors, "spectrum").items()}
    names, unit = [label(model.names[i]) for i in rows], "E² dN/dE [GeV / cm² / s]"
    true = None if true is None else true[rows]
    return plots.spectra(names, model.energy_edges, known, true, unit, order=tuple(posteriors))


def source_count_section(
    model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None = None
) -> Section | None:
    """Number of sources by their flux, one figure a template, one panel a method; nothing where none knows it."""
    known = _drawn(posteriors, truth, "scd_cdf")
    if not known.keys() - {_TRUTH}:
        return None
    blocks = []
    for name in model.point_sources:
        found = {method: Population(model, drawn, name) for method, drawn in known.items()}
        told = {m: f"N = {interval(np.quantile(each.number_above, _TAILS), 0)}" for m, each in found.items()}
        bands = {m: np.quantile(each.shown[1], (0.025, *_TAILS, 0.975), axis=0) for m, each in found.items()}
        true = bands.pop(_TRUTH)[2] if truth is not None else None
        photon, edges = float(1 / model.exposure.mean()), next(iter(found.values())).shown[0]
        blocks.append(
            FigureBlock(
                plots.number_densities(edges, bands, true, photon, order=tuple(posteriors), told=told),
                f"Number of sources of {label(name)} by their flux, median with 68 % and 95 % bands, a panel a method.",
                f"{label(name)}: sources in the region for each decade of their flux; N, above each panel, is how many "
                "give more than one photon, with the 68 % interval. Left of the line for one photon a source is seen "
                "only through its neighbours, and the prior speaks. Bands hold each bin of half a decade by itself, "
                "not whole curves.",
            )
        )
    return Section("How many sources, and how bright", *blocks)


def joint_section(
    model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None = None
) -> Section | None:
    """Joint posterior of the shares of point-source templates and of the subject's source counts, if it has any."""
    if model.subject not in model.point_sources:
        return None
    names, subject = [name for name in model.point_sources if name in model.names], label(model.subject)
    samples = {m: _joint(model, names, d) for m, d in _drawn(posteriors, truth, "flux_fraction", "scd_cdf").items()}
    true = samples.pop(_TRUTH)[0] if truth is not None else None
    if not samples:
        return None
    words = [*(f"{label(name)} [%]" for name in names), "mean log₁₀F", "width of log₁₀F"]
    return Section(
        "Joint posterior: what goes together",
        FigureBlock(
            plots.corner(samples, words, true, tuple(posteriors)),
            f"Joint posterior of flux fractions and of the mean and width of the source counts of {subject}.",
            f"Flux fractions, and mean and width [decades] of the flux-weighted source counts of {subject}. "
            "Contours hold 68 % and 95 % of each method's samples.",
            together=True,
        ),
    )


def _joint(model: SkyModel, names: list[str], drawn: Mapping[str, Array]) -> Array:
    """Shares of templates in per cent, mean and width of log₁₀F of the subject's sources, side by side (n, ...)."""
    shares = 100 * drawn["flux_fraction"][:, [model.names.index(name) for name in names]]
    pdf = cdf_to_pdf(drawn["scd_cdf"][:, model.point_sources.index(model.subject)])
    return np.column_stack([shares, *scd_moments(pdf, model.bins.centres)])


def _drawn(posteriors: Mapping[str, Posterior], truth: Posterior | None, *names: str) -> dict[str, dict[str, Array]]:
    """Samples by the methods that know some quantities, and of the truth of a mock map."""
    asked = posteriors if truth is None else {**posteriors, _TRUTH: truth}
    return {method: drawn_from(each) for method, each in asked.items() if set(names) <= set(each.names)}


def _true(truth: Posterior | None, name: str) -> Array | None:
    """The true values of a quantity, of a mock map."""
    return None if truth is None or name not in truth.names else truth.quantiles(name, 0.5)[0]


def _known(posteriors: Mapping[str, Posterior], name: str, scale: float = 1) -> dict[str, dict[str, Array]]:
    """Median and central 68 % interval of a quantity times a scale, by the methods that know it."""
    known = {method: scale * p.quantiles(name, _TAILS) for method, p in posteriors.items() if name in p.names}
    return {method: dict(zip(("low", "median", "high"), values, strict=True)) for method, values in known.items()}
