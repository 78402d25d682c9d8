r"""Poisson likelihood over parameters that are not norms: those of templates' shapes, and of spectra.

ln L is concave in the norms A at any value of such an *outer* parameter x, and its exact maximum over them,

.. math:: \ln L_p(x) = \max_A \ln L(A, x), \qquad \frac{\partial \ln L_p}{\partial x} = \sum_p \Big(\frac{k_p}{\mu_p}
          - 1\Big) \frac{\partial\mu_p}{\partial x}\Big|_{\hat A(x)},

is what is maximised over x, by Fisher's scoring from several starts. Where twice the drop of ln L_p, maximised over all
other outer parameters, reaches a quantile of χ² with one degree of freedom, an interval ends; or at the end of the
parameter's range. Priors are not imposed, but for their ranges: where one has no end, all but the outermost 10⁻⁴ of its
mass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from gcesbi.baselines.poisson.intervals import interval_drop
from gcesbi.baselines.poisson.optimum import Optimum, Problem, box_step, covariance
from gcesbi.errors import InputError
from gcesbi.simulation.prior import Parameter

__all__ = ["OuterLikelihood", "OuterMaximum", "OuterPoint"]

Array = NDArray[np.float64]

_BEYOND = 1e-4  # of a prior without an end, left out at either side
_CLIMBS = 2  # more than there are parameters
_MAX_STEPS = 100
_SHORTEST = 1e-3  # of a step
_CONVERGED = 1e-7  # in ln L, what a step promises
_DAMPING = 1e-3  # of information per square of a range, so that parameters without influence stay


@dataclass(frozen=True, eq=False)
class OuterLikelihood:
    """Ln L_p over the unit cube of the outer parameters.

    Parameters
    ----------
    parameters : sequence of Parameter
        Names and ranges of the outer parameters.
    problems : callable
        Likelihoods of the norms at values (n_outer,).
    mean_slopes : callable
        Derivatives of each problem's mean by the outer parameters, at values (n_outer,), given problems and optima.
    """

    parameters: Sequence[Parameter]
    problems: Callable[[Array], tuple[Problem, ...]]
    mean_slopes: Callable[[Array, tuple[Problem, ...], tuple[Optimum, ...]], tuple[Array, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outer parameters."""
        return tuple(each.name for each in self.parameters)

    @cached_property
    def ranges(self) -> Array:
        """(n_outer, 2)."""
        ends = [(each.marginal, *each.marginal.range) for each in self.parameters]
        cut = [marginal.from_uniform(np.array([_BEYOND, 1 - _BEYOND])) for marginal, _, _ in ends]
        pairs = [(low, high) if _bounded(low, high) else tuple(c) for (_, low, high), c in zip(ends, cut, strict=True)]
        return np.array(pairs, dtype=np.float64).reshape(-1, 2)

    def values(self, u: Array) -> Array:
        """Parameters (n_outer,) at a point of the unit cube: linear in it, or by quantiles where a prior has no end."""
        low, high = self.ranges.T
        found = low + (high - low) * u
        for i, each in enumerate(self.parameters):
            if not _bounded(*each.marginal.range):
                found[i] = each.marginal.from_uniform(_BEYOND + (1 - 2 * _BEYOND) * u[i : i + 1])[0]
        return found

    def unit(self, values: Array) -> Array:
        """Inverse of :meth:`values`."""
        low, high = self.ranges.T
        found = (values - low) / (high - low)
        for i, each in enumerate(self.parameters):
            if not _bounded(*each.marginal.range):
                found[i] = (float(each.marginal.cdf(values[i])) - _BEYOND) / (1 - 2 * _BEYOND)
        return np.clip(found, 0.0, 1.0)

    def _stretch(self, values: Array) -> Array:
        """Derivatives of :meth:`values` (n_outer,)."""
        found = np.diff(self.ranges)[:, 0].copy()
        for i, each in enumerate(self.parameters):
            if not _bounded(*each.marginal.range):
                density = float(each.marginal.log_prob(torch.as_tensor(values[i], dtype=torch.float64)))
                found[i] = (1 - 2 * _BEYOND) * np.exp(-density)
        return found

    def at(self, values: Array, start: OuterPoint | None = None) -> OuterPoint:
        """Ln L_p at outer parameters (n_outer,); the norms' fits begin where those of `start` ended."""
        problems = self.problems(values)
        norms = [None] * len(problems) if start is None else [optimum.point for optimum in start.optima]
        optima = tuple(problem.maximise(first) for problem, first in zip(problems, norms, strict=True))
        return OuterPoint(self, values, problems, optima)

    def maximise(self, n_start: int | None = None) -> OuterMaximum:
        """The joint maximum: the best climb from the best of the middle and four other points for each parameter."""
        from scipy.stats import qmc  # takes a third of a second to import

        n = len(self.parameters)
        others = qmc.Halton(n, seed=0).random(4 * n if n_start is None else n_start - 1)
        seen = [(u, self.at(self.values(u))) for u in (np.full(n, 0.5), *others)]
        seen.sort(key=lambda pair: -pair[1].objective)
        free = np.ones(n, dtype=bool)
        ends = [self._climb(u, free, point) for u, point in seen[: n + _CLIMBS]]
        point = max(ends, key=lambda end: end.objective)
        return OuterMaximum(self, point.values, point)

    def climb(self, values: Array) -> OuterMaximum:
        """The joint maximum that is reached from outer parameters (n_outer,)."""
        point = self._climb(self.unit(values), np.ones(len(values), dtype=bool))
        return OuterMaximum(self, point.values, point)

    def conditional(self, i: int, value: float, start: OuterPoint) -> OuterPoint:
        """The maximum over all outer parameters but that of index `i`, begun at `start`."""
        values = start.values.copy()
        values[i] = value
        free = np.arange(len(values)) != i
        return self._climb(self.unit(values), free, start) if free.any() else self.at(values, start)

    def _climb(self, u: Array, free: NDArray[np.bool_], start: OuterPoint | None = None) -> OuterPoint:
        """End of a climb by Fisher's scoring within the cube, from `u`; outer parameters that are not free stay."""
        point = self.at(self.values(u), start)
        for _ in range(_MAX_STEPS):
            stretch = self._stretch(point.values)[free]
            slope = point.slopes[free] * stretch
            matrix = point.information[np.ix_(free, free)] * np.outer(stretch, stretch) + _DAMPING * np.eye(len(slope))
            step = box_step(slope[None], matrix[None], -u[None, free], 1 - u[None, free])[0]
            promise = float(slope @ step)
            length, trial, moved = 1.0, None, u
            while promise > _CONVERGED and length > _SHORTEST:
                moved = u.copy()
                moved[free] = np.clip(u[free] + length * step, 0.0, 1.0)
                trial = self.at(self.values(moved), point)
                if trial.objective >= point.objective + 1e-4 * length * promise:
                    break
                trial, length = None, length / 3
            if trial is None:
                break
            u, point = moved, trial
        return point


@dataclass(frozen=True, eq=False)
class OuterPoint:
    """Ln L at some outer parameters, maximised over norms.

    Attributes
    ----------
    likelihood : OuterLikelihood
    values : array (n_outer,)
    problems, optima : tuple of Problem, tuple of Optimum
    """

    likelihood: OuterLikelihood
    values: Array
    problems: tuple[Problem, ...]
    optima: tuple[Optimum, ...]

    @property
    def objective(self) -> float:
        """What is maximised: ln L without ln k!, and Gaussian priors of norms."""
        return sum(optimum.objective for optimum in self.optima)

    @property
    def log_likelihood(self) -> float:
        """Ln L with ln k!, less what the prior of log-fields takes."""
        return sum(optimum.log_profile for optimum in self.optima)

    @cached_property
    def mean_slopes(self) -> tuple[Array, ...]:
        """Derivatives (n_outer, n_pix) of each problem's mean by the outer parameters."""
        return self.likelihood.mean_slopes(self.values, self.problems, self.optima)

    @cached_property
    def slopes(self) -> Array:
        """Derivatives of the objective by the outer parameters, (n_outer,)."""
        found = np.zeros(len(self.values))
        for problem, optimum, moved in zip(self.problems, self.optima, self.mean_slopes, strict=True):
            found += problem.mean_gradient(optimum, moved)
        return found

    def _information(self) -> Iterator[tuple[Problem, Optimum, Array]]:
        """Of the norms of each problem, then the outer parameters, from first derivatives of the mean."""
        for problem, optimum, moved in zip(self.problems, self.optima, self.mean_slopes, strict=True):
            yield problem, optimum, problem.information_with(optimum, moved)

    @cached_property
    def norms_alone(self) -> tuple[Optimum, ...]:
        """The optima with information that counts the outer parameters', each problem by itself.

        These are taken as known before to the standard deviation of a uniform number in their range.
        """
        ranges, found = np.diff(self.likelihood.ranges)[:, 0], []
        for _, optimum, both in self._information():
            n = len(optimum.norms)
            outer = both[n:, n:] + np.diag(12 / ranges**2)
            found.append(
                replace(optimum, information=both[:n, :n] - both[:n, n:] @ np.linalg.solve(outer, both[n:, :n]))
            )
        return tuple(found)

    @cached_property
    def information(self) -> Array:
        """Of the outer parameters, norms that no bound holds fitted along, (n_outer, n_outer)."""
        found = np.zeros((len(self.values), len(self.values)))
        for problem, optimum, both in self._information():
            n = len(optimum.norms)
            low, high = problem.bounds.T
            free = np.flatnonzero((optimum.norms > low) & (optimum.norms < high))
            mixed = both[free, n:]
            found += both[n:, n:] - mixed.T @ np.linalg.pinv(both[np.ix_(free, free)], hermitian=True) @ mixed
        return found

    @cached_property
    def covariance(self) -> Array:
        """Of all problems' norms, then the outer parameters, from first derivatives of the mean.

        0 for fixed norms and for outer parameters at an end of their range; variance inf where the likelihood has no
        curvature.
        """
        n_outer, sizes = len(self.values), [len(optimum.norms) for optimum in self.optima]
        n = sum(sizes) + n_outer
        information, varied = np.zeros((n, n)), np.ones(n, dtype=bool)
        first = 0
        for problem, optimum, both in self._information():
            norms = np.arange(first, first + len(optimum.norms))
            rows = np.r_[norms, n - n_outer : n]
            information[np.ix_(rows, rows)] += both
            varied[norms] = problem.varied
            first += len(norms)
        u = self.likelihood.unit(self.values)
        varied[n - n_outer :] = (u > 1e-6) & (u < 1 - 1e-6)
        found, free = np.zeros((n, n)), np.flatnonzero(varied)
        found[np.ix_(free, free)] = covariance(information[np.ix_(free, free)])
        return found


@dataclass(frozen=True, eq=False)
class OuterMaximum:
    """Joint maximum over norms and outer parameters.

    Attributes
    ----------
    likelihood : OuterLikelihood
    values : array (n_outer,)
    point : OuterPoint
    """

    likelihood: OuterLikelihood
    values: Array
    point: OuterPoint

    def index(self, name: str) -> int:
        """Place of an outer parameter."""
        names = self.likelihood.names
        if name not in names:
            raise InputError(f"parameter: must be one of {', '.join(names) or 'none'}, got {name!r}")
        return names.index(name)

    def profile(self, name: str, values: ArrayLike) -> Array:
        """Ln L with ln k!, maximised over norms and all other outer parameters, at values (n,) of one, (n,).

        Raises
        ------
        InputError
            If there is no such parameter, or a value lies beyond its range.
        """
        i, asked = self.index(name), np.atleast_1d(np.asarray(values, dtype=np.float64))
        low, high = self.likelihood.ranges[i]
        if asked.ndim != 1 or not np.all((asked >= low) & (asked <= high)):
            raise InputError(f"values: {name} must lie within {low:.6g} to {high:.6g}, got {values!r}")
        found, order = np.empty(asked.size), np.argsort(np.abs(asked - self.values[i]), kind="stable")
        ends = {False: self.point, True: self.point}  # a value's fit begins where its inner neighbour's ended
        for row in order:
            above = bool(asked[row] >= self.values[i])
            ends[above] = self.likelihood.conditional(i, float(asked[row]), ends[above])
            found[row] = ends[above].log_likelihood
        return found

    def interval(self, name: str, level: float = 0.6827) -> tuple[float, float]:
        """Ends of the profile-likelihood interval of an outer parameter; that of its range where ln L stays higher."""
        i, target = self.index(name), np.sqrt(2 * interval_drop(level))
        low, high = (self._crossing(i, float(end), float(target)) for end in self.likelihood.ranges[i])
        return low, high

    def _crossing(self, i: int, end: float, target: float) -> float:
        known = {float(self.values[i]): self.point}

        def excess(value: float) -> float:
            start = known[min(known, key=lambda other: abs(other - value))]
            known[value] = self.likelihood.conditional(i, value, start)
            drop = self.point.objective - known[value].objective
            return float(np.sqrt(2 * max(drop, 0.0)) - target)

        near = far = float(self.values[i])
        room = abs(end - near)
        step = (end - near) / 32
        while far != end:  # outwards, so that a fit begins near one that is known
            near, far = far, far + step if abs(end - far) > 1.5 * abs(step) else end
            step *= 2
            if excess(far) > 0:
                return float(brentq(excess, *sorted((near, far)), xtol=1e-5 * room, rtol=1e-6))
        return end


def _bounded(low: float, high: float) -> bool:
    return bool(np.isfinite(low) and np.isfinite(high))
