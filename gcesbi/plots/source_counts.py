"""Source-count distributions: how much flux comes from sources of which flux."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError, shown

from .style import (
    Array,
    Summary,
    blank,
    check_shape,
    decades,
    entitle,
    legend,
    method_styles,
    panels,
    shared_legend,
    summary_arrays,
)

__all__ = [
    "THRESHOLD_3FGL",
    "colour_bar_of_levels",
    "cumulative_source_counts",
    "dim_to_bright",
    "draw_cumulative_source_counts",
    "draw_source_counts",
    "number_densities",
    "source_counts",
]

TRUTH = "#CC3311"
NONE: Mapping[str, str] = {}
BAND_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9")
#: Photon fluxes at which the 3FGL catalogue becomes complete in the inner Galaxy, photons / cm² / s, 2–20 GeV.
THRESHOLD_3FGL = (4e-10, 5e-10)


def source_counts(
    edges: ArrayLike,
    curves: ArrayLike,
    taus: ArrayLike,
    bands: Mapping[str, Summary] | None = None,
    truth: ArrayLike | None = None,
    photon_flux: float | None = None,
    threshold: tuple[float, float] | None = THRESHOLD_3FGL,
    title: str = "",
    unit: str = "F dN/dlog₁₀F [photons / cm² / s]",
) -> Figure:
    """Predicted density over source flux, one line per quantile level, beside other methods' bands and the truth.

    Parameters
    ----------
    edges : array (n_bin + 1,)
        Edges of the flux bins, log10 of photons / cm² / s.
    curves : array (n_tau, n_bin)
        Density at the quantile levels `taus`, in `unit`: F dN/dlog₁₀F (area on the log axis is the flux) or F² dN/dF.
    taus : array (n_tau,)
        Levels; coloured from dim to bright, the one nearest to ½ black and thick.
    bands : mapping of str to {"low", "median", "high"}
        Arrays (n_bin,) of other methods, for instance NPTF's 68 % band.
    truth : array (n_bin,), optional
        Drawn as dashed steps.
    photon_flux : float, optional
        Flux of a source of one expected photon, photons / cm² / s.
    threshold : (low, high), optional
        Flux range above which sources are in a catalogue; shaded.
    """
    figure, axes = blank()
    draw_source_counts(axes, edges, curves, taus, bands, truth, photon_flux, threshold, unit)
    return _framed(figure, axes, title)


def draw_source_counts(
    axes: Axes,
    edges: ArrayLike,
    curves: ArrayLike,
    taus: ArrayLike,
    bands: Mapping[str, Summary] | None = None,
    truth: ArrayLike | None = None,
    photon_flux: float | None = None,
    threshold: tuple[float, float] | None = THRESHOLD_3FGL,
    unit: str = "F dN/dlog₁₀F [photons / cm² / s]",
) -> None:
    """Draw :func:`source_counts` into a panel of a figure, without title, legend and colour bar."""
    log_edges, lines, levels = _check(edges, curves, taus)
    _draw_bands(axes, log_edges, bands or {})
    _draw_lines(axes, log_edges, lines, levels)
    _draw_truth(axes, log_edges, truth)
    _mark_fluxes(axes, photon_flux, threshold)
    highest = max(float(np.max(line)) for line in (lines, 0 if truth is None else truth, *_tops(bands or {})))
    if highest > 0:
        axes.set(yscale="log", ylim=(highest * 1e-3, highest * 3))
        decades(axes.yaxis)
    axes.set(xscale="log", xlim=10 ** log_edges[[0, -1]], ylabel=unit)
    decades(axes.xaxis)
    axes.set_xlabel("source flux F [photons / cm² / s]")
    axes.grid(color="0.93")


def cumulative_source_counts(
    edges: ArrayLike,
    quantiles: ArrayLike,
    taus: ArrayLike,
    truth: ArrayLike | None = None,
    bands: Mapping[str, Summary] | None = None,
    photon_flux: float | None = None,
    threshold: tuple[float, float] | None = THRESHOLD_3FGL,
    title: str = "",
) -> Figure:
    """Predicted CDFs (n_tau, n_bin) of a population's flux over source flux: what the network is trained on.

    Arguments as in :func:`source_counts`; truth and bands are CDF values at the upper edges of the bins.
    """
    figure, axes = blank()
    draw_cumulative_source_counts(axes, edges, quantiles, taus, truth, bands, photon_flux, threshold)
    return _framed(figure, axes, title)


def draw_cumulative_source_counts(
    axes: Axes,
    edges: ArrayLike,
    quantiles: ArrayLike,
    taus: ArrayLike,
    truth: ArrayLike | None = None,
    bands: Mapping[str, Summary] | None = None,
    photon_flux: float | None = None,
    threshold: tuple[float, float] | None = THRESHOLD_3FGL,
) -> None:
    """Draw :func:`cumulative_source_counts` into a panel of a figure, without title, legend and colour bar."""
    log_edges, lines, levels = _check(edges, quantiles, taus)
    _draw_bands(axes, log_edges, bands or {})
    _draw_steps(axes, log_edges, lines, levels)
    _draw_truth(axes, log_edges, truth)
    _mark_fluxes(axes, photon_flux, threshold)
    axes.set(xscale="log", xlim=10 ** log_edges[[0, -1]], ylim=(-0.03, 1.03))
    decades(axes.xaxis)
    axes.set(xlabel="source flux F [photons / cm² / s]", ylabel="share of flux from sources below F")
    axes.grid(color="0.93")


def number_densities(
    edges: ArrayLike,
    methods: Mapping[str, ArrayLike],
    truth: ArrayLike | None = None,
    photon_flux: float | None = None,
    threshold: tuple[float, float] | None = THRESHOLD_3FGL,
    order: Sequence[str] | None = None,
    told: Mapping[str, str] = NONE,
) -> Figure:
    """Number of sources by their flux, dN/dlog₁₀F, one panel a method: median, 68 % and 95 % bands, bin by bin.

    Parameters
    ----------
    edges : array (n_bin + 1,)
        Edges of the flux bins, log10 of photons / cm² / s.
    methods : mapping of str to array (5, n_bin)
        Quantiles of dN/dlog₁₀F at 2.5, 16, 50, 84 and 97.5 %.
    truth : array (n_bin,), optional
    photon_flux, threshold
        As in :func:`source_counts`.
    order : sequence of str, optional
        All methods of the page, so that each has one colour in all figures; by default those given.
    told : mapping of str to str
        A line below the name of a method.
    """
    if not methods:
        raise InputError("methods: needs at least one method, got none")
    figure, axes = panels(len(methods), columns=3, width=2.9, height=2.9)
    bands = {name: np.asarray(values, dtype=np.float64) for name, values in methods.items()}
    styles = method_styles(bands if order is None else order)
    fluxes = 10 ** _check(edges, next(iter(bands.values())), np.arange(1, 6) / 6)[0]
    top = 3 * max(float(each[3].max()) for each in bands.values())
    top = top if truth is None else max(top, 3 * float(np.max(truth)))
    for (name, each), panel in zip(bands.items(), axes, strict=True):
        colour = styles[name][0]
        panel.stairs(each[4], fluxes, baseline=each[0], fill=True, color=colour, alpha=0.18, lw=0, label="95 %")
        panel.stairs(each[3], fluxes, baseline=each[1], fill=True, color=colour, alpha=0.4, lw=0, label="68 %")
        panel.stairs(each[2], fluxes, color=colour, lw=1.8, baseline=None, label="median")
        if truth is not None:
            panel.stairs(truth, fluxes, color="black", lw=1.4, ls="--", baseline=None, label="truth")
        _mark_fluxes(panel, photon_flux, threshold)
        panel.set(xscale="log", yscale="log", xlim=fluxes[[0, -1]], ylim=(0.1, max(top, 1.0)))
        entitle(panel, f"{name}\n{told[name]}" if name in told else name)
        decades(panel.xaxis, panel.yaxis)
        panel.grid(color="0.93")
    figure.supxlabel("source flux F [photons / cm² / s]")
    figure.supylabel("dN / dlog₁₀F")
    shared_legend(figure, axes[0])
    return figure


def _framed(figure: Figure, axes: Axes, title: str) -> Figure:
    """The figure, with title, colour bar and legend."""
    axes.set_title(title)
    colour_bar_of_levels(figure, axes)
    legend(axes, loc="upper left")
    return figure


def _check(edges: ArrayLike, curves: ArrayLike, taus: ArrayLike) -> tuple[Array, Array, Array]:
    log_edges, levels = np.asarray(edges, dtype=np.float64), np.atleast_1d(np.asarray(taus, dtype=np.float64))
    if log_edges.ndim != 1 or len(log_edges) < 2 or np.any(np.diff(log_edges) <= 0):
        raise InputError("edges: must be a vector of increasing log10 fluxes")
    if not np.isfinite(log_edges).all() or log_edges[0] < -30 or log_edges[-1] > 0:
        raise InputError(f"edges: must be finite log10 fluxes in [-30, 0], got {shown(log_edges[[0, -1]])}")
    return log_edges, check_shape("curves", curves, (len(levels), len(log_edges) - 1)), levels


def _draw_lines(axes: Axes, log_edges: Array, lines: Array, levels: Array) -> None:
    """Lines through the centres of the bins: densities at several levels may cross, which steps would hide."""
    centres = 10 ** ((log_edges[1:] + log_edges[:-1]) / 2)
    for line, colour in zip(lines, dim_to_bright()(levels), strict=True):
        axes.plot(centres, line, color=colour, lw=1.2, zorder=3)
    axes.plot(centres, lines[_middle(levels)], color="black", lw=2.2, label="median", zorder=4)


def _draw_steps(axes: Axes, log_edges: Array, lines: Array, levels: Array) -> None:
    """Bins filled between neighbouring levels, the median as a step line."""
    colours = dim_to_bright()((levels[1:] + levels[:-1]) / 2)
    for low, high, colour in zip(lines[:-1], lines[1:], colours, strict=True):
        axes.stairs(high, 10**log_edges, baseline=low, fill=True, color=colour, lw=0, zorder=1)
    middle = lines[_middle(levels)]
    axes.stairs(middle, 10**log_edges, color="black", lw=2.2, label="median", baseline=None, zorder=4)


def _draw_truth(axes: Axes, log_edges: Array, truth: ArrayLike | None) -> None:
    if truth is not None:
        values = check_shape("truth", truth, (len(log_edges) - 1,))
        axes.stairs(values, 10**log_edges, color=TRUTH, lw=1.8, ls="--", label="truth", baseline=None, zorder=5)


def _middle(levels: Array) -> int:
    return int(np.argmin(np.abs(levels - 0.5)))


def _draw_bands(axes: Axes, log_edges: Array, bands: Mapping[str, Summary]) -> None:
    if len(bands) > len(BAND_COLOURS):
        raise InputError(f"bands: at most {len(BAND_COLOURS)} can be told apart, got {len(bands)}")
    for (name, summary), colour in zip(bands.items(), BAND_COLOURS, strict=False):
        median, below, above = summary_arrays(name, summary, (len(log_edges) - 1,))
        fluxes, low, high = 10**log_edges, median - below, median + above
        axes.stairs(high, fluxes, baseline=low, fill=True, alpha=0.25, lw=0, color=colour, zorder=2)
        axes.stairs(median, fluxes, lw=1.8, label=name, baseline=None, color=colour, zorder=2)


def _mark_fluxes(axes: Axes, photon_flux: float | None, threshold: tuple[float, float] | None) -> None:
    if photon_flux is not None:
        axes.axvline(photon_flux, color="0.35", ls=":", lw=1.4, label="one photon", zorder=2.5)
    if threshold is not None:
        axes.axvspan(*threshold, color="0.75", alpha=0.8, lw=0, label="3FGL threshold", zorder=0)


def colour_bar_of_levels(figure: Figure, axes: Axes | NDArray[np.object_]) -> None:
    """Colour bar of the quantile levels, beside one panel or several."""
    mappable = ScalarMappable(Normalize(0, 1), dim_to_bright())
    figure.colorbar(mappable, ax=axes, label="quantile level τ, dim to bright", ticks=np.linspace(0, 1, 5))


def dim_to_bright() -> ListedColormap:
    """Colours of quantile levels, dark to bright; the palest yellows, lost on white, are left off."""
    return ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.93, 256)))


def _tops(bands: Mapping[str, Summary]) -> list[ArrayLike]:
    return [summary["high"] for summary in bands.values()]
