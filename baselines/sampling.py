"""Ensemble sampling with emcee, and an honest word on whether it converged.

emcee (Foreman-Mackey et al. 2013, arXiv:1202.3665) moves many walkers at once, so that a log-probability which takes
a batch of
parameter vectors uses all cores. Differential-evolution moves (Nelson, Ford & Payne 2014; ter Braak & Vrugt 2008)
cope better with
narrow degeneracies than the stretch move; :class:`BlockMove` makes them in a few coordinates at a time, for many
parameters.

An ensemble does not weigh separate modes against each other within any affordable time. :func:`temper` does:
particles drawn
from the prior follow the likelihood's power β from 0 to 1, resampled and moved at every step (sequential Monte Carlo;
Del Moral,
Doucet & Jasra 2006). The walkers start there; the evidence is a by-product.

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
from tqdm import tqdm

from gcesbi.errors import InputError

__all__ = ["BlockMove", "Chain", "Convergence", "SamplingWarning", "Tempered", "run_emcee", "temper"]

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


class BlockMove(emcee.moves.RedBlueMove):
    """Differential evolution in a random block of coordinates, reflected at the walls of a box.

    A walker moves along the difference of two others, in the coordinates of one block. The scale is the optimal
    2.38 / √(2 d) or a part of it, and 1, which carries walkers from mode to mode, in one move of ten. Both it and the
    reflection are symmetric.

    Parameters
    ----------
    blocks : sequence of array
        Indices of the coordinates that move together; one block is chosen at random for every walker.
    bounds : array (n_dim, 2)
        Walls of the box.
    """

    def __init__(self, blocks: Sequence[NDArray[np.int64]], bounds: NDArray[np.float64]) -> None:
        self._low, self._width = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        self._mask = np.zeros((len(blocks), len(bounds)))
        for mask, block in zip(self._mask, blocks, strict=True):
            mask[block] = 1.0
        super().__init__()

    def get_proposal(
        self,
        s: NDArray[np.float64],
        c: Sequence[NDArray[np.float64]],
        random: np.random.RandomState,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Proposals (n, n_dim) for walkers `s` given the others `c`, and log factors 0; `random` is emcee's."""
        others = np.concatenate(c)
        n = len(s)
        mask = self._mask[random.randint(len(self._mask), size=n)]
        first = random.randint(len(others), size=n)
        second = (first + random.randint(1, len(others), size=n)) % len(others)
        scale = 2.38 / np.sqrt(2 * mask.sum(axis=1)) * random.choice([0.3, 0.6, 1.0], size=n)
        scale = np.where(random.random_sample(n) < 0.1, 1.0, scale)
        step = scale[:, None] * (others[first] - others[second])
        step += 1e-4 * self._width * random.standard_normal(s.shape)
        unit = np.mod((s + mask * step - self._low) / self._width, 2.0)
        moved = self._low + self._width * np.where(unit > 1, 2.0 - unit, unit)
        return np.where(mask > 0, moved, s), np.zeros(n)


def _sampler(
    log_probability: LogProbability, shape: tuple[int, ...], moves: object, seed: int
) -> emcee.EnsembleSampler:
    sampler = emcee.EnsembleSampler(*shape, log_probability, moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(seed).get_state()
    return sampler


@dataclass(frozen=True, eq=False)
class Tempered:
    """Particles that followed the likelihood from prior to posterior.

    Attributes
    ----------
    theta : array (n, n_dim)
        Equally weighted.
    log_likelihood : array (n,)
    log_evidence : float
        Estimate of ln Z; it scatters by a few tenths, more where few particles reach a mode.
    """

    theta: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    log_evidence: float


def temper(
    log_likelihood: LogProbability,
    start: NDArray[np.float64],
    moves: emcee.moves.Move,
    seed: int,
    n_steps: int = 6,
    progress: bool = True,
) -> Tempered:
    """Carry particles from a flat prior to the posterior by sequential Monte Carlo.

    Parameters
    ----------
    log_likelihood : callable
        (n, n_dim) -> (n,).
    start : array (n, n_dim)
        Draws from the prior, flat within a box; an even number.
    moves : emcee Move
        One that stays within the box, as :class:`BlockMove`.
    seed : int
    n_steps : int
        Moves of every particle at each power β.
    progress : bool
        Whether to show a progress bar, in ln β.
    """
    rng = np.random.default_rng(seed)
    theta, value = start.copy(), log_likelihood(start)
    power, log_evidence = 0.0, 0.0
    with tqdm(total=100, disable=not progress, desc="tempering", bar_format="{l_bar}{bar}| {elapsed}") as bar:
        while power < 1.0:
            rise = _next_rise(value, power)
            top = value.max()
            weights = np.exp(rise * (value - top))
            log_evidence += rise * top + float(np.log(weights.mean()))
            power = 1.0 if rise == 1.0 - power else power + rise
            chosen = _systematic(weights / weights.sum(), rng)
            theta, value = _move(log_likelihood, power, theta[chosen], value[chosen], moves, n_steps, rng)
            bar.update(max(0.0, 100.0 + 8.0 * np.log(power) - bar.n))
    return Tempered(theta, value, log_evidence)


def _move(
    log_likelihood: LogProbability,
    power: float,
    theta: NDArray[np.float64],
    value: NDArray[np.float64],
    moves: emcee.moves.Move,
    n_steps: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Particles and their log-likelihoods after `n_steps` moves under the likelihood's power."""
    sampler = _sampler(lambda points: power * log_likelihood(points), theta.shape, moves, int(rng.integers(2**31)))
    state = sampler.run_mcmc(emcee.State(theta, log_prob=power * value), n_steps, skip_initial_state_check=True)
    return state.coords, state.log_prob / power


def _next_rise(value: NDArray[np.float64], power: float) -> float:
    """Rise of the power that leaves half the particles effective, by bisection in its logarithm."""

    def effective(rise: float) -> float:
        weights = np.exp(rise * (value - value.max()))
        return float(weights.sum() ** 2 / np.sum(weights**2) / len(value))

    if effective(1.0 - power) >= 0.5:
        return 1.0 - power
    low, high = np.log(1e-12), np.log(1.0 - power)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(np.exp(middle)) >= 0.5 else (low, middle)
    return float(np.exp(low))


def _systematic(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Resampled indices, in random order."""
    levels = (np.arange(len(weights)) + rng.random()) / len(weights)
    return rng.permutation(np.minimum(np.searchsorted(np.cumsum(weights), levels), len(weights) - 1))


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
    sampler = _sampler(log_probability, start.shape, moves or default, seed)
    sampler.run_mcmc(start, n_steps, progress=progress, skip_initial_state_check=True)
    samples = sampler.get_chain(discard=first)
    convergence = _diagnose(samples, tuple(names), float(np.mean(sampler.acceptance_fraction)))
    for problem in convergence.problems:
        warnings.warn(f"NPTF chain not converged: {problem}", SamplingWarning, stacklevel=3)
    return Chain(samples, sampler.get_log_prob(discard=first), convergence)


def _diagnose(samples: NDArray[np.float64], names: tuple[str, ...], acceptance: float) -> Convergence:
    with warnings.catch_warnings():
        # of a coming release of ArviZ, of chains too short to judge: `problems` says so
        warnings.simplefilter("ignore")
        import arviz

        chains = arviz.convert_to_dataset({"x": np.swapaxes(samples, 0, 1)})
        time = np.asarray(emcee.autocorr.integrated_time(samples, quiet=True, tol=0))
        r_hat, ess = arviz.rhat(chains)["x"].to_numpy(), arviz.ess(chains)["x"].to_numpy()
    return Convergence(names, time, r_hat, ess, len(samples), acceptance)
