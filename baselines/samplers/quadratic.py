"""A function to second order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RIDGE", "Quadratic", "cholesky"]

FloatArray = NDArray[np.float64]

RIDGE = 1e-10
"""Beside covariances."""


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A function to second order.

    Attributes
    ----------
    at : array (n_feature,)
    value : float
    slope : array (n_feature,)
    curvature : array (n_feature, n_feature)
    """

    at: FloatArray
    value: float
    slope: FloatArray
    curvature: FloatArray

    def __call__(self, y: FloatArray) -> FloatArray:
        """Values (n,) at features (n, n_feature)."""
        away = y - self.at
        return np.asarray(self.value + away @ self.slope + 0.5 * np.sum((away @ self.curvature) * away, axis=1))


def cholesky(covariance: FloatArray) -> FloatArray:
    """Lower triangular root (n, n) of a covariance (n, n) or a variance, made regular."""
    matrix = np.atleast_2d(covariance)
    return np.asarray(np.linalg.cholesky(matrix + RIDGE * np.eye(len(matrix))))
