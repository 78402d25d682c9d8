r"""The skew normal distribution, in which the model writes spectra and source-count distributions.

.. math:: f(x) = \frac{2}{\omega}\,\varphi\!\left(\frac{x-\xi}{\omega}\right)\Phi\!\left(a\,\frac{x-\xi}{\omega}\right)

(Azzalini 1985, Scand. J. Statist. 12, 171; List et al. 2025, arXiv:2507.17804, for its use here). As ω → 0 it
tends to a point mass at ξ: functions here take ω² = 0 as ω² = :data:`SMALLEST_OMEGA2`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr, owens_t

from gcesbi.errors import InputError, shown
from gcesbi.sky.compiled import njit

__all__ = ["SMALLEST_OMEGA2", "cdf", "check_omega2", "log_pdf", "pdf_scalar", "rvs"]

SMALLEST_OMEGA2 = 1e-8


def check_omega2(omega2: ArrayLike) -> NDArray[np.float64]:
    """ω² as an array, raised to :data:`SMALLEST_OMEGA2`; InputError if any is negative or not finite."""
    values = np.asarray(omega2, dtype=np.float64)
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise InputError(f"omega2: must be finite and not negative, got {shown(values)}")
    return np.maximum(values, SMALLEST_OMEGA2)


def log_pdf(x: ArrayLike, xi: ArrayLike, omega2: ArrayLike, a: ArrayLike) -> NDArray[np.float64]:
    """Natural log of the density at `x`; arguments broadcast. Accurate in both tails."""
    omega = np.sqrt(check_omega2(omega2))
    z = (np.asarray(x) - xi) / omega
    return np.log(2 / omega) - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) + log_ndtr(np.multiply(a, z))


def cdf(x: ArrayLike, xi: ArrayLike, omega2: ArrayLike, a: ArrayLike) -> NDArray[np.float64]:
    """Probability below `x`, Φ(z) - 2 T(z, a) with Owen's T; absolute accuracy 1e-15, hence not for far tails."""
    z = (np.asarray(x) - xi) / np.sqrt(check_omega2(omega2))
    return np.clip(ndtr(z) - 2 * owens_t(z, a), 0.0, 1.0)


def rvs(xi: float, omega2: float, a: float, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw `n` values: ξ + ω (δ |u| + √(1 - δ²) v), u and v standard normal, δ = a / √(1 + a²)."""
    delta = a / math.sqrt(1 + a * a)
    u, v = rng.standard_normal((2, n))
    return xi + np.sqrt(check_omega2(omega2)) * (delta * np.abs(u) + math.sqrt(1 - delta * delta) * v)


@njit(cache=True)
def pdf_scalar(x: float, xi: float, omega: float, a: float) -> float:  # pragma: no cover - compiled
    """Density at one point, for compiled kernels; ω must be positive."""
    z = (x - xi) / omega
    return math.exp(-0.5 * z * z) * math.erfc(-a * z / math.sqrt(2.0)) / (omega * math.sqrt(2.0 * math.pi))
