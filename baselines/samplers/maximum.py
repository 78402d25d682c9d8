"""Maximum likelihood of a target by its gradient: L-BFGS-B from several starts, within the prior's box.

Chains start about the maxima: each at a point between one of them and a draw from the prior, where ln L is lower by
no more than the number of parameters, about twice as much as the posterior itself scatters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from gcesbi.baselines.samplers.target import Target
from gcesbi.errors import InputError

__all__ = ["Maximum", "maximise", "start_points"]

FloatArray = NDArray[np.float64]

_MARGIN = 1e-9  # a parameter this close to the end of its prior is at the wall
_MAX_HALVINGS = 40
_FLOOR = 1e250  # taken for ln L = -inf: a number the line search can step back from


@dataclass(frozen=True, eq=False)
class Maximum:
    """Highest point found.

    Attributes
    ----------
    u : array (n_dim,)
        Point of the unit cube.
    log_likelihood : float
    ends, others : array (n_start, n_dim), array (n_start,)
        End of every start and its log-likelihood, descending: starts that disagree tell of several modes.
    walls : tuple of str
        Parameters at an end of their prior.
    gradient : float
        Largest slope, per width of a parameter's prior, that is not against a wall: 0 at a maximum.
    n_evaluation : int
        Values with gradients.
    """

    u: FloatArray
    log_likelihood: float
    ends: FloatArray
    others: FloatArray
    walls: tuple[str, ...]
    gradient: float
    n_evaluation: int


def maximise(
    target: Target, n_start: int = 8, seed: int = 0, starts: FloatArray | None = None, n_trial: int = 64
) -> Maximum:
    """Climb from several starts.

    Parameters
    ----------
    target : Target
        With a gradient.
    n_start : int
        Starts: the most likely of `n_trial` draws from the prior.
    seed : int
    starts : array (n, n_dim), optional
        Points of the unit cube to start from instead.
    n_trial : int
    """
    if target.gradient is None:
        raise InputError("target: has no gradient to climb by")
    if n_start < 1 or n_trial < n_start:
        raise InputError(f"n_start: must be at least 1 and at most n_trial = {n_trial}, got {n_start}")
    if starts is None:
        drawn = np.random.default_rng(seed).random((n_trial, target.n_dim))
        starts = drawn[np.argsort(-target.finite(drawn), kind="stable")[:n_start]]
    climbs = [_climb(target, start) for start in np.clip(starts, _MARGIN, 1 - _MARGIN)]
    climbs.sort(key=lambda climb: -climb[1])
    ends, values, spent = (np.array(column) for column in zip(*climbs, strict=True))
    u = ends[0]
    low, high = u <= 2 * _MARGIN, u >= 1 - 2 * _MARGIN
    slope = target.gradient(u)[1]
    free = np.where(low, np.maximum(slope, 0), np.where(high, np.minimum(slope, 0), slope))
    return Maximum(
        u,
        float(values[0]),
        ends,
        values,
        tuple(name for name, wall in zip(target.names, low | high, strict=True) if wall),
        float(np.abs(free).max()),
        int(spent.sum()),
    )


def start_points(target: Target, n: int, seed: int) -> tuple[FloatArray, int]:
    """Points (n, n_dim) of the unit cube about the highest maxima, and the evaluations that finding them took."""
    found = maximise(target, seed=seed)
    lowest = found.log_likelihood - target.n_dim
    centres = found.ends[found.others >= lowest]
    centres = centres[np.arange(n) % len(centres)]
    step = np.random.default_rng([seed, 1]).random((n, target.n_dim)) - centres
    n_evaluation, far = found.n_evaluation, np.arange(n)
    for _ in range(_MAX_HALVINGS):
        n_evaluation += len(far)
        far = far[target.finite(centres[far] + step[far]) < lowest]
        if not far.size:
            break
        step[far] /= 2
    return centres + step, n_evaluation


def _climb(target: Target, start: FloatArray) -> tuple[FloatArray, float, int]:
    """End point, its log-likelihood and the evaluations of one climb."""
    gradient = target.gradient

    def negative(u: FloatArray) -> tuple[float, FloatArray]:
        value, slope = gradient(u)  # type: ignore[misc]
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return _FLOOR, np.zeros_like(u)
        return -value, -slope

    bounds = [(_MARGIN, 1 - _MARGIN)] * target.n_dim
    options = {"maxiter": 500, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-6}
    found = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x, -float(found.fun), int(found.nfev)
