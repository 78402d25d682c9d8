"""Heads that answer a Gaussian of flux fractions: diagonal, full, or low rank + diagonal covariance.

Flux fractions y of T templates sum to one in every energy bin, and so do the means, a softmax over templates. A full
covariance of y is therefore singular: in every bin, along the direction (1, .., 1). Correlated Gaussians are stated in
contrasts instead,

    u_je = Σ_t H_jt y_te,      j = 1 .. T − 1,

with the rows of H orthonormal and orthogonal to (1, .., 1) (Helmert's matrix). Nothing is lost, as y − ȳ = Hᵀ (u − ū)
exactly; the n = (T − 1) n_energy contrasts have a regular covariance, whose density does not depend on the choice of H;
and the covariance of y that follows, Hᵀ Σ H in every pair of bins, gives each sample fractions that sum to one.

**Full.** The precision is modelled, not the covariance, so that the likelihood needs no solving of equations: with C
the Cholesky factor of the covariance of the training labels' contrasts, d = C⁻¹ (u − ū), and W a lower triangular
matrix with positive diagonal that the network returns for every map,

    z = W d ~ N(0, 1),      Σ = (C W⁻¹) (C W⁻¹)ᵀ.

C W⁻¹ is the Cholesky factor of Σ, and C_ii / W_ii is the deviation of u_i given u_1 .. u_{i−1} (Pourahmadi 1999,
Biometrika 86, 677): kept between `min_std` and one half, it bounds the likelihood from above where labels degenerate.
All of it is products in float32; only samples need a triangular solve, in float64.

**Low rank + diagonal.** With S the deviations of the labels' contrasts, d = (u − ū) / S has covariance D + V Vᵀ, V of a
few columns. D is diagonal in these contrasts, which is a choice of basis.

**Means.** Errors that go together over bins hide slow learning: a mean that is wrong in every bin alike costs little
when the covariance allows it. Two things help. The network states the logarithms of the means in the principal
components of the training labels' log fractions, so that one output moves all bins together (``mixing``); and the
loss of :class:`gcesbi.estimators.SpectralEstimator` scores entries also by themselves.

Before training the buffers are set so that an untrained head answers the prior: the mean of the training labels and
their spread, with their full covariance, or its leading components (``set_prior``).
"""

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from scipy.linalg import helmert
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.networks.layers import quiet_linear

__all__ = [
    "CholeskyGaussianHead",
    "CholeskyOutput",
    "ContrastHead",
    "GaussianHead",
    "GaussianOutput",
    "LowRankGaussianHead",
    "LowRankOutput",
]

_LARGEST_STD = 0.5  # that a number in [0, 1] can have
_SMALLEST_MEAN = 1e-4
_SMALLEST_FRACTION = 1e-2


class GaussianOutput(NamedTuple):
    """Means and log standard deviations of flux fractions, each (n, n_template, n_column)."""

    mean: Tensor
    log_std: Tensor


class CholeskyOutput(NamedTuple):
    """Means (n, n_template, n_column), and the factor W (n, n_contrast, n_contrast) of the whitened precision."""

    mean: Tensor
    factor: Tensor


class LowRankOutput(NamedTuple):
    """Means (n, n_template, n_column); log deviations (n, n_contrast) and loadings V (n, n_contrast, rank)."""

    mean: Tensor
    log_std: Tensor
    loadings: Tensor


class _MeanHead(nn.Module):
    """Features to means, a softmax over templates, and to further numbers about their errors.

    The first n_template * n_column outputs of the linear layer are the means'.
    """

    base_mean: Tensor
    base_spread: Tensor

    def __init__(
        self, n_features: int, n_template: int, n_column: int, n_spread: int, n_more: int, min_std: float
    ) -> None:
        super().__init__()
        self.shape = (n_template, n_column)
        self.low, self.high = math.log(min_std), math.log(_LARGEST_STD)
        self.linear = quiet_linear(n_features, n_template * n_column + n_spread + n_more)
        self.register_buffer("base_mean", torch.zeros(self.shape))

    @torch.no_grad()
    def _set_mean(self, fractions: Tensor) -> None:
        self.base_mean.copy_(fractions.mean(dim=0).clamp_min(_SMALLEST_MEAN).log())

    def _raw(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Means, and what else the linear layer says of each map, (n, ...)."""
        n_mean = math.prod(self.shape)
        raw = self.linear(features.float())
        mean = torch.softmax(self._mixed(raw[:, :n_mean]).view(-1, *self.shape) + self.base_mean, dim=1)
        return mean, raw[:, n_mean:]

    def _mixed(self, raw: Tensor) -> Tensor:
        """Logarithms of means, less the prior's, of the linear layer's outputs."""
        return raw

    def _log_std(self, raw: Tensor) -> Tensor:
        """Log standard deviations between the bounds."""
        return self.low + (self.high - self.low) * torch.sigmoid(raw + self.base_spread)

    def _base(self, std: Tensor) -> Tensor:
        """What :meth:`_log_std` must add to zero to answer `std`."""
        share = (std.clamp_min(1e-12).log() - self.low) / (self.high - self.low)
        return torch.logit(share.clamp(0.02, 0.98))


class GaussianHead(_MeanHead):
    """Features (n, n_features) to a Gaussian with diagonal covariance per template and column (energy bin).

    Means are a softmax over templates, so they are positive and sum to one in every column. Standard deviations lie
    between `min_std` and one half, the largest that a number in [0, 1] can have.
    """

    def __init__(self, n_features: int, n_template: int, n_column: int, *, min_std: float = 3e-4) -> None:
        super().__init__(n_features, n_template, n_column, n_template * n_column, 0, min_std)
        self.register_buffer("base_spread", torch.zeros(self.shape))

    @torch.no_grad()
    def set_prior(self, fractions: Tensor) -> None:
        """Let zero features answer the mean and spread of training labels (n, n_template, n_column)."""
        self._set_mean(fractions)
        self.base_spread.copy_(self._base(fractions.std(dim=0, correction=0).clamp_min(1e-4)))

    def forward(self, features: Tensor) -> GaussianOutput:
        """Means and log standard deviations, each (n, n_template, n_column), in float32."""
        with torch.autocast(features.device.type, enabled=False):
            mean, raw = self._raw(features)
            return GaussianOutput(mean, self._log_std(raw.view(-1, *self.shape)))


class ContrastHead(_MeanHead):
    """A Gaussian of the contrasts of fractions."""

    contrast: Tensor
    mixing: Tensor

    def __init__(self, n_features: int, n_template: int, n_column: int, n_more: int, min_std: float) -> None:
        if n_template < 2:
            raise InputError(f"n_template: must be at least 2 for correlated errors, got {n_template}")
        self.n_contrast = (n_template - 1) * n_column
        super().__init__(n_features, n_template, n_column, self.n_contrast, n_more, min_std)
        self.register_buffer("base_spread", torch.zeros(self.n_contrast))
        self.register_buffer("contrast", torch.from_numpy(helmert(n_template)).float(), persistent=False)
        self.register_buffer("mixing", torch.eye(n_template * n_column))

    @abstractmethod
    def whitened(self, deviation: Tensor) -> Tensor:
        """Contrasts (n, n_contrast) of deviations (n, n_template, n_column), in the units of the head's covariance."""

    @abstractmethod
    def log_det(self) -> Tensor:
        """What these units add to a negative log-likelihood of the contrasts."""

    @abstractmethod
    def scale(self, output: Any) -> Tensor:
        """A (n, n_template, n_column, m) with y = ȳ + A ε, ε ~ N(0, 1), in float64."""

    @torch.no_grad()
    def _set_mean(self, fractions: Tensor) -> None:
        super()._set_mean(fractions)
        logs = fractions.double().clamp_min(_SMALLEST_FRACTION).log()
        logs = (logs - logs.mean(dim=1, keepdim=True)).flatten(1)
        values, vectors = torch.linalg.eigh(torch.cov(logs.T, correction=0))
        self.mixing.copy_((vectors * values.clamp_min(0).sqrt()).T)

    def _mixed(self, raw: Tensor) -> Tensor:
        return raw @ self.mixing

    def _contrasts(self, values: Tensor) -> Tensor:
        """Contrasts (n, n_contrast) of values (n, n_template, n_column)."""
        return torch.matmul(self.contrast.to(values), values).flatten(1)

    def _expanded(self, columns: Tensor) -> Tensor:
        """Columns of contrasts (n, n_contrast, m) as columns of fractions, (n, n_template, n_column, m)."""
        columns = columns.unflatten(1, (-1, self.shape[1]))
        return torch.einsum("jt,njem->ntem", self.contrast.to(columns), columns)

    def _prior_covariance(self, fractions: Tensor) -> Tensor:
        """Covariance (n_contrast, n_contrast) of training labels' contrasts, in float64, of full rank."""
        contrasts = self._contrasts(fractions.double())
        deviation = contrasts - contrasts.mean(dim=0)
        floor = math.exp(2 * self.low) * torch.eye(self.n_contrast, dtype=torch.float64, device=deviation.device)
        return deviation.T @ deviation / len(deviation) + floor


class CholeskyGaussianHead(ContrastHead):
    """Features (n, n_features) to a Gaussian with full covariance over templates and energy bins.

    See the module's docstring. `n_contrast` is (n_template - 1) n_column.
    """

    prior_factor: Tensor
    whitening: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, n_features: int, n_template: int, n_column: int, *, min_std: float = 1e-3) -> None:
        n_contrast = (n_template - 1) * n_column
        super().__init__(n_features, n_template, n_column, n_contrast * (n_contrast - 1) // 2, min_std)
        self.register_buffer("prior_factor", torch.eye(self.n_contrast))
        self.register_buffer("whitening", torch.eye(self.n_contrast))
        rows = torch.tril_indices(self.n_contrast, self.n_contrast, -1)
        self.register_buffer("rows", rows[0], persistent=False)
        self.register_buffer("columns", rows[1], persistent=False)

    @torch.no_grad()
    def set_prior(self, fractions: Tensor) -> None:
        """Let zero features answer the mean and covariance of training labels (n, n_template, n_column)."""
        self._set_mean(fractions)
        factor = torch.linalg.cholesky(self._prior_covariance(fractions))
        eye = torch.eye(self.n_contrast, dtype=factor.dtype, device=factor.device)
        self.prior_factor.copy_(factor)
        self.whitening.copy_(torch.linalg.solve_triangular(factor, eye, upper=False))
        self.base_spread.copy_(self._base(factor.diagonal()))

    def forward(self, features: Tensor) -> CholeskyOutput:
        """Means and factors of the precision, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            mean, raw = self._raw(features)
            spread, below = raw.split([self.n_contrast, len(self.rows)], dim=1)
            inverse = self.prior_factor.diagonal() * torch.exp(-self._log_std(spread))
            factor = torch.diag_embed(inverse)
            factor[:, self.rows, self.columns] = below
            return CholeskyOutput(mean, factor)

    def whitened(self, deviation: Tensor) -> Tensor:
        """Contrasts d (n, n_contrast) of deviations (n, n_template, n_column) from the mean, white in the prior."""
        return self._contrasts(deviation) @ self.whitening.T

    def log_det(self) -> Tensor:
        """Return ln det C: what the whitening adds to a negative log-likelihood of the contrasts."""
        return self.prior_factor.diagonal().log().sum()

    def scale(self, output: Any) -> Tensor:
        """A (n, n_template, n_column, n_contrast) with y = ȳ + A ε, ε ~ N(0, 1), in float64."""
        prior = self.prior_factor.double().expand(len(output.mean), -1, -1)
        return self._expanded(torch.linalg.solve_triangular(output.factor.double(), prior, upper=False, left=False))


class LowRankGaussianHead(ContrastHead):
    """Features (n, n_features) to a Gaussian with low rank + diagonal covariance over templates and energy bins.

    See the module's docstring.

    Parameters
    ----------
    rank : int
        Columns of V.
    """

    base_loadings: Tensor
    unit: Tensor

    def __init__(self, n_features: int, n_template: int, n_column: int, rank: int, *, min_std: float = 1e-3) -> None:
        n_contrast = (n_template - 1) * n_column
        if not 1 <= rank <= max(n_contrast, 1):
            raise InputError(f"rank: must lie between 1 and the number of contrasts {n_contrast}, got {rank}")
        super().__init__(n_features, n_template, n_column, n_contrast * rank, min_std)
        self.rank = rank
        self.register_buffer("unit", torch.ones(n_contrast))
        self.register_buffer("base_loadings", torch.zeros(n_contrast, rank))

    @torch.no_grad()
    def set_prior(self, fractions: Tensor) -> None:
        """Let zero features answer the mean of training labels, their variances, and their leading components."""
        self._set_mean(fractions)
        covariance = self._prior_covariance(fractions)
        unit = covariance.diagonal().sqrt()
        values, vectors = torch.linalg.eigh(covariance / unit / unit[:, None])
        loadings = vectors[:, -self.rank :] * values[-self.rank :].sqrt()
        rest = (1 - loadings.square().sum(dim=1)).clamp_min(0).sqrt() * unit
        self.unit.copy_(unit)
        self.base_loadings.copy_(loadings)
        self.base_spread.copy_(self._base(rest))

    def forward(self, features: Tensor) -> LowRankOutput:
        """Means, log deviations and loadings in units of the prior, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            mean, raw = self._raw(features)
            spread, loadings = raw.split([self.n_contrast, self.n_contrast * self.rank], dim=1)
            log_std = self._log_std(spread) - self.unit.log()
            return LowRankOutput(mean, log_std, self.base_loadings + loadings.unflatten(1, (-1, self.rank)))

    def whitened(self, deviation: Tensor) -> Tensor:
        """Contrasts d (n, n_contrast) of deviations (n, n_template, n_column), in units of the prior's deviations."""
        return self._contrasts(deviation) / self.unit

    def log_det(self) -> Tensor:
        """Σ ln S: what the units add to a negative log-likelihood of the contrasts."""
        return self.unit.log().sum()

    def scale(self, output: Any) -> Tensor:
        """A (n, n_template, n_column, n_contrast + rank) with y = ȳ + A ε, ε ~ N(0, 1), in float64."""
        columns = torch.cat([torch.diag_embed(output.log_std.double().exp()), output.loadings.double()], dim=2)
        return self._expanded(self.unit.double()[:, None] * columns)
