"""Whether a map is explained: by smooth templates alone, and by the model that networks learnt from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines import GoodnessOfFit, PoissonFitResult
from gcesbi.report.html import Section
from gcesbi.report.poisson import goodness_section
from gcesbi.report.sections import sky_section
from gcesbi.report.validation import gate_section
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["Explained"]


@dataclass(frozen=True, eq=False)
class Explained:
    """What speaks for and against every explanation of a map.

    Parameters
    ----------
    observation : Observation
    fit : PoissonFitResult
    goodness : GoodnessOfFit
        Of that fit.
    gate : GateVerdict or None
        Whether the networks' model could have produced the map, if that was asked.
    predicted : mapping of str to array (n_map, n_pix)
        Maps that methods predict.
    """

    observation: Observation
    fit: PoissonFitResult
    goodness: GoodnessOfFit
    gate: GateVerdict | None = None
    predicted: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)

    @property
    def refused(self) -> str:
        """Why nothing is to be trusted; empty if the map was not refused."""
        return "" if self.gate is None or self.gate.accepted else str(self.gate)

    def __str__(self) -> str:
        judged = self.goodness
        lies = "explain" if judged.p_value >= 0.01 and not judged.deviant else "do not explain"
        told = (
            f"Smooth templates alone {lies} the map: deviance {judged.z:+.1f} standard deviations from what they give "
            f"(p = {judged.p_value:.2g}), {len(judged.deviant)} pixels too bright or too dim for them."
        )
        if self.gate is None:
            return f"{told} Whether the model with sources explains it was not asked."
        sides = {n: z for n, z in zip(self.gate.names, self.gate.z, strict=True) if n in ("north-south", "left-right")}
        told += "" if self.refused else f" {self.gate}"
        return told + "".join(f" {n}: {z:+.1f} standard deviations." for n, z in sides.items())

    def sections(self, order: Sequence[str]) -> tuple[Section, ...]:
        """The map, what the Poisson fit leaves of it, and the gate's statistics; `order` names all methods."""
        asked = () if self.gate is None else (gate_section(self.gate),)
        sky = sky_section(self.observation, self.fit.mean.sum(axis=0))
        return (sky, goodness_section(self.goodness, None, self.predicted, order), *asked)

    def to_dict(self, sources: Sequence[str]) -> dict[str, Any]:
        """All numbers, with test statistics of the templates of `sources`."""
        return {
            "poisson_fit": {
                "norms": self.fit.spectrum.tolist(),
                "log_likelihood": self.fit.log_likelihood,
                "test_statistic": {name: self.fit.test_statistic(name) for name in sources},
            },
            "goodness_of_fit": self.goodness.to_dict(),
            "gate": None if self.gate is None else self.gate.to_dict(),
        }
