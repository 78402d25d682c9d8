"""Double-exponential disk of the Galaxy, ∫ n ds along the line of sight.

n(R, z) ∝ exp(-R / R_s) exp(-|z| / z_s), with R_s = 5 kpc and z_s = 0.3 kpc (thin) or 1 kpc (thick) for millisecond
pulsars and other old sources, R_sun = 8.5 kpc (as in the maps of Leane & Slatyer 2020, arXiv:2002.12370).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.physics.templates.line_of_sight import axisymmetric_integral, check_positive
from gcesbi.physics.templates.pixel_average import TabulatedTemplate

__all__ = ["Disk"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Disk(TabulatedTemplate):
    """Double-exponential disk.

    Parameters
    ----------
    r_s : float, kpc
        Radial scale length.
    z_s : float, kpc
        Scale height, at least 0.05.
    r_sun : float, kpc
        Distance of the Sun from the Galactic Centre.
    """

    r_s: float = 5.0
    z_s: float = 0.3
    r_sun: float = 8.5

    def __post_init__(self) -> None:
        check_positive("r_s", self.r_s)
        check_positive("z_s", self.z_s)
        check_positive("r_sun", self.r_sun)

    def density(self, radius: Array, height: Array) -> Array:
        """n(R, z), 1 at the Galactic Centre; R and z in kpc."""
        return np.exp(-radius / self.r_s - np.abs(height) / self.z_s)

    def intensity(self, glon: ArrayLike, glat: ArrayLike) -> Array:
        """∫ n ds (kpc) towards glon, glat (n,), degrees."""
        return axisymmetric_integral(self.density, glon, glat, self.r_sun)
