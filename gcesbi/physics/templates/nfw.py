"""Generalised Navarro-Frenk-White profile squared, ∫ ρ² ds along the line of sight.

ρ(r) ∝ (r / r_s)^-γ (1 + r / r_s)^(γ - 3) (Navarro, Frenk & White 1997, astro-ph/9611107; Zhao 1996,
astro-ph/9509122); pairs of dark-matter particles annihilate at a rate ∝ ρ². The Galactic Centre excess prefers
γ = 1.2 (Daylan et al. 2014, arXiv:1402.6703), with r_s = 20 kpc and R_sun = 8.5 kpc.

The intensity depends only on the angle ψ from the Galactic Centre and rises as ψ^(1 - 2γ) towards it (γ > ½): it
diverges at the centre, but its mean over a pixel is finite for γ < 3/2. The centre is where four pixels of nside >= 2
meet. Dividing them again and again leaves four cells similar to the first, whose share falls by the factor
q = 2^(2γ - 3) per division; the sum of that geometric series closes the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from gcesbi.errors import InputError
from gcesbi.physics.templates.line_of_sight import check_positive, spherical_integral
from gcesbi.physics.templates.pixel_average import Pixels, check_pixels, pixel_average

__all__ = ["NFW"]

Array = NDArray[np.float64]

N_TABLE = 500
"""Angles in the table of the intensity."""
PSI_MIN = 1e-8
"""Smallest angle of the table, radians."""
NSIDE_CENTRE = 1 << 22
"""Resolution at which the cells about the centre are taken as similar; ψ ~ 2·10⁻⁷ there."""


@dataclass(frozen=True)
class NFW:
    """Generalised NFW profile, squared.

    Parameters
    ----------
    gamma : float
        Inner slope, in [0, 1.5).
    r_s : float, kpc
        Scale radius.
    r_sun : float, kpc
        Distance of the Sun from the Galactic Centre.
    """

    gamma: float = 1.2
    r_s: float = 20.0
    r_sun: float = 8.5

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < 1.5:
            raise InputError(f"gamma: must lie in [0, 1.5), where the annihilation rate is finite, got {self.gamma}")
        check_positive("r_s", self.r_s)
        check_positive("r_sun", self.r_sun)

    def density_squared(self, radius: Array) -> Array:
        """ρ²(r) in units of ρ² with (r/r_s)^-γ (1 + r/r_s)^(γ-3) = 1; r in kpc."""
        x = radius / self.r_s
        return x ** (-2 * self.gamma) * (1 + x) ** (2 * self.gamma - 6)

    def intensity(self, psi: ArrayLike) -> Array:
        """∫ ρ² ds (kpc) at angles psi (n,) radians from the Galactic Centre, psi > 0."""
        return spherical_integral(self.density_squared, psi, self.r_sun)

    def map(self, nside: int, pixels: ArrayLike | None = None) -> Array:
        """Intensity averaged over NESTED pixels (all by default): array (n_pix,)."""
        indices = check_pixels(nside, pixels)
        at = self._table()
        means = pixel_average(at, nside, indices)
        for pixel in _central_pixels(nside):
            if np.any(here := indices == pixel):
                means[here] = self._central_mean(at, nside, pixel)
        return means

    def _table(self) -> _Radial:
        psi = np.geomspace(PSI_MIN, np.pi, N_TABLE)
        return _Radial(CubicSpline(np.log(psi), np.log(self.intensity(psi))))

    def _central_mean(self, at: _Radial, nside: int, pixel: int) -> float:
        """Mean over a pixel that touches the Galactic Centre."""
        cells, mean, share, ring = np.array([pixel]), 0.0, 1.0, 0.0
        while nside < NSIDE_CENTRE:
            nside, share = 2 * nside, share / 4
            children = (4 * cells[:, None] + np.arange(4)).ravel()
            centre = np.isin(children, _central_pixels(nside))
            ring = share * float(pixel_average(at, nside, children[~centre]).sum())
            mean, cells = mean + ring, children[centre]
        ratio = 2.0 ** (max(2 * self.gamma - 1, 0.0) - 2)
        return mean + ring * ratio / (1 - ratio)


@dataclass(frozen=True)
class _Radial:
    """Intensity as a function of the angle from the Galactic Centre: a spline of log I over log ψ."""

    spline: CubicSpline

    def __call__(self, nside: int, pixels: Pixels) -> Array:
        x, y, z = hp.pix2vec(nside, pixels, nest=True)
        return np.exp(self.spline(np.log(np.maximum(np.arctan2(np.hypot(y, z), x), PSI_MIN))))


def _central_pixels(nside: int) -> Pixels:
    """NESTED pixels that touch the Galactic Centre: those about the middle of base pixel 4."""
    if nside == 1:
        return np.array([4])
    middle = nside // 2
    x, y = np.array([-1, -1, 0, 0]) + middle, np.array([-1, 0, -1, 0]) + middle
    return np.asarray(hp.xyf2pix(nside, x, y, 4, nest=True), dtype=np.int64)
