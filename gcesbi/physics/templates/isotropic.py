"""Isotropic emission: extragalactic gamma rays and misclassified cosmic rays, the same from every direction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.physics.templates.pixel_average import check_pixels

__all__ = ["Isotropic"]


@dataclass(frozen=True)
class Isotropic:
    """Isotropic emission of unit intensity."""

    def map(self, nside: int, pixels: ArrayLike | None = None) -> NDArray[np.float64]:
        """Intensity in NESTED pixels (all by default): array (n_pix,) of ones."""
        return np.ones(check_pixels(nside, pixels).size)
