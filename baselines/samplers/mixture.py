"""A mixture of normal laws in the shape of points, which draws are proposed from whole."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.samplers.quadratic import cholesky

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

__all__ = ["Mixture"]

FloatArray = NDArray[np.float64]

_LAWS = 12
_LEAST = 20  # points of a law, at least
_WIDEST = 1e-5  # variance added to each law, of the points' own
_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class Mixture:
    """The mixture, of white points.

    Attributes
    ----------
    mean : array (n_dim,)
    root : array (n_dim, n_dim)
        Lower triangular, of the points' covariance.
    laws : sklearn.mixture.GaussianMixture
    """

    mean: FloatArray
    root: FloatArray
    laws: GaussianMixture

    @classmethod
    def of(cls, z: FloatArray, rng: np.random.Generator) -> Mixture:
        """That of points (n, n_dim), by expectation maximisation (Dempster, Laird & Rubin 1977)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mean, root = z.mean(axis=0), cholesky(np.cov(z.T))
        laws = GaussianMixture(
            max(min(_LAWS, len(z) // (_LEAST * len(root))), 1),
            reg_covar=_WIDEST,
            max_iter=_ITERATIONS,
            random_state=int(rng.integers(2**31)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an approximation is all that is asked
            laws.fit(np.linalg.solve(root, (z - mean).T).T)
        return cls(mean, root, laws)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Points (n, n_dim)."""
        law = rng.choice(len(self.laws.weights_), size=n, p=self.laws.weights_)
        roots = np.linalg.cholesky(self.laws.covariances_)[law]
        white = self.laws.means_[law] + np.einsum("nij,nj->ni", roots, rng.standard_normal((n, len(self.root))))
        return np.asarray(self.mean + white @ self.root.T)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log-density (n,) at points (n, n_dim)."""
        white = np.linalg.solve(self.root, (z - self.mean).T).T
        return np.asarray(self.laws.score_samples(white) - np.log(np.diag(self.root)).sum())
