"""Losses whose minimum is the truth: Gaussian negative log-likelihood and pinball losses.

The pinball loss max(t d, (t - 1) d) of d = y - ŷ(t) is least, on average over y, where ŷ(t) is the t-quantile of y
(Koenker & Bassett 1978, Econometrica 46, 33). The Earth mover's pinball loss (List et al. 2021, arXiv:2107.09070) sums
it over the bins of a CDF. Quantiles are equivariant under increasing maps, so the same quantiles minimise the pinball
loss of the log odds of the CDF: :func:`logit_pinball` weighs the tails, where the CDF hardly changes, as the middle.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["earth_movers_pinball", "gaussian_nll", "logit_pinball", "pinball"]


def pinball(difference: Tensor, level: Tensor) -> Tensor:
    """Pinball loss max(t d, (t - 1) d) of differences d = truth - prediction at levels t in (0, 1)."""
    return torch.maximum(level * difference, (level - 1) * difference)


def earth_movers_pinball(cdf: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
    """Earth mover's pinball loss, summed over flux bins.

    Parameters
    ----------
    cdf : tensor (..., n_bin)
        True CDF P.
    predicted : tensor (..., n_bin)
        Predicted CDF at the levels.
    level : tensor, broadcast to (...)
        t = 1 - τ: a low τ is a dim population, whose CDF rises early.

    Returns
    -------
    tensor (...)
    """
    return pinball(cdf - predicted, level[..., None]).sum(dim=-1)


def logit_pinball(cdf: Tensor, predicted_logit: Tensor, level: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Pinball loss of log odds, summed over flux bins; true CDF values are moved into [ε, 1 - ε].

    Parameters
    ----------
    cdf : tensor (..., n_bin)
        True CDF.
    predicted_logit : tensor (..., n_bin)
        Log odds of the predicted CDF.
    level : tensor, broadcast to (...)
        t = 1 - τ.

    Returns
    -------
    tensor (...)
    """
    truth = torch.logit(cdf.clamp(epsilon, 1 - epsilon))
    return pinball(truth - predicted_logit, level[..., None]).sum(dim=-1)


def gaussian_nll(value: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Negative log-likelihood of independent Gaussians, element by element, with the ½ ln 2π."""
    return 0.5 * ((value - mean) * torch.exp(-log_std)).square() + log_std + 0.5 * math.log(2 * math.pi)
