"""The prior over a model's parameters: independent marginals with names.

A marginal is a transform of a uniform number (its inverse distribution function), so one object serves torch and
`sbi` (a torch Distribution), NumPy simulation (:meth:`Prior.from_uniform`) and nested samplers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, ndtri
from torch.distributions import Distribution, constraints

from gcesbi.errors import InputError

__all__ = ["ChiSquared", "Marginal", "Normal", "Prior", "Uniform"]


@dataclass(frozen=True)
class Uniform:
    """U[low, high]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"uniform prior: lower must be below upper, got [{self.low}, {self.high}]")

    @property
    def support(self) -> constraints.Constraint:
        """Closed interval."""
        return constraints.interval(self.low, self.high)

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        return (self.low + self.high) / 2, (self.high - self.low) ** 2 / 12

    def from_uniform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse distribution function."""
        return self.low + (self.high - self.low) * u

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        inside = (value >= self.low) & (value <= self.high)
        density = torch.full_like(value, -math.log(self.high - self.low))
        return torch.where(inside, density, torch.full_like(value, -math.inf))


@dataclass(frozen=True)
class Normal:
    """N(centre, scale), `scale` the standard deviation."""

    centre: float
    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and 0 < self.scale < math.inf):
            raise InputError(f"normal prior: scale must be positive, got centre {self.centre}, scale {self.scale}")

    @property
    def support(self) -> constraints.Constraint:
        """All real numbers."""
        return constraints.real

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        return self.centre, self.scale**2

    def from_uniform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse distribution function."""
        return self.centre + self.scale * ndtri(u)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        z = (value - self.centre) / self.scale
        return -0.5 * z**2 - math.log(self.scale * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class ChiSquared:
    """`scale` times a χ² of one degree of freedom, the square of a normal of variance `scale`."""

    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise InputError(f"chi-squared prior: scale must be positive, got {self.scale}")

    @property
    def support(self) -> constraints.Constraint:
        """Numbers above zero."""
        return constraints.positive

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        return self.scale, 2 * self.scale**2

    def from_uniform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse distribution function."""
        return self.scale * chdtri(1, 1 - np.asarray(u))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        x = value.clamp_min(torch.finfo(value.dtype).tiny) / self.scale
        density = -0.5 * x - 0.5 * torch.log(2 * math.pi * x) - math.log(self.scale)
        return torch.where(value > 0, density, torch.full_like(value, -math.inf))


Marginal = Uniform | Normal | ChiSquared


class Prior(Distribution):
    """Independent marginals with names; a torch Distribution that `sbi` accepts.

    Parameters
    ----------
    names : sequence of str
        Parameter names, distinct.
    marginals : sequence of Uniform, Normal or ChiSquared
        One for each name.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own convention

    def __init__(self, names: Sequence[str], marginals: Sequence[Marginal]) -> None:
        if len(set(names)) != len(names) or len(names) != len(marginals) or not names:
            raise InputError(
                f"prior: needs one marginal for each distinct name, got {len(marginals)} for {list(names)}"
            )
        self.names = tuple(names)
        self.marginals = tuple(marginals)
        super().__init__(event_shape=torch.Size([len(names)]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Product of the marginals' supports."""
        return constraints.cat([m.support for m in self.marginals], dim=-1, lengths=[1] * len(self.marginals))

    @property
    def mean(self) -> torch.Tensor:
        """Means (n_parameter,)."""
        return torch.tensor([m.moments[0] for m in self.marginals])

    @property
    def variance(self) -> torch.Tensor:
        """Variances (n_parameter,)."""
        return torch.tensor([m.moments[1] for m in self.marginals])

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        """Draw from the prior with torch's generator: (*sample_shape, n_parameter)."""
        shape = (*sample_shape, len(self.names))
        u = torch.rand(shape, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        return torch.as_tensor(self.from_uniform(u.numpy()), dtype=torch.float32)

    def rsample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        """Not available: the draws carry no gradient."""
        raise NotImplementedError("gcesbi's prior gives no reparameterised samples")

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of parameters (..., n_parameter): (...); -inf outside the support."""
        value = torch.as_tensor(value)
        columns = [marginal.log_prob(value[..., i]) for i, marginal in enumerate(self.marginals)]
        return torch.stack(columns, dim=-1).sum(dim=-1)

    def from_uniform(self, u: ArrayLike) -> NDArray[np.float64]:
        """Parameters (..., n_parameter) of uniform numbers (..., n_parameter), each in (0, 1)."""
        u = np.asarray(u, dtype=np.float64)
        if u.shape[-1:] != (len(self.names),):
            raise InputError(f"u: last axis must have {len(self.names)} entries, got shape {u.shape}")
        return np.stack([m.from_uniform(u[..., i]) for i, m in enumerate(self.marginals)], axis=-1)

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw (n, n_parameter) with a NumPy generator."""
        return self.from_uniform(rng.random((n, len(self.names))).clip(1e-12, 1 - 1e-12))
