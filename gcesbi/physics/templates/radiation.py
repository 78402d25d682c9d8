"""Energy density of the interstellar radiation field.

u = u_CMB + u_disk. The light of stars, and the part of it that dust turns to infrared, comes from an exponential disk
of surface brightness ∝ exp(-R'/R_d); in an optically thin Galaxy its energy density at (R, z) is the sum of
j / 4πc|x - x'|² over the disk. The integral over azimuth is elementary:

    u_disk ∝ ∫_0^∞ R' exp(-R'/R_d) / sqrt((R² + R'² + Z²)² - 4 R² R'²) dR',   Z² = z² + h²,

with h the disk's thickness. The scale is set at the Sun: u_disk = 0.9 eV/cm³ (0.5 of starlight, 0.4 of infrared; e.g.
Strong, Moskalenko & Reimer 2000, astro-ph/9811296). The bulge is left out.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["radiation_energy_density"]

Array = NDArray[np.float64]

U_CMB = 0.26
"""Energy density of the cosmic microwave background, eV/cm³."""
U_LOCAL = 0.9
"""Energy density of starlight and infrared light at the Sun, eV/cm³."""
DISK_LENGTH = 3.0
"""Scale length of the luminous disk, kpc."""
DISK_THICKNESS = 0.3
"""Softening h, kpc."""


def radiation_energy_density(radius: Array, height: Array, r_sun: float) -> Array:
    """Energy density u (eV/cm³) at R, z (kpc), arrays of one shape."""
    local = _disk_light(np.array(r_sun), np.array(0.0))
    return U_CMB + U_LOCAL * _disk_light(radius, height) / local


def _disk_light(radius: Array, height: Array) -> Array:
    """Integral over the luminous disk, by Gauss-Legendre quadrature in w = arcsinh((R' - R) / Z)."""
    r, z = np.asarray(radius)[..., None], np.hypot(height, DISK_THICKNESS)[..., None]
    low, high = np.arcsinh(-r / z), np.arcsinh(12 * DISK_LENGTH / z)
    nodes, weights = np.polynomial.legendre.leggauss(48)
    half = (high - low) / 2
    w = low + half * (nodes + 1)
    ring = r + z * np.sinh(w)
    # (R² + R'² + Z²)² - 4 R² R'² = ((R - R')² + Z²) ((R + R')² + Z²), and dR' = Z cosh w dw = sqrt((R - R')² + Z²) dw
    return np.sum(half * weights * ring * np.exp(-ring / DISK_LENGTH) / np.hypot(r + ring, z), axis=-1)
