"""The NPTF's posterior as a torch potential, for `sbi`'s posteriors and anything else that follows gradients.

The likelihood's own closed-form gradient is the backward pass of a ``torch.autograd.Function``: torch differentiates
nothing. :class:`NptfPotential` plugs into ``sbi``'s ``MCMCPosterior`` (slice sampling, or NUTS if pyro is installed),
``VIPosterior``, ``RejectionPosterior`` and ``ImportanceSamplingPosterior``::

    potential = NptfPotential(nptf)
    MCMCPosterior(potential, proposal=nptf.prior, theta_transform=mcmc_transform(nptf.prior), method="nuts_pyro")

Values are relative to those at the prior's centre: `sbi` computes in single precision, which the likelihood itself,
a number of five digits before the point, would use up.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sbi.inference.potentials.base_potential import BasePotential

if TYPE_CHECKING:
    from gcesbi.baselines.nptf.fit import NPTF

__all__ = ["NptfPotential", "torch_log_likelihood"]


class _LogLikelihood(torch.autograd.Function):
    """ln L (n,) of parameters (n, n_dim) with the closed-form gradient; once differentiable."""

    @staticmethod
    def forward(ctx: Any, theta: torch.Tensor, nptf: NPTF) -> torch.Tensor:
        rows = theta.detach().to(torch.float64).numpy()
        if not theta.requires_grad:
            return torch.as_tensor(nptf.log_likelihood(rows))
        with ThreadPoolExecutor(nptf.workers) as pool:
            found = list(pool.map(nptf.log_likelihood_gradient, rows))
        ctx.save_for_backward(torch.as_tensor(np.array([gradient for _, gradient in found])))
        return torch.as_tensor(np.array([value for value, _ in found]))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (grad_outputs[0][:, None] * gradient), None


def torch_log_likelihood(nptf: NPTF, theta: torch.Tensor) -> torch.Tensor:
    """Log-likelihoods (n,), float64, of parameters (n, n_dim) of any precision; gradients flow back to theta."""
    return _LogLikelihood.apply(theta.to(torch.float64), nptf)


class NptfPotential(BasePotential):
    """Log posterior up to a constant, as `sbi` asks for it.

    Parameters
    ----------
    nptf : NPTF
    """

    def __init__(self, nptf: NPTF) -> None:
        counts = torch.as_tensor(nptf.sky.counts[None], dtype=torch.float32)
        super().__init__(prior=nptf.prior, x_o=counts)
        self.nptf = nptf
        self.offset = float(nptf.log_likelihood(nptf.from_cube(np.full(len(nptf.names), 0.5))))

    def __call__(self, theta: torch.Tensor, track_gradients: bool = True) -> torch.Tensor:
        """Log posterior (n,) of parameters (n, n_dim) in their precision, -inf outside the prior."""
        with torch.set_grad_enabled(track_gradients):
            rows = torch.atleast_2d(theta).to(torch.float64)
            prior = self.nptf.prior.log_prob(rows)
            inside = torch.isfinite(prior)
            value = torch.full_like(prior, -torch.inf)
            if inside.any():
                value[inside] = prior[inside] + torch_log_likelihood(self.nptf, rows[inside]) - self.offset
            return value.to(theta.dtype)
