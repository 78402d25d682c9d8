"""Intensities against energy and position, as files give them, brought to an image and to energy bins.

Between the energies of a file dN/dE is a power law of E, and is integrated over each bin so. Between pixels it is
interpolated linearly; beyond the file's edge the nearest pixel's value is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from gcesbi.errors import InputError
from gcesbi.physics.image_psf import power_law_mean
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry

__all__ = ["IntensityCube", "IsotropicSpectrum", "SmoothEmission"]

Array = NDArray[np.float64]


class SmoothEmission(Protocol):
    """Emission that is smooth on the sky."""

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        ...


def _check_energies(energy: Array, values: Array) -> None:
    if energy.ndim != 1 or energy.size < 2 or not (energy[0] > 0 and np.all(np.diff(energy) > 0)):
        raise InputError(f"energy: must be at least two energies that ascend from above 0 GeV, got {energy.tolist()}")
    if not (np.isfinite(values).all() and np.all(values > 0)):
        raise InputError(f"values: must be finite and above 0, are not in {np.count_nonzero(~(values > 0))} places")


@dataclass(frozen=True, eq=False)
class IntensityCube:
    """Images of dN/dE at several energies.

    Parameters
    ----------
    energy : array (n,), GeV
    values : array (n, n_lat, n_lon), photons / cm² / s / sr / GeV
    geometry : ImageGeometry

    Raises
    ------
    InputError
        If energies do not ascend, shapes disagree, or a value is not above zero.
    """

    energy: Array
    values: Array
    geometry: ImageGeometry

    def __post_init__(self) -> None:
        _check_energies(self.energy, self.values)
        if self.values.shape != (self.energy.size, *self.geometry.shape):
            wanted = (self.energy.size, *self.geometry.shape)
            raise InputError(f"values: must have shape (n, n_lat, n_lon) = {wanted}, got {self.values.shape}")

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        edges = check_energy_edges(energy_edges)
        bands = np.stack([power_law_mean(self.energy, self.values, *each) for each in pairwise(edges)])
        x, y = self.geometry.to_pixel(*geometry.glon_glat())
        light = [map_coordinates(band, (y, x), order=1, mode="nearest") for band in bands]
        return np.reshape(light, (len(bands), *geometry.shape))


@dataclass(frozen=True, eq=False)
class IsotropicSpectrum:
    """An intensity that is the same from every direction.

    Parameters
    ----------
    energy : array (n,), GeV
    values : array (n,), photons / cm² / s / sr / GeV

    Raises
    ------
    InputError
        If energies do not ascend, lengths differ, or a value is not above zero.
    """

    energy: Array
    values: Array

    def __post_init__(self) -> None:
        _check_energies(self.energy, self.values)
        if self.values.shape != self.energy.shape:
            raise InputError(f"values: must have shape {self.energy.shape}, got {self.values.shape}")

    def band(self, energy_edges: Array) -> Array:
        """Intensity in every bin (n_energy,), photons / cm² / s / sr."""
        edges = check_energy_edges(energy_edges)
        return np.array([float(power_law_mean(self.energy, self.values, *each)) for each in pairwise(edges)])

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        return self.band(energy_edges)[:, None, None] * np.ones(geometry.shape)
