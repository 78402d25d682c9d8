"""Maximum likelihood of a target by its gradient: L-BFGS-B from several starts, within the prior's box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from gcesbi.baselines.samplers.target import Target
from gcesbi.errors import InputError

__all__ = ["Maximum", "maximise"]

FloatArray = NDArray[np.float64]

_MARGIN = 1e-9  # a parameter this close to the end of its prior is at the wall
_FLOOR = 1e250  # taken for ln L = -inf: a number the line search can step back from


@dataclass(frozen=True, eq=False)
class Maximum:
    """Highest point found.

    Attributes
    ----------
    u : array (n_dim,)
        Point of the unit cube.
    log_likelihood : float
    others : array (n_start,)
        Log-likelihood at the end of every start, descending: starts that disagree tell of several modes.
    walls : tuple of str
        Parameters at an end of their prior.
    gradient : float
        Largest slope, per width of a parameter's prior, that is not against a wall: 0 at a maximum.
    n_evaluation : int
        Values with gradients.
    """

    u: FloatArray
    log_likelihood: float
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
    best = max(climbs, key=lambda climb: climb[1])
    u = best[0]
    low, high = u <= 2 * _MARGIN, u >= 1 - 2 * _MARGIN
    slope = target.gradient(u)[1]
    free = np.where(low, np.maximum(slope, 0), np.where(high, np.minimum(slope, 0), slope))
    return Maximum(
        u,
        best[1],
        np.sort([value for _, value, _ in climbs])[::-1],
        tuple(name for name, wall in zip(target.names, low | high, strict=True) if wall),
        float(np.abs(free).max()),
        sum(n for *_, n in climbs),
    )


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
