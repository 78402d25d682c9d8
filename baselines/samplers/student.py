r"""Multivariate Student t law of some coordinates given others: proposals of tails heavier than a posterior's.

Of a t law of mean μ, scale Σ and ν degrees of freedom, p coordinates given at squared distance d² leave a t law of
mean μ₂ + Σ₂₁ Σ₁₁⁻¹ (z₁ - μ₁), scale (ν + d²) / (ν + p) · (Σ₂₂ - Σ₂₁ Σ₁₁⁻¹ Σ₁₂) and ν + p degrees of freedom
(Ding 2016, arXiv:1604.00561).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln

__all__ = ["FREEDOM", "Student"]

FloatArray = NDArray[np.float64]

FREEDOM = 6.0  # ν


@dataclass(frozen=True, eq=False)
class Student:
    """The law of z[given:] given z[:given].

    Attributes
    ----------
    mean : array (n_dim,)
        Of all coordinates.
    scale : array (n_dim, n_dim)
        Covariance times (ν - 2) / ν.
    given : int
        Number of coordinates that are given.
    """

    mean: FloatArray
    scale: FloatArray
    given: int = 0

    @cached_property
    def _root(self) -> FloatArray:
        """Lower triangular; its blocks are those of the given coordinates and of the others given these."""
        return np.asarray(np.linalg.cholesky(self.scale))

    @property
    def _freedom(self) -> float:
        return FREEDOM + self.given

    def _distance(self, white: FloatArray) -> FloatArray:
        """Stretch (n,) of the scale, by the given part of whitened points (n, n_dim)."""
        return np.asarray((FREEDOM + np.sum(white[:, : self.given] ** 2, axis=1)) / self._freedom)

    def draw(self, known: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Points (n, n_dim) of which `known` (n, given) are the first coordinates."""
        n, k, root = len(known), self.given, self._root
        white = np.empty((n, len(self.mean)))
        white[:, :k] = solve_triangular(root[:k, :k], (known - self.mean[:k]).T, lower=True).T
        stretch = np.sqrt(self._distance(white) * self._freedom / rng.chisquare(self._freedom, n))
        white[:, k:] = rng.standard_normal((n, len(self.mean) - k)) * stretch[:, None]
        return np.concatenate([known, (self.mean + white @ root.T)[:, k:]], axis=1)

    def log_pdf(self, z: FloatArray) -> FloatArray:
        """Log-densities (n,) of points (n, n_dim), by the coordinates that are not given."""
        n_free, freedom = len(self.mean) - self.given, self._freedom
        white = solve_triangular(self._root, (z - self.mean).T, lower=True).T
        stretch = self._distance(white)
        squared = np.sum(white[:, self.given :] ** 2, axis=1) / stretch
        norm = gammaln((freedom + n_free) / 2) - gammaln(freedom / 2) - n_free / 2 * math.log(freedom * math.pi)
        log_root = np.log(np.diag(self._root)[self.given :]).sum() + n_free / 2 * np.log(stretch)
        return np.asarray(norm - log_root - (freedom + n_free) / 2 * np.log1p(squared / freedom))
