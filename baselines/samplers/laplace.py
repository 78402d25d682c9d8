r"""The posterior about its highest points, in coordinates z in which the prior is a standard normal: u = Φ(z).

There the density is L(Φ(z)) e^{-z²/2}: its maxima lie within a few units of 0 also where the likelihood's lie at walls
of the prior. About the highest it is a normal to second order, of the inverse curvature (Laplace's approximation).
Where it curves upwards, or hardly, the prior's own width is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri

from gcesbi.baselines.samplers.target import Target
from gcesbi.errors import InputError

__all__ = ["Laplace", "NormalDensity"]

FloatArray = NDArray[np.float64]

_FURTHEST = 6.0  # |z| of a climb
_STEP = 0.03  # in z, of a difference of gradients
_FLOOR = 1e250  # taken for a density of 0: a number the line search can step back from
_ROOT_2PI = math.sqrt(2 * math.pi)
_MAX_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class NormalDensity:
    """Logarithm of the posterior density by z, but for a constant."""

    target: Target

    def __call__(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (n_dim,) at z (n_dim,)."""
        if self.target.gradient is None:
            raise InputError("target: has no gradient to climb by")
        value, slope = self.target.gradient(ndtr(z))
        return value - 0.5 * float(z @ z), slope * np.exp(-0.5 * z**2) / _ROOT_2PI - z


@dataclass(frozen=True, eq=False)
class Laplace:
    """The posterior to second order.

    Attributes
    ----------
    ends : array (n_start, n_dim)
        z at the end of every climb, the highest first: climbs that disagree tell of several modes.
    values : array (n_start,)
        Log-densities there.
    covariance : array (n_dim, n_dim)
        Of z, about the highest.
    n_evaluation : int
        Values with gradients.
    """

    ends: FloatArray
    values: FloatArray
    covariance: FloatArray
    n_evaluation: int

    @classmethod
    def about(cls, target: Target, n_start: int, seed: int, n_trial: int = 64) -> Laplace:
        """Climb from the most likely of some draws of the prior."""
        trials = np.random.default_rng([seed, 0]).random((max(n_trial, n_start), target.n_dim))
        starts = ndtri(trials[np.argsort(-target.finite(trials), kind="stable")[:n_start]])
        found = cls.from_starts(target, starts)
        return replace(found, n_evaluation=found.n_evaluation + len(trials))

    @classmethod
    def from_starts(cls, target: Target, starts: FloatArray) -> Laplace:
        """Climb from points z (n_start, n_dim), and take differences of the gradient at the top."""
        density, spent = NormalDensity(target), 0

        def negative(z: FloatArray) -> tuple[float, FloatArray]:
            nonlocal spent
            spent += 1
            value, slope = density(z)
            if not (np.isfinite(value) and np.isfinite(slope).all()):
                return _FLOOR, np.zeros_like(z)
            return -value, -slope

        bounds = [(-_FURTHEST, _FURTHEST)] * target.n_dim
        options = {"maxiter": 300, "maxcor": 30, "ftol": 1e-9, "gtol": 1e-3}
        climbs = [minimize(negative, z, jac=True, method="L-BFGS-B", bounds=bounds, options=options) for z in starts]
        climbs.sort(key=lambda climb: float(climb.fun))
        top, steps = climbs[0].x, _STEP * np.eye(target.n_dim)
        curvature = np.array([negative(top + step)[1] - negative(top - step)[1] for step in steps]) / (2 * _STEP)
        values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
        covariance = (axes / np.maximum(values, 1.0)) @ axes.T
        ends, heights = np.array([climb.x for climb in climbs]), -np.array([climb.fun for climb in climbs])
        return cls(ends, heights, covariance, spent)

    @property
    def _high(self) -> FloatArray:
        """Ends that count: of densities not lower than the highest by n_dim."""
        return np.asarray(self.ends[self.values >= self.values[0] - self.ends.shape[1]])

    @property
    def distinct(self) -> FloatArray:
        """Ends (n, n_dim) that count and are more than a width apart."""
        n_dim, inverse = self.ends.shape[1], np.linalg.inv(self.covariance)
        kept: list[FloatArray] = []
        for end in self._high:
            away = np.array([end - other for other in kept]).reshape(-1, n_dim)
            if np.all(np.einsum("ni,ij,nj->n", away, inverse, away) > 1):
                kept.append(end)
        return np.array(kept)

    def starts(self, target: Target, n: int, seed: int) -> FloatArray:
        """Points z (n, n_dim), drawn about those ends that count."""
        centres = self._high[np.arange(n) % len(self._high)]
        normal = np.random.default_rng([seed, 1]).standard_normal((n, target.n_dim))
        steps, far = normal @ np.linalg.cholesky(self.covariance).T, np.arange(n)
        for _ in range(_MAX_HALVINGS):
            z = centres[far] + steps[far]
            far = far[target.finite(ndtr(z)) - 0.5 * np.sum(z**2, axis=1) < self.values[0] - 2 * target.n_dim]
            if not far.size:
                break
            steps[far] /= 2
        return centres + steps
