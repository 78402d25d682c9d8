r"""Adaptive importance sampling: evidence and posterior from few values of a dear likelihood.

Coordinates z, in which the prior is a standard normal (u = Φ(z)), bring every posterior near one. Proposals are
multivariate Student t (:mod:`gcesbi.baselines.samplers.student`): the first of Laplace's approximation
(:mod:`gcesbi.baselines.samplers.laplace`), one about each maximum that counts; each later one of the weighted mean and
covariance of all draws so far. All draws of all rounds are weighed against the mixture of all proposals (Cornuet et al.
2012, arXiv:0907.1254), and the largest weights are smoothed by a Pareto law, whose shape k̂ says whether their mean can
be trusted (Vehtari et al. 2024, arXiv:1507.02646). It is for posteriors of few tens of dimensions, and of modes that
some of `n_start` climbs find: k̂ knows nothing of others.

Where the target has a *coarser* one, a cheap likelihood of the first parameters alone, that is sampled first, and its
draws are what every proposal begins with: only the other parameters are drawn from t laws, given the first. So modes
and long tails of the first parameters come with the coarser posterior, however bent it is; it should be the wider.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr
from tqdm import tqdm

from gcesbi.baselines.samplers.laplace import Laplace
from gcesbi.baselines.samplers.sampling import Diagnosis
from gcesbi.baselines.samplers.student import Student
from gcesbi.baselines.samplers.target import Limits, Sampled, Target, load_arrays, save_arrays
from gcesbi.errors import InputError
from gcesbi.posterior import import_arviz

__all__ = ["ImportanceConvergence", "ImportanceSampling"]

FloatArray = NDArray[np.float64]

_SPARE = 4  # effective draws of a coarser target for each that is wanted
_TRUSTED = 0.7  # largest shape k̂ at which a mean of weights is useful


@dataclass(frozen=True)
class ImportanceConvergence(Diagnosis):
    """How well proposals cover the posterior.

    Attributes
    ----------
    pareto_k : float
        Shape of the largest weights' law.
    ess, wanted : float
        Effective number of draws, (Σ w)² / Σ w², and the number asked for.
    """

    pareto_k: float
    ess: float
    wanted: float

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: heavy tails of weights, too few effective draws."""
        found = []
        if not self.pareto_k <= _TRUSTED:
            found.append(f"weights have a heavy tail (Pareto k = {self.pareto_k:.2f}, above {_TRUSTED}): use Nuts")
        if not self.ess >= self.wanted:
            found.append(f"effective sample size is {self.ess:.0f}, {self.wanted:.0f} were wanted")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class ImportanceSampling:
    """Settings of adaptive importance sampling.

    Parameters
    ----------
    n_eff : int
        Effective draws wanted.
    batch : int
        Draws of a round.
    n_rounds : int
        Rounds at most.
    n_start : int
        Climbs to maxima. Where two populations may change places few find the highest one, and nothing else tells.
    """

    n_eff: int = 400
    batch: int = 500
    n_rounds: int = 30
    n_start: int = 16

    def __post_init__(self) -> None:
        for name, least in (("n_eff", 20), ("batch", 50), ("n_rounds", 1), ("n_start", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: must be at least {least}, got {getattr(self, name)}")

    def sample(self, target: Target, seed: int, limits: Limits | None = None) -> Sampled:
        """Draw from the posterior; ln Z with its error."""
        draws = self._drawn(target, seed, limits or Limits())
        rows, told = draws.rows(seed), draws.convergence(self.n_eff)
        return Sampled(
            ndtr(draws.z[rows]), draws.value[rows], told, draws.log_evidence, 1 / math.sqrt(told.ess), draws.spent
        )

    def _drawn(self, target: Target, seed: int, limits: Limits) -> _Draws:
        """All rounds."""
        identity = target.identity(self, seed) if limits.checkpoint else ""
        draws = _Draws.load(load_arrays(limits.checkpoint, identity)) or self._begin(target, seed, limits)
        with tqdm(total=self.n_eff, disable=not limits.progress, desc="importance sampling") as bar:
            while draws.n_round < self.n_rounds and (draws.n_round == 0 or limits.left > 0):
                draws = draws.on(target, self.batch, seed)
                if limits.checkpoint is not None:
                    save_arrays(limits.checkpoint, identity, draws.arrays())
                told = draws.convergence(self.n_eff)
                bar.update(int(told.ess) - bar.n)
                if told.converged:
                    break
        return draws

    def _begin(self, target: Target, seed: int, limits: Limits) -> _Draws:
        """No draws, and proposals: about every maximum that counts, or about one, given draws of the coarser target."""
        coarser = target.coarser
        if coarser is None:
            about = Laplace.about(target, self.n_start, seed)
            return _Draws.none(about.distinct, about.covariance, _Given.nothing(), about.n_evaluation)
        first = replace(self, n_eff=_SPARE * self.n_eff, batch=3 * self.batch, n_start=2 * self.n_start)
        given = first._drawn(coarser, seed, replace(limits, checkpoint=None)).given_next(seed)
        best = np.concatenate([given.highest, np.zeros(target.n_dim - coarser.n_dim)])
        about = Laplace.from_starts(target, best[None])
        return _Draws.none(about.ends, about.covariance, given, about.n_evaluation)


@dataclass(frozen=True, eq=False)
class _Given:
    """Draws that proposals begin with.

    Attributes
    ----------
    z : array (n, n_given)
        Of equal weight.
    log_density : array (n,)
        Of the coarser posterior there.
    ess, pareto_k : float
        How well they are known.
    """

    z: FloatArray
    log_density: FloatArray
    ess: float
    pareto_k: float

    @classmethod
    def nothing(cls) -> _Given:
        """All coordinates are drawn anew."""
        return cls(np.empty((1, 0)), np.zeros(1), math.inf, -math.inf)

    @property
    def highest(self) -> FloatArray:
        """The most likely, (n_given,)."""
        return np.asarray(self.z[np.argmax(self.log_density)])


@dataclass(frozen=True, eq=False)
class _Draws:
    """All draws so far, and what they were proposed by: what a checkpoint holds.

    Attributes
    ----------
    z : array (n, n_dim)
    value : array (n,)
        Log-likelihoods.
    log_given, log_drawn : array (n,)
        Log-density of the coordinates that proposals begin with; and of the others, summed over all proposals by their
        numbers of draws.
    given : _Given
    mean : array (n_law, n_dim)
        Of the proposals, the next round's included.
    scale : array (n_law, n_dim, n_dim)
    number : array (n_law,)
        Draws of each, 0 for those of the next round.
    n_round, spent : int
        Rounds and evaluations.
    """

    z: FloatArray
    value: FloatArray
    log_given: FloatArray
    log_drawn: FloatArray
    given: _Given
    mean: FloatArray
    scale: FloatArray
    number: NDArray[np.int64]
    n_round: int
    spent: int

    @classmethod
    def none(cls, tops: FloatArray, covariance: FloatArray, given: _Given, spent: int) -> _Draws:
        """No draws, and a proposal about every top (n, n_dim)."""
        scale, none = np.tile(covariance, (len(tops), 1, 1)), np.empty(0)
        number = np.zeros(len(tops), np.int64)
        return cls(np.empty((0, tops.shape[1])), none, none, none, given, tops, scale, number, 0, spent)

    def _law(self, i: int) -> Student:
        return Student(self.mean[i], self.scale[i], self.given.z.shape[1])

    def on(self, target: Target, batch: int, seed: int) -> _Draws:
        """Draws of one more round, and the next proposal."""
        rng, due = np.random.default_rng([seed, 2, self.n_round]), np.flatnonzero(self.number == 0).tolist()
        n = -(-batch // len(due))
        rows = rng.integers(len(self.given.z), size=(len(due), n))
        new = np.concatenate([self._law(i).draw(self.given.z[r], rng) for i, r in zip(due, rows, strict=True)])
        drawn = replace(self, number=np.where(self.number == 0, n, self.number))
        before = np.logaddexp(self.log_drawn, drawn._summed(self.z, due))
        more = replace(
            drawn,
            z=np.concatenate([self.z, new]),
            value=np.concatenate([self.value, target.finite(ndtr(new))]),
            log_given=np.concatenate([self.log_given, self.given.log_density[rows.ravel()]]),
            log_drawn=np.concatenate([before, drawn._summed(new, range(len(drawn.number)))]),
            n_round=self.n_round + 1,
            spent=self.spent + n * len(due),
        )
        mean, scale = more.moments()
        return replace(
            more,
            mean=np.concatenate([self.mean, mean[None]]),
            scale=np.concatenate([self.scale, scale[None]]),
            number=np.append(more.number, 0),
        )

    def _summed(self, z: FloatArray, laws: Iterable[int]) -> FloatArray:
        """Logarithm of densities (n,) at z (n, n_dim), summed over some proposals by their numbers of draws."""
        logs = [self._law(i).log_pdf(z) + math.log(self.number[i]) for i in laws]
        return np.asarray(np.logaddexp.reduce(logs, axis=0))

    @cached_property
    def log_weights(self) -> FloatArray:
        """Posterior density, not normalised, over that of the mixture of proposals, (n,)."""
        proposed = self.log_given + self.log_drawn - math.log(len(self.z))
        return np.asarray(self.value + _log_prior(self.z) - proposed)

    @cached_property
    def _weighed(self) -> tuple[FloatArray, float]:
        """Smoothed weights (n,), which add up to 1, and the shape k̂ of their law."""
        smoothed, shape = import_arviz().psislw(self.log_weights)
        return np.exp(smoothed - logsumexp(smoothed)), float(shape)

    @property
    def log_evidence(self) -> float:
        """Logarithm of Z."""
        return float(logsumexp(self.log_weights) - math.log(len(self.z)))

    @property
    def ess(self) -> float:
        """Effective draws, those that proposals begin with being finite too."""
        return float(1 / (np.sum(self._weighed[0] ** 2) + 1 / self.given.ess))

    @property
    def pareto_k(self) -> float:
        """The larger k̂, of the weights and of the draws that proposals begin with."""
        return max(self._weighed[1], self.given.pareto_k)

    def convergence(self, wanted: float) -> ImportanceConvergence:
        """What speaks against the draws."""
        return ImportanceConvergence(self.pareto_k, self.ess, wanted)

    def rows(self, seed: int) -> NDArray[np.int64]:
        """Places (n,) of draws of equal weight, four for each effective one."""
        n = max(4 * int(self.ess), 1)
        points = (np.random.default_rng([seed, 1]).random() + np.arange(n)) / n
        return np.minimum(np.searchsorted(np.cumsum(self._weighed[0]), points), len(self.z) - 1)

    def given_next(self, seed: int) -> _Given:
        """What proposals for a finer target begin with."""
        rows, log_density = self.rows(seed), self.value + _log_prior(self.z) - self.log_evidence
        return _Given(self.z[rows], log_density[rows], self.ess, self.pareto_k)

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Weighted mean and scale of a next proposal; weights are flattened while few draws have most of them."""
        n_dim, log_w = self.z.shape[1], self.log_weights
        for power in np.linspace(1.0, 0.05, 20):
            weights = np.exp(power * log_w - logsumexp(power * log_w))
            ess = 1 / np.sum(weights**2)
            if ess > 4 * n_dim:
                break
        mean = weights @ self.z
        away = self.z - mean
        trust = ess / (ess + n_dim)
        covariance = (away.T * weights) @ away / (1 - 1 / ess)
        return mean, trust * covariance + (1 - trust) * self.scale[-1]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The state as arrays."""
        own = {name: np.asarray(getattr(self, name)) for name in _names(_Draws) if name != "given"}
        return own | {f"given_{name}": np.asarray(getattr(self.given, name)) for name in _names(_Given)}

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]] | None) -> _Draws | None:
        """The state of arrays; None of none."""
        if arrays is None:
            return None
        if arrays.keys() != {*_names(_Draws), *(f"given_{name}" for name in _names(_Given))} - {"given"}:
            raise InputError("checkpoint: was written by another version of gcesbi; remove it")
        n_round, spent = (int(arrays.pop(name)) for name in ("n_round", "spent"))
        z, log_density, ess, shape = (arrays.pop(f"given_{name}") for name in _names(_Given))
        given = _Given(z, log_density, float(ess), float(shape))
        return cls(**arrays, given=given, n_round=n_round, spent=spent)


def _names(state: type[_Draws | _Given]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(state))


def _log_prior(z: FloatArray) -> FloatArray:
    """Log-density (n,) of a standard normal at z (n, n_dim)."""
    return np.asarray(-0.5 * np.sum(z**2, axis=1) - 0.5 * z.shape[1] * math.log(2 * math.pi))
