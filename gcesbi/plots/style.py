"""Colours, markers and blank figures: fixed here, so that nothing global is touched."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = [
    "PALETTE",
    "Summary",
    "blank",
    "check_shape",
    "decades",
    "entitle",
    "legend",
    "method_styles",
    "panels",
    "shared_legend",
    "summary_arrays",
]

#: Colours that colour-blind readers tell apart (Okabe & Ito 2008), darkest first, without black: that is the truth's.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKERS = ("o", "s", "^", "D", "v", "P")

Array = NDArray[np.float64]
#: ``low``, ``median`` and ``high`` of a quantity, as ``Posterior.summary()[name]`` gives them.
Summary = Mapping[str, ArrayLike]


def method_styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every method, by its place in the list; 36 of them differ, the first 6 in both."""
    n = len(PALETTE)
    return {name: (PALETTE[i % n], MARKERS[(i + i // n) % len(MARKERS)]) for i, name in enumerate(names)}


def blank(width: float = 7.0, height: float = 4.6) -> tuple[Figure, Axes]:
    """Figure of one panel, inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def panels(
    n: int, columns: int = 3, width: float = 3.0, height: float = 2.7, *, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """Figure of `n` panels, at most `columns` a row, each of the given size in inches; they may share the x axis."""
    rows = -(-n // columns)
    columns = -(-n // rows)
    figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share).ravel().tolist()
    for i, spare in enumerate(axes[n:], n):
        axes[i - columns].tick_params(labelbottom=True)
        spare.remove()
    return figure, axes[:n]


def legend(axes: Axes, **options: Any) -> None:
    """Legend without a frame's weight, if anything is labelled."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**({"frameon": True, "framealpha": 0.85, "edgecolor": "none"} | options))


def shared_legend(figure: Figure, axes: Axes, room: float = np.inf) -> None:
    """Legend of one panel above all of them, in as many columns as fit: in the figure, or `room` inches at the left."""
    handles, labels = axes.get_legend_handles_labels()
    width = figure.get_figwidth()
    columns = int(min(width, room) / (0.52 + 0.08 * max(map(len, labels), default=1)))
    columns = max(1, min(len(labels), 4, columns))
    where: Literal["outside upper left", "outside upper center"]
    where = "outside upper left" if room < width else "outside upper center"
    figure.legend(handles, labels, loc=where, ncols=columns, frameon=False)


def entitle(axes: Axes, title: str) -> None:
    """Title right above a panel that has nothing there: matplotlib else looks for what may stand in its way."""
    axes.set_title(title, y=1.0)


def decades(*axes: Axis) -> None:
    """Powers of ten beside logarithmic axes, in letters of full size: those of mathematical text are too small.

    Ticks between them have no numbers, whose places are not looked for.
    """
    for axis in axes:
        axis.set_tick_params(which="minor", labelleft=False, labelbottom=False)
        axis.set_major_formatter(FuncFormatter(lambda value, _: "10" + f"{np.log10(value):.0f}".translate(_RAISED)))
        axis.set_minor_formatter(NullFormatter())


def check_shape(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Values as floats; raise InputError unless they have the shape."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name}: must have shape {shape}, got {array.shape}")
    return array


def summary_arrays(method: str, summary: Summary, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Median, and lengths of the error bars below and above, each of the shape."""
    missing = {"low", "median", "high"} - set(summary)
    if missing:
        raise InputError(f"{method}: a summary needs low, median and high, lacks {', '.join(sorted(missing))}")
    low, median, high = (check_shape(f"{method}.{key}", summary[key], shape) for key in ("low", "median", "high"))
    return median, np.maximum(median - low, 0), np.maximum(high - median, 0)
