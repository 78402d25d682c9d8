"""What the pages say of posteriors: sections of figures and sentences."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.estimators.neural_posterior_quantities import scd_moments
from gcesbi.physics.scd import cdf_to_pdf
from gcesbi.posterior import Posterior
from gcesbi.report.answers import above_one_photon, source_flux
from gcesbi.report.html import FigureBlock, Section
from gcesbi.report.tables import N_SAMPLE, interval
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = ["joint_section", "source_count_section", "spectra_section", "subject_spectrum"]

Array = NDArray[np.float64]

_TAILS = (0.16, 0.5, 0.84)
_BANDS = (0.025, *_TAILS, 0.975)
_TRUTH = "truth"
_ONE_PHOTON = "Left of the line for one photon a source is seen only through its neighbours, and the prior speaks."


def subject_spectrum(model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None) -> Section:
    """Spectrum of the subject alone, by every method that knows it."""
    name, silent = label(model.subject), [method for method, p in posteriors.items() if "spectrum" not in p.names]
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
    totals = _known(posteriors, "flux_fraction", 100)
    true = _true(truth, "flux_fraction")
    names = tuple(map(label, model.names))
    blocks = [
        FigureBlock(
            plots.flux_fractions(names, totals, None if true is None else 100 * true, "flux fraction [%]"),
            "One panel a template: its share in the flux of the region, with error bars, one colour a method.",
            "Each panel has a scale of its own. Points of different colours should agree within their bars"
            + ("." if truth is None else ", and bars hold the black truth two times in three."),
        )
    ]
    if model.n_energy > 1 and any("spectrum" in p.names for p in posteriors.values()):
        blocks.append(
            FigureBlock(
                _spectra(model, posteriors, truth, range(len(names))),
                "One panel a template: its spectrum E² dN/dE in the region, with error bars, a colour a method.",
                "Each panel has a scale of its own. Templates of like shape on the sky trade flux.",
            )
        )
    return Section("Who shines how brightly", "Medians and 68 % intervals.", *blocks)


def _spectra(
    model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None, rows: Sequence[int]
) -> Figure:
    """Spectra of the templates in some rows, by every method that knows them."""
    rows = list(rows)
    known = {m: {end: v[rows] for end, v in each.items()} for m, each in _known(posteriors, "spectrum").items()}
    true = _true(truth, "spectrum")
    names, unit = [label(model.names[i]) for i in rows], "E² dN/dE [GeV / cm² / s]"
    return plots.spectra(
        names, model.energy_edges, known, None if true is None else true[rows], unit, order=tuple(posteriors)
    )


def source_count_section(
    model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None = None
) -> Section:
    """Number of sources by their flux, one figure a point-source template, one panel a method."""
    asked = posteriors if truth is None else {**posteriors, _TRUTH: truth}
    known = {method: p.sample(N_SAMPLE, seed=0) for method, p in asked.items() if "scd_cdf" in p.names}
    photon = float(1 / model.exposure.mean())
    blocks = []
    for j, name in enumerate(model.point_sources):
        flux = {method: source_flux(model, drawn, name) for method, drawn in known.items()}
        densities = {m: _density(model, cdf_to_pdf(drawn["scd_cdf"][:, j]), flux[m]) for m, drawn in known.items()}
        number = {m: above_one_photon(model, drawn["scd_cdf"][:, j], flux[m])[1] for m, drawn in known.items()}
        told = {m: f"N = {interval(np.quantile(n, _TAILS), 0)}" for m, n in number.items()}
        bands = {method: np.quantile(each, _BANDS, axis=0) for method, each in densities.items()}
        true = bands.pop(_TRUTH)[2] if truth is not None else None
        figure = plots.number_densities(model.scd_edges, bands, true, photon, order=tuple(posteriors), told=told)
        blocks.append(
            FigureBlock(
                figure,
                f"Number of sources of {label(name)} by their flux, median with 68 % and 95 % bands, a panel a method.",
                f"{label(name)}: sources in the region for each decade of their flux; N, above each panel, is how many "
                f"give more than one photon, with the 68 % interval. {_ONE_PHOTON} "
                "Bands hold each bin by itself, not the whole curve.",
            )
        )
    return Section("How many sources, and how bright", *blocks)


def joint_section(model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior | None = None) -> Section:
    """Joint posterior of the shares of point-source templates and of the subject's source counts."""
    names = [name for name in model.point_sources if name in model.names]
    rows, j = [model.names.index(name) for name in names], model.point_sources.index(model.subject)
    samples = {}
    for method, posterior in (posteriors if truth is None else {**posteriors, _TRUTH: truth}).items():
        if {"flux_fraction", "scd_cdf"} <= set(posterior.names):
            drawn = posterior.sample(N_SAMPLE, seed=0)
            samples[method] = _joint(model, drawn["flux_fraction"][:, rows], cdf_to_pdf(drawn["scd_cdf"]), j)
    true = samples.pop(_TRUTH)[0] if truth is not None else None
    subject = label(model.subject)
    words = [*(f"{label(name)} [%]" for name in names), "mean log₁₀F", "width of log₁₀F"]
    return Section(
        "What goes together",
        FigureBlock(
            plots.corner(samples, words, true, tuple(posteriors)),
            f"Joint posterior of flux fractions and of the mean and width of the source counts of {subject}.",
            f"Flux fractions, and mean and width [decades] of the flux-weighted source counts of {subject}. "
            "Contours hold 68 % and 95 % of each method's samples.",
        ),
    )


def _joint(model: SkyModel, shares: Array, pdf: Array, j: int) -> Array:
    """Shares in per cent (n, n_ps), mean and width of log₁₀F of the j-th population, side by side."""
    mean, width = (each[:, j, None] for each in scd_moments(pdf, model.bins.centres))
    return np.concatenate([100 * shares, mean, width], axis=1)


def _true(truth: Posterior | None, name: str) -> Array | None:
    """The true values of a quantity, of a mock map."""
    return None if truth is None or name not in truth.names else truth.quantiles(name, 0.5)[0]


def _known(posteriors: Mapping[str, Posterior], name: str, scale: float = 1) -> dict[str, dict[str, Array]]:
    """Median and central 68 % interval of a quantity times a scale, by the methods that know it."""
    known = {method: scale * p.quantiles(name, _TAILS) for method, p in posteriors.items() if name in p.names}
    return {method: dict(zip(("low", "median", "high"), values, strict=True)) for method, values in known.items()}


def _density(model: SkyModel, pdf: Array, flux: Array) -> Array:
    """dN/dlog₁₀F (n, n_bin) of SCD histograms (n, n_bin) with fluxes (n,)."""
    return np.maximum(pdf, 0) * flux[:, None] / 10**model.bins.centres / model.bins.width
