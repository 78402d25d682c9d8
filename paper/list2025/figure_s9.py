"""Fig. S9: a toy: to guess a uniform number. Calibrated is not yet sharp."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import truncnorm

from gcesbi.plots.calibration import draw_histograms
from gcesbi.validation import calibration_curve, quantiles_covered, sharpness
from paper.panels import bare_legend, draw_curves, thin
from paper.style import canvas, letters

NEEDS = ()
SEED, N_MAP, NOISE = 9, 2000, 0.1
TAUS = np.arange(1, 80) / 80
ALPHAS = np.arange(1, 20) / 20
CAPTION = (
    f"A uniform number in [0, 1] is to be guessed, {N_MAP} times (seed {SEED}). Nothing seen: the prior is stated "
    f"every time. Seen with noise: the exact posterior given the number with Gaussian noise of {NOISE}. "
    "Over-confident: the same with errors half as wide. (a) Coverage: the first two are calibrated. (b) Width of "
    "the 95 % interval: only the second has learnt anything."
)


def guesses() -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Truths (n_map, 1), and quantiles (n_tau, n_map, 1) by each guesser."""
    rng = np.random.default_rng(SEED)
    truth = rng.uniform(size=(N_MAP, 1))
    seen = truth + NOISE * rng.standard_normal(truth.shape)
    levels = TAUS[:, None, None]
    return truth, {
        "nothing seen": np.broadcast_to(levels, (len(TAUS), N_MAP, 1)),
        "seen with noise": _posterior(levels, seen, NOISE),
        "over-confident": _posterior(levels, seen, NOISE / 2),
    }


def draw() -> Figure:
    """Coverage and sharpness of three guessers."""
    truth, quantiles = guesses()
    figure, axes = canvas(1, 2, height=3.2)
    curves = {
        name: calibration_curve(quantiles_covered(truth, each, TAUS, ALPHAS), ALPHAS)
        for name, each in quantiles.items()
    }
    draw_curves(axes[0, 0], curves)
    widths = {name: sharpness(each, TAUS) for name, each in quantiles.items()}
    draw_histograms(axes[0, 1], widths, "width of the 95 % interval")
    thin(axes[0, 1])
    axes[0, 0].legend(loc="upper left")
    bare_legend(axes[0, 1], "center", bbox_to_anchor=(0.64, 0.75))
    letters(axes)
    return figure


def _posterior(levels: NDArray[np.float64], seen: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    return np.asarray(truncnorm.ppf(levels, (0 - seen) / noise, (1 - seen) / noise, seen, noise))
