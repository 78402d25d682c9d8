"""What samplers sample, and what they give back.

Every sampler works in the unit cube, in which the prior is flat: a target is its log-likelihood there. Samplers are
small settings objects with a method ``sample(target, seed, limits)``; what they return says what speaks against it.
"""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.samplers.quadratic import Quadratic
from gcesbi.baselines.samplers.sampling import Diagnosis, SamplingWarning
from gcesbi.errors import InputError
from gcesbi.io.files import naming, read_arrays, write_arrays

if TYPE_CHECKING:
    from gcesbi.baselines.samplers.block_move import BlockMove

__all__ = ["Limits", "Refinement", "Sampled", "Sampler", "Target", "load_arrays", "save_arrays"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Target:
    """A likelihood over the unit cube.

    Parameters
    ----------
    names : tuple of str
    log_likelihood : callable
        (n, n_dim) -> (n,).
    moves : BlockMove
        Ensemble moves that suit it.
    gradient : callable, optional
        Point (n_dim,) -> value and gradient (n_dim,).
    refinement : Refinement, optional
        What it adds to a cheaper likelihood, of the first parameters alone, whose posterior is about as wide or wider.
    """

    names: tuple[str, ...]
    log_likelihood: Callable[[FloatArray], FloatArray]
    moves: BlockMove
    gradient: Callable[[FloatArray], tuple[float, FloatArray]] | None = None
    refinement: Refinement | None = None

    @property
    def n_dim(self) -> int:
        """Number of parameters."""
        return len(self.names)

    def finite(self, u: FloatArray) -> FloatArray:
        """Log-likelihoods (n,), a very small number where the likelihood is 0 or no number."""
        return np.nan_to_num(self.log_likelihood(u), nan=-1e300, neginf=-1e300)

    def identity(self, sampler: object, seed: int) -> str:
        """Digest of the parameters' names, the likelihood at two points, the sampler and the seed."""
        points = np.full((2, self.n_dim), [[0.5], [0.4]])
        content = f"{self.names} {self.log_likelihood(points).tolist()} {sampler!r} {seed}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Limits:
    """Time that a sampler may take, and where it keeps what it has.

    Parameters
    ----------
    seconds : float
        When these are over a sampler returns what it has, and says so among its problems.
    checkpoint : path, optional
        File from which a run that was killed goes on; removed by nobody.
    progress : bool
        Whether to show a progress bar.
    start : float
        Clock at the start.
    """

    seconds: float = math.inf
    checkpoint: Path | None = None
    progress: bool = False
    start: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds left, not below 0."""
        return max(0.0, self.start + self.seconds - time.monotonic())


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws from a posterior.

    Attributes
    ----------
    u : array (n, n_dim)
        Points of the unit cube, of equal weight.
    log_likelihood : array (n,)
    convergence : Diagnosis
    log_evidence, log_evidence_error : float
        ln Z and its standard error, NaN where the sampler gives none.
    n_evaluation : int
        Evaluations of the likelihood (of its gradient, for samplers that use it), those before a resume included.
    chains : array (n_chain, n_draw), optional
        Rows of `u` in the order in which each chain drew them; one chain in the order of the rows if not given.
    """

    u: FloatArray
    log_likelihood: FloatArray
    convergence: Diagnosis
    log_evidence: float = math.nan
    log_evidence_error: float = math.nan
    n_evaluation: int = 0
    chains: NDArray[np.int64] | None = None

    def thinned(self, n: int) -> NDArray[np.int64]:
        """Rows (n_chain, n_draw) of about `n` draws, at equal steps of every chain."""
        chains = np.arange(len(self.u))[None] if self.chains is None else self.chains
        n_draw = chains.shape[1]
        kept = min(n_draw, max(n // len(chains), 1))
        return chains[:, np.linspace(0, n_draw - 1, kept).astype(np.int64)]

    @property
    def best(self) -> FloatArray:
        """Point of the highest likelihood, (n_dim,)."""
        return self.u[int(np.argmax(self.log_likelihood))]

    def tell(self, stacklevel: int = 3) -> Sampled:
        """Warn of every problem; return itself."""
        for problem in self.convergence.problems:
            warnings.warn(f"NPTF not converged: {problem}", SamplingWarning, stacklevel=stacklevel)
        return self


class Refinement(Protocol):
    """What a likelihood adds to a coarser one of its first parameters.

    Coordinates z are those in which the prior is a standard normal.
    """

    @property
    def coarser(self) -> Target:
        """The likelihood of the first parameters."""

    @property
    def first_blocks(self) -> tuple[NDArray[np.int64], ...]:
        """Columns of the first parameters, by what belongs together."""

    @property
    def blocks(self) -> tuple[NDArray[np.int64], ...]:
        """Columns of the other parameters, by what belongs together."""

    def first(self, z: FloatArray) -> FloatArray:
        """What the first coordinates (n, n_first) mean, (n, n_value)."""

    def part(self, block: int, z: FloatArray) -> FloatArray:
        """What the coordinates of a block (n, n_column) mean, (n, n_number)."""

    def features(self, first: FloatArray, parts: FloatArray) -> FloatArray:
        """Features (n, n_feature) of what coordinates mean, (n, n_value) and (n, n_block, n_number)."""

    def expansion(self, z: FloatArray) -> Quadratic:
        """The likelihood's logarithm less the coarser one's by features, about z (n_dim,)."""


class Sampler(Protocol):
    """Settings of one way to sample."""

    def sample(self, target: Target, seed: int, limits: Limits) -> Sampled:
        """Draw from the posterior; same seed, same draws."""


def save_arrays(path: Path, identity: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Store arrays in one NumPy archive, whole or not at all."""
    write_arrays(path, {"identity": np.array(identity), **arrays}, np.savez)


def load_arrays(path: Path | None, identity: str) -> dict[str, NDArray[Any]] | None:
    """Arrays of a checkpoint; None where there is none.

    Raises
    ------
    InputError
        If it is damaged, or belongs to another likelihood, sampler or seed.
    """
    if path is None or not path.is_file():
        return None
    with naming("checkpoint"):
        arrays = read_arrays(path)
    if str(arrays.pop("identity", "")) != identity:
        raise InputError(f"checkpoint: {str(path)!r} belongs to another likelihood, sampler or seed; remove it")
    return arrays
