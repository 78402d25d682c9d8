r"""Hamiltonian sampling: NUTS (Hoffman & Gelman 2014, arXiv:1111.4246) by pyro, along the closed-form gradient.

The unit cube is opened to all numbers by u = 1 / (1 + e^-v), whose Jacobian joins the potential. Chains start at
tempered particles, one each. NUTS is for posteriors of one mode: chains in different modes stay there, and R-hat says
so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gcesbi.baselines.sampling import rank_diagnostics, rank_problems
from gcesbi.baselines.target import Limits, Sampled, Target
from gcesbi.baselines.tempering import Tempering
from gcesbi.errors import InputError

__all__ = ["ChainConvergence", "Nuts"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ChainConvergence:
    """Diagnostics of independent chains.

    Attributes
    ----------
    names : tuple of str
    r_hat, ess : array (n_dim,)
        Rank-normalised split R-hat and bulk effective sample size.
    n_divergent : int
        Steps whose energy was lost: the geometry is too sharp for the step size.
    missing : int
        Chains that time did not allow.
    """

    names: tuple[str, ...]
    r_hat: FloatArray
    ess: FloatArray
    n_divergent: int
    missing: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: R-hat above 1.05, ESS below 200, divergences."""
        found = [f"time ran out before {self.missing} chains"] if self.missing else []
        found += rank_problems(self.names, self.r_hat, self.ess)
        if self.n_divergent:
            found.append(f"{self.n_divergent} steps diverged")
        return tuple(found)

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


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
    n_particles : int
        Particles tempered to start from; even.
    """

    n_samples: int = 500
    n_warmup: int = 300
    n_chains: int = 4
    max_depth: int = 7
    n_particles: int = 100

    def __post_init__(self) -> None:
        for name, least in (("n_samples", 4), ("n_warmup", 1), ("n_chains", 2), ("max_depth", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: must be at least {least}, got {getattr(self, name)}")

    def sample(self, target: Target, seed: int, limits: Limits | None = None) -> Sampled:
        """Draw from the posterior; no evidence but the start's, without an error. Time is looked at between chains."""
        limits = limits or Limits()
        if target.gradient is None:
            raise InputError("target: has no gradient for NUTS to follow")
        if limits.checkpoint is not None:
            raise InputError("checkpoint: NUTS keeps none; use Tempering, NestedSampling or Ensemble")
        tempering = Tempering(n_particles=self.n_particles, n_islands=1, n_moves=4)
        start = tempering.sample(target, seed, Limits(progress=limits.progress))
        calls = _Calls(target)
        chains, divergent = [], 0
        for chain in range(self.n_chains):
            if chain >= 2 and limits.left == 0:
                break
            found, lost = self._chain(calls, start.u[chain], seed + chain, limits.progress)
            chains.append(found)
            divergent += lost
        u = 1 / (1 + np.exp(-np.stack(chains)))
        missing = self.n_chains - len(chains)
        convergence = ChainConvergence(target.names, *rank_diagnostics(u), divergent, missing)
        flat = u.reshape(-1, target.n_dim)
        n_evaluation = start.n_evaluation + calls.n
        return Sampled(flat, target.finite(flat), convergence, start.log_evidence, math.nan, n_evaluation)

    def _chain(self, calls: _Calls, start: FloatArray, seed: int, progress: bool) -> tuple[FloatArray, int]:
        """Samples (n_samples, n_dim) in v and the number of divergent ones; torch's own generator is left as it was."""
        try:
            from pyro.infer import MCMC, NUTS
        except ImportError:
            raise InputError("sampler: NUTS needs the package pyro-ppl; pip install pyro-ppl") from None
        inside = np.clip(start, 1e-6, 1 - 1e-6)
        begin = torch.as_tensor(np.log(inside / (1 - inside)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            kernel = NUTS(potential_fn=calls.potential, max_tree_depth=self.max_depth, target_accept_prob=0.85)
            mcmc = MCMC(
                kernel,
                num_samples=self.n_samples,
                warmup_steps=self.n_warmup,
                initial_params={"v": begin},
                disable_progbar=not progress,
            )
            mcmc.run()
        lost = len(mcmc.diagnostics()["divergences"]["chain 0"])
        return mcmc.get_samples()["v"].numpy(), lost


class _Calls:
    """Potential in v of a target, and how often it was asked."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.n = 0

    def potential(self, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        """Minus the log-density at v, differentiable."""
        self.n += 1
        return _Potential.apply(parameters["v"], self.target)


class _Potential(torch.autograd.Function):
    """Minus ln L + Σ ln u (1 - u), with its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, target: Target) -> torch.Tensor:
        u = torch.sigmoid(v)
        value, gradient = target.gradient(u.detach().numpy())  # type: ignore[misc]
        slope = u * (1 - u) * torch.as_tensor(gradient) + 1 - 2 * u
        ctx.save_for_backward(torch.nan_to_num(-slope, posinf=0.0, neginf=0.0))
        jacobian = torch.nn.functional.logsigmoid(v) + torch.nn.functional.logsigmoid(-v)
        return torch.nan_to_num(-(value + jacobian.sum()), nan=1e300, posinf=1e300)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grad_outputs[0] * slope, None
