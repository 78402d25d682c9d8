"""What figures of calibration read of a measure, whoever made it; :mod:`gcesbi.validation` has classes that fit."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Band", "Curve", "Density", "Groups"]


class Band(Protocol):
    """A value between two limits."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


class _Bands(Protocol):
    @property
    def low(self) -> NDArray[np.float64]: ...
    @property
    def high(self) -> NDArray[np.float64]: ...


class Curve(_Bands, Protocol):
    """Coverage with its band (n_alpha,) at nominal levels."""

    @property
    def alphas(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def coverage(self) -> NDArray[np.float64]: ...  # noqa: D102
    def at(self, alpha: float) -> tuple[float, float, float]:
        """Coverage and its band at a level."""


class Density(_Bands, Protocol):
    """A histogram (n_bin,) with its band, and edges (n_bin + 1,)."""

    @property
    def edges(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def density(self) -> NDArray[np.float64]: ...  # noqa: D102


class Groups(Protocol):
    """Groups of pairs, each with ``name``, ``n_map``, ``few_maps`` and ``estimate``; and what a calibrated mean is."""

    @property
    def groups(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def nominal(self) -> float: ...  # noqa: D102
