"""Mixtures of normal laws in the shape of points, which some of their coordinates are drawn from given the others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from gcesbi.baselines.samplers.quadratic import RIDGE, cholesky

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

__all__ = ["Mixture", "alike"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LAWS = 12
_LEAST = 20  # points of a law for each dimension, at least
_WIDEST = 1e-5  # variance added to each law, of the points' own
_ITERATIONS = 30
_SUMS = 3  # of the other coordinates
_SHRUNK = 1e-3  # ridge of the regression that finds them, of the points' variance
_MORE = 6  # coordinates that a group takes
_ALIKE = 0.3  # correlation with one of the group, for that


@dataclass(frozen=True, eq=False)
class Mixture:
    """The mixture, of some coordinates and of the sums of all others that tell most of them, in units of widths.

    Attributes
    ----------
    columns, others : array
        Places of both.
    mean, width : array (n_dim,)
        Of the points.
    sums : array (n_other, n_sum)
    laws : sklearn.mixture.GaussianMixture
    """

    columns: IntArray
    others: IntArray
    mean: FloatArray
    width: FloatArray
    sums: FloatArray
    laws: GaussianMixture

    @classmethod
    def of(cls, z: FloatArray, columns: IntArray, rng: np.random.Generator) -> Mixture:
        """That of points (n, n_dim), by expectation maximisation (Dempster, Laird & Rubin 1977)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mean, width = z.mean(axis=0), np.sqrt(z.var(axis=0) + RIDGE)
        white, others = (z - mean) / width, np.setdiff1d(np.arange(z.shape[1]), columns)
        sums = _telling(white[:, others], white[:, columns])
        points = np.concatenate([white[:, columns], white[:, others] @ sums], axis=1)
        laws = GaussianMixture(
            max(min(_LAWS, len(z) // (_LEAST * points.shape[1])), 1),
            reg_covar=_WIDEST,
            max_iter=_ITERATIONS,
            random_state=int(rng.integers(2**31)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an approximation is all that is asked
            laws.fit(points)
        return cls(columns, others, mean, width, sums, laws)

    @cached_property
    def _given(self) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Of every law the root of the sums' covariance, and slope and root of the coordinates given the sums."""
        n, found = len(self.columns), []
        for covariance in self.laws.covariances_:
            slope = np.linalg.solve(covariance[n:, n:], covariance[n:, :n])
            own = cholesky(covariance[:n, :n] - covariance[:n, n:] @ slope)
            found.append((cholesky(covariance[n:, n:]), slope, own))
        return found

    def draw(self, z: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Coordinates (n, n_column) anew of points (n, n_dim), given their others."""
        n, sums = len(self.columns), self._points(z)[:, len(self.columns) :]
        log_share, centres = np.log(self.laws.weights_)[:, None] + np.zeros(len(z)), []
        for k, (mean, (root, slope, _)) in enumerate(zip(self.laws.means_, self._given, strict=True)):
            off = (sums - mean[n:]).T
            log_share[k] -= 0.5 * np.sum(solve_triangular(root, off, lower=True) ** 2, axis=0)
            log_share[k] -= np.log(np.diag(root)).sum()
            centres.append(mean[:n] + off.T @ slope)
        below = np.cumsum(np.exp(log_share - logsumexp(log_share, axis=0)), axis=0)
        which = np.minimum(np.sum(rng.random(len(z)) > below, axis=0), len(centres) - 1)
        white, normal = np.empty((len(z), n)), rng.standard_normal((len(z), n))
        for k, (centre, (_, _, own)) in enumerate(zip(centres, self._given, strict=True)):
            white[which == k] = (centre + normal @ own.T)[which == k]
        return np.asarray(self.mean[self.columns] + self.width[self.columns] * white)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log-density (n,) of these coordinates at points (n, n_dim), but for what their others alone make of it."""
        return np.asarray(self.laws.score_samples(self._points(z)) - np.log(self.width[self.columns]).sum())

    def _points(self, z: FloatArray) -> FloatArray:
        white = (z - self.mean) / self.width
        return np.concatenate([white[:, self.columns], white[:, self.others] @ self.sums], axis=1)


def _telling(x: FloatArray, y: FloatArray) -> FloatArray:
    """Sums (n_x, n_sum) of x (n, n_x), of variance 1, from which y (n, n_y) is told best by linear regression."""
    slope = np.linalg.solve(x.T @ x + _SHRUNK * len(x) * np.eye(x.shape[1]), x.T @ y)
    _, _, directions = np.linalg.svd(x @ slope, full_matrices=False)
    sums = slope @ directions[: min(_SUMS, x.shape[1])].T
    return np.asarray(sums / np.sqrt(np.var(x @ sums, axis=0) + RIDGE))


def alike(z: FloatArray, columns: IntArray) -> IntArray:
    """Some coordinates of points (n, n_dim) and those others, a few at most, that go along with them."""
    correlation, found = np.abs(np.corrcoef(z.T)), columns.tolist()
    while len(found) < len(columns) + _MORE:
        along = correlation[found].max(axis=0)
        along[found] = 0
        if along.max() < _ALIKE:
            break
        found.append(int(along.argmax()))
    return np.sort(found)
