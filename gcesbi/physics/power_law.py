"""Integrals of powers, over fluxes or energies."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["power_integral"]


def power_integral(s: float, a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """∫_a^b x^(s - 1) dx (...), regular at s = 0; 0 where b <= a, infinite where it diverges."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(all="ignore"):
        at_a, at_b = a**s, b**s
        span = np.log(b / a)
        z = s * span
        near = np.where(np.abs(z) < 1e-8, 1.0 + z / 2, np.expm1(z) / z) * span * at_a
        value = np.where((a > 0) & np.isfinite(b) & (np.abs(z) < 1.0), near, (at_b - at_a) / s if s else np.inf)
    return np.where(b > a, value, 0.0)
