"""What the reports say: sections of figures and sentences, from results."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.baselines import PoissonFitResult
from gcesbi.evaluation.predictions import TAUS
from gcesbi.physics.scd import cdf_to_pdf, pdf_to_f2dndf
from gcesbi.physics.spectra import e2dnde
from gcesbi.posterior import Posterior
from gcesbi.report.html import FigureBlock, Section
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation

__all__ = ["sky_section", "source_count_section", "spectra_section"]

BAND_TAUS = TAUS[3::8]
LINE_TAUS = TAUS[[7, 23, 39, 55, 71]]
_TAILS = (0.16, 0.5, 0.84)


def sky_section(observation: Observation, fit: PoissonFitResult) -> Section:
    """The map, and what the Poisson fit leaves of it."""
    region = observation.region
    mean = np.einsum("te,tep->p", fit.spectrum, fit.templates)
    counts = observation.counts.sum(axis=0)
    return Section(
        "The sky",
        f"{region.n_pix} pixels of {region.pixel_size:.2f}°, {region.solid_angle:.2f} sr, {counts.sum():,} photons in "
        f" {observation.n_energy} energy bins, "
        f"{observation.energy_edges[0]:g} to {observation.energy_edges[-1]:g} GeV.",
        (
            FigureBlock(
                plots.counts_and_residuals(region, counts, mean),
                "Three maps in Galactic coordinates: the observed counts, the best sum of smooth templates, and "
                "their difference in units of the expected scatter.",
                "Where the last map is evenly speckled, smooth templates explain the counts; red spots are more "
                "photons than they do, as from point sources.",
            ),
        ),
    )


def spectra_section(model: SkyModel, posteriors: Mapping[str, Posterior], truth: Simulations | None = None) -> Section:
    """Flux fractions and E² dN/dE of every template, by method."""
    blocks = []
    totals, spectra, fractions = (
        {method: _interval(p, quantity) for method, p in posteriors.items() if quantity in p.names}
        for quantity in ("flux_fraction", "spectrum", "spectrum_fraction")
    )
    flux = None if truth is None else truth.flux[0].sum(axis=1)
    blocks.append(
        FigureBlock(
            plots.flux_fractions(model.names, totals, None if flux is None else flux / flux.sum()),
            "Share of every template in the flux of the region, with error bars, one colour a method.",
            "Points of different colours should agree within their bars"
            + ("." if truth is None else ", and bars hold the black truth two times in three."),
        )
    )
    if model.n_energy > 1:
        true = None if truth is None else e2dnde(truth.flux[0], model.energy_edges)
        shares = None if truth is None else truth.flux_fractions[0]
        blocks += [
            FigureBlock(
                plots.spectra(
                    model.names, model.energy_edges, spectra, true, "E² dN/dE [GeV / cm² / s]", order=tuple(totals)
                ),
                "One panel a template: its spectrum E² dN/dE in the region, with error bars, a colour a method.",
                "Each panel has a scale of its own. Read it from left, low energies, to right; a level line is a "
                "power law of index two.",
            ),
            FigureBlock(
                plots.spectra(model.names, model.energy_edges, fractions, shares, order=tuple(totals)),
                "One panel a template: its share of the flux in every energy bin, with error bars, a colour a method.",
                "The same as shares of the map's flux; templates of like shape on the sky trade flux.",
            ),
        ]
    return Section("Spectra", "Who shines how brightly: medians and 68 % intervals.", tuple(blocks))


def _interval(posterior: Posterior, name: str) -> dict[str, NDArray[np.float64]]:
    """Median and central 68 % interval of a quantity."""
    return dict(zip(("low", "median", "high"), posterior.quantiles(name, _TAILS), strict=True))


def source_count_section(
    model: SkyModel, networks: Posterior, others: Mapping[str, Posterior], truth: Simulations | None = None
) -> Section:
    """Source-count distributions of every point-source template."""
    curves = networks.quantiles("scd_cdf", 1 - BAND_TAUS)  # τ orders from dim to bright, that is from high CDFs to low
    lines = networks.quantiles("scd_cdf", 1 - LINE_TAUS)
    photon = float(1 / model.exposure.mean())
    blocks = []
    for j, name in enumerate(model.point_sources):
        bands = {
            method: {end: values[j] for end, values in _interval(p, "scd_cdf").items()}
            for method, p in others.items()
            if "scd_cdf" in p.names
        }
        row = model.names.index(name)
        flux = float(networks.quantiles("flux", [0.5])[0, row])
        true_cdf = None if truth is None else np.cumsum(truth.scd[0, j])
        true_density = None if truth is None else _density(model, truth.scd[0, j], truth.flux[0, row].sum())
        blocks += [
            FigureBlock(
                plots.cumulative_source_counts(
                    model.scd_edges, curves[:, j], BAND_TAUS, true_cdf, bands, photon, title=name
                ),
                f"Cumulative share of the flux of {name} against the flux of its sources, one line a quantile level.",
                "A curve that rises at the left is a dim population; the spread of the lines is what the map leaves "
                "open. Pointwise quantiles: a band holds each value, not the whole curve, with its probability.",
            ),
            FigureBlock(
                plots.source_counts(
                    model.scd_edges,
                    _density(model, cdf_to_pdf(lines[:, j]), flux),
                    LINE_TAUS,
                    _density_bands(model, bands, others, row),
                    true_density,
                    photon,
                    title=name,
                    unit="F² dN/dF [photons / cm² / s]",
                ),
                f"Source-count distribution of {name} as F² dN/dF, one line a quantile level, other methods as bands.",
                "Left of the line for one photon a source is seen only through its neighbours: there the prior speaks.",
            ),
        ]
    return Section("Source counts", "How bright the sources are that make up each population.", tuple(blocks))


def _density(model: SkyModel, pdf: NDArray[np.float64], flux: float) -> NDArray[np.float64]:
    return pdf_to_f2dndf(np.maximum(pdf, 0.0), np.full(pdf.shape[:-1], flux), model.bins)


def _density_bands(
    model: SkyModel,
    bands: Mapping[str, Mapping[str, NDArray[np.float64]]],
    others: Mapping[str, Posterior],
    row: int,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """F² dN/dF of other methods: 68 % intervals of each bin over the samples."""
    j = model.point_sources.index(model.names[row])
    found = {}
    for method in bands:
        drawn = others[method].sample(2000, seed=0)
        density = pdf_to_f2dndf(cdf_to_pdf(drawn["scd_cdf"][:, j]), drawn["flux"][:, row], model.bins)
        found[method] = dict(zip(("low", "median", "high"), np.quantile(density, _TAILS, axis=0), strict=True))
    return found
