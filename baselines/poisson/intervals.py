r"""Profile-likelihood intervals and upper limits of norms, exact at a bound.

The profile ln L_p(A) is the maximum of ln L over all other norms with one held at A. Where twice its drop from the best
fit reaches a quantile of χ² with one degree of freedom, the interval ends (Wilks 1938; Rolke et al. 2005,
physics/0403059); an interval that meets a bound of the norm ends there. An upper limit at 95 % is where 2 Δ ln L = 2.71
above the best fit. A best fit at its bound makes both somewhat longer than their level says: they cover at least it.

r = √(2 Δ ln L) is nearly linear in A, and its slope follows from the gradient at the conditional maximum (the other
norms' derivatives vanish there): Newton's method within a bracket takes a few steps.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from gcesbi.baselines.poisson.optimum import Optimum, Problem
from gcesbi.errors import InputError

__all__ = ["check_level", "interval_drop", "limit_drop", "profile_crossings", "profile_intervals", "upper_limits"]

_MAX_STEPS = 100
_TOLERANCE = 1e-9

Array = NDArray[np.float64]


def check_level(level: float, low: float = 0.0) -> float:
    """`level` if it lies in (`low`, 1); InputError otherwise."""
    if not low < level < 1:
        raise InputError(f"level: must lie in ({low:g}, 1), got {level}")
    return float(level)


def interval_drop(level: float) -> float:
    """Drop of ln L at the ends of a central interval: 0.5 at 68.27 %."""
    return float(gammaincinv(0.5, check_level(level)))


def limit_drop(level: float) -> float:
    """Drop of ln L at an upper limit: 1.353 at 95 %."""
    return float(gammaincinv(0.5, 2 * check_level(level, 0.5) - 1))


def profile_intervals(problem: Problem, best: Optimum, level: float) -> Array:
    """Ends of the intervals of all norms, (n_template, 2)."""
    n = len(best.norms)
    which = np.repeat(np.arange(n), 2)
    sign = np.tile([-1.0, 1.0], n)
    return profile_crossings(problem, best, which, sign, interval_drop(level)).reshape(n, 2)


def upper_limits(problem: Problem, best: Optimum, level: float) -> Array:
    """Upper limits of all norms, (n_template,)."""
    which = np.arange(len(best.norms))
    return profile_crossings(problem, best, which, np.ones(which.size), limit_drop(level))


def profile_crossings(problem: Problem, best: Optimum, which: NDArray[np.int64], sign: Array, drop: float) -> Array:
    """Where profiles have dropped by `drop`: above the best fit for sign 1, below for -1; the bound if they do not.

    Parameters
    ----------
    problem : Problem
    best : Optimum
    which : array (n,)
        Norms.
    sign : array (n,)
    drop : float
        In ln L.
    """
    target = np.sqrt(2 * drop)
    inner = best.norms[which]
    outer = np.where(sign > 0, problem.bounds[which, 1], problem.bounds[which, 0])
    found = outer.copy()
    finite = np.flatnonzero(np.isfinite(outer) & (outer != inner))
    reached = np.isinf(outer)
    if finite.size:
        reached[finite] = _root(best, problem.hold(which[finite], outer[finite], best.point).objective) > target
    rows = np.flatnonzero(reached)
    inner, outer, x = inner[rows], outer[rows], _first(problem, best, which[rows], sign[rows], target)
    x = np.where(_is_between(x, inner, outer), x, 0.5 * (inner + outer))
    start = np.tile(best.point, (rows.size, 1))
    for _ in range(_MAX_STEPS):
        if not rows.size:
            break
        held = problem.hold(which[rows], x, start)
        r = _root(best, held.objective)
        found[rows] = x
        slope = held.gradient[np.arange(rows.size), which[rows]]
        inner, outer = np.where(r < target, x, inner), np.where(r < target, outer, x)
        open_ = (np.abs(r - target) > _TOLERANCE * target) & (np.abs(outer - inner) > 1e-15 * np.abs(x))
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - (target - r) * r / slope
        middle = np.where(np.isinf(outer), x + 2 * (x - best.norms[which[rows]]), 0.5 * (inner + outer))
        x = np.where(_is_between(newton, inner, outer), newton, middle)
        rows, x, inner, outer, start = rows[open_], x[open_], inner[open_], outer[open_], held.point[open_]
    return found


def _is_between(x: Array, one: Array, other: Array) -> NDArray[np.bool_]:
    return (np.minimum(one, other) < x) & (x < np.maximum(one, other))


def _root(best: Optimum, objective: Array) -> Array:
    """√(2 Δ ln L)."""
    return np.sqrt(2 * np.maximum(best.objective - objective, 0.0))


def _first(problem: Problem, best: Optimum, which: NDArray[np.int64], sign: Array, target: float) -> Array:
    """First guesses: as many standard errors away, or, without curvature, where the slope alone takes the profile."""
    error = np.sqrt(np.diag(problem.covariance(best)))[which]
    slope = np.maximum(np.abs(best.gradient[which]), 1e-3 * problem.totals[which])
    return best.norms[which] + sign * np.where(np.isfinite(error), target * error, 0.5 * target**2 / slope)
