"""What is known of the norms of a Poisson fit before it: ranges, Gaussian priors, fixed values; and more templates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = ["Fixed", "NormPrior", "UserTemplate"]

Array = NDArray[np.float64]
PerBin = float | tuple[float, ...]
"""One number for all energy bins, or one for each."""


def _per_bin(name: str, value: PerBin | None, n_energy: int, missing: float) -> Array:
    if value is None:
        return np.full(n_energy, missing)
    if isinstance(value, tuple) and len(value) != n_energy:
        raise InputError(f"{name}: needs one value, or one for each of {n_energy} energy bins, got {len(value)}")
    return np.broadcast_to(np.asarray(value, dtype=np.float64), n_energy).copy()


def _check(name: str, value: PerBin, low: float, rule: str) -> None:
    values = np.asarray(value, dtype=np.float64)
    if values.ndim > 1 or values.size == 0 or not np.all(values >= low):
        raise InputError(f"{name}: must be {rule}, got {value}")


@dataclass(frozen=True, kw_only=True)
class NormPrior:
    """A norm between bounds, flat there or Gaussian.

    Parameters
    ----------
    low, high : float or tuple of float
        Bounds; 0 and infinity if not given. One number, or one for each energy bin.
    mean, sigma : float or tuple of float, optional
        Of a Gaussian prior, cut at the bounds; both or neither.

    Raises
    ------
    InputError
        If low is negative or not below high, or sigma is not above zero.
    """

    low: PerBin = 0.0
    high: PerBin = np.inf
    mean: PerBin | None = None
    sigma: PerBin | None = None

    def __post_init__(self) -> None:
        _check("low", self.low, 0.0, "a number >= 0 (or a tuple of them)")
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise InputError(f"low: must be below high, got low {self.low} and high {self.high}; use Fixed to fix")
        if (self.mean is None) != (self.sigma is None):
            raise InputError(f"sigma: a Gaussian prior needs mean and sigma, got {self.mean} and {self.sigma}")
        if self.mean is not None and not np.isfinite(np.asarray(self.mean, dtype=np.float64)).all():
            raise InputError(f"mean: must be finite, got {self.mean}")
        if self.sigma is not None and not np.all(np.asarray(self.sigma, dtype=np.float64) > 0):
            raise InputError(f"sigma: must be above zero, got {self.sigma}")

    def arrays(self, n_energy: int) -> tuple[Array, Array, Array, Array]:
        """Bounds, centre and width (inf if flat) in every energy bin, each (n_energy,)."""
        return (
            _per_bin("low", self.low, n_energy, 0.0),
            _per_bin("high", self.high, n_energy, np.inf),
            _per_bin("mean", self.mean, n_energy, 0.0),
            _per_bin("sigma", self.sigma, n_energy, np.inf),
        )


@dataclass(frozen=True)
class Fixed:
    """A norm that is not fitted: one `value`, or a tuple of one for each energy bin; 0 leaves the template out."""

    value: PerBin

    def __post_init__(self) -> None:
        _check("value", self.value, 0.0, "a number >= 0 (or a tuple of them)")
        if not np.isfinite(np.asarray(self.value)).all():
            raise InputError(f"value: must be finite, got {self.value}")

    def arrays(self, n_energy: int) -> tuple[Array, Array, Array, Array]:
        """As :meth:`NormPrior.arrays`: equal bounds."""
        value = _per_bin("value", self.value, n_energy, 0.0)
        return value, value, np.zeros(n_energy), np.full(n_energy, np.inf)


@dataclass(frozen=True, eq=False)
class UserTemplate:
    """A template beside those of the model.

    Parameters
    ----------
    name : str
    counts : array (n_energy, n_pix) or (n_pix,)
        Expected counts for norm 1 in the pixels of the observation's region, exposure and PSF applied.
    """

    name: str
    counts: ArrayLike

    def __post_init__(self) -> None:
        values = np.atleast_2d(np.asarray(self.counts, dtype=np.float64))
        if values.ndim != 2:
            raise InputError(f"counts: must have shape (n_energy, n_pix), got {values.shape}")
        object.__setattr__(self, "counts", values)

    def select(self, keep: NDArray[np.bool_]) -> UserTemplate:
        """The same template on some of its pixels."""
        return UserTemplate(self.name, np.asarray(self.counts)[:, keep])
