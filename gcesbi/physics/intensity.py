"""Intensities against energy and position, as files give them, brought to energy bins and to an image or HEALPix.

Between the energies of a file dN/dE is a power law of E, and is integrated over each bin so; from or to an energy where
it is 0 there is nothing. Between pixels it is interpolated linearly, round the sphere where the file goes round it;
beyond the file's edge the nearest pixel's value is taken.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from gcesbi.errors import InputError, shown
from gcesbi.physics.image_psf import power_law_mean
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.region import Region, glon_glat

__all__ = ["IntensityCube", "IsotropicSpectrum", "SmoothEmission", "integrated"]

Array = NDArray[np.float64]


class SmoothEmission(Protocol):
    """Emission that is smooth on the sky."""

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        ...


_NOTHING = 1e-200
DIVISION = 4
"""Sub-pixels along one side of a HEALPix pixel, at whose centres an image is read."""


def _check_energies(energy: Array, values: Array, *, zero: bool = False) -> None:
    if energy.ndim != 1 or energy.size < 2 or not (energy[0] > 0 and np.all(np.diff(energy) > 0)):
        raise InputError(f"energy: must be at least two energies that ascend from above 0 GeV, got {shown(energy)}")
    good = np.isfinite(energy).all() and np.isfinite(values) & ((values >= 0) if zero else (values > 0))
    if not np.all(good):
        rule = "not negative" if zero else "above 0"
        raise InputError(f"values: must be finite and {rule}, are not in {np.count_nonzero(~np.asarray(good))} places")


def integrated(energy: Array, values: Array, energy_edges: Array) -> Array:
    """∫ f dE over bins (n_energy, ...), f (n, ...) given at energies (n,), not negative.

    Raises
    ------
    InputError
        If the energies do not cover the bins.
    """
    lit = np.maximum(values, _NOTHING)
    bands = [power_law_mean(energy, lit, *each) for each in pairwise(check_energy_edges(energy_edges))]
    return np.where(np.stack(bands) > np.sqrt(_NOTHING), bands, 0.0)


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
        If energies do not ascend, shapes disagree, or a value is negative or not finite.
    """

    energy: Array
    values: Array
    geometry: ImageGeometry

    def __post_init__(self) -> None:
        _check_energies(self.energy, self.values, zero=True)
        if self.values.shape != (self.energy.size, *self.geometry.shape):
            wanted = (self.energy.size, *self.geometry.shape)
            raise InputError(f"values: must have shape (n, n_lat, n_lon) = {wanted}, got {self.values.shape}")

    def intensity(self, geometry: ImageGeometry, energy_edges: Array) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        light = self._at(*geometry.glon_glat(), self._bands(energy_edges))
        return np.reshape(light, (len(light), *geometry.shape))

    def covers(self, glon: Array, glat: Array) -> NDArray[np.bool_]:
        """Whether directions (...), degrees, lie on the file's image, not beyond its edge."""
        rows, columns = self.geometry.shape
        x, y = self.geometry.to_pixel(glon, glat)
        around = columns > 360 / self.geometry.pixel_size - 0.5
        return np.asarray((y >= -0.5) & (y <= rows - 0.5) & (around | ((x >= -0.5) & (x <= columns - 0.5))))

    def in_pixels(self, region: Region, energy_edges: Array) -> Array:
        """Mean intensity in every bin and HEALPix pixel (n_energy, n_pix), photons / cm² / s / sr."""
        fine = (region.pixels[:, None] * DIVISION**2 + np.arange(DIVISION**2)).ravel()
        light = self._at(*glon_glat(region.nside * DIVISION, fine), self._bands(energy_edges))
        return light.reshape(len(light), region.n_pix, -1).mean(axis=2)

    def _bands(self, energy_edges: Array) -> Array:
        """Images of the bins (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        return integrated(self.energy, self.values, energy_edges)

    def _at(self, glon: Array, glat: Array, bands: Array) -> Array:
        """Images (n_energy, n) at directions (n,), degrees."""
        turn = 360 / self.geometry.pixel_size
        x, y = self.geometry.to_pixel(glon, glat)
        if self.geometry.shape[1] > turn - 0.5:
            x = np.mod(x + 0.5, turn) - 0.5
            bands = np.concatenate([bands[..., -1:], bands, bands[..., :1]], axis=-1)
            x = x + 1
        return np.stack([map_coordinates(band, (y, x), order=1, mode="nearest") for band in bands])


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
