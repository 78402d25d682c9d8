"""Losses whose minimum is the truth: Gaussian negative log-likelihoods and pinball losses.

The pinball loss max(t d, (t - 1) d) of d = y - ŷ(t) is least, on average over y, where ŷ(t) is the t-quantile of y
(Koenker & Bassett 1978, Econometrica 46, 33). The Earth mover's pinball loss (List et al. 2021, arXiv:2107.09070) sums
it over the bins of a CDF. Quantiles are equivariant under increasing maps, so the same quantiles minimise the pinball
loss of the log odds of the CDF: :func:`logit_pinball` weighs the tails, where the CDF hardly changes, as the middle.
"""

import math

import torch
from torch import Tensor

from gcesbi.errors import InputError

__all__ = [
    "check_quantile_loss",
    "cholesky_nll",
    "earth_movers_pinball",
    "gaussian_crps",
    "gaussian_nll",
    "levels_of_loss",
    "logit_pinball",
    "low_rank_nll",
    "pinball",
    "quantile_loss",
    "stratified_levels",
]

_LN_2PI = math.log(2 * math.pi)


def stratified_levels(n_map: int, n_level: int, device: torch.device | None = None) -> Tensor:
    """Levels (n_map, n_level) in (0, 1): one uniform draw in each of `n_level` equal strata, afresh for every map.

    Draws from torch's global generator.
    """
    draw = torch.rand(n_map, n_level).to(device)
    level = (torch.arange(n_level, device=device) + draw) / n_level
    return level.clamp(1e-4, 1 - 1e-4)


def levels_of_loss(n_map: int, n_level: int, training: bool, device: torch.device | None = None) -> Tensor:
    """Levels (n_map, n_level) of a loss: drawn afresh in training, the middles of their strata in evaluation."""
    if training:
        return stratified_levels(n_map, n_level, device)
    return ((torch.arange(n_level, device=device) + 0.5) / n_level).expand(n_map, -1)


def check_quantile_loss(n_level: int, tail_weight: float) -> None:
    """Raise InputError unless there is a level, and the weight of the tails is not negative."""
    if n_level < 1:
        raise InputError(f"n_level: must be at least 1, got {n_level}")
    if tail_weight < 0:
        raise InputError(f"tail_weight: must not be negative, got {tail_weight}")


def quantile_loss(cdf: Tensor, predicted_logit: Tensor, level: Tensor, tail_weight: float) -> Tensor:
    """Mean of :func:`earth_movers_pinball` and, with a weight, :func:`logit_pinball`; a share is a CDF of one value."""
    loss = earth_movers_pinball(cdf, torch.sigmoid(predicted_logit), level)
    if tail_weight:
        loss = loss + tail_weight * logit_pinball(cdf, predicted_logit, level)
    return loss.mean()


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
    return 0.5 * ((value - mean) * torch.exp(-log_std)).square() + log_std + 0.5 * _LN_2PI


def gaussian_crps(value: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Continuous ranked probability score of independent Gaussians, element by element, in units of their deviation σ.

    z (2Φ(z) − 1) + 2φ(z) − 1/√π times σ (Gneiting et al. 2005, Mon. Weather Rev. 133, 1098), over a σ that no gradient
    sees: every entry counts alike, and each has its minimum where the score itself has it.
    """
    z = (value - mean) * torch.exp(-log_std)
    central, density = torch.erf(z / math.sqrt(2)), torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return torch.exp(log_std - log_std.detach()) * (z * central + 2 * density - 1 / math.sqrt(math.pi))


def cholesky_nll(deviation: Tensor, factor: Tensor) -> Tensor:
    """Negative log-likelihood of a Gaussian known by the Cholesky factor W of its precision, P = Wᵀ W.

    ½ |W d|² − Σ ln W_ii + n/2 ln 2π: no matrix is inverted.

    Parameters
    ----------
    deviation : tensor (..., n)
        d = value - mean.
    factor : tensor (..., n, n)
        Lower triangular, with positive diagonal.

    Returns
    -------
    tensor (...)
    """
    residual = torch.matmul(factor, deviation[..., None])[..., 0]
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return 0.5 * residual.square().sum(dim=-1) - log_det + 0.5 * deviation.shape[-1] * _LN_2PI


def low_rank_nll(deviation: Tensor, log_std: Tensor, loadings: Tensor) -> Tensor:
    """Negative log-likelihood of a Gaussian with covariance D + V Vᵀ, by Woodbury's identity; computed in float64.

    With K = 1 + Vᵀ D⁻¹ V, of the size of the rank: dᵀ Σ⁻¹ d = dᵀ D⁻¹ d − |K^-½ Vᵀ D⁻¹ d|², and
    ln det Σ = ln det D + ln det K. The difference cancels where D is small: hence float64, at a cost that goes with the
    rank only.

    Parameters
    ----------
    deviation : tensor (..., n)
        d = value - mean.
    log_std : tensor (..., n)
        ½ ln D.
    loadings : tensor (..., n, rank)
        V.

    Returns
    -------
    tensor (...)
        In the type of `deviation`.
    """
    inverse = torch.exp(-log_std.double())
    scaled, columns = deviation.double() * inverse, loadings.double() * inverse[..., None]
    capacity = torch.eye(columns.shape[-1], dtype=columns.dtype, device=columns.device) + columns.mT @ columns
    factor = torch.linalg.cholesky(capacity)
    explained = torch.linalg.solve_triangular(factor, columns.mT @ scaled[..., None], upper=False)[..., 0]
    quadratic = scaled.square().sum(dim=-1) - explained.square().sum(dim=-1)
    half_log_det = log_std.double().sum(dim=-1) + factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return (0.5 * quadratic + half_log_det + 0.5 * deviation.shape[-1] * _LN_2PI).to(deviation.dtype)
