"""Whether a map is explained: by smooth templates alone, and by the model that networks learnt from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines import GoodnessOfFit, PoissonFitResult
from gcesbi.report.html import Section
from gcesbi.report.parts import gate_section
from gcesbi.report.poisson import chance, goodness_section
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["Explained"]


@dataclass(frozen=True, eq=False)
class Explained:
    """What speaks for and against every explanation of a map.

    Parameters
    ----------
    observation : Observation
    fit : PoissonFitResult or None
        None if it was not asked whether templates explain the map.
    goodness : GoodnessOfFit or None
        Of that fit.
    gate : GateVerdict or None
        Whether the networks' model could have produced the map, if that was asked.
    predicted : mapping of str to array (n_map, n_pix)
        Maps that methods predict.
    """

    observation: Observation
    fit: PoissonFitResult | None
    goodness: GoodnessOfFit | None
    gate: GateVerdict | None = None
    predicted: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)

    @property
    def refused(self) -> str:
        """Why nothing is to be trusted; empty if the map was not refused."""
        return "" if self.gate is None or self.gate.accepted else str(self.gate)

    def __str__(self) -> str:
        told = []
        if (judged := self.goodness) is not None:
            lies = "explain" if judged.p_value >= 0.01 and not judged.deviant else "do not explain"
            told.append(
                f"Smooth templates alone {lies} the map: deviance {judged.z:+.1f} standard deviations from what they "
                f"give ({chance(judged, judged.p_value)}), {len(judged.deviant)} pixels too bright or too dim for them."
            )
        if self.gate is None:
            return " ".join((*told, "Whether the model with sources explains it was not asked."))
        if not self.refused:
            told.append(str(self.gate))
        found = dict(zip(self.gate.names, self.gate.z, strict=True))
        sides = [f"{n}: {found[n]:+.1f} standard deviations" for n in ("north-south", "left-right") if n in found]
        if sides:
            told.append(f"Halves of the residuals against those of like maps, {', '.join(sides)}.")
        return " ".join(told)

    def sections(self, order: Sequence[str]) -> tuple[Section | None, ...]:
        """The map, what the Poisson fit leaves of it, and the gate's statistics; `order` names all methods."""
        methods = tuple(dict.fromkeys((*order, "Poisson fit")))  # each has one colour
        judged = None if self.goodness is None else goodness_section(self.goodness, None, self.predicted, methods)
        return judged, gate_section(self.gate)

    def to_dict(self, sources: Sequence[str]) -> dict[str, Any]:
        """All numbers, with test statistics of the templates of `sources`."""
        found = {"gate": None if self.gate is None else self.gate.to_dict()}
        if self.fit is not None and self.goodness is not None:
            found["goodness_of_fit"] = self.goodness.to_dict()
            found["poisson_fit"] = {
                "norms": self.fit.spectrum.tolist(),
                "log_likelihood": self.fit.log_likelihood,
                "test_statistic": {name: self.fit.test_statistic(name) for name in sources},
            }
        return found
