"""Integrals of a density along a line of sight from the Sun.

With s the distance from the Sun, the intensity of an optically thin emitter is I(l, b) ∝ ∫_0^∞ n(x(s)) ds.

Spherical density n(r) about the Galactic Centre, seen at an angle ψ from it: r² = d² + t², d = R_sun sin ψ the impact
parameter, t = s - R_sun cos ψ. The substitution t = d sinh u turns the peak of width d into one of unit width,
whatever d, and the integral is done by Gauss-Legendre quadrature on either side of the tangent point.

Axisymmetric density n(R, z): R² = (R_sun sin l)² + (s cos b - R_sun cos l)², z = s sin b. The line is cut at its
tangent point; the near part is done by the tanh-sinh rule, the far part by the exp-sinh rule (Takahasi & Mori 1974,
Publ. RIMS 9, 721): their nodes crowd at the Sun and at the tangent point, where the integrand is steep.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = ["axisymmetric_integral", "check_positive", "spherical_integral"]

Array = NDArray[np.float64]

N_GAUSS = 96
"""Gauss-Legendre nodes on either side of the tangent point (spherical densities)."""
STEP = 0.08
"""Step of the double-exponential rules (axisymmetric densities)."""
REACH = 1e4
"""Distance, in units of R_sun, at which the integral of a spherical density ends."""
CHUNK = 4096
"""Directions integrated at a time: bounds the memory."""


def check_positive(name: str, value: float, unit: str = "kpc") -> None:
    """Raise InputError unless `value` is a finite positive number."""
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{name}: must be positive and finite ({unit}), got {value}")


def spherical_integral(density: Callable[[Array], Array], psi: ArrayLike, r_sun: float) -> Array:
    """∫ n(r) ds of a spherical density.

    Parameters
    ----------
    density : callable
        n(r), r in kpc, of an array of any shape.
    psi : array (n,), radians
        Angles from the Galactic Centre, in (0, π].
    r_sun : float, kpc
        Distance of the Sun from the centre.

    Returns
    -------
    array (n,), units of the density times kpc
    """
    psi = np.asarray(psi, dtype=np.float64)
    tangent = r_sun * np.cos(psi)
    impact = np.maximum(r_sun * np.abs(np.sin(psi)), 1e-12 * r_sun)
    start = np.arcsinh(-tangent / impact)
    middle = np.maximum(start, 0.0)
    stop = np.arcsinh(REACH * r_sun / impact)
    nodes, weights = np.polynomial.legendre.leggauss(N_GAUSS)
    total = np.zeros_like(psi)
    for low, high in ((start, middle), (middle, stop)):
        half = 0.5 * (high - low)[:, None]
        stretch = impact[:, None] * np.cosh(low[:, None] + half * (nodes + 1.0))  # r = d cosh u = dt/du
        total += np.sum(half * weights * stretch * density(stretch), axis=1)
    return total


def _tanh_sinh() -> tuple[Array, Array, Array]:
    """Nodes p on (0, 1), their complements 1 - p without cancellation, and weights."""
    x = np.arange(-2.8, 2.8 + STEP / 2, STEP)
    near, far = 1 / (1 + np.exp(-np.pi * np.sinh(x))), 1 / (1 + np.exp(np.pi * np.sinh(x)))
    return near, far, STEP * np.pi * np.cosh(x) * near * far


def _exp_sinh() -> tuple[Array, Array]:
    """Nodes on (0, ∞) and weights."""
    x = np.arange(-3.0, 2.3 + STEP / 2, STEP)
    nodes = np.exp(0.5 * np.pi * np.sinh(x))
    return nodes, STEP * 0.5 * np.pi * np.cosh(x) * nodes


@np.errstate(under="ignore")
def axisymmetric_integral(
    density: Callable[[Array, Array], Array], glon: ArrayLike, glat: ArrayLike, r_sun: float
) -> Array:
    """∫ n(R, z) ds of a density symmetric about the Galaxy's axis and about its plane.

    Parameters
    ----------
    density : callable
        n(R, z), both in kpc and >= 0, of arrays of one shape; it may return several densities along a leading axis.
    glon, glat : arrays (n,), degrees
        Galactic longitude and latitude.
    r_sun : float, kpc
        Distance of the Sun from the centre.

    Returns
    -------
    array (n,) or (n_density, n), units of the density times kpc
    """
    glon, glat = np.broadcast_arrays(np.radians(glon), np.radians(glat))
    parts = [slice(i, i + CHUNK) for i in range(0, max(glon.size, 1), CHUNK)]
    return np.concatenate([_axisymmetric_part(density, glon[p], glat[p], r_sun) for p in parts], axis=-1)


def _axisymmetric_part(density: Callable[[Array, Array], Array], glon: Array, glat: Array, r_sun: float) -> Array:
    cos_b, sin_b = np.cos(glat)[:, None], np.abs(np.sin(glat))[:, None]
    along, across = r_sun * np.cos(glon)[:, None], r_sun * np.sin(glon)[:, None]
    cut = np.clip(along / np.maximum(cos_b, 0.5), 0.0, None)
    miss = cut * cos_b - along  # zero where the line is cut at its tangent point

    def at(s: Array, t: Array) -> Array:
        return density(np.hypot(across, t * cos_b + miss), s * sin_b)

    near, far, weight = _tanh_sinh()
    inner = np.sum(cut * weight * at(cut * near, -cut * far), axis=-1)
    nodes, weight = _exp_sinh()
    return inner + r_sun * np.sum(weight * at(cut + r_sun * nodes, r_sun * nodes), axis=-1)
