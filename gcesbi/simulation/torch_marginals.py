"""Priors that are told as a distribution of torch's, or as a table of a distribution function."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution, constraints

from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Marginal

__all__ = ["Tabulated", "TorchMarginal", "marginal_of"]

Array = NDArray[np.float64]

_REACH = np.geomspace(1e-12, 1e3, 30_000)  # of a table about the mean, and from the ends, in standard deviations
_N_TOLD = 1001  # rows of a table that stands for an object of torch's


@dataclass(frozen=True)
class TorchMarginal(Marginal):
    """A distribution of torch's, of single numbers, by its name and arguments.

    Where torch knows neither its distribution function nor the inverse, the density is integrated on a fine table.

    Parameters
    ----------
    distribution : str
        Name in ``torch.distributions``.
    parameters : dict of str to float
        Its arguments.

    Raises
    ------
    InputError
        If torch has no such distribution of single numbers, or it is not continuous.
    """

    kind: ClassVar[str] = "torch"

    distribution: str
    parameters: dict[str, float] = field(hash=False)

    def __post_init__(self) -> None:
        _check(self.law)

    @cached_property
    def law(self) -> Distribution:
        """The object of torch's, in double precision."""
        kind: Any = getattr(torch.distributions, str(self.distribution), None)
        if not (isinstance(kind, type) and issubclass(kind, Distribution) and kind is not Distribution):
            raise InputError(f"prior: torch.distributions has no {self.distribution!r}")
        try:
            values = {key: torch.tensor(float(value), dtype=torch.float64) for key, value in self.parameters.items()}
            make: Any = kind
            found: Distribution = make(**values, validate_args=True)
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
            reason = (str(error).splitlines() or ["cannot be made"])[0]
            raise InputError(f"prior: torch's {self.distribution}: {reason}") from None
        return found

    @property
    def support(self) -> constraints.Constraint:
        """Torch's own."""
        return _support(self.law)

    @property
    def range(self) -> tuple[float, float]:
        """Ends of the support."""
        return _ends(self.law)

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        try:
            return self.law.icdf(torch.as_tensor(np.asarray(u, dtype=np.float64))).numpy()
        except NotImplementedError:
            share, value = _rising(*self._table)
            return np.asarray(np.interp(np.asarray(u), share, value))

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        found = _cdf(self.law, np.asarray(value, dtype=np.float64))
        return np.asarray(np.interp(np.asarray(value), *self._table)) if found is None else found

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        return _table(self.law)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        inside = _support(self.law).check(value)
        safe = torch.where(inside, value, torch.full_like(value, _middle(self.law)))
        return torch.where(inside, self.law.log_prob(safe).to(value.dtype), torch.full_like(value, -math.inf))


@dataclass(frozen=True)
class Tabulated(Marginal):
    """A distribution function that is linear between the values of a table.

    Parameters
    ----------
    value : tuple of float
        Ascending.
    share : tuple of float
        Probability of less, from 0 to 1.
    """

    kind: ClassVar[str] = "tabulated"

    value: tuple[float, ...]
    share: tuple[float, ...]

    def __post_init__(self) -> None:
        try:
            value, share = (np.array(each, dtype=np.float64) for each in (self.value, self.share))
        except (TypeError, ValueError):
            raise InputError("tabulated prior: value and share must be lists of numbers") from None
        if value.ndim != 1 or value.shape != share.shape or len(value) < 2:
            raise InputError("tabulated prior: value and share must be two lists of one length, at least 2")
        if not (np.isfinite(value).all() and np.all(np.diff(value) > 0)):
            raise InputError("tabulated prior: values must ascend")
        if not (share[0] == 0 and share[-1] == 1 and np.all(np.diff(share) >= 0)):
            raise InputError("tabulated prior: shares must rise from 0 to 1")
        object.__setattr__(self, "value", tuple(value.tolist()))
        object.__setattr__(self, "share", tuple(share.tolist()))

    @property
    def range(self) -> tuple[float, float]:
        """Ends of the table."""
        return self.value[0], self.value[-1]

    def from_uniform(self, u: Array) -> Array:
        """Inverse distribution function."""
        share, value = _rising(np.array(self.value), np.array(self.share))
        return np.asarray(np.interp(np.asarray(u), share, value))

    def cdf(self, value: ArrayLike) -> Array:
        """Distribution function."""
        return np.asarray(np.interp(np.asarray(value), self.value, self.share))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        at = np.asarray(value.detach().cpu(), dtype=np.float64)
        with np.errstate(divide="ignore"):
            density = np.log(np.diff(self.share) / np.diff(self.value))
        row = np.clip(np.searchsorted(self.value, at, side="right") - 1, 0, len(density) - 1)
        inside = (at >= self.value[0]) & (at <= self.value[-1])
        return torch.as_tensor(np.where(inside, density[row], -np.inf), dtype=value.dtype)

    def to_data(self) -> dict[str, Any]:
        """The table."""
        return {"prior": self.kind, "value": list(self.value), "share": list(self.share)}


def marginal_of(law: Distribution) -> Marginal:
    """The marginal of an object of torch's: by its name and arguments where these tell all of it, else as a table.

    Raises
    ------
    InputError
        If it is not of single numbers, or not continuous.
    """
    _check(law)
    name = type(law).__name__
    arguments: Any = type(law).arg_constraints
    if getattr(torch.distributions, name, None) is type(law) and arguments:
        told = {key: float(getattr(law, key)) for key in arguments if hasattr(law, key)}
        return TorchMarginal(name, told)
    value, share = _rising(*_table(law))[::-1]
    u = np.linspace(0.0, 1.0, _N_TOLD)
    ends = np.interp([1e-6, 1 - 1e-6], share, value)
    at = np.unique(np.concatenate([ends[:1], np.interp(u[1:-1], share, value), ends[1:]]))
    rising = np.interp(at, value, share)
    return Tabulated(tuple(at.tolist()), tuple(((rising - rising[0]) / (rising[-1] - rising[0])).tolist()))


def _support(law: Distribution) -> constraints.Constraint:
    found: Any = law.support
    return found


def _check(law: Distribution) -> None:
    name = type(law).__name__
    if law.event_shape != () or law.batch_shape != ():
        raise InputError(f"prior: torch's {name} must be of single numbers, event and batch shape (), not of more")
    try:
        if _support(law).is_discrete:
            raise InputError(f"prior: torch's {name} is not continuous")
        law.log_prob(torch.tensor(_middle(law), dtype=torch.float64))
    except NotImplementedError:
        raise InputError(f"prior: torch's {name} has no density") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise


def _middle(law: Distribution) -> float:
    try:
        mean = float(law.mean)
    except NotImplementedError:
        mean = math.nan
    low, high = _ends(law)
    inside = mean if math.isfinite(mean) else 1.0
    return inside if low < inside < high else float(np.clip(inside, low + 1e-3, high - 1e-3))


def _ends(law: Distribution) -> tuple[float, float]:
    low, high = (float(getattr(law.support, f"{end}_bound", math.nan)) for end in ("lower", "upper"))
    return -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


def _cdf(law: Distribution, value: Array) -> Array | None:
    """Torch's own distribution function, 0 and 1 beyond the support; None where it has none."""
    low, high = _ends(law)
    middle = torch.full(value.shape, _middle(law), dtype=torch.float64)
    inside = (value > low) & (value < high)
    try:
        found = law.cdf(torch.where(torch.as_tensor(inside), torch.as_tensor(value), middle)).numpy()
    except NotImplementedError:
        return None
    return np.where(inside, found, np.where(value >= high, 1.0, 0.0))


def _table(law: Distribution) -> tuple[Array, Array]:
    """Values, dense about the middle and the ends, and the distribution function there."""
    (low, high), middle = _ends(law), _middle(law)
    try:
        spread = float(law.stddev)
    except NotImplementedError:
        spread = 1.0
    reach = (spread if math.isfinite(spread) and spread > 0 else 1.0) * _REACH
    value = np.concatenate([middle - reach, middle + reach, low + reach, high - reach])
    value = np.unique(value[np.isfinite(value) & (value > low) & (value < high)])
    share = _cdf(law, value)
    if share is None:
        density = np.exp(law.log_prob(torch.as_tensor(value)).numpy())
        step = np.diff(value) * (density[1:] + density[:-1]) / 2
        share = np.concatenate([[0.0], np.cumsum(step)])
        share /= share[-1]
    return value, share


def _rising(value: Array, share: Array) -> tuple[Array, Array]:
    """Shares and values, in this order, without places where the share does not rise."""
    kept = np.concatenate([[True], np.diff(np.maximum.accumulate(share)) > 0])
    return share[kept], value[kept]
