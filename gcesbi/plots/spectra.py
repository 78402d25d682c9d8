"""Flux fractions and spectra of the templates, methods side by side, the truth beside them where it is known."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from gcesbi.errors import InputError
from gcesbi.sky import check_energy_edges

from .style import Array, Summary, check_shape, entitle, method_styles, panels, shared_legend, summary_arrays

__all__ = ["flux_fractions", "spectra"]


def spectra(
    names: Sequence[str],
    energy_edges: ArrayLike,
    methods: Mapping[str, Summary],
    truth: ArrayLike | None = None,
    unit: str = "flux fraction",
    log: bool = False,
    solid_angle: float | None = None,
    order: Sequence[str] | None = None,
) -> Figure:
    """One panel per template: a quantity per energy bin, with error bars, by method; a dot plot for one energy bin.

    Parameters
    ----------
    names : sequence of str
        Templates.
    energy_edges : array (n_energy + 1,), GeV
    methods : mapping of str to {"low", "median", "high"}
        Arrays (n_template, n_energy) per method, as in ``posterior.summary()["spectrum_fraction"]``, or
        ``["spectrum"]``, which is E² dN/dE.
    truth : array (n_template, n_energy), optional
        Drawn as black steps.
    unit : str
        Label of the vertical axis: "flux fraction", or for instance "E² dN/dE [GeV / cm² / s]".
    log : bool
        Logarithmic vertical axis.
    solid_angle : float, optional, sr
        Of the region: everything is divided by it, and the axis' label says "/ sr".
    order : sequence of str, optional
        Methods of other figures beside this one, in order, these among them: a method then keeps its colour.

    Raises
    ------
    InputError
        If there is no method, a shape is wrong, or the solid angle is not positive.
    """
    if solid_angle is not None:
        if not solid_angle > 0:
            raise InputError(f"solid_angle: must be positive, got {solid_angle}")
        methods = {name: _divided(summary, solid_angle) for name, summary in methods.items()}
        truth = None if truth is None else np.asarray(truth) / solid_angle
        unit = f"{unit[:-1]} / sr]" if unit.endswith("]") else f"{unit} / sr"
    edges = check_energy_edges(energy_edges)
    n_energy = len(edges) - 1
    shape = (len(names), n_energy)
    if n_energy == 1:
        flat = {name: {key: np.ravel(summary[key]) for key in summary} for name, summary in methods.items()}
        return flux_fractions(names, flat, None if truth is None else np.ravel(truth), unit, order)
    figure, axes = panels(len(names))
    for method, (summary, (colour, marker), shift) in _side_by_side(methods, order).items():
        median, below, above = summary_arrays(method, summary, shape)
        x = np.sqrt(edges[1:] * edges[:-1]) * (edges[1:] / edges[:-1]) ** (0.5 * shift)
        for i, panel in enumerate(axes):
            bars = [below[i], above[i]]
            panel.errorbar(x, median[i], bars, fmt=" ", color=colour, marker=marker, ms=4, label=method)
    for i, panel in enumerate(axes):
        if truth is not None:
            steps = check_shape("truth", truth, shape)[i]
            panel.stairs(steps, edges, color="black", lw=1.4, label="truth", baseline=None, zorder=1)
        panel.set(xscale="log", title=names[i], xlim=(edges[0], edges[-1]))
        _finish(panel, edges, log)
    figure.supxlabel("energy [GeV]")
    figure.supylabel(unit)
    shared_legend(figure, axes[0])
    return figure


def flux_fractions(
    names: Sequence[str],
    methods: Mapping[str, Summary],
    truth: ArrayLike | None = None,
    unit: str = "flux fraction",
    order: Sequence[str] | None = None,
) -> Figure:
    """One panel per template, with a scale of its own: median and error bar of every method, the truth a black line.

    Parameters
    ----------
    methods : mapping of str to {"low", "median", "high"}
        Arrays (n_template,) per method, as in ``posterior.summary()["flux_fraction"]``; NaN where a method is silent.
    truth : array (n_template,), optional
    order : sequence of str, optional
        See :func:`spectra`.
    """
    figure, axes = panels(len(names), height=0.22 * len(methods) + 0.9, share=False)
    for method, (summary, (colour, marker), shift) in _side_by_side(methods, order).items():
        median, below, above = summary_arrays(method, summary, (len(names),))
        for i, panel in enumerate(axes):
            bars = [[below[i]], [above[i]]]
            panel.errorbar(median[i], shift, xerr=bars, fmt=" ", color=colour, marker=marker, ms=5, label=method)
    true = None if truth is None else check_shape("truth", truth, (len(names),))
    for i, panel in enumerate(axes):
        if true is not None:
            panel.axvline(true[i], color="black", lw=1.4, label="truth", zorder=1)
        panel.set(ylim=(0.5, -0.5), yticks=[])
        entitle(panel, names[i])
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.grid(axis="x", color="0.92")
        panel.set_axisbelow(True)
    figure.supxlabel(unit)
    shared_legend(figure, axes[0])
    return figure


def _side_by_side(
    methods: Mapping[str, Summary], order: Sequence[str] | None
) -> dict[str, tuple[Summary, tuple[str, str], float]]:
    """Per method its summary, style, and its shift from the centre of a bin, in bins, within ± 0.35."""
    if not methods:
        raise InputError("methods: needs at least one method, got none")
    styles = method_styles(methods if order is None else order)
    for name in methods:
        if name not in styles:
            raise InputError(f"order: must name every method, {', '.join(methods)}, got {', '.join(styles)}")
    shifts: Array = 0.7 * ((np.arange(len(methods)) + 0.5) / len(methods) - 0.5)
    return {n: (s, styles[n], float(shift)) for (n, s), shift in zip(methods.items(), shifts, strict=True)}


def _divided(summary: Summary, by: float) -> dict[str, Array]:
    return {key: np.asarray(values, dtype=np.float64) / by for key, values in summary.items()}


def _finish(panel: Axes, edges: Array, log: bool) -> None:
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if edges[0] <= t <= edges[-1]]
    panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
    panel.minorticks_off()
    panel.grid(color="0.93")
    panel.set_axisbelow(True)
    if log:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
