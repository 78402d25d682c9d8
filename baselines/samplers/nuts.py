r"""Hamiltonian sampling: NUTS (Hoffman & Gelman 2014, arXiv:1111.4246) by pyro, along the closed-form gradient.

The unit cube is opened to all numbers by u = Φ(z), in which the prior is a standard normal. Chains start about
the maxima of the posterior density (:mod:`gcesbi.baselines.samplers.laplace`) and take as mass matrix the inverse of a
covariance Σ = C Cᵀ of z: they walk in w = C⁻¹ z with masses 1. Σ is at first that of Laplace's approximation, then that
of all chains' draws in each round of the warm-up but the last, in which only step sizes are adapted. NUTS is for
posteriors of one mode: chains in different modes stay there, and R-hat says so.

A round, a few draws of every chain, depends on nothing but the state before it and the seed; the state is written
after every round. A run that was killed goes on from there and ends in the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr
from tqdm import tqdm

from gcesbi.baselines.samplers.laplace import Laplace, NormalDensity
from gcesbi.baselines.samplers.sampling import Diagnosis, rank_diagnostics, rank_problems
from gcesbi.baselines.samplers.target import Limits, Sampled, Target, load_arrays, save_arrays
from gcesbi.errors import InputError

__all__ = ["ChainConvergence", "Nuts"]

FloatArray = NDArray[np.float64]

_SLICE = 25  # draws of every chain between two looks at the clock


@dataclass(frozen=True, eq=False)
class ChainConvergence(Diagnosis):
    """Diagnostics of independent chains.

    Attributes
    ----------
    names : tuple of str
    r_hat, ess : array (n_dim,)
        Rank-normalised split R-hat and bulk effective sample size.
    n_divergent : int
        Steps whose energy was lost: the geometry is too sharp for the step size.
    missing : int
        Draws of every chain that time did not allow.
    warm : bool
        Whether the warm-up ended; if not, its latest draws are all there is.
    """

    names: tuple[str, ...]
    r_hat: FloatArray
    ess: FloatArray
    n_divergent: int
    missing: int = 0
    warm: bool = True

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: R-hat above 1.05, ESS below 200, divergences, time that ran out."""
        found = [] if self.warm else ["time ran out within the warm-up: these are no posterior samples"]
        if self.missing:
            found.append(f"time ran out {self.missing} draws before the end of every chain")
        found += rank_problems(self.names, self.r_hat, self.ess)
        if self.n_divergent:
            found.append(f"{self.n_divergent} steps diverged")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Nuts:
    """Settings of NUTS. Needs the package `pyro-ppl`.

    Parameters
    ----------
    n_samples, n_warmup : int
        Kept and dropped samples of every chain.
    n_chains : int
    max_depth : int
        At most 2^max_depth gradients a sample.
    """

    n_samples: int = 500
    n_warmup: int = 300
    n_chains: int = 4
    max_depth: int = 7

    def __post_init__(self) -> None:
        for name, least in (("n_samples", 4), ("n_warmup", 3), ("n_chains", 2), ("max_depth", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: must be at least {least}, got {getattr(self, name)}")

    @property
    def warmup(self) -> tuple[int, ...]:
        """Draws in each round of the warm-up."""
        first, second = max(1, self.n_warmup // 6), max(1, self.n_warmup // 3)
        return first, second, self.n_warmup - first - second

    def sample(self, target: Target, seed: int, limits: Limits | None = None) -> Sampled:
        """Draw from the posterior; without an evidence."""
        limits = limits or Limits()
        if target.gradient is None:
            raise InputError("target: has no gradient for NUTS to follow")
        identity = target.identity(self, seed) if limits.checkpoint else ""
        chains = _Chains.load(load_arrays(limits.checkpoint, identity)) or self._begin(target, seed)
        total = self.n_warmup + self.n_samples
        with tqdm(total=total, initial=chains.n_done(self), disable=not limits.progress, desc="NUTS") as bar:
            while chains.n_done(self) < total and limits.left > 0:
                chains = self._round(target, seed, chains)
                if limits.checkpoint is not None:
                    save_arrays(limits.checkpoint, identity, chains.arrays())
                bar.update(chains.n_done(self) - bar.n)
        return self._result(target, chains)

    def _begin(self, target: Target, seed: int) -> _Chains:
        about = Laplace.about(target, self.n_chains, seed)
        begin = about.starts(target, self.n_chains, seed)
        scale = cholesky(about.covariance, lower=True)
        return _Chains(begin, scale, np.ones(self.n_chains), begin[:, None], 0, 0, about.n_evaluation)

    def _round(self, target: Target, seed: int, chains: _Chains) -> _Chains:
        """The state one round later."""
        warm = len(self.warmup) - chains.round  # rounds of the warm-up that are left
        n = self.warmup[chains.round] if warm > 0 else min(_SLICE, self.n_samples - chains.n_kept(self))
        walks = []
        for chain, (start, step) in enumerate(zip(chains.position, chains.steps, strict=True)):
            key = np.random.SeedSequence(seed, spawn_key=(chain, chains.round)).generate_state(1, np.uint64)
            walks.append(_walk(target, start, chains.scale, step, n, warm > 0, self.max_depth, int(key[0])))
        draws = np.stack([walk.draws for walk in walks])
        return _Chains(
            position=draws[:, -1],
            scale=_scale(draws.reshape(-1, target.n_dim), chains.scale) if warm > 1 else chains.scale,
            steps=np.array([walk.step for walk in walks]),
            draws=draws if warm >= 0 else np.concatenate([chains.draws, draws], axis=1),
            round=chains.round + 1,
            divergent=chains.divergent + sum(walk.divergent for walk in walks),
            spent=chains.spent + sum(walk.spent for walk in walks),
        )

    def _result(self, target: Target, chains: _Chains) -> Sampled:
        u = ndtr(chains.draws)
        kept = chains.n_kept(self)
        convergence = ChainConvergence(
            target.names, *rank_diagnostics(u), chains.divergent, self.n_samples - kept, kept > 0
        )
        flat = u.reshape(-1, target.n_dim)
        rows = np.arange(len(flat)).reshape(u.shape[:2])
        return Sampled(flat, target.finite(flat), convergence, n_evaluation=chains.spent, chains=rows)


@dataclass(frozen=True, eq=False)
class _Chains:
    """All chains after some rounds: what a checkpoint holds.

    Attributes
    ----------
    position : array (n_chain, n_dim)
        z of every chain.
    scale : array (n_dim, n_dim)
        C, lower triangular.
    steps : array (n_chain,)
        Step sizes in w.
    draws : array (n_chain, n_draw, n_dim)
        z of the latest round of the warm-up, later of all rounds after it.
    round, divergent, spent : int
        Rounds done, steps that diverged after the warm-up, evaluations.
    """

    position: FloatArray
    scale: FloatArray
    steps: FloatArray
    draws: FloatArray
    round: int
    divergent: int
    spent: int

    def n_kept(self, settings: Nuts) -> int:
        """Draws of every chain after the warm-up."""
        return self.draws.shape[1] if self.round > len(settings.warmup) else 0

    def n_done(self, settings: Nuts) -> int:
        """Draws of every chain."""
        return sum(settings.warmup[: self.round]) + self.n_kept(settings)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The state as arrays."""
        scalars = np.array([self.round, self.divergent, self.spent])
        names = ("position", "scale", "steps", "draws")
        return {"scalars": scalars, **{name: getattr(self, name) for name in names}}

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]] | None) -> _Chains | None:
        """The state of arrays; None of none."""
        if arrays is None:
            return None
        number, divergent, spent = arrays.pop("scalars").astype(int).tolist()
        return cls(**arrays, round=number, divergent=divergent, spent=spent)


@dataclass(frozen=True, eq=False)
class _Walk:
    """Draws (n, n_dim) of one chain in one round, its step size after it, and what it met and cost."""

    draws: FloatArray
    step: float
    divergent: int
    spent: int


def _walk(
    target: Target, start: FloatArray, scale: FloatArray, step: float, n: int, adapt: bool, max_depth: int, seed: int
) -> _Walk:
    """Walk from `start`; torch's own generator is left as it was."""
    try:
        from pyro.infer import NUTS
    except ImportError:
        raise InputError("sampler: NUTS needs the package pyro-ppl; pip install pyro-ppl") from None
    potential = _Calls(target, torch.as_tensor(scale))
    kernel = NUTS(
        potential_fn=potential,
        step_size=float(step),
        adapt_step_size=adapt,
        adapt_mass_matrix=False,
        max_tree_depth=max_depth,
        target_accept_prob=0.85,
    )
    at = {"w": torch.as_tensor(solve_triangular(scale, start, lower=True))}
    draws = np.empty((n, len(start)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kernel.initial_params = at
        kernel.setup(n if adapt else 0)
        for i in range(n):
            at = kernel.sample(at)
            draws[i] = scale @ at["w"].numpy()
    divergent = 0 if adapt else len(kernel.diagnostics()["divergences"])
    return _Walk(draws, float(kernel.step_size), divergent, potential.n)


def _scale(draws: FloatArray, before: FloatArray) -> FloatArray:
    """C of the covariance of draws (n, n_dim), in which that of C before weighs as much as 2 n_dim draws."""
    weight = len(draws) / (len(draws) + 2 * draws.shape[1])
    return cholesky(weight * np.cov(draws.T, bias=True) + (1 - weight) * before @ before.T, lower=True)


class _Calls:
    """Potential in w of a target, and how often it was asked."""

    def __init__(self, target: Target, scale: torch.Tensor) -> None:
        self.density = NormalDensity(target)
        self.scale = scale
        self.n = 0

    def __call__(self, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        """Minus the log-density at w, differentiable."""
        self.n += 1
        return _Potential.apply(self.scale @ parameters["w"], self.density)


class _Potential(torch.autograd.Function):
    """Minus the log-density at z, with its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, density: NormalDensity) -> torch.Tensor:
        value, slope = density(z.detach().numpy())
        ctx.save_for_backward(torch.nan_to_num(torch.as_tensor(-slope), posinf=0.0, neginf=0.0))
        return torch.nan_to_num(torch.tensor(-value, dtype=z.dtype), nan=1e300, posinf=1e300)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grad_outputs[0] * slope, None
