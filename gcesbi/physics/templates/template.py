"""What every template offers."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Template"]


class Template(Protocol):
    """The shape on the sky of one emission, without point-spread function or exposure."""

    def map(self, nside: int, pixels: ArrayLike | None = None) -> NDArray[np.float64]:
        """Intensity averaged over NESTED pixels (all by default): array (n_pix,), finite and >= 0; units its own."""
        ...

    def __hash__(self) -> int:
        """Equal templates have equal maps, which are drawn once."""
        ...
