"""The Fermi bubbles: two lobes above and below the Galactic Centre, uniform within a smooth outline.

Su, Slatyer & Finkbeiner 2010 (arXiv:1005.5480) found two lobes with sharp edges and nearly uniform intensity, about 50°
high and 40° wide; the southern one reaches farther south and west. Here each lobe is an ellipse in the coordinates
x = (l - l_0) cos b - e (b - b_0), y = b - b_0, with rounded axes, guided by the outline of the template in use with
the 573-week maps (Leane & Slatyer 2020, arXiv:2002.12370); e leans it westwards as it leaves the plane. The waist near
the plane, where other emission hides the bubbles, is left out: the lobes begin at b = +0.5° and -5°.
"""

from dataclasses import dataclass

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.physics.templates.line_of_sight import check_positive
from gcesbi.physics.templates.pixel_average import Pixels, check_pixels, pixel_average

__all__ = ["Bubbles", "Lobe"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lobe:
    """Ellipse on the sky.

    Parameters
    ----------
    glon, glat : float, degrees
        Centre.
    half_width, half_height : float, degrees
        Semi-axes along longitude (times cos b) and along latitude.
    lean : float
        Shift e of the ellipse along longitude (times cos b) per degree of latitude.
    """

    glon: float
    glat: float
    half_width: float
    half_height: float
    lean: float = 0.0

    def __post_init__(self) -> None:
        check_positive("half_width", self.half_width, "degrees")
        check_positive("half_height", self.half_height, "degrees")
        if not -180 < self.glon <= 180:
            raise InputError(f"glon: must lie in (-180, 180] degrees, got {self.glon}")
        if not abs(self.glat) + self.half_height <= 90:
            raise InputError(f"glat: the lobe must end before the poles, got {self.glat} +- {self.half_height}")
        if not abs(self.lean) < 1:
            raise InputError(f"lean: must lie in (-1, 1), got {self.lean}")

    def depth(self, glon: Array, glat: Array) -> Array:
        """Distance (n,) to the outline, degrees, positive inside; to first order, exact on the outline."""
        y = glat - self.glat
        x = ((glon - self.glon + 180) % 360 - 180) * np.cos(np.radians(glat)) - self.lean * y
        inside = 1 - (x / self.half_width) ** 2 - (y / self.half_height) ** 2
        towards_x, towards_y = x / self.half_width**2, y / self.half_height**2
        slope = 2 * np.hypot(towards_x, towards_y - self.lean * towards_x)
        return inside / np.maximum(slope, 1e-3)


@dataclass(frozen=True)
class Bubbles:
    """Two lobes of unit intensity.

    Parameters
    ----------
    north, south : Lobe
        Outlines.
    """

    north: Lobe = Lobe(glon=-0.5, glat=24.5, half_width=17.5, half_height=24.0, lean=-0.12)
    south: Lobe = Lobe(glon=-3.5, glat=-29.0, half_width=18.0, half_height=24.0, lean=0.12)

    def map(self, nside: int, pixels: ArrayLike | None = None) -> Array:
        """Share of each NESTED pixel (all by default) within the lobes: array (n_pix,), in [0, 1]."""
        return pixel_average(self._cover, nside, check_pixels(nside, pixels), max_depth=4)

    def _cover(self, nside: int, pixels: Pixels) -> Array:
        """Share of a pixel within the lobes, its edge taken as straight."""
        glon, glat = hp.pix2ang(nside, pixels, nest=True, lonlat=True)
        depth = np.maximum(self.north.depth(glon, glat), self.south.depth(glon, glat))
        return np.clip(0.5 + depth / np.degrees(hp.nside2resol(nside)), 0.0, 1.0)
