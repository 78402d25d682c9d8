r"""Smoothing of emission about a point by a radial point-spread function, exactly and without pixels.

Light that depends on the angle ψ' from a point alone is, after smoothing, a function of the angle again:

    (ρ ⊗ I)(ψ) = ∫ I(ψ') sin ψ' dψ' · 2 ∫_0^π ρ(d) dφ,      1 - cos d = 2 sin²((ψ - ψ')/2) + 2 sin ψ sin ψ' sin²(φ/2).

ρ is bounded, so that a cusp I ∝ ψ'^(1 - 2γ) is no harm: the outer integral is done by Gauss-Legendre panels in ψ' that
shrink towards 0. The inner one, in φ = π t³, has its nodes where ρ peaks.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from gcesbi.errors import InputError
from gcesbi.physics.image_psf import DensityTable, density_at
from gcesbi.physics.radial_image import disc_mean
from gcesbi.sky.compiled import njit
from gcesbi.sky.observation import RadialPSF

__all__ = ["RadialSmoother"]

Array = NDArray[np.float64]

PSI_MIN = 1e-9
"""Angle, in radians, within which light is taken as at the point."""
N_ANGLE = 240
N_AROUND = 64


class RadialSmoother:
    """Smooths emission within `radius` of a point.

    Parameters
    ----------
    psf : RadialPSF
    radius : float, deg
        Beyond which there is no emission.

    Raises
    ------
    InputError
        If the radius lies outside (0, 90].
    """

    def __init__(self, psf: RadialPSF, radius: float) -> None:
        if not 0 < radius <= 90:
            raise InputError(f"radius: must lie in (0, 90] degrees, got {radius}")
        table = DensityTable.of(psf)
        end = math.radians(radius)
        self._nodes, weights = _panels(end, table.width)
        reach = end + math.radians(psf.theta_max)
        self._angles = np.append(0.0, np.geomspace(min(table.width, end) / 20, reach, N_ANGLE))
        t, dt = _gauss(np.array([0.0, 1.0]), N_AROUND)
        around = np.sin(np.pi * t**3 / 2) ** 2, 6 * np.pi * t**2 * dt
        rings = _rings(self._angles, self._nodes, *around, table.values, table.end)
        self._kernel = rings * np.sin(self._nodes) * weights
        self._centre = np.array(
            [density_at(2 * math.sin(psi / 2) ** 2, table.values, table.end) for psi in self._angles]
        )

    def __call__(self, intensity: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """Smoothed intensity, a function of angles (n,), radians, of an intensity, the same."""
        inner = math.pi * PSI_MIN**2 * disc_mean(intensity, PSI_MIN)
        values = self._kernel @ intensity(self._nodes) + inner * self._centre
        spline = CubicSpline(self._angles, values, bc_type=((1, 0.0), "not-a-knot"))

        def smoothed(psi: Array) -> Array:
            return np.where(psi < self._angles[-1], spline(np.minimum(psi, self._angles[-1])), 0.0)

        return smoothed


def _gauss(edges: Array, n: int) -> tuple[Array, Array]:
    """Nodes and weights of `n` Gauss-Legendre points in every panel."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()


def _panels(end: float, width: float) -> tuple[Array, Array]:
    geometric = np.geomspace(PSI_MIN, end, 48)
    return _gauss(np.union1d(geometric, np.linspace(0, end, 2 + math.ceil(end / width))[1:]), 8)


@njit(cache=True)
def _rings(
    angles: Array, nodes: Array, turn: Array, weights: Array, table: Array, end: float
) -> Array:  # pragma: no cover - compiled
    """∫ ρ dφ over the full turn (n_angle, n_node); `turn` is sin²(φ/2)."""
    rings = np.zeros((len(angles), len(nodes)))
    for i in range(len(angles)):
        for j in range(len(nodes)):
            nearest = 2.0 * math.sin((angles[i] - nodes[j]) / 2.0) ** 2
            if math.sqrt(2.0 * nearest) >= end:
                continue
            across = 2.0 * math.sin(angles[i]) * math.sin(nodes[j])
            for k in range(len(turn)):
                rings[i, j] += weights[k] * density_at(nearest + across * turn[k], table, end)
    return rings
