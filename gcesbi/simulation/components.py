"""The parts of a sky model: smooth templates, populations of point sources, and the priors of their spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.simulation.prior import ChiSquared, Marginal, Normal, Uniform
from gcesbi.sky.region import Region, norm_disc

__all__ = ["DiffuseTemplate", "PointSourceTemplate", "Population", "Spectrum", "unit_mean"]


@dataclass(frozen=True)
class Population:
    """Prior of one population of point sources, whose dN/dlog₁₀F is a skew normal (List et al. 2025, Table 1).

    Parameters
    ----------
    xi : (low, high)
        Uniform range of the location, log₁₀ of photons cm⁻² s⁻¹.
    flux : (low, high)
        Uniform range of the mean total flux inside the region, photons / cm² / s.
    omega2_scale : float
        ω² is this times a χ² of one degree of freedom.
    a_scale : float
        Standard deviation of the skewness.
    """

    xi: tuple[float, float]
    flux: tuple[float, float]
    omega2_scale: float = 0.25
    a_scale: float = 3.0

    def marginals(self) -> dict[str, Marginal]:
        """Marginals by parameter name."""
        return {
            "xi": Uniform(*self.xi),
            "omega2": ChiSquared(self.omega2_scale),
            "a": Normal(0.0, self.a_scale),
            "flux": Uniform(*self.flux),
        }


@dataclass(frozen=True)
class Spectrum:
    """Prior of a template's spectrum, a skew normal over log₁₀E (List et al. 2025, Table 1).

    Parameters
    ----------
    xi : (low, high)
        Uniform range of the location, log₁₀ of GeV.
    omega2_scale, a_scale : float
        As for a :class:`Population`.
    """

    xi: tuple[float, float] = (float(np.log10(2)), float(np.log10(20)))
    omega2_scale: float = 4.0
    a_scale: float = 5.0

    def marginals(self) -> dict[str, Marginal]:
        """Marginals by parameter name."""
        return {
            "xi": Uniform(*self.xi),
            "omega2": ChiSquared(self.omega2_scale),
            "a": Normal(0.0, self.a_scale),
        }


@dataclass(frozen=True, eq=False)
class DiffuseTemplate:
    """Smooth emission, Poisson in every pixel.

    Parameters
    ----------
    name : str
    counts : array (n_energy, n_patch)
        Expected counts for norm 1 in each energy bin: exposure and PSF applied.
    norm : (low, high)
        Uniform prior of the norm A, the mean number of expected counts per pixel over the normalisation disc,
        summed over energies.
    """

    name: str
    counts: NDArray[np.float64]
    norm: tuple[float, float]

    def __post_init__(self) -> None:
        _check_map(self.name, self.counts)


@dataclass(frozen=True, eq=False)
class PointSourceTemplate:
    """Emission by populations of point sources that share a spatial distribution and a spectrum.

    Parameters
    ----------
    name : str
    intensity : array (n_patch,)
        Density of sources per pixel, in any unit; no PSF applied.
    counts : array (n_energy, n_patch)
        Expected counts for norm 1 in each energy bin, as for a :class:`DiffuseTemplate`: what a Poisson fit fits.
    populations : tuple of Population
    poisson : array (n_energy, n_patch), optional
        Exposure × (PSF ⊗ intensity): where the share of the flux shines that is exactly Poisson. That share is a
        parameter, U[0, 1]; without the map, all flux is that of sources.
    """

    name: str
    intensity: NDArray[np.float64]
    counts: NDArray[np.float64]
    populations: tuple[Population, ...]
    poisson: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _check_map(self.name, self.intensity)
        _check_map(self.name, self.counts)
        if self.poisson is not None:
            _check_map(self.name, self.poisson)
        if not self.populations:
            raise InputError(f"template {self.name}: needs at least one population")


def unit_mean(counts: NDArray[np.float64], patch: Region) -> NDArray[np.float64]:
    """Maps (..., n_energy, n_patch) with unit mean over the normalisation disc in every energy bin."""
    return counts / counts[..., patch.index[norm_disc(patch.nside)]].mean(axis=-1, keepdims=True)


def _check_map(name: str, values: NDArray[np.float64]) -> None:
    if not np.isfinite(values).all() or np.any(values < 0):
        raise InputError(f"template {name}: must be finite and not negative")
    if not values.any():
        raise InputError(f"template {name}: is zero everywhere")
