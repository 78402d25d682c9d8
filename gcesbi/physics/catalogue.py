r"""Catalogue sources: positions, extensions and spectra.

Every spectrum of the Fermi-LAT's catalogues 3FGL (Acero et al. 2015, arXiv:1501.02003) and 4FGL (Abdollahi et al. 2020,
arXiv:1902.10045) - power law, log-parabola, power law with a (super-)exponential cut-off - is

    dN/dE = K (E/E₀)^(-Γ - β ln(E/E₀)) exp[a (E₀^b - E^b)]

with β = 0, or a = 0, or both. Fluxes in energy bins are its integrals, by Gauss-Legendre quadrature in log E.

An extended source is a disc, a Gaussian or a ring, and shines as 64 points of equal flux spread evenly over it; where a
catalogue names a map of its own, a disc of the same size stands in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import angular_distance

__all__ = ["SourceCatalogue"]

Array = NDArray[np.float64]

N_POINT = 64
"""Points that stand for an extended source."""
GAUSSIAN_68 = 1.5095921854516636
"""68 % containment radius of a Gaussian in two dimensions, in units of its σ."""
_GOLDEN = np.pi * (3 - np.sqrt(5))
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True, eq=False)
class SourceCatalogue:
    """Sources of known position and spectrum.

    Parameters
    ----------
    names : array (n,) of str
    glon, glat : array (n,), deg
    norm : array (n,)
        K, photons / cm² / s / GeV.
    pivot : array (n,)
        E₀, GeV.
    index, curvature : array (n,)
        Γ and β.
    cutoff, cutoff_power : array (n,)
        a (GeV^-b) and b.
    radius : array (n,), deg
        Radius of a disc or ring, 68 % containment radius of a Gaussian; 0 for a point.
    form : array (n,) of str
        "point", "disc", "gaussian" or "ring".

    Raises
    ------
    InputError
        If lengths differ, a number is not finite, a norm is negative, a pivot not above zero, or an angle impossible.
    """

    names: NDArray[np.str_]
    glon: Array
    glat: Array
    norm: Array
    pivot: Array
    index: Array
    curvature: Array
    cutoff: Array
    cutoff_power: Array
    radius: Array
    form: NDArray[np.str_]

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if values.shape != self.names.shape:
                raise InputError(f"{field.name}: must have shape {self.names.shape}, got {values.shape}")
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise InputError(f"{field.name}: must be finite, is not for {self.names[~np.isfinite(values)][0]}")
        if np.any(self.norm < 0):
            raise InputError(f"norm: must not be negative, is for {self.names[self.norm < 0][0]}")
        if np.any(self.pivot <= 0):
            raise InputError(f"pivot: must be above 0 GeV, is not for {self.names[self.pivot <= 0][0]}")
        for name, least, most in ("glat", -90, 90), ("radius", 0, 180):
            bad = (getattr(self, name) < least) | (getattr(self, name) > most)
            if bad.any():
                raise InputError(f"{name}: must lie in [{least}, {most}] degrees, does not for {self.names[bad][0]}")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: slice | NDArray) -> SourceCatalogue:
        return SourceCatalogue(*(getattr(self, field.name)[index] for field in fields(self)))

    def within(self, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> SourceCatalogue:
        """Sources within `radius` of `centre` (glon, glat), degrees."""
        return self[angular_distance(self.glon, self.glat, centre) < radius]

    def spectrum(self, energy: ArrayLike) -> Array:
        """dN/dE (n, ...) at energies (...), GeV: photons / cm² / s / GeV."""
        e = np.asarray(energy, dtype=np.float64)
        shape = (-1, *[1] * e.ndim)
        k, pivot, index, curvature, a, b = (
            v.reshape(shape)
            for v in (self.norm, self.pivot, self.index, self.curvature, self.cutoff, self.cutoff_power)
        )
        log = np.log(e / pivot)
        return k * np.exp(-(index + curvature * log) * log + a * (pivot**b - e**b))

    def flux(self, energy_edges: ArrayLike) -> Array:
        """Flux in every bin, (n, n_energy), photons / cm² / s."""
        edges = check_energy_edges(energy_edges)
        half = np.diff(np.log(edges))[:, None] / 2
        nodes = edges[:-1, None] * np.exp(half * (1 + _NODES))
        return np.sum(self.spectrum(nodes) * nodes * half * _WEIGHTS, axis=-1)

    def points(self) -> tuple[Array, Array, NDArray[np.int64], Array]:
        """Point sources that stand for the catalogue's.

        Returns
        -------
        glon, glat : array (n_point,), deg
        source : array (n_point,)
            Which source each belongs to.
        share : array (n_point,)
            Its share of that source's flux.
        """
        number = np.where(self.form == "point", 1, N_POINT)
        source = np.repeat(np.arange(len(self)), number)
        order = np.concatenate([np.arange(n) for n in number]) if len(self) else np.empty(0)
        u = (order + 0.5) / number[source]
        distance = np.select(
            [self.form[source] == "disc", self.form[source] == "gaussian", self.form[source] == "ring"],
            [np.sqrt(u), np.sqrt(-2 * np.log1p(-u)) / GAUSSIAN_68, np.ones_like(u)],
            0.0,
        )
        offset = distance * self.radius[source]
        glon = self.glon[source] + offset * np.cos(_GOLDEN * order) / np.cos(np.radians(self.glat[source]))
        return glon, self.glat[source] + offset * np.sin(_GOLDEN * order), source, 1 / number[source]
