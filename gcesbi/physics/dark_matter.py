r"""Gamma rays of annihilating dark matter in the Galaxy's halo.

Towards an angle ψ from the Galactic Centre the intensity is

    dΦ/dE dΩ = <σv> / (8π m²) · dN/dE · J(ψ),      J(ψ) = ∫ ρ² ds ,

for particles of mass m that are their own antiparticles. The halo is a generalised NFW profile squared
(:class:`gcesbi.physics.templates.nfw.NFW`), with ρ known at the Sun. For images it is divided in a core about the
centre, which holds the cusp and is smoothed as a radial function, and a rest without a cusp, smoothed on pixels.

The photon yield of annihilation into b quarks is exp(Σ_k c_k ln^k x) photons per ln E, x = E/m: a polynomial fitted by
us to the table for 50 GeV that DMFIT distributes (Jeltema & Profumo 2008, arXiv:0808.2641; simulated with PYTHIA). It
meets that table within 2.2 % for 0.01 < x < 0.3 and 8 % up to x = 0.6; beyond, where few photons are, it is continued,
to the mass itself. How the yield at a given x varies with the mass is left out; masses are kept within a factor of two
of 50 GeV. Other channels and masses need a table: :func:`gcesbi.io.yields.read_yield`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from gcesbi.errors import InputError
from gcesbi.physics.image_psf import ImageSmoother
from gcesbi.physics.radial_image import radial_image
from gcesbi.physics.radial_smoothing import RadialSmoother
from gcesbi.physics.templates.line_of_sight import check_positive
from gcesbi.physics.templates.nfw import NFW
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageRegion
from gcesbi.sky.observation import RadialPSF

__all__ = ["Annihilation", "DarkMatterHalo", "PhotonYield", "b_quark_yield"]

Array = NDArray[np.float64]

CM_PER_KPC = 3.0856775814913673e21
YIELD = (-9.3284, -9.1443, -3.6643, -0.9622, -0.1497, -0.0099)
"""c_k of the photon yield of b quarks."""
X_LOW = 0.01
"""Least energy, in units of the mass, at which the yield is known."""
MASS_RANGE = (25.0, 100.0)
"""Masses, GeV, for which it is used."""
_PSI_MIN = 1e-9
CORE_PIXELS = 12.0
"""Radius of the core, in pixels."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def b_quark_yield(energy: ArrayLike, mass: float = 50.0) -> Array:
    """Photons per GeV and annihilation into b quarks (...), at energies (...), GeV.

    Raises
    ------
    InputError
        If the mass lies outside 25 to 100 GeV, or an energy below 0.01 of it.
    """
    e = np.asarray(energy, dtype=np.float64)
    if not MASS_RANGE[0] <= mass <= MASS_RANGE[1]:
        raise InputError(f"mass: must lie in {MASS_RANGE} GeV, where the photon yield is known, got {mass}")
    _check_low(e, X_LOW * mass, mass)
    return np.where(e <= mass, np.exp(np.polynomial.polynomial.polyval(np.log(e / mass), YIELD)) / e, 0.0)


def _check_low(energy: Array, low: float, mass: float) -> None:
    if not np.all(energy >= low * (1 - 1e-9)):
        raise InputError(f"energy: must be above {low:.4g} GeV for a mass of {mass:g} GeV, got {energy.min():.4g}")


@dataclass(frozen=True, eq=False)
class PhotonYield:
    """Photons of one annihilation, from a table.

    Parameters
    ----------
    channel : str
        What the particles annihilate into.
    log_x : array (n,)
        ln(E/m), ascending to 0.
    per_log_energy : array (n,)
        Photons per ln E.
    """

    channel: str
    log_x: Array
    per_log_energy: Array

    def __call__(self, energy: ArrayLike, mass: float) -> Array:
        """Photons per GeV and annihilation (...), at energies (...), GeV; none above the mass.

        Raises
        ------
        InputError
            If an energy lies below those of the table.
        """
        e = np.asarray(energy, dtype=np.float64)
        _check_low(e, float(np.exp(self.log_x[0])) * mass, mass)
        return np.interp(np.log(e / mass), self.log_x, self.per_log_energy, right=0.0) / e


@dataclass(frozen=True)
class DarkMatterHalo:
    """Generalised NFW halo of known density at the Sun.

    Parameters
    ----------
    profile : NFW
        Shape: inner slope, scale radius (kpc), distance of the Sun (kpc).
    local_density : float, GeV / cm³
    """

    profile: NFW = field(default_factory=lambda: NFW(gamma=1.1, r_s=20.0, r_sun=8.5))
    local_density: float = 0.4

    def __post_init__(self) -> None:
        check_positive("local_density", self.local_density, "GeV / cm³")

    def density(self, radius: ArrayLike) -> Array:
        """ρ (...), GeV / cm³, at radii (...), kpc, above 0."""
        return np.sqrt(self.profile.density_squared(np.asarray(radius, dtype=np.float64)) * self._scale)

    def j_factor(self, psi: ArrayLike) -> Array:
        """∫ ρ² ds (...), GeV² / cm⁵, at angles psi (...), degrees, from the Galactic Centre, above 0."""
        return self._j(np.radians(np.asarray(psi, dtype=np.float64)))

    def j_image(self, geometry: ImageGeometry) -> Array:
        """∫ ρ² ds averaged over every pixel, (n_lat, n_lon), GeV² / cm⁵."""
        return _j_image(self, geometry).copy()

    def core(self, radius: float) -> Callable[[Array], Array]:
        """∫ ρ² ds less :meth:`rest`, of angles (n,), radians; zero beyond `radius` (degrees)."""
        rest, end = self.rest(radius), np.radians(radius)
        return lambda psi: np.where(psi < end, self._j(psi) - rest(psi), 0.0)

    def rest(self, radius: float) -> Callable[[Array], Array]:
        """∫ ρ² ds of angles (n,), radians; within `radius` (degrees) continued to the centre by a + b ψ²."""
        end = np.radians(radius)
        edge = float(self._j(np.array(end)))
        slope = edge * float(self._spline(np.log(end), 1)) / end
        return lambda psi: np.where(psi < end, edge + slope * (psi**2 - end**2) / (2 * end), self._j(psi))

    def j_disc(self, radius: float) -> float:
        """∫∫ ρ² ds dΩ, GeV² / cm⁵ sr, over the disc of `radius` (degrees) about the Galactic Centre."""
        log_psi = np.linspace(np.log(_PSI_MIN), np.log(np.radians(radius)), 4001)
        psi = np.exp(log_psi)
        rings = 2 * np.pi * self._j(psi) * np.sin(psi) * psi
        slope = float(self._spline(log_psi[0], 1))
        inner = rings[0] / (2 + slope)  # a power law of ψ from there to the centre
        return float(np.trapezoid(rings, log_psi) + inner)

    @property
    def _scale(self) -> float:
        """(GeV / cm³)² per unit of the profile's ρ²."""
        return float(self.local_density**2 / self.profile.density_squared(np.array(self.profile.r_sun)))

    @cached_property
    def _spline(self) -> CubicSpline:
        psi = np.geomspace(_PSI_MIN, np.pi, 600)
        return CubicSpline(np.log(psi), np.log(self.profile.intensity(psi) * self._scale * CM_PER_KPC))

    def _j(self, psi: Array) -> Array:
        return np.exp(self._spline(np.log(np.maximum(psi, _PSI_MIN))))


@lru_cache(maxsize=128)
def _j_image(halo: DarkMatterHalo, geometry: ImageGeometry) -> Array:
    """Images of one halo are asked for by every model of a run, for every inner slope of its prior."""
    return radial_image(halo._j, geometry)


@dataclass(frozen=True)
class Annihilation:
    """Gamma rays of dark matter that annihilates, into b quarks unless a yield says otherwise.

    Parameters
    ----------
    halo : DarkMatterHalo
    mass : float, GeV
    cross_section : float, cm³ / s
        <σv>.
    photons : PhotonYield, optional
        By default that of :func:`b_quark_yield`.

    Raises
    ------
    InputError
        If the mass lies outside 25 to 100 GeV, without a table, or the cross-section is not above zero.

    Examples
    --------
    >>> flux = Annihilation().flux([1.0, 6.0], 10.0)
    >>> f"{float(flux[0]):.1e}"
    '1.6e-07'
    """

    halo: DarkMatterHalo = field(default_factory=DarkMatterHalo)
    mass: float = 50.0
    cross_section: float = 2e-26
    photons: PhotonYield | None = None

    def __post_init__(self) -> None:
        self._yield(0.1 * self.mass)
        check_positive("cross_section", self.cross_section, "cm³ / s")

    def _yield(self, energy: ArrayLike) -> Array:
        """Photons per GeV and annihilation (...), at energies (...), GeV."""
        return (self.photons or b_quark_yield)(energy, self.mass)

    def per_j(self, energy_edges: ArrayLike) -> Array:
        """Photons / cm² / s / sr in every bin (n_energy,), per GeV² / cm⁵."""
        edges = check_energy_edges(energy_edges)
        half = np.diff(np.log(edges))[:, None] / 2
        nodes = edges[:-1, None] * np.exp(half * (1 + _NODES))
        photons = np.sum(self._yield(nodes) * nodes * half * _WEIGHTS, axis=-1)
        return self.cross_section / (8 * np.pi * self.mass**2) * photons

    def intensity(self, geometry: ImageGeometry, energy_edges: ArrayLike) -> Array:
        """Mean intensity in every bin and pixel (n_energy, n_lat, n_lon), photons / cm² / s / sr."""
        return self.per_j(energy_edges)[:, None, None] * self.halo.j_image(geometry)

    def smoothed(
        self, smoother: ImageSmoother, psf: RadialPSF, energy_edges: ArrayLike, core_pixels: float = CORE_PIXELS
    ) -> Array:
        """Smoothed flux in every bin and pixel of the smoother's image, (n_energy, n_lat, n_lon), photons / cm² / s.

        Parameters
        ----------
        smoother : ImageSmoother
        psf : RadialPSF
            That of the smoother.
        energy_edges : array (n_energy + 1,), GeV
        core_pixels : float
            Radius of the core.
        """
        geometry, radius = smoother.geometry, core_pixels * smoother.geometry.pixel_size
        rest = radial_image(self.halo.rest(radius), smoother.source) * smoother.source.row_solid_angle[:, None]
        core = radial_image(_radial_smoother(psf, radius)(self.halo.core(radius)), geometry)
        light = smoother(rest) + core * geometry.row_solid_angle[:, None]
        return self.per_j(energy_edges)[:, None, None] * np.maximum(light, 0.0)

    def flux(self, energy_edges: ArrayLike, radius: float) -> Array:
        """Flux in every bin (n_energy,) from within `radius` (degrees) of the Galactic Centre, photons / cm² / s."""
        if not 0 < radius <= 180:
            raise InputError(f"radius: must lie in (0, 180] degrees, got {radius}")
        return self.per_j(energy_edges) * self.halo.j_disc(radius)

    def flux_in(self, region: ImageRegion, energy_edges: ArrayLike) -> Array:
        """Flux in every bin (n_energy,) that starts inside an image's region, photons / cm² / s."""
        j_image = region.take(self.halo.j_image(region.geometry))
        return self.per_j(energy_edges) * float(j_image @ region.solid_angles)


@lru_cache(maxsize=4)
def _radial_smoother(psf: RadialPSF, radius: float) -> RadialSmoother:
    return RadialSmoother(psf, radius)
