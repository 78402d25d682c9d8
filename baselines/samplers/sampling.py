"""Ensemble sampling with emcee, and an honest word on whether it converged.

emcee (Foreman-Mackey et al. 2013, arXiv:1202.3665) moves many walkers at once, so that a log-probability which takes a
batch of parameter vectors uses all cores. Differential-evolution moves (Nelson, Ford & Payne 2014; ter Braak & Vrugt
2008) cope better with narrow degeneracies than the stretch move; :mod:`gcesbi.baselines.samplers.block_move` makes
them in a few coordinates at a time, for many parameters.

An ensemble does not weigh separate modes against each other within any affordable time; nested sampling does
(:mod:`gcesbi.baselines.samplers.nested`).

R-hat and effective sample size (Vehtari et al. 2021, arXiv:1903.08008) take walkers as chains. Walkers of an ensemble
are not independent, so both are somewhat too favourable; the autocorrelation time is emcee's own, over the ensemble.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.posterior import import_arviz

if TYPE_CHECKING:  # emcee brings all of scipy.stats, which takes half a second
    import emcee

__all__ = [
    "Chain",
    "Convergence",
    "Diagnosis",
    "SamplingWarning",
    "diagnose",
    "quiet_emcee",
    "rank_diagnostics",
    "rank_problems",
    "run_emcee",
]

LogProbability = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class SamplingWarning(UserWarning):
    """A chain did not converge."""


class Diagnosis:
    """What a sampler says of its own convergence."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence."""
        raise NotImplementedError

    @property
    def converged(self) -> bool:
        """Whether nothing does."""
        return not self.problems


@dataclass(frozen=True, eq=False)
class Convergence(Diagnosis):
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
    missing : int
        Steps that time did not allow.
    """

    names: tuple[str, ...]
    autocorrelation_time: NDArray[np.float64]
    r_hat: NDArray[np.float64]
    ess: NDArray[np.float64]
    n_steps: int
    acceptance: float
    missing: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: too short a chain, R-hat above 1.05, ESS below 200."""
        found = [f"time ran out {self.missing} steps before the end"] if self.missing else []
        worst = int(np.argmax(np.nan_to_num(self.autocorrelation_time, nan=np.inf)))
        time = self.autocorrelation_time[worst]
        if not self.n_steps > 50 * time:
            found.append(f"{self.n_steps} steps are below 50 autocorrelation times ({time:.0f}, {self.names[worst]})")
        found += rank_problems(self.names, self.r_hat, self.ess)
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Chain:
    """Samples of an ensemble, burn-in left out.

    Attributes
    ----------
    samples : array (n_steps, n_walkers, n_dim)
    convergence : Convergence
    """

    samples: NDArray[np.float64]
    convergence: Convergence

    @property
    def flat(self) -> NDArray[np.float64]:
        """All samples, (n_steps * n_walkers, n_dim)."""
        return self.samples.reshape(-1, self.samples.shape[-1])


def quiet_emcee(log_probability: LogProbability, shape: tuple[int, ...], moves: object = None) -> emcee.EnsembleSampler:
    """Walkers (n_walkers, n_dim); emcee itself prints a traceback of whatever ends a call of the function."""
    import emcee

    sampler = emcee.EnsembleSampler(*shape, log_probability, moves=moves, vectorize=True)
    sampler.log_prob_fn = log_probability
    return sampler


def run_emcee(
    log_probability: LogProbability,
    start: NDArray[np.float64],
    n_steps: int,
    seed: int,
    names: Sequence[str],
    burn_in: float = 0.4,
    progress: bool = True,
    moves: emcee.moves.Move | None = None,
) -> Chain:
    """Sample with `moves`, by default differential-evolution and stretch moves.

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
    import emcee

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
    default = [(emcee.moves.DEMove(), 0.6), (emcee.moves.DESnookerMove(), 0.15), (emcee.moves.StretchMove(), 0.25)]
    sampler = quiet_emcee(log_probability, start.shape, moves or default)
    sampler.random_state = np.random.RandomState(seed).get_state()
    sampler.run_mcmc(start, n_steps, progress=progress, skip_initial_state_check=True)
    samples = sampler.get_chain(discard=first)
    convergence = diagnose(samples, tuple(names), float(np.mean(sampler.acceptance_fraction)))
    for problem in convergence.problems:
        warnings.warn(f"chain not converged: {problem}", SamplingWarning, stacklevel=3)
    return Chain(samples, convergence)


def diagnose(samples: NDArray[np.float64], names: tuple[str, ...], acceptance: float) -> Convergence:
    """Diagnostics of an ensemble's chain (n_steps, n_walkers, n_dim)."""
    import emcee

    with np.errstate(invalid="ignore"):  # a walker that never moved: the time is NaN, and `problems` says so
        time = np.asarray(emcee.autocorr.integrated_time(samples, quiet=True, tol=0))
    return Convergence(names, time, *rank_diagnostics(np.swapaxes(samples, 0, 1)), len(samples), acceptance)


def rank_problems(names: Sequence[str], r_hat: NDArray[np.float64], ess: NDArray[np.float64]) -> list[str]:
    """What R-hat above 1.05 and effective sample sizes below 200 say against convergence; NaN counts as the worst."""
    found = []
    worst = int(np.argmax(np.nan_to_num(r_hat, nan=np.inf)))
    if not r_hat[worst] < 1.05:
        found.append(f"R-hat is {r_hat[worst]:.3f} ({names[worst]}), above 1.05")
    worst = int(np.argmin(np.nan_to_num(ess, nan=0.0)))
    if not ess[worst] > 200:
        found.append(f"effective sample size is {ess[worst]:.0f} ({names[worst]}), below 200")
    return found


def rank_diagnostics(chains: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rank-normalised split R-hat and bulk effective sample size (n_dim,) of chains (n_chain, n_draw, n_dim).

    NaN for a single chain.
    """
    if len(chains) < 2 or chains.shape[1] < 4:
        return np.full(chains.shape[2], np.nan), np.full(chains.shape[2], np.nan)
    arviz = import_arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains too short to judge: `problems` says so
        data = arviz.convert_to_dataset({"x": chains})
        return arviz.rhat(data)["x"].to_numpy(), arviz.ess(data)["x"].to_numpy()
