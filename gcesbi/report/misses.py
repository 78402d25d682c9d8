"""Which intervals do not hold the truth of a mock map, whether more than by chance, and what explains it."""

from collections.abc import Mapping

import numpy as np
from scipy.special import bdtrc

from gcesbi.posterior import Posterior
from gcesbi.report.html import Section
from gcesbi.report.populations import cumulative_at
from gcesbi.report.tables import missed
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = ["misses_section"]


def misses_section(model: SkyModel, posteriors: Mapping[str, Posterior], truth: Posterior) -> Section:
    """Who misses the truth of a mock map how often, and why."""
    lines = []
    for name, posterior in posteriors.items():
        out, n = missed(posterior, model.bins, truth)
        odds = float(bdtrc(len(out) - 1, n, 0.32))
        told = f"{name}: {len(out)} of {n} 68 % intervals do not hold the truth"
        told += ", as chance has it" if odds > 0.05 else f", more than chance has it (p = {odds:.2g})"
        if out:
            told += f": {', '.join(out[:6])}" + (f" and {len(out) - 6} more" if len(out) > 6 else "")
        lines.append(f"{told}.{_why(name, model, truth) if out else ''}")
    return Section("Who misses the truth, and why", "\n\n".join(lines))


def _why(name: str, model: SkyModel, truth: Posterior) -> str:
    """What a method of another model than the simulations' cannot know."""
    if name == "Poisson fit":
        photon = -np.log10(model.exposure.mean())
        shares = 1 - cumulative_at(truth.quantiles("scd_cdf", 0.5)[0], model.bins, [photon + 1])[:, 0]
        bright = [
            f"{100 * s:.0f} % of the flux of the {label(n)}"
            for n, s in zip(model.point_sources, shares, strict=True)
            if s > 0.01
        ]
        told = " It takes all emission for smooth, and knows no scatter but Poisson's."
        if bright:
            told += f" Sources of over ten photons scatter more, and give {' and '.join(bright)}."
        return told
    if "literature" in name:
        return " Its priors and broken power laws are others than those that the map was drawn from."
    return ""
