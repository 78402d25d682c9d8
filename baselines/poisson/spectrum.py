"""Spectrum of one template, energy bin by energy bin: flux with profile errors, upper limits, test statistics."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.spectra import e2dnde
from gcesbi.sky.energy import EnergyBins

__all__ = ["TemplateSpectrum"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TemplateSpectrum(EnergyBins):
    """What a fit says of one template's flux inside the region.

    Attributes
    ----------
    name : str
    energy_edges : array (n_energy + 1,), GeV
    flux, low, high : array (n_energy,), photons / cm² / s
        Best fit and the ends of the profile-likelihood interval at `level`.
    upper_limit : array (n_energy,), photons / cm² / s
        At `limit_level`, one-sided.
    test_statistic : array (n_energy,)
        2 Δ ln L without the template.
    solid_angle : float, sr
        Of the region.
    level, limit_level : float
    """

    name: str
    energy_edges: Array
    flux: Array
    low: Array
    high: Array
    upper_limit: Array
    test_statistic: Array
    solid_angle: float
    level: float
    limit_level: float

    def e2dnde(self, per_sr: bool = False) -> dict[str, Array]:
        """E² dN/dE as ``flux``, ``low``, ``high`` and ``upper_limit``, each (n_energy,).

        In GeV / cm² / s for the whole region, or GeV / cm² / s / sr with `per_sr`.
        """
        area = self.solid_angle if per_sr else 1.0
        return {
            name: e2dnde(getattr(self, name), self.energy_edges) / area
            for name in ("flux", "low", "high", "upper_limit")
        }
