r"""Adaptive importance sampling: evidence and posterior from few values of a dear likelihood.

Coordinates z, in which the prior is a standard normal (u = Φ(z)), bring every posterior near one. Proposals are
multivariate Student t (:mod:`gcesbi.baselines.samplers.student`): the first of Laplace's approximation
(:mod:`gcesbi.baselines.samplers.laplace`), one about each maximum that counts; each later one of the weighted mean and
covariance of all draws so far. All draws of all rounds are weighed against the mixture of all proposals (Cornuet et al.
2012, arXiv:0907.1254), and the largest weights are smoothed by a Pareto law, whose shape k̂ says whether their mean can
be trusted (Vehtari et al. 2024, arXiv:1507.02646). It is for posteriors of few tens of dimensions, and of modes that
some of `n_start` climbs find: k̂ knows nothing of others.

Where the target refines a *coarser* one, a cheap likelihood of the first parameters alone, that is sampled first, by
nested sampling, and its draws are refined by annealing (:mod:`gcesbi.baselines.samplers.refined`): so modes and long
tails of the first parameters come with the coarser posterior, however bent it is; it should be the wider.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr
from tqdm import tqdm

from gcesbi.baselines.samplers.laplace import Laplace
from gcesbi.baselines.samplers.nested import NestedSampling
from gcesbi.baselines.samplers.refined import Refined
from gcesbi.baselines.samplers.student import Student
from gcesbi.baselines.samplers.target import Limits, Sampled, Target, load_arrays, save_arrays
from gcesbi.baselines.samplers.weighed import Weighed
from gcesbi.errors import InputError

__all__ = ["ImportanceSampling"]

FloatArray = NDArray[np.float64]

_SPARE = 10  # draws of a coarser target for each that is wanted


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
            ndtr(draws.z[rows]), draws.value[rows], told, draws.log_evidence, draws.log_evidence_error, draws.spent
        )

    def _drawn(self, target: Target, seed: int, limits: Limits) -> Weighed:
        """All rounds."""
        identity = target.identity(self, seed) if limits.checkpoint else ""
        kept = load_arrays(limits.checkpoint, identity)
        kind: type[Weighed] = Refined if target.refinement else _Mixture
        draws = self._begin(target, seed, limits) if kept is None else kind.load(kept)
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

    def _begin(self, target: Target, seed: int, limits: Limits) -> Weighed:
        """No draws, and what proposes them: laws about every maximum that counts, or the coarser posterior refined."""
        if target.refinement is None:
            about = Laplace.about(target, self.n_start, seed)
            return _Mixture.about(about.distinct, about.covariance, about.n_evaluation)
        nested = NestedSampling(n_eff=_SPARE * self.n_eff)
        given = nested.sample(target.refinement.coarser, seed, replace(limits, checkpoint=None))
        return Refined.begin(target, given, self.batch, seed)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Mixture(Weighed):
    """Draws of Student t laws.

    Attributes
    ----------
    mean : array (n_law, n_dim)
        Of the proposals, the next round's included.
    scale : array (n_law, n_dim, n_dim)
    number : array (n_law,)
        Draws of each, 0 for those of the next round.
    """

    mean: FloatArray
    scale: FloatArray
    number: NDArray[np.int64]

    @classmethod
    def about(cls, tops: FloatArray, covariance: FloatArray, spent: int) -> _Mixture:
        """No draws, and a proposal about every top (n, n_dim)."""
        none = np.empty(0)
        return cls(
            z=np.empty((0, tops.shape[1])),
            value=none,
            log_proposed=none,
            n_round=0,
            spent=spent,
            mean=tops,
            scale=np.tile(covariance, (len(tops), 1, 1)),
            number=np.zeros(len(tops), np.int64),
        )

    def on(self, target: Target, batch: int, seed: int) -> _Mixture:
        """Draws of one more round, and the next proposal."""
        rng, due = np.random.default_rng([seed, 2, self.n_round]), np.flatnonzero(self.number == 0).tolist()
        n = -(-batch // len(due))
        new = np.concatenate([Student(self.mean[i], self.scale[i]).draw(n, rng) for i in due])
        drawn = replace(self, number=np.where(self.number == 0, n, self.number))
        before = np.logaddexp(self.log_proposed + np.log(max(len(self.z), 1)), drawn._summed(self.z, due))
        log_drawn = np.concatenate([before, drawn._summed(new, range(len(drawn.number)))])
        more = replace(
            drawn,
            z=np.concatenate([self.z, new]),
            value=np.concatenate([self.value, target.finite(ndtr(new))]),
            log_proposed=log_drawn - np.log(len(log_drawn)),
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
        logs = [Student(self.mean[i], self.scale[i]).log_pdf(z) + np.log(self.number[i]) for i in laws]
        return np.asarray(np.logaddexp.reduce(logs, axis=0))

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
