"""What every set of analysed pixels has in common, whatever divides the sky: HEALPix, or an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = ["Grid", "pixels_of_runs"]

Array = NDArray[np.float64]


class Grid(ABC):
    """Pixels on which counts are analysed, in the order of all arrays (..., n_pix).

    Attributes
    ----------
    pixels : array (n_pix,)
        Numbers of the pixels among all of the grid's, ascending.
    """

    pixels: NDArray[np.int64]

    @property
    @abstractmethod
    def frame(self) -> Any:
        """What the pixels' numbers mean: pixels of equal frames may be compared by number."""

    @property
    @abstractmethod
    def solid_angles(self) -> Array:
        """Solid angle of every pixel (n_pix,), sr."""

    @abstractmethod
    def glon_glat(self) -> tuple[Array, Array]:
        """Galactic longitude in (-180, 180] and latitude of the pixels' middles, degrees, each (n_pix,)."""

    @abstractmethod
    def holding(self, glon: ArrayLike, glat: ArrayLike) -> NDArray[np.int64]:
        """Place among the pixels of the one that holds each direction (...), degrees; -1 where none does."""

    @abstractmethod
    def outline(self, place: int, n_side: int) -> Array:
        """Unit vectors (4 n_side, 3) around the outline of one pixel, n_side on every side."""

    @abstractmethod
    def cells(self, width: int) -> NDArray[np.int64]:
        """Number (n_pix,) of the cell of width × width pixels that each pixel lies in."""

    @property
    def vectors(self) -> Array:
        """Unit vectors (n_pix, 3) of the pixels' middles."""
        lon, lat = np.radians(self.glon_glat())
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)

    @property
    def pixel_size(self) -> float:
        """Side of a square of a pixel's mean solid angle, degrees."""
        return float(np.degrees(np.sqrt(self.solid_angles.mean())))

    def only(self, kept: NDArray[np.bool_]) -> Self:
        """The same grid with some of its pixels, (n_pix,); InputError if none is left."""
        return replace(self, pixels=self.pixels[kept])  # type: ignore[type-var]

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Frame and pixels as plain values, for JSON; see :func:`gcesbi.sky.grid_of`."""

    @classmethod
    def of(cls, grid: Grid) -> Self:
        """A grid of this kind, as it is.

        Raises
        ------
        InputError
            If it is of another kind.
        """
        if not isinstance(grid, cls):
            raise InputError(f"region: must be a {cls.__name__}, got {grid}")
        return grid

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self.frame == other.frame and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash((self.frame, self.pixels.tobytes()))

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.frame}, {self.n_pix} pixels, {self.solid_angle:.4g} sr)"

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return len(self.pixels)

    @property
    def solid_angle(self) -> float:
        """Solid angle of all pixels together, sr."""
        return float(self.solid_angles.sum())

    def places(self, part: Grid) -> NDArray[np.int64]:
        """Positions (n,), among these pixels, of those of another grid.

        Raises
        ------
        InputError
            If the other divides the sky in another way, or has pixels that this one lacks.
        """
        if part.frame != self.frame:
            raise InputError(f"region: must have the geometry {self.frame}, got {part.frame}")
        strange = np.setdiff1d(part.pixels, self.pixels)
        if strange.size:
            raise InputError(f"region: must be part of the region known here, has {strange.size} pixels outside it")
        return np.searchsorted(self.pixels, part.pixels)

    def _keep(self, pixels: NDArray[np.integer], n_all: int) -> None:
        """Check the pixels' numbers, below `n_all`, and hold them read-only."""
        numbers = np.asarray(pixels)
        pixels = numbers.astype(np.int64)
        if not np.array_equal(numbers, pixels):
            raise InputError("region: pixels must be whole numbers")
        if pixels.ndim != 1 or pixels.size == 0:
            raise InputError(f"region: must hold at least one pixel, got shape {pixels.shape}")
        if np.any(np.diff(pixels) <= 0):
            raise InputError("region: pixels must be ascending and distinct")
        if pixels[0] < 0 or pixels[-1] >= n_all:
            raise InputError(f"region: pixels must lie in [0, {n_all}), got {pixels[[0, -1]]}")
        pixels.setflags(write=False)
        object.__setattr__(self, "pixels", pixels)

    @property
    def _runs(self) -> str:
        """Runs of consecutive pixels, "first:end" each, the end not among them."""
        breaks = np.flatnonzero(np.diff(self.pixels) != 1) + 1
        return " ".join(f"{run[0]}:{run[-1] + 1}" for run in np.split(self.pixels, breaks))


def pixels_of_runs(runs: str) -> NDArray[np.int64]:
    """Pixels (n_pix,) of the runs in a description."""
    ends = (run.split(":") for run in runs.split())
    return np.concatenate([np.arange(int(first), int(end)) for first, end in ends])
