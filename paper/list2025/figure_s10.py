"""Fig. S10: how much of the excess may be Poisson emission, at every quantile level of its source counts."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gcesbi.plots.style import PALETTE
from paper.style import canvas, letters
from paper.view import RunView

NEEDS = ("ten", "real_o")
CAPTION = (
    "Largest Poisson share of the excess at 70 % and 95 % confidence, by the network that reads source counts, given "
    "those of every level τ, dim to bright; the median is the answer that is quoted. (a) Energy-dependent networks, "
    "(b) networks that see one energy bin, on the real 573-week map with Model O. Hatched: source counts dimmer than "
    "99 % of those that the network learnt from; there it extrapolates.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, (a) looks at a mock sky of its "
    "composition."
)


def draw(ten: Path, real_o: Path) -> Figure:
    """Upper limits, a line a confidence."""
    figure, axes = canvas(1, 2, height=2.6, sharey=True)
    shown = {"with energies": RunView.open(ten, "several"), "without, real map": RunView.open(real_o, "one")}
    for panel, (title, view) in zip(axes[0], shown.items(), strict=True):
        found = view.answer().more["poisson_share"]["by_tau"]
        taus, beyond = np.asarray(found["taus"]), np.asarray(found["extrapolates"])
        for confidence, limit, colour in zip(found["confidences"], found["limits"], PALETTE, strict=False):
            panel.plot(taus, limit, color=colour, label=f"{100 * confidence:.0f} %")
        half = (taus[1] - taus[0]) / 2
        for tau in taus[beyond]:
            panel.axvspan(tau - half, tau + half, facecolor="none", edgecolor="0.7", hatch="///", lw=0)
        panel.set(title=title, xlabel="quantile level τ of the source counts", xlim=(0, 1), ylim=(0, 1.02))
        panel.grid()
        panel.legend(loc="lower left")
    axes[0, 0].set_ylabel("Poisson share below")
    letters(axes)
    return figure
