"""Panels that several figures share: source counts, histograms on held-out maps, rows of intervals."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.plots.calibration import draw_coverage, draw_histograms
from gcesbi.plots.source_counts import colour_bar_of_levels, draw_cumulative_source_counts, draw_source_counts
from gcesbi.plots.style import PALETTE
from gcesbi.validation import CalibrationCurve
from paper.style import canvas, label, letters
from paper.view import RunView

__all__ = [
    "bare_legend",
    "coverage_of",
    "cumulative",
    "density",
    "draw_curves",
    "emd",
    "emd_of_medians",
    "finish",
    "histograms",
    "intervals",
    "shared_legend",
    "side_by_side",
    "source_count_grid",
    "thin",
    "views",
]

Array = NDArray[np.float64]
SCD_UNIT = "F² dN/dF [photons cm⁻² s⁻¹ sr⁻¹]"
FLUX_UNIT = "F [photons cm⁻² s⁻¹]"
CDF_UNIT = "share of flux from sources below F"
FLUX_RANGE = (2e-14, 2e-8)
THRESHOLD = plots.THRESHOLD_3FGL
N_BIN = 24


def density(axes: Axes, view: RunView, source: str, nptf: RunView | None = None, title: str = "") -> None:
    """F² dN/dF of a template by the networks, dim to bright; the NPTF's 68 % band, and the truth where it is known."""
    curves = view.curves["f2dndf"][:, view.source(source)] / view.solid_angle
    bands = {} if nptf is None else {"NPTF (68 %)": nptf_band(nptf, "f2dndf", source, nptf.solid_angle)}
    truth = _true_density(view, source) / view.solid_angle if view.is_mock else None
    taus = view.curves["taus"]
    draw_source_counts(axes, view.scd_edges, curves, taus, bands, truth, view.photon_flux, THRESHOLD, SCD_UNIT)
    axes.set(xlabel=FLUX_UNIT, title=title, xlim=FLUX_RANGE)
    thin(axes)


def cumulative(axes: Axes, view: RunView, source: str, nptf: RunView | None = None, title: str = "") -> None:
    """Cumulative source counts of a template, as :func:`density`."""
    curves = view.curves["scd_cdf"][:, view.source(source)]
    truth = np.minimum(np.cumsum(view.true("scd")[view.source(source)]), 1) if view.is_mock else None
    bands = {} if nptf is None else {"NPTF (68 %)": nptf_band(nptf, "scd_cdf", source)}
    taus = view.curves["taus"]
    draw_cumulative_source_counts(axes, view.scd_edges, curves, taus, truth, bands, view.photon_flux, THRESHOLD)
    axes.set(xlabel=FLUX_UNIT, ylabel=CDF_UNIT, title=title, xlim=FLUX_RANGE)
    thin(axes)


def nptf_band(view: RunView, quantity: str, source: str, by: float = 1.0) -> dict[str, Array]:
    """Median and 68 % interval of the NPTF's source counts, bin by bin, divided by a number."""
    low, median, high = view.arrays("nptf")[quantity][:, view.source(source)] / by
    return {"low": low, "median": median, "high": high}


def source_count_grid(
    views: Mapping[str, RunView], sources: Sequence[str] = ("gce", "disk"), nptf: Mapping[str, RunView] | None = None
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
    """
    figure, axes = canvas(len(sources), len(views), height=2.7, sharex=True, sharey="row")
    for row, source in zip(axes, sources, strict=True):
        tops = []
        for panel, (name, view) in zip(row, views.items(), strict=True):
            density(panel, view, source, (nptf or {}).get(name), f"{label(source)}: {name}")
            tops.append(panel.get_ylim()[1])
        row[0].set_ylim(max(tops) * 3e-4, max(tops))
        for panel in row[1:]:
            panel.set_ylabel("")
    for panel in axes[:-1].ravel().tolist():
        panel.set_xlabel("")
    finish(figure, axes)
    return figure


def side_by_side(*names: str, energies: str, nptf: Literal["own", "first"] | None = None) -> Callable[..., Figure]:
    """What draws :func:`source_count_grid` of runs, given their folders; with each one's NPTF, or the first's."""

    def draw(*folders: Path) -> Figure:
        shown = views(dict(zip(names, folders, strict=True)), energies)
        fitted = {"own": shown, "first": dict.fromkeys(shown, shown[names[0]])}
        return source_count_grid(shown, nptf=fitted[nptf] if nptf else None)

    return draw


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


def histograms(
    axes: Axes, samples: Mapping[str, Array], unit: str, origin: float | None = None, title: str = ""
) -> None:
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


def views(folders: Mapping[str, Path], energies: str) -> dict[str, RunView]:
    """Open runs, named."""
    return {name: RunView.open(folder, energies) for name, folder in folders.items()}  # type: ignore[arg-type]


def _true_density(view: RunView, source: str) -> Array:
    """F² dN/dF of the sources that were drawn, photons / cm² / s."""
    flux = view.true("flux")[view.names.index(source)].sum()
    width = view.scd_edges[1] - view.scd_edges[0]
    return np.asarray(view.true("scd")[view.source(source)] * flux / (width * np.log(10)))
