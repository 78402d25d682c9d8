"""Density of cosmic rays: sources in a thin disk, diffusion in a flat cylindrical halo.

Sources of surface density Q(R) at z = 0 feed particles that diffuse with constant D until they leave through the
surface of the halo (|z| = L, R = R_h) or lose their energy on a time τ:

    D ∇²n - n / τ + Q(R) δ(z) = 0,   n(R, ±L) = n(R_h, z) = 0.

With k_i = ζ_i / R_h (ζ_i the zeros of J_0), λ² = D τ, μ_i² = k_i² + 1/λ², the solution is the Fourier-Bessel series

    n(R, z) = Σ_i q_i J_0(k_i R) sinh(μ_i (L - |z|)) / (2 D μ_i cosh(μ_i L)),
    q_i = 2 / (R_h J_1(ζ_i))² ∫_0^{R_h} Q(R) J_0(k_i R) R dR

(the standard two-zone model without convection: Ginzburg & Syrovatskii 1964; Maurin et al. 2001, astro-ph/0101231).
Nuclei lose little energy (λ = ∞); electrons lose it to radiation fields and synchrotron light.

Sources: Q ∝ (R/R_sun)^α exp(-β (R - R_sun)/R_sun), with (α, β) = (2.00, 3.53) for supernova remnants (Case &
Bhattacharya 1998, ApJ 504, 761) and (1.9, 5.0) for pulsars (Lorimer et al. 2006, astro-ph/0607640).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.special import j0, j1, jn_zeros

from gcesbi.errors import InputError
from gcesbi.physics.templates.line_of_sight import check_positive
from gcesbi.sky.compiled import njit

__all__ = ["SOURCES", "CosmicRays", "HaloTable", "source_density"]

Array = NDArray[np.float64]

SOURCES = {"snr": (2.00, 3.53), "lorimer": (1.9, 5.0)}
"""(α, β) of the radial distributions of cosmic-ray sources."""
HALO_RADIUS = 20.0
"""Radius R_h of the halo, kpc."""
N_TERMS = 48
"""Terms of the Fourier-Bessel series."""


def source_density(sources: str, radius: Array, r_sun: float) -> Array:
    """Surface density of cosmic-ray sources at R (kpc), 1 at the Sun."""
    alpha, beta = SOURCES[sources]
    x = radius / r_sun
    return x**alpha * np.exp(-beta * (x - 1))


@dataclass(frozen=True)
class CosmicRays:
    """Steady density of cosmic rays.

    Parameters
    ----------
    sources : str
        "snr" or "lorimer".
    halo_height : float, kpc
        Half-height L of the halo.
    loss_length : float, kpc
        λ = sqrt(D τ): how far a particle diffuses before it has lost its energy; infinite for nuclei.
    r_sun : float, kpc
        Distance of the Sun from the Galactic Centre, below the halo's radius of 20 kpc.
    """

    sources: str = "snr"
    halo_height: float = 10.0
    loss_length: float = np.inf
    r_sun: float = 8.5

    def __post_init__(self) -> None:
        if self.sources not in SOURCES:
            raise InputError(f"sources: must be one of {', '.join(map(repr, SOURCES))}, got {self.sources!r}")
        check_positive("halo_height", self.halo_height)
        if not self.loss_length > 0:
            raise InputError(f"loss_length: must be positive (kpc), got {self.loss_length}")
        check_positive("r_sun", self.r_sun)
        if self.r_sun >= HALO_RADIUS:
            raise InputError(f"r_sun: must lie within the halo of {HALO_RADIUS} kpc, got {self.r_sun}")

    @cached_property
    def _series(self) -> tuple[Array, Array, Array]:
        """Wave numbers k_i and μ_i (1/kpc), and coefficients q_i / 2 μ_i, each (N_TERMS,)."""
        zeros = jn_zeros(0, N_TERMS)
        nodes, weights = np.polynomial.legendre.leggauss(200)
        radius, weights = HALO_RADIUS * (nodes + 1) / 2, weights * HALO_RADIUS / 2
        source = source_density(self.sources, radius, self.r_sun) * radius * weights
        k = zeros / HALO_RADIUS
        q = 2 / (HALO_RADIUS * j1(zeros)) ** 2 * (j0(np.outer(k, radius)) @ source)
        mu = np.hypot(k, 1 / self.loss_length)
        return k, mu, q / (2 * mu)

    def density(self, radius: Array, height: Array) -> Array:
        """n(R, z), units of D = 1; zero outside the halo. R (n_r,) and z >= 0 (n_z,), kpc, give (n_r, n_z)."""
        k, mu, amplitude = self._series
        above = np.maximum(self.halo_height - height, 0.0)
        decay = np.exp(-np.outer(mu, height)) * -np.expm1(-2 * np.outer(mu, above))
        decay /= 1 + np.exp(-2 * mu * self.halo_height)[:, None]
        values = (j0(np.outer(radius, k)) * amplitude) @ decay
        return np.where(radius[:, None] < HALO_RADIUS, np.maximum(values, 0.0), 0.0)


class HaloTable:
    """A function f(R, z) over the halo, tabulated and interpolated by cubic splines; zero outside.

    Parameters
    ----------
    values : array (N_RADIUS, N_HEIGHT)
        f on `radius` x `height` of :meth:`grid`.
    """

    N_RADIUS, N_HEIGHT = 161, 121

    def __init__(self, values: Array, halo_height: float) -> None:
        self._height = halo_height
        radius, height = self.grid(halo_height)
        self._pieces = _pieces(radius, np.sqrt(height), values)

    @classmethod
    def grid(cls, halo_height: float) -> tuple[Array, Array]:
        """R (N_RADIUS,) and z (N_HEIGHT,), kpc; z is denser near the plane."""
        return np.linspace(0, HALO_RADIUS, cls.N_RADIUS), halo_height * np.linspace(0, 1, cls.N_HEIGHT) ** 2

    def __call__(self, radius: Array, height: Array) -> Array:
        """Values at R, z >= 0 (kpc), arrays of one shape."""
        values = np.empty(radius.size)
        _interpolate(values, self._pieces, radius.ravel(), height.ravel(), HALO_RADIUS, self._height)
        return values.reshape(radius.shape)


def _pieces(x: Array, y: Array, values: Array) -> Array:
    """Coefficients (n_x - 1, n_y - 1, 4, 4) of (x - x_i)^a (y - y_j)^b in every cell, sides 1, of the cubic spline."""
    spline = RectBivariateSpline(x, y, values, s=0)
    steps = x[1] - x[0], y[1] - y[0]
    taylor = np.array([[spline(x, y, a, b) * steps[0] ** a * steps[1] ** b for b in range(3)] for a in range(3)])
    taylor[2] /= 2
    taylor[:, 2] /= 2
    in_x = np.concatenate([taylor[:, :, :-1], np.diff(taylor[2:], axis=2) / 3])  # second derivatives are linear
    in_y = np.concatenate([in_x[..., :-1], np.diff(in_x[:, 2:], axis=3) / 3], axis=1)
    return np.ascontiguousarray(np.moveaxis(in_y, (0, 1), (2, 3)))


@njit(cache=True)
def _interpolate(
    values: Array, pieces: Array, radius: Array, height: Array, edge: float, top: float
) -> None:  # pragma: no cover - compiled
    n_x, n_y = pieces.shape[:2]
    for k in range(len(values)):
        values[k] = 0.0
        if radius[k] < edge and height[k] < top:
            x, y = radius[k] / edge * n_x, math.sqrt(height[k] / top) * n_y
            i, j = min(int(x), n_x - 1), min(int(y), n_y - 1)
            u, v = x - i, y - j
            total = 0.0
            for a in range(3, -1, -1):
                c = pieces[i, j, a]
                total = total * u + (((c[3] * v + c[2]) * v + c[1]) * v + c[0])
            values[k] = max(total, 0.0)
