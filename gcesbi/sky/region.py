"""The part of the sky that is analysed: a set of HEALPix pixels in NESTED order.

HEALPix (Górski et al. 2005, astro-ph/0409513) divides the sphere into 12 nside² pixels of equal area.
A :class:`Region` is a disc about a centre, less a band about the Galactic plane, less masked pixels (List et al. 2025,
arXiv:2507.17804: 25° about the Galactic Centre, |b| > 2°, catalogue sources masked).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import healpy as hp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from gcesbi.errors import InputError
from gcesbi.sky.grid import Grid
from gcesbi.sky.quantity import Direction, Scalar, direction, number_in, plain

__all__ = ["Region", "check_band", "check_nside", "check_radius", "glon_glat", "in_disc", "norm_disc"]

NORM_RADIUS, NORM_LATITUDE = 30.0, 2.0
"""Norms of templates are means over the disc of this radius about the Galactic Centre, above this |b|; degrees."""


def check_nside(nside: int) -> int:
    """Return `nside` if it is a power of two, as NESTED order needs; raise InputError otherwise."""
    if not (isinstance(nside, (int, np.integer)) and nside > 0 and nside & (nside - 1) == 0):
        raise InputError(f"nside: must be a power of two, got {nside!r}")
    return int(nside)


def check_radius(radius: Scalar) -> float:
    """Radius of a disc, degrees, from a number or a Quantity; InputError unless it lies in (0, 180]."""
    value = number_in(radius, "deg", "radius")
    if not 0 < value <= 180:
        raise InputError(f"radius: must lie in (0, 180] degrees, got {value}")
    return value


def check_band(band: Scalar, name: str = "band") -> float:
    """Latitude below which pixels are left out, degrees; InputError unless it lies in [0, 90)."""
    value = number_in(band, "deg", name)
    if not 0 <= value < 90:
        raise InputError(f"{name}: must lie in [0, 90) degrees, got {value}")
    return value


def glon_glat(nside: int, pixels: ArrayLike | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Galactic longitude in (-180, 180] and latitude of pixel centres (NESTED; all pixels by default), degrees."""
    pixels = np.arange(hp.nside2npix(nside)) if pixels is None else np.asarray(pixels)
    glon, glat = hp.pix2ang(nside, pixels, nest=True, lonlat=True)
    return np.where(glon > 180, glon - 360, glon), glat


def in_disc(
    nside: int,
    radius: float,
    min_latitude: float = 0.0,
    centre: tuple[float, float] = (0.0, 0.0),
    pixels: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Whether centres of `pixels` (NESTED; default all) lie within `radius` of `centre` and at |b| > `min_latitude`.

    A `min_latitude` of 0 cuts nothing, not even the pixels centred on the plane.
    """
    pixels = np.arange(hp.nside2npix(nside)) if pixels is None else pixels
    vectors = np.stack(hp.pix2vec(nside, pixels, nest=True), axis=-1)
    towards = hp.ang2vec(*centre, lonlat=True)
    near = vectors @ towards > np.cos(np.radians(radius))
    return near & (np.abs(glon_glat(nside, pixels)[1]) > min_latitude) if min_latitude else near


def norm_disc(nside: int) -> NDArray[np.int64]:
    """NESTED pixels (n,) of the normalisation disc."""
    return np.flatnonzero(in_disc(nside, NORM_RADIUS, NORM_LATITUDE))


@dataclass(frozen=True, eq=False, repr=False)
class Region(Grid):
    """Pixels of one nside on which counts are analysed.

    Parameters
    ----------
    nside : int
        HEALPix resolution, a power of two.
    pixels : array (n_pix,)
        NESTED pixel indices, ascending.

    Raises
    ------
    InputError
        If nside is no power of two, or pixels are none, unsorted, repeated or outside the sphere.
    """

    nside: int
    pixels: NDArray[np.int64]

    def __post_init__(self) -> None:
        check_nside(self.nside)
        self._keep(self.pixels, hp.nside2npix(self.nside))

    @classmethod
    def disc(
        cls,
        nside: int,
        radius: Scalar = 25.0,
        min_latitude: Scalar = 2.0,
        centre: Direction = (0.0, 0.0),
        mask: ArrayLike | None = None,
    ) -> Region:
        """Disc of `radius` about `centre`, at |b| > `min_latitude`, less masked pixels.

        Parameters
        ----------
        radius, min_latitude : float, deg, or Quantity
        centre : (glon, glat), deg, or SkyCoord
        mask : array (12 nside²,), optional
            NESTED; true where a pixel is masked.

        Raises
        ------
        InputError
            If an angle is out of range or none, the mask has another size, or no pixel is left.
        """
        check_nside(nside)
        radius, min_latitude = check_radius(radius), check_band(min_latitude, "min_latitude")
        inside = in_disc(nside, radius, min_latitude, direction(centre))
        if mask is not None:
            mask = plain(mask, "mask")
            if mask.shape != inside.shape:
                raise InputError(f"mask: must have shape {inside.shape} at nside {nside}, got {mask.shape}")
            inside &= ~mask.astype(bool)
        if not inside.any():
            raise InputError(f"region: no pixel is left within {radius} deg, |b| > {min_latitude} deg, after masking")
        return cls(nside, np.flatnonzero(inside))

    @property
    def frame(self) -> int:
        """HEALPix resolution, nside."""
        return self.nside

    @property
    def solid_angles(self) -> NDArray[np.float64]:
        """Solid angle of every pixel (n_pix,), sr."""
        return np.full(self.n_pix, hp.nside2pixarea(self.nside))

    @property
    def solid_angle(self) -> float:
        """Solid angle of all pixels together, sr."""
        return self.n_pix * hp.nside2pixarea(self.nside)

    @cached_property
    def index(self) -> NDArray[np.int32]:
        """Array (12 nside²,): position of every NESTED pixel in the region, -1 outside."""
        index = np.full(hp.nside2npix(self.nside), -1, dtype=np.int32)
        index[self.pixels] = np.arange(self.n_pix, dtype=np.int32)
        return index

    def glon_glat(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Galactic longitude and latitude of the pixel centres, degrees, each (n_pix,)."""
        return glon_glat(self.nside, self.pixels)

    def holding(self, glon: ArrayLike, glat: ArrayLike) -> NDArray[np.int64]:
        """Place among the pixels of the one that holds each direction (...), degrees; -1 where none does."""
        return self.index[hp.ang2pix(self.nside, glon, glat, nest=True, lonlat=True)].astype(np.int64)

    def outline(self, place: int, n_side: int) -> NDArray[np.float64]:
        """Unit vectors (4 n_side, 3) around the outline of one pixel."""
        return np.asarray(hp.boundaries(self.nside, int(self.pixels[place]), step=n_side, nest=True).T)

    def cells(self, width: int) -> NDArray[np.int64]:
        """Number (n_pix,) of the HEALPix pixel of width² times the area, width a power of two, that holds each."""
        return self.pixels // width**2

    def describe(self) -> dict[str, Any]:
        """Resolution, and pixels as runs of consecutive ones."""
        return {"nside": self.nside, "runs": self._runs}

    def full_sky(self, values: ArrayLike, fill: float = hp.UNSEEN) -> NDArray[np.float64]:
        """Spread values (..., n_pix) over a full-sky NESTED map (..., 12 nside²), `fill` outside the region."""
        values = np.asarray(values)
        full = np.full((*values.shape[:-1], hp.nside2npix(self.nside)), fill, dtype=np.float64)
        full[..., self.pixels] = values
        return full

    def extend(self, values: ArrayLike, part: Region) -> NDArray[np.float64]:
        """Values (..., n_part) on a part of the region as (..., n_pix): elsewhere, those of the nearest pixel."""
        here, there = (
            np.stack(hp.pix2vec(self.nside, each, nest=True), axis=-1) for each in (self.pixels, part.pixels)
        )
        return np.asarray(values)[..., cKDTree(there).query(here)[1]]
