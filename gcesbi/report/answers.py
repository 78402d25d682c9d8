"""Sources or smooth emission? What each method answers, and the numbers that decide.

A source dimmer than one photon is smooth emission for any practical purpose. So the question that a map can answer is
how much of the subject's flux comes from sources of more than one expected photon. A method decides for sources if with
97.5 % more than half of it does, and for smooth emission if with 97.5 % less than half of it does, sources of less than
a photon being smooth emission here; else it is undecided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines import NptfPosterior
from gcesbi.estimators import PoissonFractionPosterior
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.report.populations import Population, drawn_from
from gcesbi.report.tables import interval
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = ["Answer", "answer", "answer_lines", "headline", "true_answer"]

Decision = Literal["sources", "smooth emission", "undecided", "not to be trusted", "cannot tell"]


@dataclass(frozen=True)
class Answer:
    """What a method says, and the numbers that say so."""

    decision: Decision
    reason: str


def answer(model: SkyModel, posterior: Posterior, odds: tuple[float, float] | None = None) -> Answer:
    """What a posterior says of the model's subject; `odds`, ln of the Bayes factor for sources in it and its error."""
    if "scd_cdf" not in posterior.names:
        return Answer("cannot tell", "it takes all emission for smooth")
    if model.subject not in model.point_sources:
        return Answer("cannot tell", f"its sky has no sources of the {label(model.subject)}")
    found = Population(model, drawn_from(posterior), model.subject)
    low, below, middle, above, high = np.quantile(100 * found.share_above, [0.025, 0.16, 0.5, 0.84, 0.975])
    reason = (
        f"{middle:.0f} % ({below:.0f}–{above:.0f} %) of its flux is from sources above one photon "
        f"(95 %: {low:.0f}–{high:.0f} %)"
    )
    if not np.isnan(found.number_above).any():
        reason += f", which are {interval(np.quantile(found.number_above, [0.16, 0.5, 0.84]), 0)} in number"
    reason += _smooth_limit(posterior, found.smooth)
    if odds is not None:
        reason += f"; the Bayes factor for sources in it against none is e^({odds[0]:+.1f} ± {odds[1]:.1f})"
    if isinstance(posterior, NptfPosterior) and not posterior.converged:
        return Answer("not to be trusted", f"its chain has not converged ({reason})")
    return Answer("sources" if low > 50 else "smooth emission" if high < 50 else "undecided", reason)


def true_answer(model: SkyModel, truth: Posterior) -> str:
    """The same numbers of what is true of a mock map."""
    drawn, subject = truth.sample(1), label(model.subject)
    share = f"{100 * drawn['flux_fraction'][0, model.names.index(model.subject)]:.1f} % of all flux"
    if model.subject not in model.point_sources:
        return f"In truth the {subject} gives {share}."
    found = Population(model, drawn, model.subject)
    return (
        f"In truth {100 * found.share_above[0]:.0f} % of the flux of the {subject}, {share}, is from sources above one "
        f"photon, which are {found.number_above[0]:,.0f} in number."
    )


def headline(model: SkyModel, answers: Mapping[str, Answer]) -> str:
    """One sentence that answers."""
    told = {name: each.decision for name, each in answers.items() if each.decision != "cannot tell"}
    asked, found = f"Sources or smooth emission, what is the {label(model.subject)}?", set(told.values())
    if not told:
        return f"{asked} No method was asked that could tell."
    if len(found) == 1:
        (one,) = found
        by = f"by all {len(told)} methods that can tell" if len(told) > 1 else "by the one method that can tell"
        return f"{asked} {one[0].upper()}{one[1:]}, {by}."
    return f"{asked} Methods differ: " + "; ".join(f"{name}, {each}" for name, each in told.items()) + "."


def answer_lines(answers: Mapping[str, Answer]) -> str:
    """One line a method."""
    lines = (f"{name}: {each.decision}. {each.reason[0].upper()}{each.reason[1:]}." for name, each in answers.items())
    return "\n".join(lines)


def _smooth_limit(posterior: Posterior, smooth: NDArray[np.float64]) -> str:
    """95 % limit on the exactly smooth share, where a method asks for it; whether it is to be quoted."""
    asked = "poisson_fraction" in posterior.names
    if not asked and not smooth.any():
        return ""
    limit = posterior.quantiles("poisson_fraction", 0.95)[0] if asked else np.quantile(smooth, 0.95)
    parts = posterior.parts if isinstance(posterior, JointPosterior) else (posterior,)
    beyond = any(each.extrapolates for each in parts if isinstance(each, PoissonFractionPosterior))
    told = f"; at most {100 * limit:.0f} % of it is exactly smooth (95 % limit of its Poisson share"
    return f"{told}; extrapolated beyond the dimmest sources of training: do not quote it)" if beyond else f"{told})"
