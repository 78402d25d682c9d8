"""Priors of single parameters: a marginal is a transform of a uniform number, its inverse distribution function.

One object so serves torch and `sbi`, NumPy simulation and nested samplers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, betaln, chdtri, gammaincc, ndtr, ndtri
from torch.distributions import constraints

from gcesbi.errors import InputError

__all__ = [
    "Beta",
    "ChiSquared",
    "Fixed",
    "HalfNormal",
    "LogUniform",
    "Marginal",
    "Normal",
    "Scaled",
    "Truncated",
    "Uniform",
    "check_mean",
]

Array = NDArray[np.float64]

_INSIDE = np.linspace(0, 1, 8193)[:-1] + 0.5 / 8192


class Marginal:
    """A prior of one parameter."""

    kind: ClassVar[str]
    """Its name in TOML."""

    @property
    def support(self) -> constraints.Constraint:
        """Where the density is above zero."""
        return constraints.interval(*self.range)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value, infinite where there is none."""
        with np.errstate(divide="ignore"):
            low, high = self.from_uniform(np.array([0.0, 1.0]))
        return float(low), float(high)

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        drawn = self.from_uniform(_INSIDE)
        return float(drawn.mean()), float(drawn.var())

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        raise NotImplementedError

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        raise NotImplementedError

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density, -inf outside the support."""
        raise NotImplementedError

    def to_data(self) -> Any:
        """What TOML says of it."""
        return {"prior": self.kind, **asdict(self)}  # type: ignore[call-overload]

    def scaled(self, factor: float) -> Marginal:
        """The prior of `factor` times the parameter."""
        return Scaled(self, factor) if factor != 1.0 else self


def check_mean(name: str, marginal: Marginal, low: float, high: float) -> None:
    """Raise InputError unless the mean of a prior lies between two numbers."""
    with np.errstate(all="ignore"):
        try:
            mean = marginal.moments[0]
        except OverflowError:  # of the variance
            mean = float(np.mean(marginal.from_uniform(_INSIDE)))
    if not low <= mean <= high:
        raise InputError(f"{name}: must have a mean within [{low:g}, {high:g}], has {mean:.3g}")


@dataclass(frozen=True)
class Fixed(Marginal):
    """Not a parameter but a number."""

    kind: ClassVar[str] = "fixed"

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InputError(f"fixed value: must be finite, got {self.value}")

    def from_uniform(self, u: Array) -> Array:
        """The value."""
        return np.full(np.shape(u), self.value)

    def to_data(self) -> float:
        """The number."""
        return self.value

    def scaled(self, factor: float) -> Fixed:
        """Another number."""
        return Fixed(self.value * factor)


@dataclass(frozen=True)
class Uniform(Marginal):
    """U[low, high]."""

    kind: ClassVar[str] = "uniform"

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"uniform prior: lower must be below upper, got [{self.low}, {self.high}]")

    @property
    def range(self) -> tuple[float, float]:
        """Its ends."""
        return self.low, self.high

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        return (self.low + self.high) / 2, (self.high - self.low) ** 2 / 12

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return self.low + (self.high - self.low) * u

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return ((np.asarray(value) - self.low) / (self.high - self.low)).clip(0, 1)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        inside = (value >= self.low) & (value <= self.high)
        density = torch.full_like(value, -math.log(self.high - self.low))
        return torch.where(inside, density, torch.full_like(value, -math.inf))

    def to_data(self) -> list[float]:
        """Its ends."""
        return [self.low, self.high]

    def scaled(self, factor: float) -> Uniform:
        """U[factor low, factor high]."""
        return Uniform(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class LogUniform(Marginal):
    """Uniform in the logarithm, between two numbers above zero."""

    kind: ClassVar[str] = "log-uniform"

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise InputError(f"log-uniform prior: needs 0 < lower < upper, got [{self.low}, {self.high}]")

    @property
    def range(self) -> tuple[float, float]:
        """Its ends."""
        return self.low, self.high

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return np.asarray(self.low * np.exp(np.asarray(u) * math.log(self.high / self.low)))

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        clipped = np.clip(value, self.low, self.high)
        return np.asarray(np.log(clipped / self.low) / math.log(self.high / self.low))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        inside = (value >= self.low) & (value <= self.high)
        density = -torch.log(value.clamp_min(self.low)) - math.log(math.log(self.high / self.low))
        return torch.where(inside, density, torch.full_like(value, -math.inf))


@dataclass(frozen=True)
class Normal(Marginal):
    """N(centre, scale), `scale` the standard deviation."""

    kind: ClassVar[str] = "normal"

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

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return self.centre + self.scale * ndtri(u)

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return np.asarray(ndtr((np.asarray(value) - self.centre) / self.scale))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        z = (value - self.centre) / self.scale
        return -0.5 * z**2 - math.log(self.scale * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class HalfNormal(Marginal):
    """The absolute value of a normal variable of standard deviation `scale` about zero."""

    kind: ClassVar[str] = "half-normal"

    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise InputError(f"half-normal prior: scale must be positive, got {self.scale}")

    @property
    def support(self) -> constraints.Constraint:
        """Numbers from zero."""
        return constraints.nonnegative

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        return self.scale * math.sqrt(2 / math.pi), self.scale**2 * (1 - 2 / math.pi)

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return np.asarray(self.scale * ndtri((1 + np.asarray(u)) / 2))

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return np.asarray(2 * ndtr(np.maximum(value, 0) / self.scale) - 1)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        density = -0.5 * (value / self.scale) ** 2 + 0.5 * math.log(2 / math.pi) - math.log(self.scale)
        return torch.where(value >= 0, density, torch.full_like(value, -math.inf))


@dataclass(frozen=True)
class ChiSquared(Marginal):
    """`scale` times a χ² of one degree of freedom, the square of a normal of variance `scale`."""

    kind: ClassVar[str] = "chi-squared"

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

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return np.asarray(self.scale * chdtri(1, 1 - np.asarray(u)))

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return np.asarray(1 - gammaincc(0.5, np.maximum(value, 0) / self.scale / 2))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        x = value.clamp_min(torch.finfo(value.dtype).tiny) / self.scale
        density = -0.5 * x - 0.5 * torch.log(2 * math.pi * x) - math.log(self.scale)
        return torch.where(value > 0, density, torch.full_like(value, -math.inf))


@dataclass(frozen=True)
class Beta(Marginal):
    """Beta(a, b) on [0, 1]; independent ones make a Dirichlet distribution by breaking sticks."""

    kind: ClassVar[str] = "beta"

    a: float
    b: float

    def __post_init__(self) -> None:
        if not (0 < self.a < math.inf and 0 < self.b < math.inf):
            raise InputError(f"beta prior: a and b must be positive, got {self.a} and {self.b}")

    @property
    def range(self) -> tuple[float, float]:
        """Zero and one."""
        return 0.0, 1.0

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance."""
        total = self.a + self.b
        return self.a / total, self.a * self.b / total**2 / (total + 1)

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return np.asarray(betaincinv(self.a, self.b, u))

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return np.asarray(betainc(self.a, self.b, np.clip(value, 0, 1)))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        x = value.clamp(1e-300 if value.dtype == torch.float64 else 1e-38, 1.0)
        rest = (1 - x).clamp_min(torch.finfo(value.dtype).tiny)
        density = (self.a - 1) * torch.log(x) + (self.b - 1) * torch.log(rest) - float(betaln(self.a, self.b))
        return torch.where((value >= 0) & (value <= 1), density, torch.full_like(value, -math.inf))


@dataclass(frozen=True)
class Truncated(Marginal):
    """Another prior, cut to [low, high]."""

    kind: ClassVar[str] = "truncated"

    of: Marginal
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not isinstance(self.of, Marginal) or isinstance(self.of, Fixed):
            raise InputError(f"truncated prior: needs a prior to truncate, got {self.of!r}")
        if not self.low < self.high:
            raise InputError(f"truncated prior: low must be below high, got {self.low} and {self.high}")
        if not self._mass > 1e-12:
            raise InputError(f"truncated prior: has no mass between {self.low} and {self.high}")

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return float(self.of.cdf(self.low)), float(self.of.cdf(self.high))

    @property
    def _mass(self) -> float:
        return self._ends[1] - self._ends[0]

    @property
    def range(self) -> tuple[float, float]:
        """Its ends."""
        low, high = self.of.range
        return max(low, self.low), min(high, self.high)

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return np.clip(self.of.from_uniform(self._ends[0] + self._mass * np.asarray(u)), self.low, self.high)

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return np.asarray((self.of.cdf(np.clip(value, self.low, self.high)) - self._ends[0]) / self._mass)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        inside = (value >= self.low) & (value <= self.high)
        density = self.of.log_prob(value) - math.log(self._mass)
        return torch.where(inside, density, torch.full_like(value, -math.inf))

    def to_data(self) -> dict[str, Any]:
        """The prior and the ends that there are."""
        ends = {name: getattr(self, name) for name in ("low", "high") if math.isfinite(getattr(self, name))}
        return {"prior": self.kind, "of": self.of.to_data(), **ends}


@dataclass(frozen=True)
class Scaled(Marginal):
    """The prior of `factor` times a parameter, factor above zero."""

    kind: ClassVar[str] = "scaled"

    of: Marginal
    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor < math.inf:
            raise InputError(f"scaled prior: factor must be above zero, got {self.factor}")

    @property
    def range(self) -> tuple[float, float]:
        """Its ends."""
        low, high = self.of.range
        return low * self.factor, high * self.factor

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        return self.factor * self.of.from_uniform(u)

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return self.of.cdf(np.asarray(value) / self.factor)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        return self.of.log_prob(value / self.factor) - math.log(self.factor)

    def to_data(self) -> dict[str, Any]:
        """The prior and the factor."""
        return {"prior": self.kind, "of": self.of.to_data(), "factor": self.factor}
