"""The library's own interstellar and isotropic emission on images, with intensities in physical units.

The shapes are those of :mod:`gcesbi.physics.templates.interstellar`. Each of the two parts is scaled to the same mean
intensity over the disc of 30° with |b| > 2°, in every model, so that models differ in shape: π⁰ decay and
bremsstrahlung to 5.3·10⁻⁶, inverse Compton to 3.2·10⁻⁶ photons / cm² / s / sr in 1-6 GeV. The sum of the two is set by
gll_iem_v07, 4.6·10⁻⁵ over the central square of 10° (met by the model "snr-10-150"), their ratio of 2.6 to 1.6 by the
middles of the priors of List et al. (2025, arXiv:2507.17804). Spectra are power laws, with indices 2.5 and 2.2.

Isotropic emission is a power law fitted to the collaboration's spectrum for P8R3_ULTRACLEANVETO_V3 PSF3 from 0.3 to
40 GeV, 3.9·10⁻⁷ photons / cm² / s / sr in 1-6 GeV.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.intensity import IsotropicSpectrum
from gcesbi.physics.power_law import power_integral
from gcesbi.physics.templates.interstellar import InverseCompton, PionDecay
from gcesbi.physics.templates.pixel_average import SkyTable
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.region import glon_glat, norm_disc

__all__ = ["InterstellarEmission", "isotropic_emission"]

Array = NDArray[np.float64]

MEANS = (5.26e-6, 3.24e-6)
"""Mean intensity of pion decay and of inverse Compton scattering over the disc in 1-6 GeV, photons / cm² / s / sr."""
INDICES = (2.5, 2.2)
REFERENCE = (1.0, 6.0)
ISOTROPIC = (5.6e-7, 2.316)
"""dN/dE of isotropic emission at 1 GeV, photons / cm² / s / sr / GeV, and its index."""
N_PIECE = 4
"""Pieces of a pixel along one side over which intensities are averaged."""
_NSIDE = 64


@dataclass(frozen=True)
class InterstellarEmission:
    """Pion decay, bremsstrahlung and inverse Compton scattering together.

    Parameters
    ----------
    sources : str
        Sources of cosmic rays: "snr" or "lorimer".
    halo_height : float, kpc
    spin_temperature : float, K
        Of atomic hydrogen.
    """

    sources: str = "snr"
    halo_height: float = 10.0
    spin_temperature: float = 150.0

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        edges = check_energy_edges(energy_edges)
        tables = (
            _pion_table(self.sources, self.halo_height, self.spin_temperature),
            _compton_table(self.sources, self.halo_height),
        )
        total = np.zeros((len(edges) - 1, *geometry.shape))
        for (table, mean), wanted, index in zip(tables, MEANS, INDICES, strict=True):
            spectrum = power_integral(1 - index, edges[:-1], edges[1:]) / power_integral(1 - index, *REFERENCE)
            total += (wanted / mean * spectrum)[:, None, None] * _average(table, geometry)
        return total


def isotropic_emission() -> IsotropicSpectrum:
    """Extragalactic gamma rays and misclassified cosmic rays."""
    energy = np.array([0.01, 1e4])
    return IsotropicSpectrum(energy, ISOTROPIC[0] * energy ** -ISOTROPIC[1])


def _average(table: SkyTable, geometry: ImageGeometry) -> Array:
    n_lat, n_lon = geometry.shape
    fine = table.at(*geometry.refined(N_PIECE).glon_glat())
    return fine.reshape(n_lat, N_PIECE, n_lon, N_PIECE).mean(axis=(1, 3))


@lru_cache(maxsize=8)
def _pion_table(sources: str, halo_height: float, spin_temperature: float) -> tuple[SkyTable, float]:
    return _with_mean(SkyTable(PionDecay(sources, halo_height, spin_temperature).intensity))


@lru_cache(maxsize=8)
def _compton_table(sources: str, halo_height: float) -> tuple[SkyTable, float]:
    return _with_mean(SkyTable(InverseCompton(sources, halo_height).intensity))


def _with_mean(table: SkyTable) -> tuple[SkyTable, float]:
    """A table and its mean over the normalisation disc."""
    return table, float(table.at(*glon_glat(_NSIDE, norm_disc(_NSIDE))).mean())
