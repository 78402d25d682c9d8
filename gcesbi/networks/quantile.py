"""Heads that answer all quantiles at once, of an SCD's CDF or of shares.

**Quantiles that cannot cross.** Let P_i be the CDF of an SCD histogram in flux bin i (i = 1 .. B), t ∈ (0, 1) a
quantile level of P_i (t = 1 − τ, as low τ means dim and a CDF that rises early), and z = ln t/(1 − t). For every map
the head returns a median a_i and non-negative numbers c_im, and from them

    g_i(t) = a_i + Σ_m c_im b_m(t),
    G_i(t) = max_{j ≤ i} g_j(t),
    P_i(t) = 1 / (1 + exp(−G_i(t)))  for i < B,      P_B(t) = 1,

with fixed non-decreasing functions b_m of t, b_m(½) = 0: ramps between neighbouring knots in z, and straight tails.

1. *Monotone in flux*: G_{i+1} is the maximum over a set that holds the one of G_i, so G_i ≤ G_{i+1}; the logistic
   function increases and never exceeds 1 = P_B.
2. *No crossing in τ*: each g_i is a_i plus a non-negative combination of non-decreasing functions of t, hence
   non-decreasing; the maximum of non-decreasing functions is non-decreasing; the logistic function increases. So P_i
   never falls as t grows, that is never rises with τ.
3. *It ends at one*: by definition, exactly.

The construction excludes nothing: true quantiles Q_i(t) of P_i satisfy Q_i ≤ Q_{i+1}, since P_i ≤ P_{i+1} on every map,
so G_i = g_i = logit Q_i fits them up to the linear interpolation between knots. Bins are independent of each other as
far as 1 allows, inner quantiles are independent of outer ones, and the network behind runs once per map for all τ.

Before training the outputs are set so that an untrained head answers the prior (:meth:`QuantileHead.set_prior`):
training starts wide, and learns to be sharper.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.networks.layers import quiet_linear

__all__ = [
    "QuantileHead",
    "QuantileOutput",
    "ShareQuantileHead",
    "SharesQuantileHead",
    "append_one",
    "ramp_basis",
]

_KNOT_LEVELS = (0.005, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.995)
_LN2 = math.log(2)


class QuantileOutput(NamedTuple):
    """Quantile functions: `median` (n, *shape), and `step` (n, *shape, n_basis), not negative."""

    median: Tensor
    step: Tensor


class _QuantileFunctions(nn.Module):
    """Features (n, n_features) to the quantile functions g(t) of the log odds of values of some shape."""

    knots: Tensor
    base_median: Tensor
    scale_median: Tensor
    scale_step: Tensor

    def __init__(self, n_features: int, shape: tuple[int, int], base_median: Tensor) -> None:
        super().__init__()
        self.register_buffer("knots", torch.logit(torch.tensor(_KNOT_LEVELS, dtype=torch.float64)).float())
        self.shape, self.n_basis = shape, len(self.knots) + 1
        self.linear = quiet_linear(n_features, math.prod(shape) * (1 + self.n_basis))
        self.register_buffer("base_median", base_median)
        self.register_buffer("scale_median", torch.ones(shape))
        self.register_buffer("scale_step", torch.ones(*shape, self.n_basis))

    @torch.no_grad()
    def _set_prior(self, values: Tensor, epsilon: float = 1e-6) -> None:
        """Let zero features answer the quantiles of values (n, *shape)."""
        logit = torch.logit(values.double().clamp(epsilon, 1 - epsilon))
        ends = torch.stack([self.knots[0] - 1, self.knots[-1] + 1])
        points = torch.cat([ends[:1], self.knots, ends[1:]]).to(logit)
        quantiles = torch.quantile(logit, torch.sigmoid(points), dim=0).float()
        centre = int(points.abs().argmin())
        self.base_median.copy_(quantiles[centre])
        self.scale_median.copy_((quantiles[centre + 1] - quantiles[centre - 1]).div(2).clamp_min(0.5))
        self.scale_step.copy_(quantiles.diff(dim=0).clamp_min(0.05).movedim(0, -1))

    def forward(self, features: Tensor) -> QuantileOutput:
        """Coefficients of the quantile functions, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            raw = self.linear(features.float()).view(-1, *self.shape, 1 + self.n_basis)
            step = nn.functional.softplus(raw[..., 1:]) * (self.scale_step / _LN2)
            return QuantileOutput(self.base_median + self.scale_median * raw[..., 0], step)

    def _curves(self, output: QuantileOutput, level: Tensor) -> Tensor:
        """g(t), (n, n_level, *shape), of n maps at levels (n_level,) or (n, n_level)."""
        basis = ramp_basis(level, self.knots).expand(len(output.median), -1, -1)
        spread = torch.matmul(output.step.flatten(1, 2), basis.transpose(1, 2))
        curve = output.median.flatten(1)[..., None] + spread
        return curve.unflatten(1, self.shape).permute(0, 3, 1, 2)


class QuantileHead(_QuantileFunctions):
    """Features (n, n_features) to the quantile functions of the CDF of every point-source template's SCD histogram.

    See the module's docstring for the construction and its three properties. Quantiles are pointwise in flux bins: a
    curve of one τ is the set of the bins' quantiles, not a sample of the joint posterior of the bins.
    """

    def __init__(self, n_features: int, n_template: int, n_bin: int) -> None:
        if n_bin < 2:
            raise InputError(f"n_bin: must be at least 2, got {n_bin}")
        base = torch.linspace(-4, 4, n_bin - 1).repeat(n_template, 1)
        super().__init__(n_features, (n_template, n_bin - 1), base)

    def set_prior(self, cdf: Tensor) -> None:
        """Let zero features answer the quantiles of training labels, CDFs (n, n_template, n_bin)."""
        self._set_prior(cdf[..., :-1])

    def logits(self, output: QuantileOutput, level: Tensor) -> Tensor:
        """Log odds of the CDF but for its last bin.

        Parameters
        ----------
        output : QuantileOutput
            Of n maps.
        level : tensor (n_level,) or (n, n_level)
            Quantile levels t = 1 - τ of the CDF; the same for all maps, or each map its own.

        Returns
        -------
        tensor (n, n_level, n_template, n_bin - 1)
        """
        return torch.cummax(self._curves(output, level), dim=-1).values

    def cdf(self, output: QuantileOutput, level: Tensor) -> Tensor:
        """CDF (n, n_level, n_template, n_bin) at levels t = 1 - τ, (n_level,) or (n, n_level)."""
        return append_one(torch.sigmoid(self.logits(output, level)))


class SharesQuantileHead(_QuantileFunctions):
    """Features (n, n_features) to the quantile functions of shares, numbers in [0, 1]: 1 / (1 + exp(−g(t))).

    Shares are independent of each other: property 2 is all that is left, quantiles do not cross.
    """

    def __init__(self, n_features: int, n_share: int, base: float = 0.0) -> None:
        super().__init__(n_features, (n_share, 1), torch.full((n_share, 1), base))

    def set_prior(self, share: Tensor) -> None:
        """Let zero features answer the quantiles of training labels (n, n_share)."""
        self._set_prior(share[..., None])

    def logits(self, output: QuantileOutput, level: Tensor) -> Tensor:
        """Log odds (n, n_level, n_share) at levels t, (n_level,) or (n, n_level)."""
        return self._curves(output, level)[..., 0]

    def share(self, output: QuantileOutput, level: Tensor) -> Tensor:
        """Shares (n, n_level, n_share) at levels t, (n_level,) or (n, n_level)."""
        return torch.sigmoid(self.logits(output, level))


class ShareQuantileHead(SharesQuantileHead):
    """Features (n, n_features) to the quantile function of one share."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 1, -4.0)

    def set_prior(self, share: Tensor) -> None:
        """Let zero features answer the quantiles of training labels (n,)."""
        super().set_prior(share[:, None])

    def logits(self, output: QuantileOutput, level: Tensor) -> Tensor:
        """Log odds (n, n_level) of the share at levels t, (n_level,) or (n, n_level)."""
        return super().logits(output, level)[..., 0]


def append_one(cdf: Tensor) -> Tensor:
    """Append the last bin, where every CDF is exactly one."""
    return torch.cat([cdf, torch.ones_like(cdf[..., :1])], dim=-1)


def ramp_basis(level: Tensor, knots: Tensor) -> Tensor:
    """Non-decreasing functions of a quantile level: straight tails outside, and a ramp between neighbouring knots.

    Parameters
    ----------
    level : tensor (...)
        t in (0, 1).
    knots : tensor (n_knot,)
        Ascending, in ln t/(1 - t); zero is one of them.

    Returns
    -------
    tensor (..., n_knot + 1)
        Continuous in t, each function zero at t = 1/2.
    """
    z = torch.logit(level)[..., None]
    ramps = ((z - knots[:-1]) / knots.diff()).clamp(0, 1) - (knots[:-1] < 0).to(z)
    low, high = (z - knots[0]).clamp_max(0), (z - knots[-1]).clamp_min(0)
    return torch.cat([low, ramps, high], dim=-1)
