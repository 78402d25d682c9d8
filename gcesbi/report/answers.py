"""Sources or smooth emission? What each method answers, and the numbers that decide.

A source dimmer than one photon is smooth emission for any practical purpose: maps cannot tell the two apart. So the
question that a map can answer is how much of the subject's flux comes from sources of more than one expected photon.
A method decides for sources if with 97.5 % more than half of it does, and for smooth emission if with 97.5 % less than
half of it does, sources of less than a photon being smooth emission here; else it is undecided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines import NptfPosterior
from gcesbi.estimators import PoissonFractionPosterior
from gcesbi.physics.scd import cdf_to_pdf
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.report.tables import N_SAMPLE, cumulative_at, interval, smooth_share
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = [
    "Answer",
    "above_one_photon",
    "answer",
    "answer_lines",
    "headline",
    "source_flux",
    "true_answer",
]

Array = NDArray[np.float64]
Decision = Literal["sources", "smooth emission", "undecided", "not to be trusted", "cannot tell"]


@dataclass(frozen=True)
class Answer:
    """What a method says, and the numbers that say so."""

    decision: Decision
    reason: str


def answer(model: SkyModel, posterior: Posterior, odds: tuple[float, float] | None = None) -> Answer:
    """What a posterior says of the model's subject; `odds`, ln of the Bayes factor for sources in it and its error."""
    if "scd_cdf" not in posterior.names or model.subject not in model.point_sources:
        return Answer("cannot tell", "it takes all emission for smooth")
    drawn = posterior.sample(N_SAMPLE, seed=0)
    row, j = model.names.index(model.subject), model.point_sources.index(model.subject)
    smooth = smooth_share(drawn, row, j)
    above, number = above_one_photon(model, drawn["scd_cdf"][:, j], source_flux(model, drawn, model.subject))
    above = np.clip(above * (1 - smooth), 0, 1)
    low, high = np.quantile(above, [0.025, 0.975])
    reason = (
        f"{_percent(above)} of its flux is from sources above one photon (95 %: {100 * low:.0f}–{100 * high:.0f} %)"
    )
    if not np.isnan(number).any():
        reason += f", which are {interval(np.quantile(number, [0.16, 0.5, 0.84]), 0)} in number"
    reason += _smooth_limit(posterior, smooth)
    if odds is not None:
        reason += f"; the Bayes factor for sources in it against none is e^({odds[0]:+.1f} ± {odds[1]:.1f})"
    if isinstance(posterior, NptfPosterior) and not posterior.converged:
        return Answer("not to be trusted", f"its chain has not converged ({reason})")
    return Answer("sources" if low > 0.5 else "smooth emission" if high < 0.5 else "undecided", reason)


def true_answer(model: SkyModel, truth: Posterior) -> str:
    """The same numbers of what is true of a mock map."""
    row, j = model.names.index(model.subject), model.point_sources.index(model.subject)
    flux, share = (truth.quantiles(name, 0.5)[:, row] for name in ("flux", "flux_fraction"))
    above, number = above_one_photon(model, truth.quantiles("scd_cdf", 0.5)[:, j], flux)
    return (
        f"In truth {100 * above[0]:.0f} % of the flux of the {label(model.subject)}, {100 * share[0]:.1f} % of all "
        f"flux, is from sources above one photon, which are {number[0]:,.0f} in number."
    )


def headline(model: SkyModel, answers: Mapping[str, Answer]) -> str:
    """One sentence that answers."""
    told = {name: each.decision for name, each in answers.items() if each.decision != "cannot tell"}
    asked, found = f"Sources or smooth emission, what is the {label(model.subject)}?", set(told.values())
    if not told:
        return f"{asked} No method was asked that could tell."
    if len(found) == 1:
        (one,) = found
        by = f"by {'all ' * (len(told) > 1)}{len(told)} method{'s' * (len(told) > 1)} that can tell"
        return f"{asked} {one[0].upper()}{one[1:]}, {by}."
    return f"{asked} Methods differ: " + "; ".join(f"{name}, {each}" for name, each in told.items()) + "."


def answer_lines(answers: Mapping[str, Answer]) -> str:
    """One line a method."""
    lines = (f"{name}: {each.decision}. {each.reason[0].upper()}{each.reason[1:]}." for name, each in answers.items())
    return "\n".join(lines)


def source_flux(model: SkyModel, drawn: Mapping[str, Array], name: str) -> Array:
    """Flux (n,) of the sources of a template, of samples; NaN where a method knows none."""
    row, j = model.names.index(name), model.point_sources.index(name)
    flux = drawn["flux"][:, row] if "flux" in drawn else np.full(len(drawn["scd_cdf"]), np.nan)
    return flux * (1 - smooth_share(drawn, row, j))


def _smooth_limit(posterior: Posterior, smooth: Array) -> str:
    """95 % limit on the exactly smooth share, where a method asks for it; whether it is to be quoted."""
    asked = "poisson_fraction" in posterior.names
    if not asked and not smooth.any():
        return ""
    limit = posterior.quantiles("poisson_fraction", 0.95)[0] if asked else np.quantile(smooth, 0.95)
    parts = posterior.parts if isinstance(posterior, JointPosterior) else (posterior,)
    beyond = any(each.extrapolates for each in parts if isinstance(each, PoissonFractionPosterior))
    told = f"; at most {100 * limit:.0f} % of it is exactly smooth (95 % limit of its Poisson share"
    return f"{told}; extrapolated beyond the dimmest sources of training: do not quote it)" if beyond else f"{told})"


def above_one_photon(model: SkyModel, cdf: Array, flux: Array) -> tuple[Array, Array]:
    """Share of the flux (n,) from sources above one photon and their number, from CDFs (n, n_bin) and fluxes (n,)."""
    photon = -np.log10(model.exposure.mean())
    edges = model.bins.edges
    above = np.clip(1 - cumulative_at(cdf, model.bins, [photon])[:, 0], 0, 1)
    inside = np.clip((edges[1:] - photon) / (edges[1:] - edges[:-1]), 0, 1)  # of each bin, the share above
    number = flux * np.sum(np.maximum(cdf_to_pdf(cdf), 0) * inside / 10**model.bins.centres, axis=-1)
    return above, number


def _percent(values: Array) -> str:
    low, median, high = 100 * np.quantile(values, [0.16, 0.5, 0.84])
    return f"{median:.0f} % ({low:.0f}–{high:.0f} %)"
