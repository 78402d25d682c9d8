"""Ensemble sampling with emcee from about the maximum; the chain is kept if time runs out or it is killed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gcesbi.baselines.samplers.maximum import start_points
from gcesbi.baselines.samplers.sampling import diagnose, quiet_emcee
from gcesbi.baselines.samplers.target import Limits, Sampled, Target, load_arrays, save_arrays
from gcesbi.errors import InputError

if TYPE_CHECKING:
    import emcee

__all__ = ["Ensemble"]

FloatArray = NDArray[np.float64]

_SLICE = 50  # steps between two looks at the clock


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """emcee's walkers, started about the maxima of the likelihood (:func:`.start_points`).

    Parameters
    ----------
    n_walkers : int, optional
        Four times the number of parameters by default; even.
    n_steps : int
        Steps of every walker, burn-in included.
    burn_in : float
        Share of the steps that is dropped.
    """

    n_walkers: int | None = None
    n_steps: int = 1000
    burn_in: float = 0.2

    def __post_init__(self) -> None:
        if self.n_steps < 4:
            raise InputError(f"n_steps: must be at least 4, got {self.n_steps}")
        if not 0 <= self.burn_in < 1:
            raise InputError(f"burn_in: must lie in [0, 1), got {self.burn_in}")

    def sample(self, target: Target, seed: int, limits: Limits | None = None) -> Sampled:
        """Draw from the posterior, all samples of the chain; without an evidence."""
        limits = limits or Limits()
        n_walkers = self.n_walkers or 4 * target.n_dim
        if n_walkers < 2 * target.n_dim + 2 or n_walkers % 2:
            raise InputError(f"n_walkers: must be even and at least {2 * target.n_dim + 2}, got {n_walkers}")
        walk = _Walk.resume(self, target, seed, limits) or _Walk.begin(self, target, n_walkers, seed, limits)
        with tqdm(total=self.n_steps, initial=walk.n_steps, disable=not limits.progress, desc="emcee") as bar:
            while walk.n_steps < self.n_steps and (limits.left > 0 or walk.n_steps < 4):
                walk.on(min(_SLICE, self.n_steps - walk.n_steps))
                walk.store(limits.checkpoint)
                bar.update(walk.n_steps - bar.n)
        return walk.result(self.burn_in, self.n_steps)


@dataclass(eq=False)
class _Walk:
    """A chain so far, (n_steps, n_walkers, n_dim), and how it goes on."""

    target: Target
    sampler: emcee.EnsembleSampler
    state: emcee.State
    identity: str
    chain: FloatArray
    value: FloatArray
    accepted: float = 0.0
    spent: int = 0

    @property
    def n_steps(self) -> int:
        return len(self.chain)

    @classmethod
    def begin(cls, settings: Ensemble, target: Target, n_walkers: int, seed: int, limits: Limits) -> _Walk:
        """Start walkers."""
        from emcee import State

        start, spent = start_points(target, n_walkers, seed)
        sampler = quiet_emcee(target.finite, (n_walkers, target.n_dim), target.moves)
        sampler.random_state = np.random.RandomState(seed).get_state()
        identity = target.identity(settings, seed) if limits.checkpoint else ""
        empty = np.empty((0, n_walkers, target.n_dim)), np.empty((0, n_walkers))
        return cls(target, sampler, State(start), identity, *empty, 0.0, spent)

    @classmethod
    def resume(cls, settings: Ensemble, target: Target, seed: int, limits: Limits) -> _Walk | None:
        """The chain of a checkpoint, None where there is none."""
        from emcee import State

        if limits.checkpoint is None:
            return None
        identity = target.identity(settings, seed)
        kept = load_arrays(limits.checkpoint, identity)
        if kept is None:
            return None
        chain, value, scalars = kept["chain"], kept["value"], kept["scalars"].tolist()
        sampler = quiet_emcee(target.finite, chain.shape[1:], target.moves)
        position, has_gauss, gauss = kept["random"].tolist()
        sampler.random_state = ("MT19937", kept["key"], int(position), int(has_gauss), gauss)
        state = State(chain[-1], log_prob=value[-1])
        return cls(target, sampler, state, identity, chain, value, scalars[0], int(scalars[1]))

    def on(self, n: int) -> None:
        """Take `n` steps."""
        self.sampler.reset()
        self.state = self.sampler.run_mcmc(self.state, n, skip_initial_state_check=True)
        self.chain = np.concatenate([self.chain, self.sampler.get_chain()])
        self.value = np.concatenate([self.value, self.sampler.get_log_prob()])
        self.accepted += n * float(np.mean(self.sampler.acceptance_fraction))

    def store(self, path: Path | None) -> None:
        """Write the chain and the random numbers' state."""
        if path is None:
            return
        _, key, position, has_gauss, gauss = self.sampler.random_state
        arrays = {
            "chain": self.chain,
            "value": self.value,
            "scalars": np.array([self.accepted, self.spent]),
            "key": key,
            "random": np.array([position, has_gauss, gauss]),
        }
        save_arrays(path, self.identity, arrays)

    def result(self, burn_in: float, wanted: int) -> Sampled:
        """The chain without its burn-in."""
        first = int(burn_in * self.n_steps)
        kept = self.chain[first:]
        convergence = diagnose(kept, self.target.names, self.accepted / self.n_steps)
        convergence = replace(convergence, missing=wanted - self.n_steps)
        n_evaluation = self.spent + self.value.size
        u, value = kept.reshape(-1, self.target.n_dim), self.value[first:].ravel()
        chains = np.arange(len(u)).reshape(kept.shape[:2]).T
        return Sampled(u, value, convergence, n_evaluation=n_evaluation, chains=chains)
