"""Interstellar gas: disks of atomic and molecular hydrogen, and the optical depth of the 21 cm line.

Each disk has a hole at its centre (McMillan 2017, arXiv:1608.00971):

    ρ(R, z) = Σ_0 / (4 z_d) exp(-R_m / R - R / R_d) sech²(z / 2 z_d).

The column of atomic gas is known from the brightness T_b of the 21 cm line, N_thin = C ∫ T_b dv if the line is
optically thin. The disk above is taken as that thin-line gas. For a spin temperature T_s, and gas that fills a velocity
width Δv evenly, the true column is larger by the factor

    c = -ln(1 - x) / x,   x = T_b / (T_s - T_CMB),   T_b = N_thin / (C Δv)

(Ackermann et al. 2012, arXiv:1202.4039; T_b is held at or below T_s - 5 K as there). The width is that of turbulence
plus that of differential rotation over the length of the column, N_thin / n(Sun), at Oort's A.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATOMIC", "MOLECULAR", "GasDisk", "thick_line_correction"]

Array = NDArray[np.float64]

HYDROGEN_PER_CM3 = 29.7
"""Hydrogen nuclei per cm³ in gas of 1 solar mass per pc³, helium making up 1 - 1/1.36 of the mass."""
CM_PER_KPC = 3.0857e21
COLUMN_PER_BRIGHTNESS = 1.823e18
"""C, cm⁻² / (K km/s)."""
T_CMB = 2.725
"""K."""
TURBULENT_WIDTH = 25.0
"""Velocity width of local gas, km/s."""
OORT_A = 15.0
"""Shear of the Galaxy's rotation, km/s/kpc."""


@dataclass(frozen=True)
class GasDisk:
    """Gas disk with a central hole.

    Parameters
    ----------
    sigma_0 : float, solar masses / pc²
        Surface density scale.
    r_d, r_m, z_d : float, kpc
        Scale length, radius of the hole, scale height.
    """

    sigma_0: float
    r_d: float
    r_m: float
    z_d: float

    def density(self, radius: Array, height: Array) -> Array:
        """Hydrogen nuclei per cm³ at R, z (kpc), arrays of one shape."""
        radial = np.exp(-self.r_m / np.maximum(radius, 1e-3) - radius / self.r_d)
        decay = np.exp(-np.abs(height) / self.z_d)
        vertical = 4 * decay / (1 + decay) ** 2
        return HYDROGEN_PER_CM3 * self.sigma_0 / (4e3 * self.z_d) * radial * vertical


ATOMIC = GasDisk(sigma_0=53.1, r_d=7.0, r_m=4.0, z_d=0.085)
MOLECULAR = GasDisk(sigma_0=2180.0, r_d=1.5, r_m=12.0, z_d=0.045)


def thick_line_correction(column: Array, local_density: float, spin_temperature: float) -> Array:
    """Factor c >= 1 (n,) by which the column of atomic gas exceeds that of an optically thin line.

    Parameters
    ----------
    column : array (n,), kpc / cm³
        N_thin.
    local_density : float, 1 / cm³
        Atomic gas at the Sun, which turns the column into a length.
    spin_temperature : float, K
        T_s.
    """
    width = TURBULENT_WIDTH + OORT_A * column / local_density
    brightness = column * CM_PER_KPC / (COLUMN_PER_BRIGHTNESS * width)
    x = np.minimum(brightness, spin_temperature - 5) / (spin_temperature - T_CMB)
    return np.asarray(-np.log1p(-x) / x)
