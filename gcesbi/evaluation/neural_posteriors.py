"""Neural posteriors of sbi's on maps of known truth.

Each component of each quantity is judged by itself, and all of them together by TARP
(:func:`gcesbi.validation.sbi_diagnostics.tarp`), which sees what components alone cannot: whether the joint posterior's
correlations are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gcesbi.estimators.neural_posterior import NeuralPosteriorEstimator
from gcesbi.simulation import Simulations
from gcesbi.validation import Calibration
from gcesbi.validation.calibration import plain

if TYPE_CHECKING:
    from gcesbi.validation.sbi_diagnostics import TarpTest

__all__ = ["NeuralPosteriorEvaluation", "judge_neural_posterior"]

_NAMED_BY = {"scd_mean": "point_source", "scd_width": "point_source", "theta": "parameters"}


@dataclass(frozen=True, eq=False)
class NeuralPosteriorEvaluation:
    """A neural posterior on maps of known truth.

    Parameters
    ----------
    reports : tuple of Calibration
        Of every component of every quantity; energies of one template together.
    joint : TarpTest
        Of all of them together, as real numbers.
    """

    reports: tuple[Calibration, ...]
    joint: TarpTest

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {"quantities": {each.name: each.to_dict() for each in self.reports}, "joint": plain(vars(self.joint))}


def judge_neural_posterior(
    estimator: NeuralPosteriorEstimator, maps: Simulations, n_sample: int, seed: int = 0
) -> NeuralPosteriorEvaluation:
    """Judge a trained neural posterior on maps of known truth.

    Parameters
    ----------
    estimator : NeuralPosteriorEstimator
    maps : Simulations
    n_sample : int
        Posterior samples of each map.
    seed : int
        Of the samples, and of the noise that dequantises the SCD moments of the truth.
    """
    from gcesbi.validation.sbi_diagnostics import tarp  # it imports scikit-learn, for which `infer` need not wait

    truth = estimator.quantities.labels(maps, seed=seed + 1)  # training took another seed's noise
    drawn = estimator.sample(maps.counts, n_sample, seed)
    n_map = len(maps)
    reports = []
    for name, values in truth.items():
        labels = _labels(estimator, name)
        for i, label in enumerate(labels or [""]):
            true, found = (values[:, i], drawn[name][:, :, i]) if labels else (values, drawn[name])
            told = f"{name} of {label}" if labels else name
            pair = true.reshape(n_map, -1), found.reshape(n_sample, n_map, -1)
            reports.append(Calibration.from_samples(*pair, told, seed))
    real, samples = (
        estimator.quantities.to_real({k: torch.as_tensor(v) for k, v in each.items()}).numpy()
        for each in (truth, drawn)
    )
    return NeuralPosteriorEvaluation(tuple(reports), tarp(real, samples, seed=seed))


def _labels(estimator: NeuralPosteriorEstimator, quantity: str) -> Sequence[str]:
    """Names along a quantity's first axis; none of a parameter by itself, which is a number."""
    if not estimator.quantities.shapes[quantity]:
        return ()
    return tuple(getattr(estimator.quantities, _NAMED_BY.get(quantity, "template")))
