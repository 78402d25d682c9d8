"""What becomes of networks, and of the test of misspecification, on maps of skies that are not their model's."""

from dataclasses import dataclass, field
from typing import Any

from gcesbi.evaluation.networks import Evaluation
from gcesbi.validation import Comparison, Estimate
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["MisspecificationResult"]


@dataclass(frozen=True, eq=False)
class MisspecificationResult:
    """A trained run on misspecified maps.

    Parameters
    ----------
    evaluations : dict of str to Evaluation
        By sky; "nominal" first.
    area : dict of str to Estimate
        Probability that a map of the sky looks stranger to the gate than one of the nominal sky: ½ is blind, 1 sees
        all.
    detected : dict of str to float
        Share of maps that the gate turns away.
    named : dict of str to dict of str to float
        Area for each statistic alone.
    n_maps : int
    counts : float
        Median counts of the nominal maps.
    verdict : GateVerdict, optional
        On the observation whose brightness the maps have; None if they are of the whole prior.
    twins : dict of str to dict of str to Comparison
        By sky and quantity: the run's networks and another run's on the same maps; empty without another run.
    """

    evaluations: dict[str, Evaluation]
    area: dict[str, Estimate]
    detected: dict[str, float]
    named: dict[str, dict[str, float]]
    n_maps: int
    counts: float
    verdict: GateVerdict | None = None
    twins: dict[str, dict[str, Comparison]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            "n_maps": self.n_maps,
            "counts": self.counts,
            "observation": None if self.verdict is None else self.verdict.to_dict(),
            "skies": {
                name: {
                    **found.to_dict(),
                    "area_under_curve": vars(self.area[name]),
                    "turned_away": self.detected[name],
                    "area_by_statistic": self.named[name],
                    "twin": {key: each.to_dict() for key, each in self.twins.get(name, {}).items()},
                }
                for name, found in self.evaluations.items()
            },
        }
