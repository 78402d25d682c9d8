"""Panels that several figures share: source counts, histograms on held-out maps, rows of intervals."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.physics.spectra import e2dnde
from gcesbi.plots.calibration import draw_coverage, draw_histograms
from gcesbi.plots.source_counts import colour_bar_of_levels, draw_cumulative_source_counts, draw_source_counts
from gcesbi.plots.style import PALETTE
from gcesbi.validation import CalibrationCurve
from paper.library import CURVE_TAUS
from paper.style import canvas, label, letters
from paper.view import RunView

__all__ = [
    "bare_legend",
    "coverage_of",
    "cumulative",
    "density",
    "density_of",
    "draw_curves",
    "emd",
    "emd_of_medians",
    "energy_axis",
    "example_grid",
    "example_source_counts",
    "finish",
    "histograms",
    "intervals",
    "nptf_bands",
    "shared_legend",
    "side_by_side",
    "source_count_grid",
    "spectra",
    "spectrum",
    "thin",
    "views",
]

Array = NDArray[np.float64]
SCD_UNIT = "F² dN/dF [photons cm⁻² s⁻¹ sr⁻¹]"
FLUX_UNIT = "F [photons cm⁻² s⁻¹]"
CDF_UNIT = "share of flux from sources below F"
ENERGY_UNIT = "energy [GeV]"
SPECTRUM_UNIT = "E² dN/dE [10⁻⁷ GeV cm⁻² s⁻¹ sr⁻¹]"
SPECTRUM_SCALE = 1e-7
FLUX_RANGE = (2e-14, 2e-8)
THRESHOLD = plots.THRESHOLD_3FGL
N_BIN = 24


def density(
    axes: Axes, view: RunView, source: str, nptf: RunView | Mapping[str, RunView] | None = None, title: str = ""
) -> None:
    """F² dN/dF of a template by the networks, dim to bright; the NPTF's 68 % band, and the truth where it is known.

    `nptf` is a run that holds an NPTF, or several by the names of their bands.
    """
    truth = _true_density(view, source) if view.is_mock else None
    density_of(axes, view, view.curves["f2dndf"][:, view.source(source)], truth, nptf_bands(nptf, "f2dndf", source))
    axes.set_title(title)


def density_of(
    axes: Axes, view: RunView, curves: Array, truth: Array | None, bands: Mapping[str, dict[str, Array]] | None = None
) -> None:
    """F² dN/dF (n_tau, n_bin) at :data:`paper.library.CURVE_TAUS`, all in photons / cm² / s of a run's region."""
    by = view.solid_angle
    shown = {name: {key: values / by for key, values in band.items()} for name, band in (bands or {}).items()}
    true = None if truth is None else truth / by
    draw_source_counts(
        axes, view.scd_edges, curves / by, CURVE_TAUS, shown, true, view.photon_flux, THRESHOLD, SCD_UNIT
    )
    axes.set(xlabel=FLUX_UNIT, xlim=FLUX_RANGE)
    thin(axes)


def cumulative(axes: Axes, view: RunView, source: str, nptf: RunView | None = None, title: str = "") -> None:
    """Cumulative source counts of a template, as :func:`density`."""
    curves = view.curves["scd_cdf"][:, view.source(source)]
    truth = np.minimum(np.cumsum(view.true("scd")[view.source(source)]), 1) if view.is_mock else None
    bands, taus = nptf_bands(nptf, "scd_cdf", source), view.curves["taus"]
    draw_cumulative_source_counts(axes, view.scd_edges, curves, taus, truth, bands, view.photon_flux, THRESHOLD)
    axes.set(xlabel=FLUX_UNIT, ylabel=CDF_UNIT, title=title, xlim=FLUX_RANGE)
    thin(axes)


def nptf_bands(nptf: RunView | Mapping[str, RunView] | None, quantity: str, source: str) -> dict[str, dict[str, Array]]:
    """Median and 68 % interval of NPTFs' source counts, bin by bin."""
    runs = nptf if isinstance(nptf, Mapping) else {} if nptf is None else {"NPTF (68 %)": nptf}
    found = {name: view.arrays("nptf")[quantity][:, view.source(source)] for name, view in runs.items()}
    return {name: dict(zip(("low", "median", "high"), values, strict=True)) for name, values in found.items()}


def spectrum(axes: Axes, view: RunView, name: str, colour: str, title: str = "", points: bool = True) -> None:
    """E² dN/dE of a template per steradian: the networks' median and 68 % band, the Poisson fit's points, the truth."""
    row, edges = view.names.index(name), np.asarray(view.sky["energy_edges"])
    by = view.solid_angle * SPECTRUM_SCALE
    low, median, high = (view.answer().at("spectrum", level)[row] / by for level in (0.16, 0.5, 0.84))
    axes.stairs(high, edges, baseline=low, fill=True, alpha=0.3, lw=0, color=colour)
    axes.stairs(median, edges, baseline=None, color=colour, lw=1.2, label=label(name))
    if points:
        fitted = {key: values[row] / by for key, values in view.answer("poisson").summary("spectrum").items()}
        bars = [fitted["median"] - fitted["low"], fitted["high"] - fitted["median"]]
        axes.errorbar(np.sqrt(edges[1:] * edges[:-1]), fitted["median"], bars, fmt="o", ms=2.5, lw=0.8, color=colour)
    if view.is_mock:
        truth = e2dnde(view.true("flux")[row], edges) / by
        axes.stairs(truth, edges, baseline=None, color="black", ls="--", lw=0.8)
    axes.set_title(title)
    energy_axis(axes, edges)
    axes.grid()


def energy_axis(axes: Axes, edges: Array) -> None:
    """A logarithmic axis over energy bins, in plain numbers."""
    axes.set(xscale="log", xlim=edges[[0, -1]])
    axes.set_xticks([tick for tick in (2, 5, 10, 20) if edges[0] <= tick <= edges[-1]])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def spectra(axes: Axes, view: RunView, title: str = "", points: bool = True) -> None:
    """:func:`spectrum` of every template in one panel, a colour each."""
    for name, colour in zip(view.names, cycle(PALETTE), strict=False):
        spectrum(axes, view, name, colour, title, points)
    top = axes.get_ylim()[1]
    axes.set(yscale="log", ylim=(top * 2e-4, top * 2), xlabel=ENERGY_UNIT, ylabel=SPECTRUM_UNIT)


def source_count_grid(
    views: Mapping[str, RunView],
    sources: Sequence[str] = ("gce", "disk"),
    nptf: Mapping[str, RunView] | None = None,
    with_spectra: bool = False,
) -> Figure:
    """Source counts: one column a run, named, and one row a template; panels of a row have one scale.

    Parameters
    ----------
    views : mapping of str to RunView
        By the name of the column.
    sources : sequence of str
        Point-source templates.
    nptf : mapping of str to RunView, optional
        By the name of the column: runs that hold the NPTF to draw beside the networks.
    with_spectra : bool
        Put a row of spectra on top.
    """
    figure, axes = canvas(len(sources) + with_spectra, len(views), height=2.7, sharey="row")
    for row, source in zip(axes[int(with_spectra) :], sources, strict=True):
        tops = []
        for panel, (name, view) in zip(row, views.items(), strict=True):
            density(panel, view, source, (nptf or {}).get(name), f"{label(source)}: {name}")
            tops.append(panel.get_ylim()[1])
        row[0].set_ylim(max(tops) * 3e-4, max(tops))
    for panel, (name, view) in zip(axes[0], views.items(), strict=True) if with_spectra else ():
        spectra(panel, view, f"spectra: {name}", points="fit-poisson" in view.steps)
    for panel in axes[:, 1:].ravel().tolist():
        panel.set_ylabel("")
    for panel in axes[int(with_spectra) : -1].ravel().tolist():
        panel.set_xlabel("")
    finish(figure, axes)
    return figure


def side_by_side(
    *names: str, energies: str | None, nptf: Literal["own", "first"] | None = None, with_spectra: bool = False
) -> Callable[..., Figure]:
    """What draws :func:`source_count_grid` of runs, given their folders; with each one's NPTF, or the first's."""

    def draw(*folders: Path) -> Figure:
        shown = views(dict(zip(names, folders, strict=True)), energies)
        fitted = {"own": shown, "first": dict.fromkeys(shown, shown[names[0]])}
        return source_count_grid(shown, nptf=fitted[nptf] if nptf else None, with_spectra=with_spectra)

    return draw


def example_grid(view: RunView, draw: Callable[[Axes, int], None]) -> tuple[Figure, NDArray[np.object_]]:
    """Nine held-out maps, three a row, each drawn by its number, and a row of three panels below."""
    figure, axes = canvas(4, 3, height=1.9)
    for k, panel in enumerate(axes[:3].ravel().tolist()):
        draw(panel, k)
        panel.set_title(f"held-out map {k + 1}", fontsize="small")
    for panel in [*axes[:3, 1:].ravel().tolist(), axes[0, 0], axes[2, 0]]:
        panel.set_ylabel("")
    for panel in axes[:2].ravel().tolist():
        panel.set_xlabel("")
    return figure, axes


def example_source_counts(folder: Path, source: str) -> Figure:
    """Source counts of nine held-out maps with their truth; coverage and sharpness over all of them."""
    view = RunView.open(folder, "several")
    stored, found, row = view.arrays("evaluation"), view.arrays("examples"), view.source(source)

    def example(axes: Axes, k: int) -> None:
        density_of(axes, view, found["f2dndf"][k, :, row], found["true_f2dndf"][k, row])

    figure, axes = example_grid(view, example)
    key = f"source counts/{source}"
    draw_curves(axes[3, 0], {label(source): coverage_of(stored, key)})
    bare_legend(axes[3, 0], "upper left")
    widths = stored[f"{key}/sharpness"]
    histograms(axes[3, 1], {label(source): widths}, "width of the 95 % interval of the CDF")
    histograms(axes[3, 2], {label(source): np.mean(widths, axis=1)}, "the same, mean over flux bins")
    letters(axes)
    colour_bar_of_levels(figure, axes[:3])
    return figure


def finish(figure: Figure, axes: NDArray[np.object_]) -> None:
    """Letters, a colour bar of quantile levels, and below all panels one legend of what any of them shows."""
    letters(axes)
    colour_bar_of_levels(figure, axes)
    shared_legend(figure, axes)


def shared_legend(figure: Figure, axes: NDArray[np.object_], columns: int = 5) -> None:
    """One legend below all panels."""
    named = {
        label: handle
        for panel in axes.ravel().tolist()
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns)


def thin(axes: Axes, by: float = 0.6) -> None:
    """Lines as thin as print wants them."""
    for line in axes.lines:
        line.set_linewidth(by * line.get_linewidth())
    for patch in axes.patches:
        patch.set_linewidth(by * patch.get_linewidth())


def coverage_of(arrays: Mapping[str, Array], name: str) -> CalibrationCurve:
    """A stored coverage curve."""
    alphas, coverage, low, high = (arrays[f"{name}/{key}"] for key in ("alphas", "coverage", "low", "high"))
    return CalibrationCurve(alphas, coverage, low, high, n_map=0, n_pair=0)


def draw_curves(axes: Axes, curves: Mapping[str, CalibrationCurve], title: str = "") -> None:
    """Coverage against nominal level."""
    draw_coverage(axes, curves)
    thin(axes)
    axes.set(title=title, xlabel="nominal level α", ylabel="coverage")


def histograms(axes: Axes, samples: Mapping[str, Array], unit: str, origin: float | None = None) -> None:
    """Histograms over held-out maps, medians marked; room for the legend above them."""
    draw_histograms(axes, samples, unit, origin, N_BIN)
    thin(axes)
    axes.set(ylim=(0, (1 + 0.16 * len(samples)) * axes.get_ylim()[1]))
    bare_legend(axes, "upper right")


def bare_legend(axes: Axes, place: str, **options: Any) -> None:
    """A legend that lines end at: white behind it, no frame."""
    options |= {"loc": place, "frameon": True, "framealpha": 0.92, "edgecolor": "none"}
    axes.legend(**options)


def intervals(axes: Axes, rows: Sequence[str], samples: Mapping[str, Sequence[Array]], unit: str) -> None:
    """Median and central 68 % of samples, one row a name, one colour a kind of sample."""
    places = np.arange(len(rows))
    for k, (name, parts) in enumerate(samples.items()):
        low, middle, high = np.array([np.quantile(part, [0.16, 0.5, 0.84]) for part in parts]).T
        shift = 0.24 * (k - (len(samples) - 1) / 2)
        bars = [middle - low, high - middle]
        axes.errorbar(middle, places + shift, xerr=bars, fmt="os^D"[k % 4], color=PALETTE[k], label=name, lw=1)
    axes.set_yticks(places, rows)
    axes.set(xlabel=unit, ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x")


def emd_of_medians(first: RunView, second: RunView, source: str, tau: float = 0.5) -> float:
    """Earth mover's distance, flux bins, between the source counts of two runs at one quantile level."""
    return float(emd(*(view.curve("scd_cdf", source, tau) for view in (first, second))))


def emd(one: Array, two: Array) -> Array:
    """Earth mover's distance, flux bins, between CDFs (..., n_bin)."""
    return np.abs(one - two).sum(axis=-1)


def views(folders: Mapping[str, Path], energies: str | None) -> dict[str, RunView]:
    """Open runs, named."""
    return {name: RunView.open(folder, energies) for name, folder in folders.items()}  # type: ignore[arg-type]


def _true_density(view: RunView, source: str) -> Array:
    """F² dN/dF of the sources that were drawn, photons / cm² / s."""
    flux = view.true("flux")[view.names.index(source)].sum()
    width = view.scd_edges[1] - view.scd_edges[0]
    return np.asarray(view.true("scd")[view.source(source)] * flux / (width * np.log(10)))
