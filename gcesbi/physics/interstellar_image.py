"""The library's own interstellar and isotropic emission on images, with intensities in physical units.

The shapes are those of :mod:`gcesbi.physics.templates.interstellar`. Each of the two parts is scaled to the same mean
intensity over the disc of 30° with |b| > 2°, in every model, so that models differ in shape: π⁰ decay and
bremsstrahlung to 5.3·10⁻⁶, inverse Compton to 3.2·10⁻⁶ photons / cm² / s / sr in 1-6 GeV. The sum of the two is set by
gll_iem_v07, 4.6·10⁻⁵ over the central square of 10° (met by the model "snr-10-150"), their ratio of 2.6 to 1.6 by the
middles of the priors of List et al. (2025, arXiv:2507.17804). Spectra are power laws, with indices 2.5 and 2.2.

The gas may be split into rings about the Galactic Centre, each with a norm of its own, as fits find them.

Isotropic emission is a power law fitted to the collaboration's spectrum for P8R3_ULTRACLEANVETO_V3 PSF3 from 0.3 to
40 GeV, 3.9·10⁻⁷ photons / cm² / s / sr in 1-6 GeV.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.intensity import IsotropicSpectrum
from gcesbi.physics.power_law import power_integral
from gcesbi.physics.templates.interstellar import RING_EDGES, InverseCompton, PionDecay
from gcesbi.physics.templates.pixel_average import SkyTable
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.region import glon_glat, norm_disc

__all__ = ["PARTS", "InterstellarEmission", "isotropic_emission"]

Array = NDArray[np.float64]

MEANS = (5.26e-6, 3.24e-6)
"""Mean intensity of pion decay and of inverse Compton scattering over the disc in 1-6 GeV, photons / cm² / s / sr."""
INDICES = (2.5, 2.2)
REFERENCE = (1.0, 6.0)
ISOTROPIC = (5.6e-7, 2.316)
"""dN/dE of isotropic emission at 1 GeV, photons / cm² / s / sr / GeV, and its index."""
PARTS = (*(f"gas {low:g}-{high:g} kpc" for low, high in pairwise((0.0, *RING_EDGES, 50.0))), "inverse Compton")
"""Parts whose norms may differ: rings of gas about the Galactic Centre, and inverse Compton scattering."""
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
    norms : mapping of str to float
        Of single parts, by :data:`PARTS`; of those not named 1.

    Raises
    ------
    InputError
        If a part is unknown.
    """

    sources: str = "snr"
    halo_height: float = 10.0
    spin_temperature: float = 150.0
    norms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.norms:
            if name not in PARTS:
                raise InputError(f"norms: must be of {', '.join(PARTS)}, got {name!r}")

    def parts(self) -> dict[str, InterstellarEmission]:
        """Every part alone, with norm 1, by :data:`PARTS`."""
        return {name: replace(self, norms=dict.fromkeys(PARTS, 0.0) | {name: 1.0}) for name in PARTS}

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        edges = check_energy_edges(energy_edges)
        total = np.zeros((len(edges) - 1, *geometry.shape))
        for table, mean, wanted, index in self._lit():
            spectrum = power_integral(1 - index, edges[:-1], edges[1:]) / power_integral(1 - index, *REFERENCE)
            total += (wanted / mean * spectrum)[:, None, None] * _average(table, geometry)
        return total

    def _lit(self) -> Iterator[tuple[SkyTable, float, float, float]]:
        """Tables that shine, the mean each has at its norm, its intensity there, and its index."""
        *rings, compton = (self.norms.get(name, 1.0) for name in PARTS)
        gas = self.sources, self.halo_height, self.spin_temperature
        whole, mean = _pion_table(*gas)
        if len(set(rings)) == 1:
            yield whole, mean, rings[0] * MEANS[0], INDICES[0]
        else:
            for ring, norm in enumerate(rings):
                if norm > 0:
                    yield _pion_table(*gas, ring)[0], mean, norm * MEANS[0], INDICES[0]
        yield *_compton_table(self.sources, self.halo_height), compton * MEANS[1], INDICES[1]


def isotropic_emission() -> IsotropicSpectrum:
    """Extragalactic gamma rays and misclassified cosmic rays."""
    energy = np.array([0.01, 1e4])
    return IsotropicSpectrum(energy, ISOTROPIC[0] * energy ** -ISOTROPIC[1])


def _average(table: SkyTable, geometry: ImageGeometry) -> Array:
    n_lat, n_lon = geometry.shape
    fine = table.at(*geometry.refined(N_PIECE).glon_glat())
    return fine.reshape(n_lat, N_PIECE, n_lon, N_PIECE).mean(axis=(1, 3))


@lru_cache(maxsize=32)
def _pion_table(
    sources: str, halo_height: float, spin_temperature: float, ring: int | None = None
) -> tuple[SkyTable, float]:
    return _with_mean(PionDecay(sources, halo_height, spin_temperature, ring=ring).table())


@lru_cache(maxsize=8)
def _compton_table(sources: str, halo_height: float) -> tuple[SkyTable, float]:
    return _with_mean(InverseCompton(sources, halo_height).table())


def _with_mean(table: SkyTable) -> tuple[SkyTable, float]:
    """A table and its mean over the normalisation disc."""
    return table, float(table.at(*glon_glat(_NSIDE, norm_disc(_NSIDE))).mean())
