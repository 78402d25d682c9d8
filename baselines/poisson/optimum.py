r"""Maximum of a Poisson likelihood over the norms of templates: exact, within bounds, certified; many at a time.

Counts k_p in pixel p are Poisson with mean μ_p = Σ_j A_j T_jp. The log-likelihood

.. math:: \ln L(A) = \sum_p k_p \ln\mu_p - \mu_p - \ln k_p!

is concave in the norms A, so the point that meets the Karush-Kuhn-Tucker conditions (gradient zero between the bounds,
not positive at a lower, not negative at an upper one) is the global maximum. Newton's method finds it: every step is
the exact maximum of the quadratic model within the bounds, by an active-set method (Nocedal & Wright 2006, ch. 16.5),
shortened until ln L rises. The observed information is Σ_p k_p T_ip T_jp / μ_p².

Several likelihoods with the same templates are maximised side by side: maps of a simulation, or one map with a norm
held at several values, as a profile needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.poisson.likelihood import log_factorials
from gcesbi.sky.compiled import njit

__all__ = [
    "Optima",
    "Optimum",
    "PoissonProblem",
    "Problem",
    "box_step",
    "covariance",
    "kkt_residual",
    "maximise",
    "maximise_many",
]

_MAX_ITERATIONS = 200
_MAX_HALVINGS = 60
_CONVERGED = 1e-8  # in ln L
_CHUNK = 1 << 16  # entries of counts worked on at a time: larger arrays cost fresh pages of memory every time
_FLOOR = 1e-100  # in place of a mean of zero: no overflow, and the likelihood is -inf if counts are there

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Optimum:
    """Maximum of one likelihood.

    Attributes
    ----------
    norms : array (n_template,)
    gradient : array (n_template,)
        Derivative of ln L (and the priors' logarithms) by the norms; at most zero at the lower bound, zero in
        between, at least zero at the upper.
    information : array (n_template, n_template)
        Minus the second derivative.
    log_likelihood : float
        With ln k!, without priors.
    objective : float
        What was maximised: ln L without ln k!, and the logarithms of Gaussian priors.
    kkt_residual : float
        Largest gain in ln L that any norm alone, or the next step, to second order, could still bring.
    """

    norms: Array
    gradient: Array
    information: Array
    log_likelihood: float
    objective: float
    kkt_residual: float

    @property
    def point(self) -> Array:
        """Where another search may begin: the norms."""
        return self.norms

    @property
    def log_profile(self) -> float:
        """What a profile over norms or shapes is of: ln L."""
        return self.log_likelihood

    @property
    def converged(self) -> bool:
        """Whether the Karush-Kuhn-Tucker conditions hold, to 1e-8 in ln L."""
        return self.kkt_residual < _CONVERGED


@dataclass(frozen=True, eq=False)
class Optima:
    """Maxima of n likelihoods: the fields of :class:`Optimum`, each with a first axis of length n."""

    norms: Array
    gradient: Array
    information: Array
    log_likelihood: Array
    objective: Array
    kkt_residual: Array

    @property
    def point(self) -> Array:
        """Where another search may begin: the norms, (n, n_template)."""
        return self.norms

    @property
    def log_profile(self) -> Array:
        """What a profile over norms or shapes is of: ln L, (n,)."""
        return self.log_likelihood

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Whether each meets the Karush-Kuhn-Tucker conditions, (n,)."""
        return self.kkt_residual < _CONVERGED

    def __len__(self) -> int:
        return len(self.norms)

    def __getitem__(self, i: int) -> Optimum:
        values = (self.log_likelihood[i], self.objective[i], self.kkt_residual[i])
        return Optimum(self.norms[i], self.gradient[i], self.information[i], *(float(v) for v in values))

    def __iter__(self) -> Iterator[Optimum]:
        return (self[i] for i in range(len(self)))


class Problem(Protocol):
    """A plain likelihood of one energy bin, or one with log-fields of all bins; its optima are of its own kind."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of its pixels, (n_pix,) or (n_energy, n_pix): the shape of a mean."""

    @property
    def bounds(self) -> Array:
        """Lowest and highest norm, (n_norm, 2)."""

    @property
    def varied(self) -> NDArray[np.bool_]:
        """Which norms are not fixed, (n_norm,)."""

    @property
    def width(self) -> Array:
        """Of Gaussian priors on the norms, inf for none, (n_norm,)."""

    @property
    def totals(self) -> Array:
        """Expected counts for norm 1, (n_norm,)."""

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Which templates alone shine somewhere where counts are seen, (n_norm,)."""

    def maximise(self, start: Array | None = None) -> Any:
        """The maximum, sought from a point."""

    def hold(self, which: NDArray[np.int64], values: Array, start: Array) -> Any:
        """Maxima with norm `which[i]` held at `values[i]`, each (n,)."""

    def prior(self, norms: Array) -> Array:
        """Logarithm of each norm's Gaussian prior, without its constant."""

    def covariance(self, optimum: Any) -> Array:
        """Of the norms, (n_norm, n_norm)."""

    def moved_mean(self, optimum: Any, row: int, slope: Array) -> Array:
        """Derivative of the mean by what moves a template by `slope`, both of the shape of the counts."""

    def mean_gradient(self, optimum: Any, moved: Array) -> Array:
        """Derivatives (n,) of the objective by what moves the mean by `moved` (n, ...)."""

    def information_with(self, optimum: Any, moved: Array) -> Array:
        """Information of the norms, then of what moves the mean by `moved` (n, ...)."""

    def refit(self, maps: NDArray[np.int64], best: Any) -> tuple[Array, Array]:
        """Ln L (n,) and mean (n, ...) of the best fits to maps (n, ...), begun at one."""


def maximise(
    counts: NDArray[np.integer],
    templates: Array,
    bounds: ArrayLike | None = None,
    centre: ArrayLike | None = None,
    width: ArrayLike | None = None,
) -> Optimum:
    """Maximum of one Poisson likelihood over norms within bounds.

    Parameters
    ----------
    counts : array (n_pix,)
    templates : array (n_template, n_pix)
        Checked, see :func:`gcesbi.baselines.poisson.likelihood.check_templates`.
    bounds, centre, width : array (n_template, 2), (n_template,) and (n_template,), optional
        As for :class:`PoissonProblem`; by default norms are free from 0 to infinity.
    """
    return _seen(counts, templates, bounds, centre, width).solve(None)[0]


def maximise_many(
    counts: NDArray[np.integer],
    templates: Array,
    bounds: ArrayLike | None = None,
    centre: ArrayLike | None = None,
    width: ArrayLike | None = None,
    start: ArrayLike | None = None,
) -> Optima:
    """Maxima of n Poisson likelihoods with the same templates.

    Parameters
    ----------
    counts : array (n, n_pix) or (n_pix,)
        One map each, or one for all.
    templates : array (n_template, n_pix)
    bounds, centre, width : array ([n,] n_template, 2), (n_template,) and (n_template,), optional
        As for :func:`maximise`.
    start : array (n, n_template) or (n_template,), optional
        Where to begin; by default, where the mean of all maps has its maximum.
    """
    k = np.atleast_2d(counts)
    if start is None:
        start = maximise(np.rint(k.mean(axis=0)).astype(np.int64), templates).norms
    limits = _limits(bounds, len(templates))
    n = max(len(k), 1 if limits.ndim == 2 else len(limits))
    rows = max(1, _CHUNK // max(k.shape[1], 1))
    first = np.broadcast_to(np.asarray(start, dtype=np.float64), (n, len(templates)))
    done = []
    for i in range(0, n, rows):
        part = k if len(k) == 1 else k[i : i + rows]
        seen = np.flatnonzero(part.any(axis=0))
        within = limits if limits.ndim == 2 else limits[i : i + rows]
        size = min(rows, n - i)
        problem = _Problem.build(part[:, seen], templates[:, seen], templates.sum(axis=1), within, centre, width, size)
        done.append(problem.solve(first[i : i + rows]))
    fields = ("norms", "gradient", "information", "log_likelihood", "objective", "kkt_residual")
    return Optima(*(np.concatenate([getattr(each, name) for each in done]) for name in fields))


@dataclass(frozen=True, eq=False)
class PoissonProblem:
    """The likelihood of one map and one energy bin, with what is known of its norms.

    Parameters
    ----------
    counts : array (n_pix,)
    templates : array (n_template, n_pix)
    bounds : array (n_template, 2)
        Lowest and highest norm, equal where it is fixed.
    centre, width : array (n_template,)
        Gaussian priors on the norms; width inf for none.
    """

    counts: NDArray[np.int64]
    templates: Array
    bounds: Array
    centre: Array
    width: Array

    @property
    def varied(self) -> NDArray[np.bool_]:
        """Which norms are not fixed, (n_template,)."""
        return self.bounds[:, 0] < self.bounds[:, 1]

    @cached_property
    def _prepared(self) -> _Problem:
        return _seen(self.counts, self.templates, self.bounds, self.centre, self.width)

    def evaluate(self, norms: Array) -> tuple[float, Array, Array]:
        """Objective, gradient and information at some norms (n_template,)."""
        value, mean = self._prepared.value(norms[None])
        gradient, information = self._prepared.derivatives(norms[None], mean)
        return float(value[0]), gradient[0], information[0]

    def log_posterior(self, norms: Array) -> Array:
        """Objective (n,) at norms (n, n_template): ln L without ln k!, plus the Gaussian priors; -inf out of bounds."""
        inside = np.all((norms >= self.bounds[:, 0]) & (norms <= self.bounds[:, 1]), axis=1)
        value = np.full(len(norms), -np.inf)
        value[inside] = self._prepared.value(norms[inside])[0]
        return value

    def maximise(self, start: Array | None = None) -> Optimum:
        """The maximum, sought from norms `start` (n_template,)."""
        return self._prepared.solve(None if start is None else start[None])[0]

    def hold(self, which: NDArray[np.int64], values: Array, start: Array) -> Optima:
        """Maxima with norm `which[i]` held at `values[i]`, each (n,), begun at points `start` ([n,] n_template)."""
        bounds = np.tile(self.bounds, (len(values), 1, 1))
        bounds[np.arange(len(values)), which] = np.asarray(values)[:, None]
        return maximise_many(self.counts, self.templates, bounds, self.centre, self.width, start)

    @property
    def totals(self) -> Array:
        """Expected counts of each template for norm 1, (n_template,)."""
        return np.asarray(self.templates.sum(axis=1))

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Which templates alone shine somewhere where counts are seen, (n_template,)."""
        seen = self.templates[:, self.counts > 0] * (self.bounds[:, 1] > 0)[:, None] > 0
        return np.asarray((seen & (seen.sum(axis=0) == 1)).any(axis=1))

    def moved_mean(self, optimum: Optimum, row: int, slope: Array) -> Array:
        """Derivative (n_pix,) of the mean by what moves a template by `slope` (n_pix,)."""
        return optimum.norms[row] * slope

    def mean_gradient(self, optimum: Optimum, moved: Array) -> Array:
        """Derivatives (n,) of ln L by what moves the mean by `moved` (n, n_pix)."""
        seen = self.counts > 0
        mean = optimum.norms @ self.templates[:, seen]
        return np.asarray(moved[:, seen] @ (self.counts[seen] / mean) - moved.sum(axis=1))

    def information_with(self, optimum: Optimum, moved: Array) -> Array:
        """Of the norms, then of what moves the mean by `moved` (n, n_pix): Σ_p k_p J_ip J_jp / μ_p²."""
        seen = self.counts > 0
        jacobian = np.concatenate([self.templates, moved])[:, seen]
        mean = optimum.norms @ self.templates[:, seen]
        found = jacobian * (self.counts[seen] / mean**2) @ jacobian.T
        n = len(optimum.norms)
        found[np.arange(n), np.arange(n)] += self.width**-2.0
        return np.asarray(found)

    def refit(self, maps: NDArray[np.int64], best: Optimum) -> tuple[Array, Array]:
        """Ln L (n,) and mean (n, n_pix) of the best fits to maps (n, n_pix), begun at one."""
        found = maximise_many(maps, self.templates, self.bounds, self.centre, self.width, best.norms)
        return found.log_likelihood, found.norms @ self.templates

    def prior(self, norms: Array) -> Array:
        """Logarithm of each norm's Gaussian prior, without its constant, of the shape of `norms` (..., n_template)."""
        return -0.5 * ((norms - self.centre) / self.width) ** 2

    def covariance(self, optimum: Optimum) -> Array:
        """Covariance (n_template, n_template) of the norms, from the curvature at an optimum; 0 for fixed ones."""
        rows = np.flatnonzero(self.varied)
        found = np.zeros_like(optimum.information)
        found[np.ix_(rows, rows)] = covariance(optimum.information[np.ix_(rows, rows)])
        return found


def covariance(information: Array) -> Array:
    """Inverse of an information matrix (n_template, n_template).

    Norms in whose direction the likelihood has no curvature have variance inf and covariance 0.
    """
    scale = 1.0 / np.sqrt(np.where(np.diag(information) > 0, np.diag(information), 1.0))
    values, vectors = np.linalg.eigh(information * np.outer(scale, scale))
    flat = values < 1e-13 * max(values[-1], 1e-300)
    lost = (vectors[:, flat] ** 2).sum(axis=1) > 1e-8
    inverse = (vectors[:, ~flat] / values[~flat]) @ vectors[:, ~flat].T * np.outer(scale, scale)
    inverse[lost] = 0.0
    inverse[:, lost] = 0.0
    inverse[lost, lost] = np.inf
    return inverse


def _limits(bounds: ArrayLike | None, n_template: int) -> Array:
    return np.tile([0.0, np.inf], (n_template, 1)) if bounds is None else np.asarray(bounds, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Problem:
    """n likelihoods of the pixels in which counts are seen; `total` are the templates' sums over all pixels."""

    counts: Array  # (n, n_pix) or (1, n_pix)
    templates: Array  # (n_template, n_pix)
    total: Array  # (n_template,)
    pairs: Array  # (n_pix, n_template (n_template + 1) / 2): products of two templates
    low: Array  # (n, n_template)
    high: Array
    centre: Array  # (n_template,)
    precision: Array
    log_factorials: Array  # of the counts, of their shape

    @classmethod
    def build(
        cls,
        counts: NDArray[np.integer],
        templates: Array,
        total: Array,
        bounds: ArrayLike | None,
        centre: ArrayLike | None,
        width: ArrayLike | None,
        n: int = 1,
    ) -> _Problem:
        n_template = len(templates)
        i, j = np.triu_indices(n_template)
        limits = np.broadcast_to(_limits(bounds, n_template), (n, n_template, 2))
        return cls(
            np.asarray(counts, dtype=np.float64),
            templates,
            total,
            np.ascontiguousarray((templates[i] * templates[j]).T),
            limits[..., 0],
            limits[..., 1],
            np.zeros(n_template) if centre is None else np.asarray(centre, dtype=np.float64),
            np.zeros(n_template) if width is None else 1.0 / np.asarray(width, dtype=np.float64) ** 2,
            log_factorials(counts),
        )

    def rows(self, chosen: NDArray[np.int64]) -> _Problem:
        """Some of the likelihoods."""
        if len(chosen) == len(self.low):
            return self
        own = slice(None) if len(self.counts) == 1 else chosen
        return replace(
            self,
            counts=self.counts[own],
            low=self.low[chosen],
            high=self.high[chosen],
            log_factorials=self.log_factorials[own],
        )

    def value(self, norms: Array) -> tuple[Array, Array]:
        """Objective (n,), -inf where counts meet a mean of zero, and mean (n, n_pix), raised there."""
        mean = norms @ self.templates
        dark = np.any((mean < _FLOOR) & (self.counts > 0), axis=1) if mean.min(initial=1.0) < _FLOOR else False
        mean = np.maximum(mean, _FLOOR, out=mean)
        likelihood = np.sum(self.counts * np.log(mean), axis=1) - norms @ self.total
        likelihood[dark] = -np.inf
        return likelihood - 0.5 * (norms - self.centre) ** 2 @ self.precision, mean

    def derivatives(self, norms: Array, mean: Array) -> tuple[Array, Array]:
        """Gradient (n, n_template) and information (n, n_template, n_template)."""
        ratio = self.counts / mean
        gradient = ratio @ self.templates.T - self.total - self.precision * (norms - self.centre)
        ratio /= mean
        products = ratio @ self.pairs
        n_template = len(self.total)
        i, j = np.triu_indices(n_template)
        information = np.empty((len(norms), n_template, n_template))
        information[:, i, j] = information[:, j, i] = products
        information += np.diag(self.precision)
        return gradient, information

    def start(self) -> Array:
        """Norms that share the counts evenly, within the bounds."""
        counts = np.maximum(self.counts.sum(axis=1, keepdims=True), 1.0)
        return np.clip(counts / len(self.total) / self.total, self.low, self.high)

    def solve(self, start: Array | None) -> Optima:
        """Newton steps until none promises more than 1e-12 in ln L."""
        even = self.start()
        norms = even if start is None else np.clip(np.maximum(start, 1e-3 * even), self.low, self.high)
        value, mean = self.value(norms)
        gradient, information = self.derivatives(norms, mean)
        promise = np.full(len(norms), np.inf)
        active = np.flatnonzero(np.isfinite(value))
        for _ in range(_MAX_ITERATIONS):
            at, slope = norms[active], gradient[active]
            step = box_step(slope, information[active], self.low[active] - at, self.high[active] - at)
            promise[active] = np.einsum("nt,nt->n", slope, step)
            going = promise[active] >= 1e-12
            active = active[going]
            if not active.size:
                break
            part = self.rows(active)
            norms[active], value[active], mean = part.search(norms[active], step[going], value[active], promise[active])
            gradient[active], information[active] = part.derivatives(norms[active], mean)
        residual = np.maximum(kkt_residual(norms, gradient, information, self.low, self.high), 0.5 * promise)
        mean = np.maximum(norms @ self.templates, _FLOOR)
        likelihood = np.sum(self.counts * np.log(mean) - self.log_factorials, axis=1) - norms @ self.total
        likelihood[np.isneginf(value)] = -np.inf
        return Optima(norms, gradient, information, likelihood, value, residual)

    def search(self, norms: Array, step: Array, value: Array, promise: Array) -> tuple[Array, Array, Array]:
        """First of each step's halvings that raises the objective enough, up to rounding (Armijo's rule)."""
        length = np.ones(len(norms))
        found = np.clip(norms + step, self.low, self.high)
        result, mean = self.value(found)
        rounding = 1e-13 * np.abs(value)
        for _ in range(_MAX_HALVINGS):
            poor = np.flatnonzero(~(result >= value + 1e-4 * length * promise - rounding))
            if not poor.size:
                break
            length[poor] /= 2
            part = self.rows(poor)
            found[poor] = np.clip(norms[poor] + length[poor, None] * step[poor], part.low, part.high)
            result[poor], mean[poor] = part.value(found[poor])
        return found, result, mean


def _seen(
    counts: NDArray[np.integer],
    templates: Array,
    bounds: ArrayLike | None,
    centre: ArrayLike | None,
    width: ArrayLike | None,
) -> _Problem:
    """The likelihood of one map (n_pix,)."""
    seen = np.flatnonzero(counts)
    return _Problem.build(counts[None, seen], templates[:, seen], templates.sum(axis=1), bounds, centre, width)


def kkt_residual(norms: Array, gradient: Array, information: Array, low: Array, high: Array) -> Array:
    """Largest gain in ln L, (n,), from a Newton step of one norm within its bounds."""
    curvature = np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-300)
    step = np.clip(norms + gradient / curvature, low, high) - norms
    return np.max(gradient * step - 0.5 * curvature * step**2, axis=1, initial=0.0)


def box_step(gradient: Array, information: Array, low: Array, high: Array) -> Array:
    """Steps (n, n_template) to the maxima of quadratic models, each component between `low` <= 0 and `high` >= 0."""
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-200))
    hessian = information * scale[:, :, None] * scale[:, None, :] + 1e-14 * np.eye(gradient.shape[1])
    return np.asarray(_active_sets(hessian, gradient * scale, low / scale, high / scale) * scale)


@njit(cache=True)
def _active_sets(hessian: Array, slope: Array, low: Array, high: Array) -> Array:  # pragma: no cover - compiled
    """Maxima (n, t) of slope·x - ½ x·H·x within bounds: components are let go, or held by a bound, one at a time."""
    n, t = slope.shape
    steps = np.zeros((n, t))
    side, matrix, aim = np.zeros(t, np.int64), np.empty((t, t)), np.empty(t)
    for row in range(n):
        step, h = steps[row], hessian[row]
        for i in range(t):
            side[i] = -1 if low[row, i] >= 0 else 1 if high[row, i] <= 0 else 0  # the bound that holds each component
        for _ in range(20 * t):
            for i in range(t):  # the maximum over the free components, the others held where they are
                aim[i] = slope[row, i] if side[i] == 0 else step[i]
                for j in range(t):
                    free = side[i] == 0 and side[j] == 0
                    matrix[i, j] = h[i, j] if free else 1.0 if i == j else 0.0
                    if side[i] == 0 and side[j] != 0:
                        aim[i] -= h[i, j] * step[j]
            _solve(matrix, aim)
            shortest, first = 1.0, -1
            for i in range(t):
                if side[i] == 0 and not low[row, i] <= aim[i] <= high[row, i]:
                    bound = low[row, i] if aim[i] < low[row, i] else high[row, i]
                    length = (bound - step[i]) / (aim[i] - step[i])
                    if length < shortest:
                        shortest, first = length, i
            for i in range(t):
                step[i] += shortest * (aim[i] - step[i])
            if first >= 0:
                below = aim[first] < low[row, first]
                step[first] = low[row, first] if below else high[row, first]
                side[first] = -1 if below else 1
                continue
            largest, most, best = 0.0, -np.inf, 0
            for i in range(t):
                inward = slope[row, i]
                for j in range(t):
                    inward -= h[i, j] * step[j]
                inward *= 0.0 if low[row, i] >= high[row, i] else -side[i]  # what is fixed stays
                if inward > most:
                    most, best = inward, i
                largest = max(largest, abs(slope[row, i]))
            if most <= 1e-13 * largest:
                break
            side[best] = 0
    return steps


@njit(cache=True)
def _solve(matrix: Array, right: Array) -> None:  # pragma: no cover - compiled
    """Solve linear equations (t, t) in place, by elimination with row pivots; NumPy's would take seconds to compile."""
    t = len(right)
    for k in range(t):
        pivot = k
        for i in range(k + 1, t):
            if abs(matrix[i, k]) > abs(matrix[pivot, k]):
                pivot = i
        if pivot != k:
            for j in range(k, t):
                matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
            right[k], right[pivot] = right[pivot], right[k]
        for i in range(k + 1, t):
            factor = matrix[i, k] / matrix[k, k]
            if factor != 0.0:
                for j in range(k + 1, t):
                    matrix[i, j] -= factor * matrix[k, j]
                right[i] -= factor * right[k]
    for k in range(t - 1, -1, -1):
        for j in range(k + 1, t):
            right[k] -= matrix[k, j] * right[j]
        right[k] /= matrix[k, k]
