"""Errors of a prediction, read off validation images with predictions like it (Caron et al. 2018, Fig. 8 and Table 3).

Predictions ŷ in [0, 1] fall into ten bins. In each, the absolute errors |ŷ - y| of the validation images have quantiles
at the levels 68.27, 95.45 and 99.73 %, and a maximum: the 1σ, 2σ and 3σ errors, and the largest. An interval ŷ ± 1σ
then holds 68 % of the truths among images with like predictions, if the image is one of those that were drawn.

Between these levels the error is taken as linear in the level, from 0 at level 0 to the maximum at level 1; that makes
a whole predictive distribution, symmetric about ŷ, by which the method can be judged as others are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = ["LEVELS", "BinnedErrors"]

Array = NDArray[np.float64]

LEVELS = (0.6827, 0.9545, 0.9973, 1.0)
"""Shares of errors below those that are told: 1σ, 2σ, 3σ, maximum."""
N_BIN = 10


@dataclass(frozen=True, eq=False)
class BinnedErrors:
    """Errors by bin of the prediction.

    Parameters
    ----------
    edges : array (n_bin + 1,)
        Of the predicted share, from 0 to 1.
    number : array (n_bin,)
        Validation images.
    errors : array (4, n_bin)
        At :data:`LEVELS`; NaN in a bin without images.
    """

    edges: Array
    number: NDArray[np.int64]
    errors: Array

    @classmethod
    def measure(cls, prediction: ArrayLike, truth: ArrayLike) -> Self:
        """Errors of predictions (n,) of validation images.

        Raises
        ------
        InputError
            If shapes differ, there is no image, or a prediction lies outside [0, 1].
        """
        found, true = _checked(prediction), np.asarray(truth, dtype=np.float64)
        if found.shape != true.shape or found.ndim != 1 or not found.size:
            raise InputError(f"prediction, truth: must be of one length, got shapes {found.shape} and {true.shape}")
        edges = np.linspace(0, 1, N_BIN + 1)
        bins, error = _bins(found, edges), np.abs(found - true)
        number = np.bincount(bins, minlength=N_BIN)
        table = np.full((len(LEVELS), N_BIN), np.nan)
        for k in np.flatnonzero(number):
            table[:, k] = np.quantile(error[bins == k], LEVELS)
        return cls(edges, number, table)

    def of(self, prediction: ArrayLike) -> Array:
        """Errors (4, n) of predictions (n,), at :data:`LEVELS`; those of the nearest bin that held images."""
        held = np.flatnonzero(self.number)
        bins = _bins(_checked(prediction), self.edges)
        nearest = held[np.argmin(np.abs(bins[:, None] - held), axis=1)]
        return self.errors[:, nearest]

    def quantiles(self, prediction: ArrayLike, taus: ArrayLike) -> Array:
        """Quantiles (n_tau, n) of f_src at levels (n_tau,), given predictions (n,); they stay within [0, 1]."""
        found, levels = _checked(prediction), np.asarray(taus, dtype=np.float64)
        errors = np.concatenate([np.zeros((1, len(found))), self.of(found)])
        nodes = np.array([0.0, *LEVELS])
        central = np.abs(2 * levels - 1)
        k = np.clip(np.searchsorted(nodes, central, side="right") - 1, 0, len(nodes) - 2)
        share = (central - nodes[k]) / (nodes[k + 1] - nodes[k])
        half = errors[k] + share[:, None] * (errors[k + 1] - errors[k])
        return np.clip(found + np.sign(levels - 0.5)[:, None] * half, 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        errors = [[None if np.isnan(x) else float(x) for x in row] for row in self.errors]
        return {"edges": self.edges.tolist(), "number": self.number.tolist(), "errors": errors}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The errors that :meth:`to_dict` gave."""
        return cls(
            np.array(content["edges"], dtype=np.float64),
            np.array(content["number"], dtype=np.int64),
            np.array(content["errors"], dtype=np.float64),
        )


def _checked(prediction: ArrayLike) -> Array:
    found = np.asarray(prediction, dtype=np.float64)
    if not np.all((found >= 0) & (found <= 1)):
        raise InputError(f"prediction: must lie in [0, 1], got {found[~((found >= 0) & (found <= 1))].flat[0]}")
    return found


def _bins(prediction: Array, edges: Array) -> NDArray[np.int64]:
    return np.clip(np.searchsorted(edges, prediction, side="right") - 1, 0, len(edges) - 2)
