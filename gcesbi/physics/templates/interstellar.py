"""Interstellar emission from a model of the Galaxy in a few formulas.

A stand-in for users without GALPROP maps. It has what shapes the emission on large scales - sources of cosmic rays, a
halo they diffuse in, gas disks, radiation fields - but the Galaxy is axisymmetric and smooth: no spiral arms, clouds,
bar, Central Molecular Zone, ionised gas or dust, and one effective energy. Real skies differ from it by tens of per
cent; fit real data with maps built on gas surveys.

Pion decay (with bremsstrahlung, which follows the same gas): I ∝ ∫ (c n_HI + n_H2) n_nuclei ds, with c(l, b) the
correction of the atomic column for the optical depth of the 21 cm line.

Inverse Compton scattering: I ∝ ∫ n_e u ds. For electrons ∝ E^-3, as they are after losses, the emission per unit
energy density u of the target photons does not depend on their wavelength.

The pairs (sources, halo height, spin temperature) span the variants of Ackermann et al. 2012 (arXiv:1202.4039).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from gcesbi.errors import InputError
from gcesbi.physics.templates.cosmic_rays import CosmicRays, HaloTable
from gcesbi.physics.templates.gas import ATOMIC, MOLECULAR, thick_line_correction
from gcesbi.physics.templates.line_of_sight import axisymmetric_integral
from gcesbi.physics.templates.pixel_average import TabulatedTemplate
from gcesbi.physics.templates.radiation import radiation_energy_density

__all__ = ["N_RING", "RING_EDGES", "InverseCompton", "PionDecay"]

Array = NDArray[np.float64]

LOSS_LENGTH = 1.3
"""sqrt(D τ) of 30 GeV electrons in a halo of 4 kpc, kpc: D = 10²⁹ cm²/s, τ = 1.7·10¹⁴ s (2 eV/cm³ to lose it to)."""
RING_EDGES = (3.0, 7.0)
"""Distances from the Galactic Centre, kpc, at which one ring of gas goes over into the next."""
N_RING = len(RING_EDGES) + 1
_BLUR = 0.3  # kpc: rings go over into each other within it, so that their images are smooth


@dataclass(frozen=True)
class PionDecay(TabulatedTemplate):
    """Decay of neutral pions, and bremsstrahlung.

    Parameters
    ----------
    sources : str
        Sources of cosmic rays: "snr" (supernova remnants) or "lorimer" (pulsars).
    halo_height : float, kpc
        Half-height of the cosmic-ray halo.
    spin_temperature : float, K
        Of atomic hydrogen, above 10; 10⁵ K stands for an optically thin 21 cm line.
    r_sun : float, kpc
        Distance of the Sun from the Galactic Centre.
    ring : int, optional
        Only the gas of this ring about the Galactic Centre, between two of :data:`RING_EDGES`; all gas without one.
        Rings add up to all.
    """

    sources: str = "snr"
    halo_height: float = 10.0
    spin_temperature: float = 150.0
    r_sun: float = 8.5
    ring: int | None = None

    def __post_init__(self) -> None:
        CosmicRays(self.sources, self.halo_height, r_sun=self.r_sun)
        if not (np.isfinite(self.spin_temperature) and self.spin_temperature > 10):
            raise InputError(f"spin_temperature: must be above 10 K and finite, got {self.spin_temperature}")
        if self.ring not in (None, *range(N_RING)):
            raise InputError(f"ring: must be one of 0 to {N_RING - 1}, got {self.ring}")

    def intensity(self, glon: ArrayLike, glat: ArrayLike) -> Array:
        """Intensity (n,) towards glon, glat (n,), degrees; arbitrary units."""
        nuclei = CosmicRays(self.sources, self.halo_height, r_sun=self.r_sun)
        rays = HaloTable(nuclei.density(*HaloTable.grid(self.halo_height)), self.halo_height)

        def densities(radius: Array, height: Array) -> Array:
            atomic, molecular = ATOMIC.density(radius, height), MOLECULAR.density(radius, height)
            near = rays(radius, height) * (1.0 if self.ring is None else _share(radius, self.ring))
            return np.stack([atomic, atomic * near, molecular * near])

        column, atomic, molecular = axisymmetric_integral(densities, glon, glat, self.r_sun)
        local = float(ATOMIC.density(np.array(self.r_sun), np.array(0.0)))
        return thick_line_correction(column, local, self.spin_temperature) * atomic + molecular


@dataclass(frozen=True)
class InverseCompton(TabulatedTemplate):
    """Inverse Compton scattering of starlight, infrared light and the microwave background.

    Parameters
    ----------
    sources : str
        Sources of cosmic rays: "snr" (supernova remnants) or "lorimer" (pulsars).
    halo_height : float, kpc
        Half-height L of the cosmic-ray halo; the diffusion coefficient is taken ∝ L, as measured ratios of
        secondary to primary nuclei demand, so that electrons travel ∝ sqrt(L) before they lose their energy.
    r_sun : float, kpc
        Distance of the Sun from the Galactic Centre.
    """

    sources: str = "snr"
    halo_height: float = 10.0
    r_sun: float = 8.5

    def __post_init__(self) -> None:
        CosmicRays(self.sources, self.halo_height, r_sun=self.r_sun)

    def intensity(self, glon: ArrayLike, glat: ArrayLike) -> Array:
        """Intensity (n,) towards glon, glat (n,), degrees; arbitrary units."""
        loss_length = LOSS_LENGTH * np.sqrt(self.halo_height / 4)
        electrons = CosmicRays(self.sources, self.halo_height, loss_length, self.r_sun)
        radius, height = HaloTable.grid(self.halo_height)
        light = radiation_energy_density(*np.meshgrid(radius, height, indexing="ij"), self.r_sun)
        emissivity = HaloTable(electrons.density(radius, height) * light, self.halo_height)
        return axisymmetric_integral(emissivity, glon, glat, self.r_sun)


def _share(radius: Array, ring: int) -> Array:
    """Share of the gas at a distance from the Galactic Centre that belongs to a ring; the shares of all add up to 1."""
    beyond = [np.ones_like(radius), *(expit((radius - edge) / _BLUR) for edge in RING_EDGES), np.zeros_like(radius)]
    return beyond[ring] - beyond[ring + 1]
