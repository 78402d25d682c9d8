r"""Places of sources that share the light of a dark-matter halo.

A source is placed in three dimensions: the probability of a volume at distance s from the Sun, in the direction ψ from
the Galactic Centre, is the share of that volume in the halo's light at Earth,

    dP ∝ ρ²(s, ψ) ds dΩ,      so that      dP/dΩ ∝ J(ψ).

As the flux of a source is drawn independently of its place, the mean image of many sources is that of the smooth halo,
and only the clustering of photons tells one from the other.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.dark_matter import DarkMatterHalo

__all__ = ["HaloSources"]

Array = NDArray[np.float64]

N_RING = 4001
PSI_MIN = 1e-8
"""Angle, in radians, within which all is taken as at the centre."""
N_LINE = 512
REACH = 50.0
"""Distance, in units of the Sun's, at which lines of sight end."""


@dataclass(frozen=True)
class HaloSources:
    """Sources within a disc about the Galactic Centre.

    Parameters
    ----------
    halo : DarkMatterHalo
    radius : float, deg
        Of the disc.

    Raises
    ------
    InputError
        If the radius lies outside (0, 180].
    """

    halo: DarkMatterHalo
    radius: float

    def __post_init__(self) -> None:
        if not 0 < self.radius <= 180:
            raise InputError(f"radius: must lie in (0, 180] degrees, got {self.radius}")

    @cached_property
    def _rings(self) -> tuple[Array, Array]:
        """Logarithm of ψ and the share of the light within it, each (N_RING,)."""
        log_psi = np.linspace(np.log(PSI_MIN), np.log(np.radians(self.radius)), N_RING)
        psi = np.exp(log_psi)
        light = self.halo.j_factor(np.degrees(psi)) * np.sin(psi) * psi
        slope = np.log(light[1] / light[0]) / (log_psi[1] - log_psi[0])
        inner = light[0] / slope / (log_psi[1] - log_psi[0])  # a power law of ψ from there to the centre
        shares = inner + np.append(0.0, np.cumsum((light[1:] + light[:-1]) / 2))
        return log_psi, shares / shares[-1]

    def angles(self, n: int, rng: np.random.Generator) -> Array:
        """Angles (n,) from the Galactic Centre, degrees."""
        log_psi, shares = self._rings
        return np.degrees(np.exp(np.interp(rng.random(n), shares, log_psi)))

    def directions(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Galactic longitude and latitude, degrees, each (n,)."""
        psi, around = np.radians(self.angles(n, rng)), 2 * np.pi * rng.random(n)
        towards, aside, up = np.cos(psi), np.sin(psi) * np.cos(around), np.sin(psi) * np.sin(around)
        return np.degrees(np.arctan2(aside, towards)), np.degrees(np.arcsin(up))

    def distances(self, psi: Array, rng: np.random.Generator) -> Array:
        """Distances (n,) from the Sun, kpc, of sources at angles psi (n,), degrees, from the Galactic Centre."""
        r_sun = self.halo.profile.r_sun
        angle = np.radians(psi)
        tangent, impact = r_sun * np.cos(angle), np.maximum(r_sun * np.abs(np.sin(angle)), 1e-8 * r_sun)
        start, stop = np.arcsinh(-tangent / impact), np.arcsinh((REACH * r_sun - tangent) / impact)
        u = start[:, None] + (stop - start)[:, None] * np.linspace(0, 1, N_LINE)
        radius = impact[:, None] * np.cosh(u)  # ds = r du
        light = self.halo.density(radius) ** 2 * radius
        shares = np.cumsum((light[:, 1:] + light[:, :-1]) / 2, axis=1)
        target = rng.random(len(angle)) * shares[:, -1]
        k = np.array([np.searchsorted(row, each) for row, each in zip(shares, target, strict=True)])
        k = np.minimum(k, N_LINE - 2)
        rows = np.arange(len(angle))
        below = np.where(k > 0, shares[rows, k - 1], 0.0)
        place = (target - below) / (shares[rows, k] - below)
        middle = u[rows, k] + place * (u[rows, k + 1] - u[rows, k])
        return np.maximum(tangent + impact * np.sinh(middle), 0.0)
