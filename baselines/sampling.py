"""Ensemble sampling with emcee, and an honest word on whether it converged.

emcee (Foreman-Mackey et al. 2013, arXiv:1202.3665) moves many walkers at once, so that a log-probability which takes
a batch of
parameter vectors uses all cores. Differential-evolution moves (Nelson, Ford & Payne 2014; ter Braak & Vrugt 2008)
cope better with
narrow degeneracies than the stretch move.

R-hat and effective sample size (Vehtari et al. 2021, arXiv:1903.08008) take walkers as chains. Walkers of an ensemble
are not
independent, so both are somewhat too favourable; the autocorrelation time is emcee's own, over the ensemble.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import emcee
import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError

__all__ = ["Chain", "Convergence", "SamplingWarning", "run_emcee"]

LogProbability = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class SamplingWarning(UserWarning):
    """A chain did not converge."""


@dataclass(frozen=True, eq=False)
class Convergence:
    """Diagnostics of a chain, after its burn-in.

    Attributes
    ----------
    names : tuple of str
    autocorrelation_time : array (n_dim,), steps
        Integrated autocorrelation time; an underestimate where the chain is shorter than 50 of them.
    r_hat, ess : array (n_dim,)
        Rank-normalised split R-hat and bulk effective sample size, walkers taken as chains.
    n_steps : int
        Steps kept.
    acceptance : float
        Mean share of accepted moves.
    """

    names: tuple[str, ...]
    autocorrelation_time: NDArray[np.float64]
    r_hat: NDArray[np.float64]
    ess: NDArray[np.float64]
    n_steps: int
    acceptance: float

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: too short a chain, R-hat above 1.05, ESS below 200."""
        found = []
        worst = int(np.argmax(np.nan_to_num(self.autocorrelation_time, nan=np.inf)))
        time = self.autocorrelation_time[worst]
        if not self.n_steps > 50 * time:
            found.append(f"{self.n_steps} steps are below 50 autocorrelation times ({time:.0f}, {self.names[worst]})")
        worst = int(np.argmax(np.nan_to_num(self.r_hat, nan=np.inf)))
        if not self.r_hat[worst] < 1.05:
            found.append(f"R-hat is {self.r_hat[worst]:.3f} ({self.names[worst]}), above 1.05")
        worst = int(np.argmin(np.nan_to_num(self.ess, nan=0.0)))
        if not self.ess[worst] > 200:
            found.append(f"effective sample size is {self.ess[worst]:.0f} ({self.names[worst]}), below 200")
        return tuple(found)

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


@dataclass(frozen=True, eq=False)
class Chain:
    """Samples of an ensemble, burn-in left out.

    Attributes
    ----------
    samples : array (n_steps, n_walkers, n_dim)
    log_probability : array (n_steps, n_walkers)
    convergence : Convergence
    """

    samples: NDArray[np.float64]
    log_probability: NDArray[np.float64]
    convergence: Convergence

    @property
    def flat(self) -> NDArray[np.float64]:
        """All samples, (n_steps * n_walkers, n_dim)."""
        return self.samples.reshape(-1, self.samples.shape[-1])

    @property
    def best(self) -> NDArray[np.float64]:
        """Sample of the highest log-probability, (n_dim,)."""
        return self.flat[int(np.argmax(self.log_probability))]


def run_emcee(
    log_probability: LogProbability,
    start: NDArray[np.float64],
    n_steps: int,
    seed: int,
    names: Sequence[str],
    burn_in: float = 0.4,
    progress: bool = True,
) -> Chain:
    """Sample with differential-evolution and stretch moves.

    Parameters
    ----------
    log_probability : callable
        (n, n_dim) -> (n,), -inf outside the prior.
    start : array (n_walkers, n_dim)
        Where walkers begin; at least 2 n_dim + 2 of them, an even number, all of finite log-probability.
    n_steps : int
        Steps of every walker, burn-in included.
    seed : int
        Same seed, same chain.
    names : sequence of str
        Parameter names, for the diagnostics.
    burn_in : float
        Share of the steps that is dropped.
    progress : bool
        Whether to show a progress bar.

    Warns
    -----
    SamplingWarning
        If the chain did not converge; its ``convergence.problems`` say why.
    """
    n_walkers, n_dim = start.shape
    if n_walkers < 2 * n_dim + 2 or n_walkers % 2:
        raise InputError(f"n_walkers: must be even and at least {2 * n_dim + 2}, got {n_walkers}")
    if not 0 <= burn_in < 1:
        raise InputError(f"burn_in: must lie in [0, 1), got {burn_in}")
    first = int(burn_in * n_steps)
    if n_steps - first < 4:
        raise InputError(f"n_steps: must leave at least 4 steps after burn-in, got {n_steps}")
    if not np.isfinite(log_probability(start)).all():
        raise InputError("start: every walker must begin where the log-probability is finite")
    moves = [(emcee.moves.DEMove(), 0.6), (emcee.moves.DESnookerMove(), 0.15), (emcee.moves.StretchMove(), 0.25)]
    sampler = emcee.EnsembleSampler(n_walkers, n_dim, log_probability, moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(seed).get_state()
    sampler.run_mcmc(start, n_steps, progress=progress, skip_initial_state_check=False)
    samples = sampler.get_chain(discard=first)
    convergence = _diagnose(samples, tuple(names), float(np.mean(sampler.acceptance_fraction)))
    for problem in convergence.problems:
        warnings.warn(f"NPTF chain not converged: {problem}", SamplingWarning, stacklevel=3)
    return Chain(samples, sampler.get_log_prob(discard=first), convergence)


def _diagnose(samples: NDArray[np.float64], names: tuple[str, ...], acceptance: float) -> Convergence:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its import announces a coming release
        import arviz
    chains = arviz.convert_to_dataset({"x": np.swapaxes(samples, 0, 1)})
    return Convergence(
        names=names,
        autocorrelation_time=np.asarray(emcee.autocorr.integrated_time(samples, quiet=True, tol=0)),
        r_hat=arviz.rhat(chains)["x"].to_numpy(),
        ess=arviz.ess(chains)["x"].to_numpy(),
        n_steps=len(samples),
        acceptance=acceptance,
    )
