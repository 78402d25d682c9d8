r"""Multivariate Student t law: proposals of tails heavier than a posterior's."""

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
    """The law.

    Attributes
    ----------
    mean : array (n_dim,)
    scale : array (n_dim, n_dim)
        Covariance times (ν - 2) / ν.
    """

    mean: FloatArray
    scale: FloatArray

    @cached_property
    def _root(self) -> FloatArray:
        return np.asarray(np.linalg.cholesky(self.scale))

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Points (n, n_dim)."""
        stretch = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, n))
        normal = rng.standard_normal((n, len(self.mean)))
        return np.asarray(self.mean + stretch[:, None] * (normal @ self._root.T))

    def log_pdf(self, z: FloatArray) -> FloatArray:
        """Log-densities (n,) of points (n, n_dim)."""
        n_dim = len(self.mean)
        white = solve_triangular(self._root, (z - self.mean).T, lower=True)
        norm = gammaln((FREEDOM + n_dim) / 2) - gammaln(FREEDOM / 2) - n_dim / 2 * math.log(FREEDOM * math.pi)
        log_root = np.log(np.diag(self._root)).sum()
        return np.asarray(norm - log_root - (FREEDOM + n_dim) / 2 * np.log1p(np.sum(white**2, axis=0) / FREEDOM))
