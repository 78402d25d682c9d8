"""Maps of a region in Galactic coordinates, longitude increasing to the left, as the sky is seen."""

from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FormatStrFormatter, LogLocator
from numpy.typing import ArrayLike

from gcesbi.errors import InputError
from gcesbi.sky import Grid

from .style import Array, check_shape, entitle

__all__ = ["counts_and_residuals", "sky_image"]

MASKED = "0.82"
Scale = Literal["linear", "log", "signed"]


def sky_image(region: Grid, values: ArrayLike, n: int = 500) -> tuple[Array, tuple[float, float, float, float]]:
    """Values (n_pix,) on a rectangular grid in longitude and latitude.

    Returns
    -------
    image : array (n_row, n_column)
        First row at the lowest latitude, first column at the *highest* longitude; NaN outside the region.
    extent : (left, right, bottom, top)
        Degrees, left > right.
    """
    values = check_shape("values", values, (region.n_pix,))
    glon, glat = region.glon_glat()
    centre = np.degrees(np.angle(np.exp(1j * np.radians(glon)).sum()))
    offset = (glon - centre + 180) % 360 - 180
    margin = region.pixel_size
    left, right = centre + offset.max() + margin, centre + offset.min() - margin
    bottom, top = max(glat.min() - margin, -90.0), min(glat.max() + margin, 90.0)
    step = max(left - right, top - bottom) / n
    columns, rows = int(np.ceil((left - right) / step)), int(np.ceil((top - bottom) / step))
    lon = left - (np.arange(columns) + 0.5) * (left - right) / columns
    lat = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    at = region.holding(*np.meshgrid(lon, lat))
    return np.where(at >= 0, values[at], np.nan), (left, right, bottom, top)


def counts_and_residuals(region: Grid, counts: ArrayLike, model: ArrayLike, title: str = "Model") -> Figure:
    """Counts (n_pix,), a model's expected counts (n_pix,), and residuals (counts − model) / √model.

    The residuals of a right model scatter with standard deviation 1; their colours end at ± 4. `title` names the model.
    """
    counts, model = (check_shape(n, v, (region.n_pix,)) for n, v in (("counts", counts), ("model", model)))
    if np.any(model <= 0):
        raise InputError(f"model: expected counts must be above zero, got {model.min():g}")
    figure = Figure(figsize=(10.5, 5.0), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    limits = (max(float(model.min()), 0.1), float(np.quantile(counts, 0.998)) + 1)
    draw_sky(axes[0], region, counts, "photons per pixel", "Counts", "log", limits, "bottom")
    draw_sky(axes[1], region, model, "photons per pixel", title, "log", limits, "bottom")
    residuals = (counts - model) / np.sqrt(model)
    draw_sky(axes[2], region, residuals, "standard deviations", "Residuals", "signed", (-4, 4), "bottom")
    for panel in axes[1:]:
        panel.set_ylabel("")
    return figure


def draw_sky(
    axes: Axes,
    region: Grid,
    values: ArrayLike,
    unit: str,
    title: str = "",
    scale: Scale = "linear",
    limits: tuple[float, float] | None = None,
    bar: Literal["right", "bottom"] = "right",
) -> AxesImage:
    """Draw values (n_pix,) of a region with their colour bar into a panel; what is masked or outside is grey.

    Parameters
    ----------
    unit : str
        Written along the colour bar.
    scale : "linear", "log" or "signed"
        *log* draws values at or below zero in the lowest colour; *signed* is symmetric about a white zero.
    limits : (low, high), optional
        Ends of the colours; by default the range of the values, its upper 0.2 % left off.
    """
    image, extent = sky_image(region, values)
    low, high = _limits(image[np.isfinite(image)], scale) if limits is None else limits
    if scale == "log":
        image = np.where(np.isfinite(image), np.maximum(image, low), np.nan)
    norm = LogNorm(low, high) if scale == "log" else Normalize(low, high)
    colours = colormaps["RdBu_r" if scale == "signed" else "inferno"].with_extremes(bad=MASKED)
    drawn = axes.imshow(image, origin="lower", extent=extent, norm=norm, cmap=colours, interpolation="nearest")
    axes.set(xlabel="Galactic longitude l [deg]", ylabel="Galactic latitude b [deg]")
    entitle(axes, title)
    over, under = bool(np.nanmax(image) > high), bool(np.nanmin(image) < low)
    extend = ("neither", "max", "min", "both")[over + 2 * under]
    scale_bar = axes.figure.colorbar(drawn, ax=axes, label=unit, extend=extend, shrink=0.9, location=bar)
    if scale == "log":
        scale_bar.set_ticks(LogLocator(subs=(1.0, 3.0)), minor=False)
        scale_bar.formatter = FormatStrFormatter("%g")
        scale_bar.minorticks_off()
    return drawn


def _limits(values: Array, scale: Scale) -> tuple[float, float]:
    high = float(np.quantile(values, 0.998))
    if scale == "signed":
        reach = float(np.quantile(np.abs(values), 0.998)) or 1.0
        return -reach, reach
    if scale == "linear":
        low = float(values.min())
        return low, high if high > low else low + 1
    positive = values[values > 0]
    if positive.size == 0:
        raise InputError("values: a logarithmic map needs a value above zero")
    low = float(positive.min()) * (0.5 if values.min() <= 0 else 1.0)
    return low, high if high > low else 10 * low
