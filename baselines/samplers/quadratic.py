"""A function to second order, and its correction by values that are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RIDGE", "Quadratic", "cholesky"]

FloatArray = NDArray[np.float64]

RIDGE = 1e-10
"""Beside covariances."""
_FAR = 10.0  # below the median: what a quadratic misses there no correction heeds
_BENT = 0.5  # curvature of corrections at most, of the prior's


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

    def beside(self, at: FloatArray) -> Quadratic:
        """The same with further features, which it does not depend on, about `at` (n_more,)."""
        more = 0, len(at)
        curvature = np.pad(self.curvature, (more, more))
        return Quadratic(np.append(self.at, at), self.value, np.pad(self.slope, more), curvature)

    def corrected(self, features: FloatArray, off: FloatArray, n: int) -> Quadratic:
        """With a quadratic in the last `n` features added, fitted to what it misses (n_known,) at (n_known, n_feature).

        By ridge regression, in coordinates in which features are white. These are such that the prior is a standard
        normal; the curvature by them stays below half the prior's, so that their product is bounded.
        """
        kept = off > np.median(off) - _FAR
        z, off = features[kept, -n:], off[kept]
        mean, inverse = z.mean(axis=0), np.linalg.inv(cholesky(np.cov(z.T)))
        white, (i, j) = (z - mean) @ inverse.T, np.triu_indices(n)
        terms = np.concatenate([np.ones((len(z), 1)), white, white[:, i] * white[:, j]], axis=1)
        ridge = np.diag(np.append(0.0, np.ones(terms.shape[1] - 1)))
        found = np.linalg.solve(terms.T @ terms + ridge, terms.T @ off)
        bent = np.zeros((n, n))
        bent[i, j] = found[1 + n :]
        before = self.curvature[-n:, -n:]
        values, axes = np.linalg.eigh(before + inverse.T @ (bent + bent.T) @ inverse)
        more = (axes * np.minimum(values, _BENT)) @ axes.T - before
        slope, away = inverse.T @ found[1 : 1 + n], self.at[-n:] - mean
        others = len(self.at) - n
        return Quadratic(
            self.at,
            self.value + float(found[0] + away @ slope + 0.5 * away @ more @ away),
            self.slope + np.pad(slope + more @ away, (others, 0)),
            self.curvature + np.pad(more, (others, 0)),
        )

    def __call__(self, y: FloatArray) -> FloatArray:
        """Values (n,) at features (n, n_feature)."""
        away = y - self.at
        return np.asarray(self.value + away @ self.slope + 0.5 * np.sum((away @ self.curvature) * away, axis=1))


def cholesky(covariance: FloatArray) -> FloatArray:
    """Lower triangular root (n, n) of a covariance (n, n) or a variance, made regular."""
    matrix = np.atleast_2d(covariance)
    return np.asarray(np.linalg.cholesky(matrix + RIDGE * np.eye(len(matrix))))
