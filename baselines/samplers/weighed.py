"""Weighted draws of importance sampling: how well they cover a posterior, evidence, and draws of equal weight."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gcesbi.baselines.samplers.annealing import log_prior, systematic
from gcesbi.baselines.samplers.sampling import Diagnosis
from gcesbi.baselines.samplers.target import Target
from gcesbi.errors import InputError
from gcesbi.posterior import import_arviz

__all__ = ["ImportanceConvergence", "Weighed"]

FloatArray = NDArray[np.float64]

_TRUSTED = 0.7  # largest shape k̂ at which a mean of weights is useful
_FORGOTTEN = 0.2  # of where walks began, at most
_EQUAL = 1e-6  # spread of log-weights of draws from the posterior itself


@dataclass(frozen=True)
class ImportanceConvergence(Diagnosis):
    """How well proposals cover the posterior.

    Attributes
    ----------
    pareto_k : float
        Shape of the largest weights' law.
    ess, wanted : float
        Effective number of draws, (Σ w)² / Σ w², and the number asked for.
    remembered : float
        The largest correlation of a coordinate, or of its square, with where walks began; 0 where nothing walks. What a
        law lacked when they began is missing still in that measure, and no weight tells.
    coarser : str
        What speaks against the draws of a coarser posterior that these are refined from.
    """

    pareto_k: float
    ess: float
    wanted: float
    remembered: float = 0.0
    coarser: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: heavy tails, too few effective draws, walks too short, a bad beginning."""
        found = [f"the coarser posterior: {self.coarser}"] if self.coarser else []
        if not self.pareto_k <= _TRUSTED:
            found.append(f"weights have a heavy tail (Pareto k = {self.pareto_k:.2f}, above {_TRUSTED}): use Nuts")
        if not self.ess >= self.wanted:
            found.append(f"effective sample size is {self.ess:.0f}, {self.wanted:.0f} were wanted")
        if not self.remembered <= _FORGOTTEN:
            found.append(
                f"draws go along with where their walks began (correlation {self.remembered:.2f}, above {_FORGOTTEN}): "
                "more rounds are needed"
            )
        return tuple(found)


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighed(ABC):
    """All draws so far, and what they were proposed by: what a checkpoint holds.

    Attributes
    ----------
    z : array (n, n_dim)
    value : array (n,)
        Log-likelihoods.
    log_proposed : array (n,)
        Log-density of all proposals together, those of later rounds included.
    n_round, spent : int
        Rounds and evaluations.
    """

    z: FloatArray
    value: FloatArray
    log_proposed: FloatArray
    n_round: int
    spent: int

    @abstractmethod
    def on(self, target: Target, batch: int, seed: int) -> Self:
        """Draws of one more round."""

    @cached_property
    def log_weights(self) -> FloatArray:
        """Posterior density, not normalised, over that of the proposals, (n,)."""
        return np.asarray(self.value + log_prior(self.z) - self.log_proposed)

    @cached_property
    def _weights(self) -> tuple[FloatArray, float]:
        """Smoothed weights (n,), which add up to 1, and the shape k̂ of their law."""
        if np.ptp(self.log_weights) < _EQUAL:
            return np.full(len(self.z), 1 / len(self.z)), -math.inf
        smoothed, shape = import_arviz().psislw(self.log_weights)
        return np.exp(smoothed - logsumexp(smoothed)), float(shape)

    @property
    def log_evidence(self) -> float:
        """Logarithm of Z."""
        return float(logsumexp(self.log_weights) - math.log(len(self.z)))

    @property
    def log_evidence_error(self) -> float:
        """Standard error of it."""
        return 1 / math.sqrt(self.ess)

    @property
    def ess(self) -> float:
        """Effective draws."""
        return float(1 / np.sum(self._weights[0] ** 2))

    @property
    def pareto_k(self) -> float:
        """k̂."""
        return self._weights[1]

    def convergence(self, wanted: float) -> ImportanceConvergence:
        """What speaks against the draws."""
        return ImportanceConvergence(self.pareto_k, self.ess, wanted)

    def rows(self, seed: int) -> NDArray[np.int64]:
        """Places (n,) of draws of equal weight, four for each effective one."""
        n = max(4 * int(self.ess), 1)
        return systematic(self._weights[0], n, np.random.default_rng([seed, 1]))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The state as arrays."""
        return {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The state of arrays.

        Raises
        ------
        InputError
            If they are of another kind.
        """
        if arrays.keys() != {each.name for each in fields(cls)}:
            raise InputError("checkpoint: was written by another version of gcesbi; remove it")
        state: dict[str, Any] = {name: array if array.ndim else array.item() for name, array in arrays.items()}
        return cls(**state)
