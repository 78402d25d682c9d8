r"""Tempered sequential Monte Carlo: posterior and evidence by particles that follow the likelihood's power.

Particles drawn from the prior follow L^β from β = 0 to 1 (Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411).
Each rise of β is as large as leaves half the particles effective; they are reweighted, resampled and moved with
differential evolution (:class:`~gcesbi.baselines.samplers.sampling.BlockMove`). The product of the mean weights
estimates the evidence without bias. Separate modes keep the weight that the prior and the likelihood give them, which
no Markov chain of affordable length does.

Several *islands* of particles run independently of each other. What they agree in has converged; how they scatter is
the error: R-hat and effective sample size take islands as chains, and the evidence gets its error from their scatter.
Islands are joined with weights proportional to their evidence, which keeps the estimate consistent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import emcee
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gcesbi.baselines.samplers.sampling import BlockMove, LogProbability, rank_diagnostics, rank_problems
from gcesbi.baselines.samplers.target import Limits, Sampled, Target, load_arrays, save_arrays
from gcesbi.errors import InputError

__all__ = ["IslandConvergence", "Tempering"]

FloatArray = NDArray[np.float64]

_EFFECTIVE = 0.5  # share of the particles that stays effective at a rise of β


@dataclass(frozen=True, eq=False)
class IslandConvergence:
    """How well independent islands of particles agree.

    Attributes
    ----------
    names : tuple of str
    r_hat, ess : array (n_dim,)
        Rank-normalised split R-hat and bulk effective sample size, islands taken as chains.
    log_evidences : array (n_island,)
        ln Z of every island.
    acceptance : float
        Mean share of accepted moves at β = 1.
    power : float
        Power of the likelihood that was reached, 1 unless time ran out.
    missing : int
        Islands that time did not allow.
    """

    names: tuple[str, ...]
    r_hat: FloatArray
    ess: FloatArray
    log_evidences: FloatArray
    acceptance: float
    power: float = 1.0
    missing: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: R-hat above 1.05, ESS below 200, ln Z that scatters by more than 1."""
        found = []
        if self.power < 1:
            found.append(f"time ran out at the likelihood's power {self.power:.2g}: these are no posterior samples")
        if self.missing:
            found.append(f"time ran out before {self.missing} of {self.missing + len(self.log_evidences)} islands")
        if len(self.log_evidences) < 2:
            found.append("one island alone shows no convergence")
            return tuple(found)
        found += rank_problems(self.names, self.r_hat, self.ess)
        scatter = float(self.log_evidences.std(ddof=1))
        if scatter > 1:
            found.append(f"ln Z scatters by {scatter:.2f} between islands, more than 1")
        return tuple(found)

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


@dataclass(frozen=True, eq=False)
class _Island:
    """State of one island between two rises of β."""

    u: FloatArray
    value: FloatArray
    power: float
    log_evidence: float
    step: int
    acceptance: float
    n_evaluation: int

    @property
    def done(self) -> bool:
        return self.power >= 1.0


@dataclass(frozen=True, kw_only=True)
class Tempering:
    """Tempered sequential Monte Carlo.

    Parameters
    ----------
    n_particles : int
        Particles of an island; even, at least four times the number of parameters is wise.
    n_islands : int
        Independent runs, at least 2 for any word on convergence.
    n_moves : int
        Moves of every particle at each power β; three times as many at the last.
    """

    n_particles: int = 500
    n_islands: int = 4
    n_moves: int = 8

    def __post_init__(self) -> None:
        if self.n_particles < 8 or self.n_particles % 2:
            raise InputError(f"n_particles: must be even and at least 8, got {self.n_particles}")
        for name in ("n_islands", "n_moves"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: must be at least 1, got {getattr(self, name)}")

    def sample(self, target: Target, seed: int, limits: Limits | None = None) -> Sampled:
        """Draw from the posterior, as many points as all islands hold; ln Z with its error."""
        limits = limits or Limits()
        run = _Run(self, target, seed, limits)
        with tqdm(total=self.n_islands, disable=not limits.progress, desc="tempering", bar_format=_BAR) as bar:
            for i in range(self.n_islands):
                island = run.island(i, bar)
                if not island.done:
                    break
        run.store()
        return run.result()


_BAR = "{l_bar}{bar}| {n:.2f}/{total} [{elapsed}<{remaining}]"


@dataclass(eq=False)
class _Run:
    """Islands so far, and their checkpoint."""

    settings: Tempering
    target: Target
    seed: int
    limits: Limits
    islands: list[_Island] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = self.target.identity(self.settings, self.seed) if self.limits.checkpoint else ""
        for row in _unpack(load_arrays(self.limits.checkpoint, self.identity)):
            self.islands.append(row)

    def store(self) -> None:
        """Write all islands to the checkpoint."""
        if self.limits.checkpoint is not None and self.islands:
            save_arrays(self.limits.checkpoint, self.identity, _pack(self.islands))

    def island(self, i: int, bar: tqdm) -> _Island:
        """Island `i`, from where it stands to the end of its way or of the time."""
        if i == len(self.islands):
            self.islands.append(self._new(i))
        while not self.islands[i].done and self.limits.left > 0:
            self.islands[i] = self._rise(self.islands[i], i)
            self.store()
            bar.update(max(0.0, i + max(0.0, 1 + 0.08 * math.log(self.islands[i].power)) - bar.n))
        return self.islands[i]

    def _rng(self, i: int, step: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(i, step)))

    def _new(self, i: int) -> _Island:
        u = self._rng(i, 0).random((self.settings.n_particles, self.target.n_dim))
        return _Island(u, self.target.finite(u), 0.0, 0.0, 1, 0.0, len(u))

    def _rise(self, island: _Island, i: int) -> _Island:
        """Raise β, resample and move."""
        rng = self._rng(i, island.step)
        rise = _next_rise(island.value, island.power)
        top = island.value.max()
        weights = np.exp(rise * (island.value - top))
        log_evidence = island.log_evidence + rise * top + float(np.log(weights.mean()))
        power = 1.0 if rise == 1.0 - island.power else island.power + rise
        chosen = _systematic(weights / weights.sum(), rng)
        n_moves = self.settings.n_moves * (3 if power == 1.0 else 1)
        u, value, acceptance = _move(
            self.target.finite,
            power,
            island.u[chosen],
            island.value[chosen],
            self.target.moves,
            n_moves,
            rng,
        )
        n_evaluation = island.n_evaluation + n_moves * len(u)
        return _Island(u, value, power, log_evidence, island.step + 1, acceptance, n_evaluation)

    def result(self) -> Sampled:
        """Finished islands, joined by their evidence; the first one as it stands if none is finished."""
        done = [island for island in self.islands if island.done]
        used = done or self.islands[:1]
        log_z = np.array([island.log_evidence for island in used])
        weights = np.exp(log_z - log_z.max())
        rng = self._rng(self.settings.n_islands, 0)
        u, value = np.concatenate([i.u for i in used]), np.concatenate([i.value for i in used])
        rows = _systematic(np.repeat(weights / weights.sum(), self.settings.n_particles) / len(used[0].u), rng)
        r_hat, ess = rank_diagnostics(np.stack([island.u for island in used]))
        convergence = IslandConvergence(
            self.target.names,
            r_hat,
            ess,
            log_z,
            float(np.mean([island.acceptance for island in used])),
            used[0].power,
            self.settings.n_islands - len(used),
        )
        mean = float(np.log(weights.mean()) + log_z.max())
        error = float(weights.std(ddof=1) / weights.mean() / math.sqrt(len(used))) if len(used) > 1 else math.nan
        n_evaluation = sum(island.n_evaluation for island in self.islands)
        return Sampled(
            u[rows],
            value[rows],
            convergence,
            mean if done else math.nan,
            error if done else math.nan,
            n_evaluation,
        )


def _move(
    log_likelihood: LogProbability,
    power: float,
    u: FloatArray,
    value: FloatArray,
    moves: BlockMove,
    n_moves: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, float]:
    """Particles, their log-likelihoods and the share of accepted moves, after `n_moves` under the power of L."""
    sampler = emcee.EnsembleSampler(*u.shape, lambda at: power * log_likelihood(at), moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(int(rng.integers(2**31))).get_state()
    state = sampler.run_mcmc(emcee.State(u, log_prob=power * value), n_moves, skip_initial_state_check=True, store=True)
    return state.coords, state.log_prob / power, float(np.mean(sampler.acceptance_fraction))


def _next_rise(value: FloatArray, power: float) -> float:
    """Rise of the power that leaves half the particles effective, by bisection in its logarithm."""

    def effective(rise: float) -> float:
        weights = np.exp(rise * (value - value.max()))
        return float(weights.sum() ** 2 / np.sum(weights**2) / len(value))

    if effective(1.0 - power) >= _EFFECTIVE:
        return 1.0 - power
    low, high = np.log(1e-12), np.log(1.0 - power)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(np.exp(middle)) >= _EFFECTIVE else (low, middle)
    return float(np.exp(low))


def _systematic(weights: FloatArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """Resampled indices, in random order."""
    levels = (np.arange(len(weights)) + rng.random()) / len(weights)
    return rng.permutation(np.minimum(np.searchsorted(np.cumsum(weights), levels), len(weights) - 1))


def _pack(islands: list[_Island]) -> dict[str, NDArray[np.generic]]:
    scalars = [[i.power, i.log_evidence, i.step, i.acceptance, i.n_evaluation] for i in islands]
    return {
        "u": np.stack([island.u for island in islands]),
        "value": np.stack([island.value for island in islands]),
        "scalars": np.array(scalars),
    }


def _unpack(arrays: dict[str, NDArray[Any]] | None) -> list[_Island]:
    if arrays is None:
        return []
    rows = zip(arrays["u"], arrays["value"], arrays["scalars"], strict=True)
    return [_Island(u, value, float(s[0]), float(s[1]), int(s[2]), float(s[3]), int(s[4])) for u, value, s in rows]
