"""Fig. S9: a toy: the guess is always ½, as sure as its width. Calibrated, and not sharp."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gcesbi.plots.calibration import draw_histograms
from gcesbi.validation import calibration_curve, quantiles_covered, sharpness
from paper.panels import draw_curves, thin
from paper.style import canvas, letters

NEEDS = ()
SEED, N_MAP = 9, 5000
TAUS = np.arange(1, 80) / 80
ALPHAS = np.arange(1, 20) / 20
GUESS = 0.5
CAPTION = (
    f"A number is to be guessed, {N_MAP} times (seed {SEED}). It is uniform about ½ in an interval whose width w ~ "
    "U(0, 1) is all that is known: the guess is always ½, and the posterior that interval. (a) Coverage: calibrated at "
    "every level. (b) Width of the 95 % interval: flat from 0 to 0.95, the distribution of w. Calibration alone does "
    "not say that anything was learnt of the number.\n\n"
    "Differs from the paper's figure in nothing but the numbers that were drawn."
)


def guesses() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Truths (n_map, 1), and quantiles (n_tau, n_map, 1) of what is stated of them."""
    rng = np.random.default_rng(SEED)
    width = rng.uniform(size=(N_MAP, 1))
    truth = GUESS + width * (rng.uniform(size=width.shape) - 0.5)
    return truth, GUESS + width * (TAUS[:, None, None] - 0.5)


def draw() -> Figure:
    """Coverage and sharpness."""
    truth, quantiles = guesses()
    figure, axes = canvas(1, 2, height=3.2)
    curve = calibration_curve(quantiles_covered(truth, quantiles, TAUS, ALPHAS), ALPHAS)
    draw_curves(axes[0, 0], {"guess ½, w ~ U(0, 1)": curve})
    draw_histograms(axes[0, 1], {"guess ½, w ~ U(0, 1)": sharpness(quantiles, TAUS)}, "width of the 95 % interval")
    thin(axes[0, 1])
    axes[0, 0].legend(loc="upper left")
    letters(axes)
    return figure
