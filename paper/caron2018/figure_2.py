"""Fig. 2: template fits of images, against the inner slope of the excess."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline

from gcesbi.analysis.fit import read_template_fits
from gcesbi.analysis.run import Run
from gcesbi.baselines.poisson.halo_slope import SlopeFit
from gcesbi.plots.style import method_styles
from paper.caron2018.collect import interstellar_label
from paper.style import canvas, letters

NEEDS = ("images",)
CAPTION = (
    "Test statistic of the excess in Poisson template fits of simulated images, against the inner slope of the gNFW "
    "profile; dots: the best slope. (a) One image of each interstellar model, fitted with the model that it was drawn "
    "from. (b) One image, drawn from the model named in the title, fitted with each of the five; a test statistic "
    "compares with the same interstellar model without excess, it does not rank those models. (c) Best slope of fits "
    "with the images' own model, against the share of sources in the excess: bars are the statistical errors of the "
    "fit, which takes the excess to be smooth. Dotted: the slope of all images. (d) Where the run was made for a real "
    "image: that image, fitted with each interstellar model."
)


def draw(images: Path) -> Figure:
    """Draw from the template fits of an image run."""
    sky, fits = Run.open(images).images.sky, read_template_fits(images)
    truth, f_src = sky.gamma[0], sky.varied.index("f_src")
    figure, axes = canvas(1, 4 if fits.observed else 3, height=2.7)
    left, middle, right = axes[0, :3]
    for name, (colour, marker) in method_styles(fits.own).items():
        label = interstellar_label(name)
        _profile(left, fits.own[name][0], colour)
        _profile(middle, fits.other[name], colour)
        found = np.array([(fit.gamma, fit.gamma_error) for fit in fits.own[name]]).T
        shares = fits.theta[name][:, f_src]
        right.errorbar(shares, *found, fmt=marker, color=colour, ms=2.5, lw=0.7, label=label)
    for panel, title in ((left, "own model"), (middle, f"one image of {interstellar_label(fits.drawn_from)}")):
        panel.axvline(truth, color="black", lw=0.8, ls=":")
        panel.set(xlabel="inner slope γ", ylabel="test statistic", ylim=(0, None))
        panel.set_title(title, loc="right")
    right.axhline(truth, color="black", lw=0.8, ls=":")
    right.set(xlabel=r"$f_\mathrm{src}$", ylabel="best inner slope γ", xlim=(0, 1))
    right.set_title("own model", loc="right")
    if fits.observed:
        _observed(axes[0, 3], fits.observed)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=len(fits.own))
    letters(axes)
    return figure


def _observed(panel: Axes, fits: Mapping[str, SlopeFit]) -> None:
    for name, (colour, _) in method_styles(fits).items():
        _profile(panel, fits[name], colour)
    panel.set(xlabel="inner slope γ", ylabel="test statistic", ylim=(0, None))
    panel.set_title("real image", loc="right")


def _profile(panel: Axes, fit: SlopeFit, colour: str) -> None:
    fine = np.linspace(fit.gammas[0], fit.gammas[-1], 200)
    panel.plot(fine, CubicSpline(fit.gammas, fit.test_statistics)(fine), color=colour)
    panel.plot(fit.gamma, fit.test_statistic, "o", color=colour, ms=3)
