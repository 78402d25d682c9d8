"""A function to second order, and corrections of a law by values that are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RIDGE", "Correction", "Quadratic", "cholesky"]

FloatArray = NDArray[np.float64]

RIDGE = 1e-10
"""Beside covariances."""
_FAR = 10.0  # below the median: what a law misses there no correction heeds
_RIDGES = np.geomspace(1.0, 1e4, 9)
_WITHIN = 0.99  # of the points, in the ellipsoid of a correction


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


@dataclass(frozen=True, eq=False)
class Correction:
    r"""A quadratic in an ellipsoid, and outside it what stands at its surface on the way to the centre.

    Attributes
    ----------
    inside : Quadratic
        Of coordinates (n_dim,).
    precision : array (n_dim, n_dim)
        The ellipsoid is where d P d \leq 1, d being the distance from the quadratic's centre.
    """

    inside: Quadratic
    precision: FloatArray

    @classmethod
    def fitted(cls, z: FloatArray, off: FloatArray, now: FloatArray) -> Correction:
        """To what a law misses (n,) at points z (n, n_dim), and with the correction that it has now (n,).

        By ridge regression in coordinates in which the points are white, the ridge being that of the least
        error of points left out one by one. The ellipsoid reaches as far as nearly all points.
        """
        from sklearn.linear_model import RidgeCV

        kept = now > np.median(now) - _FAR
        z, off = z[kept], off[kept]
        centre, inverse = z.mean(axis=0), np.linalg.inv(cholesky(np.cov(z.T)))
        white, (i, j) = (z - centre) @ inverse.T, np.triu_indices(z.shape[1])
        found = RidgeCV(_RIDGES).fit(np.concatenate([white, white[:, i] * white[:, j]], axis=1), off)
        (slope, products), bent = np.split(found.coef_, [len(inverse)]), np.zeros_like(inverse)
        bent[i, j] = products
        inside = Quadratic(centre, float(found.intercept_), inverse.T @ slope, inverse.T @ (bent + bent.T) @ inverse)
        return cls(inside, inverse.T @ inverse / np.quantile(np.sum(white**2, axis=1), _WITHIN))

    def __call__(self, z: FloatArray) -> FloatArray:
        """Values (n,) at points z (n, n_dim)."""
        away = z - self.inside.at
        beyond = np.sqrt(np.maximum(np.sum((away @ self.precision) * away, axis=1), 1.0))
        return self.inside(self.inside.at + away / beyond[:, None])


def cholesky(covariance: FloatArray) -> FloatArray:
    """Lower triangular root (n, n) of a covariance (n, n) or a variance, made regular."""
    matrix = np.atleast_2d(covariance)
    return np.asarray(np.linalg.cholesky(matrix + RIDGE * np.eye(len(matrix))))
