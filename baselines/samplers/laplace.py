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

__all__ = ["Climb", "Laplace", "NormalDensity", "climb"]

FloatArray = NDArray[np.float64]

_FURTHEST = 6.0  # |z| of a climb
_STEP = 0.03  # in z, of a difference of gradients
_FLOOR = 1e250  # of all densities
_FALL = 1e3  # of the log-density, where it is no number
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
class Climb:
    """The end of a climb.

    Attributes
    ----------
    z : array (n_dim,)
    value : float
        Log-density there.
    n_evaluation : int
        Values with gradients.
    """

    z: FloatArray
    value: float
    n_evaluation: int


def climb(target: Target, start: FloatArray) -> Climb:
    """Climb from a point z (n_dim,), by L-BFGS.

    Without bounds, or its first step would go to them; where the likelihood is no number it finds a value so much lower
    than the first one that it steps back, and not so low that it stays.
    """
    density, least = NormalDensity(target), -math.inf

    def negative(z: FloatArray) -> tuple[float, FloatArray]:
        nonlocal least
        inside = np.clip(z, -_FURTHEST, _FURTHEST)
        value, slope = density(inside)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return min(-least, _FLOOR), np.zeros_like(z)
        least = max(least, value - _FALL * (1 + abs(value)))
        return 0.5 * float(z @ z - inside @ inside) - value, z - inside - slope

    options = {"maxiter": 300, "maxcor": 30, "ftol": 1e-9, "gtol": 1e-3}
    found = minimize(negative, start, jac=True, method="L-BFGS-B", options=options)
    return Climb(np.clip(found.x, -_FURTHEST, _FURTHEST), -float(found.fun), found.nfev)


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
        climbs = sorted((climb(target, z) for z in starts), key=lambda each: -each.value)
        density, top, steps = NormalDensity(target), climbs[0].z, _STEP * np.eye(target.n_dim)
        curvature = np.array([density(top - step)[1] - density(top + step)[1] for step in steps]) / (2 * _STEP)
        spent = sum(each.n_evaluation for each in climbs) + 2 * target.n_dim
        values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
        covariance = (axes / np.maximum(values, 1.0)) @ axes.T
        ends, heights = np.array([each.z for each in climbs]), np.array([each.value for each in climbs])
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
