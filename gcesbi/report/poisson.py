"""What the command line says of a Poisson fit, and what it stores: tables and plain figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.baselines import GoodnessOfFit, PoissonFitResult
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock
from gcesbi.report.words import label
from gcesbi.validation.calibration import plain

__all__ = [
    "chance",
    "deviant_table",
    "goodness_lines",
    "goodness_section",
    "norm_table",
    "poisson_figures",
    "poisson_report",
]


def norm_table(result: PoissonFitResult) -> TableBlock:
    """Norms, summed over energy bins, with errors, and test statistics of all templates."""
    spectrum, errors = result.spectrum, np.sqrt(np.diagonal(result.covariances, axis1=1, axis2=2)).T
    limits = result.upper_limits(0.95).reshape(spectrum.shape)
    records = (
        {
            "template": label(name),
            "norm": f"{spectrum[i].sum():.4f}",
            "error": f"{np.sqrt(np.sum(errors[i] ** 2)):.4f}",
            "95 % limit": f"{limits[i, 0]:.4f}" if spectrum.shape[1] == 1 else "–",
            "TS": f"{result.test_statistic(name):.1f}",
            "flux [%]": f"{100 * result.flux_fraction[i]:.2f}",
        }
        for i, name in enumerate(result.names)
    )
    return TableBlock.of(
        records,
        "Norm: mean expected counts per pixel within 30 degrees, |b| > 2 degrees, all energies; error from the "
        "curvature at the best fit; TS: twice the loss in ln L without the template.",
    )


def deviant_table(judged: GoodnessOfFit) -> TableBlock:
    """The most deviant pixels."""
    records = (
        {
            "pixel (NESTED)": pixel.pixel,
            "l [deg]": f"{pixel.glon:.2f}",
            "b [deg]": f"{pixel.glat:.2f}",
            "counts": pixel.counts,
            "expected": f"{pixel.expected:.1f}",
            "p": f"{pixel.p_value:.1e}",
            "p after trials": f"{pixel.p_after_trials:.1e}",
        }
        for pixel in judged.deviant[:20]
    )
    return TableBlock.of(records, "Pixels whose counts the fit does not explain: mask them, or say why not.")


def chance(judged: GoodnessOfFit, p_value: float) -> str:
    """A p-value by simulated maps; where none of them goes so far it is smaller than their number tells."""
    return f"p {'≤' if p_value * (1 + len(judged.simulated_deviance)) <= 1 else '='} {p_value:.2g}"


def goodness_lines(judged: GoodnessOfFit, again: PoissonFitResult | None) -> str:
    """Goodness of fit in words; `again` is the fit without the deviant pixels, if there is one."""
    simulated = judged.simulated_log_likelihood
    lines = [
        f"ln L = {judged.log_likelihood:.3f}; maps of the best fit have {simulated.mean():.1f} ± {simulated.std():.1f}",
        f"deviance {judged.deviance:.0f}, {judged.z:.1f} standard deviations above theirs "
        f"({chance(judged, judged.p_value)})",
        f"largest smoothed residual {np.abs(judged.smoothed).max():.1f} sigma "
        f"({chance(judged, judged.smoothed_p_value)} over the map)",
        f"scatter of the counts as of Poisson, p = {judged.pit_p_value:.2g}",
    ]
    if not judged.deviant:
        lines.append("no pixel is improbable after trials")
    elif again is None:
        lines.append(f"{len(judged.deviant)} deviant pixels")
    else:
        shift = judged.result.shift_to(again).reshape(judged.result.spectrum.shape)
        t, e = np.unravel_index(np.nanargmax(np.abs(shift)), shift.shape)
        lines.append(
            f"{len(judged.deviant)} deviant pixels; without them norms move by up to {abs(shift[t, e]):.2f} errors "
            f"({label(judged.result.names[t])})"
        )
    return "\n".join(lines)


def goodness_section(
    judged: GoodnessOfFit,
    again: PoissonFitResult | None,
    predicted: Mapping[str, NDArray[np.integer]] | None = None,
    order: Sequence[str] | None = None,
) -> Section:
    """The map, and what speaks against the fit; beside its own stand maps (n_map, n_pix) that others `predicted`."""
    places = [(pixel.glon, pixel.glat) for pixel in judged.deviant]
    seen, counts, mean = (
        judged.result.fit.observation,
        judged.result.observed.sum(axis=0),
        judged.result.mean.sum(axis=0),
    )
    drawn = {"Poisson fit": np.random.default_rng(0).poisson(mean, (100, len(mean)))}
    region, edges = seen.region, seen.energy_edges
    maps = FigureBlock(
        plots.residual_maps(region, counts, judged.significance, judged.smoothed, places, judged.sigma),
        "Three maps in Galactic coordinates: the observed counts, and how significant residuals of the best sum of "
        "smooth templates are, of single pixels and smoothed, deviant pixels circled.",
        "A right model leaves even speckle; red spots are more photons than smooth templates give, as from point "
        "sources. Circled are pixels whose counts the fit does not explain.",
    )
    histogram = FigureBlock(
        plots.counts_histogram(counts, drawn | dict(predicted or {}), order),
        "Histogram of the photons in a pixel, observed and as methods that can draw maps predict it.",
        "Bands: maps drawn from the Poisson fit and, where it ran, from the NPTF whose parameters are the simulator's. "
        "Within them a method explains how often how many photons come together. Where the observed line leaves the "
        "Poisson fit's band at the bright end, photons come in bunches, as point sources make them.",
    )
    told = (
        f"{region.n_pix:,} pixels of {region.pixel_size:.2f}°, {region.solid_angle:.2f} sr, {counts.sum():,} photons "
        f"in {seen.n_energy} energy bin{'s' * (seen.n_energy > 1)}, {edges[0]:g} to {edges[-1]:g} GeV."
    )
    table = deviant_table(judged) if judged.deviant else None
    return Section("Does the Poisson fit explain the map?", told, goodness_lines(judged, again), maps, histogram, table)


def poisson_report(
    result: PoissonFitResult, judged: GoodnessOfFit, again: PoissonFitResult | None, figures: dict[str, Any]
) -> Report:
    """The page of a Poisson fit."""
    bad = judged.p_value < 0.01 or bool(judged.deviant)
    return Report(
        title="Poisson fit",
        verdict=(
            f"Smooth templates {'do not explain' if bad else 'explain'} the map: deviance {judged.z:.1f} standard "
            f"deviations above what they would give, {len(judged.deviant)} pixels improbable after trials."
        ),
        mood="caution" if bad else "good",
        summary=norm_table(result),
        sections=(goodness_section(judged, again),),
        data=figures,
    )


def poisson_figures(
    result: PoissonFitResult, judged: GoodnessOfFit | None = None, again: PoissonFitResult | None = None
) -> dict[str, Any]:
    """All figures of a fit, plain and finite (None where there is none)."""
    shape = result.spectrum.shape
    figures: dict[str, Any] = {
        "names": result.names,
        "norms": result.spectrum,
        "errors": np.sqrt(np.diagonal(result.covariances, axis1=1, axis2=2)).T,
        "intervals_68": result.intervals().reshape(*shape, 2),
        "upper_limits_95": result.upper_limits().reshape(shape),
        "covariance": result.covariances,
        "test_statistic": {name: result.test_statistic(name) for name in result.names},
        "flux": result.flux,
        "log_likelihood": result.log_likelihood,
        "log_likelihood_without_factorials": result.log_likelihood_kernel,
        "kkt_residual": result.kkt_residual,
        "spectra": [{"name": each.name, **each.e2dnde()} for each in result.template_spectra()],
    }
    if judged is not None:
        figures["goodness_of_fit"] = judged.to_dict()
    if again is not None:
        figures["without_deviant_pixels"] = {
            "norms": again.spectrum,
            "shift_in_errors": result.shift_to(again).reshape(shape),
            "log_likelihood": again.log_likelihood,
            "test_statistic": {name: again.test_statistic(name) for name in again.names},
        }
    found: dict[str, Any] = plain(figures)
    return found
