r"""Adaptive template fit: templates of which each pixel may shine brighter or dimmer, as a Gaussian prior allows.

Counts k are Poisson with mean μ_c = Σ_j A_j T'_jc in cells c, pixels of an energy bin. A template that is modulated is

.. math:: T'_c = T_c \, e^{g_c} / Z_e, \qquad g = B z, \qquad z \sim N(0, 1), \qquad
          Z_e = \sum_{c\in e} a_c T_c e^{g_c} \Big/ \sum_{c\in e} a_c T_c,

B the modes times their amplitude, a the weights in which the template's sum in each energy bin stays. The logarithm of
the posterior, ln L(A, z) - ½ z², is nearly concave (Storm et al. 2017, arXiv:1705.04065, penalise likewise; harmonics
as in Buschmann et al. 2020, arXiv:2002.12373). Newton's method finds its maximum over norms and thousands of modes: z
is eliminated from each step by Cholesky's factor of its block, and norms take the exact step within their bounds
(:mod:`gcesbi.baselines.poisson.optimum`). Where the exact curvature is not positive, that of first derivatives of the
mean stands in.

With b the modes' mean over an energy bin, weighted with a T', and r = k/μ - 1, s = A T', the curvature by z of
templates j and l is

.. math:: \sum_c \Big[\frac{k s_j s_l}{\mu^2} - \delta_{jl}\Big(r s_j - \frac{a T'_j}{\sum_e a T'_j}
          \sum_e r s_j\Big)\Big] (B_j - b_j) (B_l - b_l)^T + \delta_{jl}.

Laplace's approximation about the maximum gives errors with z marginalised, joint draws of norms and z, and the
evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.sparse import csr_array

from gcesbi.baselines.poisson.likelihood import log_factorials
from gcesbi.baselines.poisson.optimum import Optimum, PoissonProblem, box_step, covariance, kkt_residual
from gcesbi.sky.compiled import njit

__all__ = ["AdaptiveOptima", "AdaptiveOptimum", "AdaptiveProblem", "ModeBasis", "Modes"]

Array = NDArray[np.float64]

_MAX_STEPS = 100
_MAX_HALVINGS = 40
_LONGEST = 2.0  # change of ln T' in one step
_CONVERGED = 1e-10  # in ln L, what a step promises
_GAIN = 0.4  # of what a step promises, half of it if all is quadratic
_MAX_SETTLING = 8  # steps to the maximum over norms with z marginalised
_SETTLED = 1e-3  # in the logarithm of the marginal posterior, what a step promises
_DIFFERENCE = 0.03  # of an error of a norm, for derivatives of the determinant
_FLOOR = 1e-100  # in place of a mean of zero


@dataclass(frozen=True, eq=False)
class ModeBasis:
    """Modes in the pixels of one energy bin: the matrix B, `modes` (n_pix, n_mode)."""

    modes: csr_array

    @cached_property
    def _wide(self) -> NDArray[np.bool_]:
        """Which modes reach most pixels, (n_mode,)."""
        n_pix, n_mode = self.modes.shape
        return np.asarray(np.bincount(self.modes.indices, minlength=n_mode) > 0.5 * n_pix)

    @cached_property
    def _dense(self) -> Array:
        return np.ascontiguousarray(self.modes[:, np.flatnonzero(self._wide)].toarray())

    @cached_property
    def _sparse(self) -> csr_array:
        return csr_array(self.modes[:, np.flatnonzero(~self._wide)])

    @cached_property
    def _transposed(self) -> csr_array:
        return csr_array(self._sparse.T)

    def gram(self, other: ModeBasis, weights: Array) -> Array:
        """Σ_p w_p B_p B'_pᵀ (n_mode, n_mode'), of weights (n_pix,)."""
        found = np.zeros((self.modes.shape[1], other.modes.shape[1]))
        wide, narrow = np.flatnonzero(self._wide), np.flatnonzero(~self._wide)
        other_wide, other_narrow = np.flatnonzero(other._wide), np.flatnonzero(~other._wide)
        left, right = weights[:, None] * self._dense, weights[:, None] * other._dense
        found[np.ix_(wide, other_wide)] = left.T @ other._dense
        found[np.ix_(narrow, other_wide)] = self._transposed @ right
        found[np.ix_(wide, other_narrow)] = (other._transposed @ left).T
        own, beside = self._sparse, other._sparse
        sparse = np.zeros((len(narrow), len(other_narrow)))
        _add_gram(own.indptr, own.indices, own.data, beside.indptr, beside.indices, beside.data, weights, sparse)
        found[np.ix_(narrow, other_narrow)] = sparse
        return found


@dataclass(frozen=True, eq=False)
class Modes:
    """What modulates one template.

    Parameters
    ----------
    row : int
        The template.
    basis : tuple of ModeBasis
        B in every energy bin. Bins that share modes have the same basis, which then is worked on once.
    """

    row: int
    basis: tuple[ModeBasis, ...]

    @property
    def n(self) -> int:
        """Number of modes."""
        return int(self.basis[0].modes.shape[1])

    def logs(self, z: Array) -> Array:
        """The logarithms g (n_energy, n_pix)."""
        known = {id(each): each.modes @ z for each in {id(b): b for b in self.basis}.values()}
        return np.stack([known[id(each)] for each in self.basis])

    def sums(self, weights: Array) -> Array:
        """Σ_p w_p B_p in every energy bin, (n_energy, n_mode), of weights (n_energy, n_pix)."""
        return np.stack([row @ each.modes for row, each in zip(weights, self.basis, strict=True)])

    def gram(self, other: Modes, weights: Array) -> Array:
        """Σ_c w_c B_c B'_cᵀ (n_mode, n_mode'), of weights (n_energy, n_pix)."""
        pairs: dict[tuple[int, int], tuple[ModeBasis, ModeBasis, Array]] = {}
        for left, right, row in zip(self.basis, other.basis, weights, strict=True):
            known = pairs.get((id(left), id(right)))
            pairs[id(left), id(right)] = (left, right, row if known is None else known[2] + row)
        return np.sum([left.gram(right, row) for left, right, row in pairs.values()], axis=0)


@dataclass(frozen=True, eq=False)
class AdaptiveOptimum(Optimum):
    """Maximum over norms and modes; gradient and information are those of the norms, z fitted along.

    Attributes
    ----------
    latent : array (n_latent,)
        The modes' coefficients z of all modulated templates.
    factor : array (n_latent, n_latent)
        Lower triangle of Cholesky's factor of the curvature by z.
    mixed : array (n_norm, n_latent)
        Minus the derivative of the objective by a norm and a coefficient.
    response : array (n_latent, n_norm)
        What z moves by against a norm that is held elsewhere, per its change.
    log_determinant : float
        Of the curvature by z.
    """

    latent: Array
    factor: Array
    mixed: Array
    response: Array
    log_determinant: float

    @property
    def curvature(self) -> tuple[Array, Array, Array, Array]:
        """Information of norms, the factor, the mixed curvature and the response."""
        return self.information, self.factor, self.mixed, self.response

    @property
    def point(self) -> Array:
        """Norms, then z."""
        return np.concatenate([self.norms, self.latent])

    @property
    def log_profile(self) -> float:
        """What a profile over norms or shapes is of: ln L - ½ z²."""
        return self.log_likelihood - 0.5 * float(self.latent @ self.latent)

    @property
    def of_norms(self) -> Optimum:
        """What it says of norms, without what is large."""
        told = {each.name: getattr(self, each.name) for each in fields(Optimum)}
        return Optimum(**told)


@dataclass(frozen=True, eq=False)
class _State:
    """Norms (n_energy, n_template), z, templates T' (n_template, n_energy, n_pix), mean and objective."""

    norms: Array
    latent: Array
    templates: Array
    mean: Array
    objective: float


@dataclass(frozen=True, eq=False)
class AdaptiveProblem:
    """The likelihood of one map, with what is known of norms and of how templates are modulated.

    Norms are those of all templates in the first energy bin, then in the second, and so on.

    Parameters
    ----------
    counts : array (n_energy, n_pix)
    templates : array (n_template, n_energy, n_pix)
    bounds : array (n_norm, 2)
        Lowest and highest norm, equal where it is fixed.
    centre, width : array (n_norm,)
        Gaussian priors on the norms; width inf for none.
    modes : tuple of Modes
    weights : array (n_energy, n_pix), optional
        In which sums of templates stay; 1 by default.
    """

    counts: NDArray[np.int64]
    templates: Array
    bounds: Array
    centre: Array
    width: Array
    modes: tuple[Modes, ...]
    weights: Array | None = None

    @property
    def varied(self) -> NDArray[np.bool_]:
        """Which norms are not fixed, (n_norm,)."""
        return self.bounds[:, 0] < self.bounds[:, 1]

    @cached_property
    def n_latent(self) -> int:
        """Number of modes of all templates."""
        return sum(each.n for each in self.modes)

    @cached_property
    def _blocks(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *(each.n for each in self.modes)]).tolist()
        return tuple(slice(a, b) for a, b in pairwise(ends))

    @cached_property
    def _weighted(self) -> tuple[tuple[Array, Array], ...]:
        """The products a T of each modulated template and their sums over pixels (n_energy, 1)."""
        weights = np.ones_like(self.templates[0]) if self.weights is None else self.weights
        each = [weights * self.templates[modes.row] for modes in self.modes]
        return tuple((values, values.sum(axis=-1, keepdims=True)) for values in each)

    # -- the sky at some coefficients -----------------------------------------------------------------------------

    def logs(self, latent: Array) -> Array:
        """The log-fields g (n_modulated, n_energy, n_pix) at z (n_latent,)."""
        return np.stack([modes.logs(latent[block]) for modes, block in zip(self.modes, self._blocks, strict=True)])

    def modulated(self, latent: Array) -> Array:
        """Templates T' (n_template, n_energy, n_pix) at z (n_latent,)."""
        found = self.templates.copy()
        for modes, block, (weighted, total) in zip(self.modes, self._blocks, self._weighted, strict=True):
            logs = modes.logs(latent[block])
            factor = np.exp(logs - logs.max(axis=-1, keepdims=True))
            found[modes.row] *= factor * (total / (weighted * factor).sum(axis=-1, keepdims=True))
        return found

    def _state(self, norms: Array, latent: Array) -> _State:
        templates = self.modulated(latent)
        mean = np.einsum("et,tep->ep", norms, templates)
        if np.any((mean < _FLOOR) & (self.counts > 0)):
            return _State(norms, latent, templates, mean, -np.inf)
        mean = np.maximum(mean, _FLOOR)
        value = float(np.sum(self.counts * np.log(mean) - mean))
        value += float(self.prior(norms.ravel()).sum()) - 0.5 * float(latent @ latent)
        return _State(norms, latent, templates, mean, value)

    def objective(self, norms: Array, latent: Array) -> float:
        """Logarithm of the posterior at norms (n_norm,) and z (n_latent,), without ln k! and constants of priors."""
        return self._state(norms.reshape(len(self.counts), -1), latent).objective

    @property
    def totals(self) -> Array:
        """Expected counts of each template in each energy bin for norm 1, (n_norm,)."""
        return np.asarray(self.templates.sum(axis=-1).T.ravel())

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Which templates alone shine somewhere where counts are seen, by norm, (n_norm,)."""
        allowed = (self.bounds[:, 1] > 0).reshape(len(self.counts), -1).T[:, :, None]
        seen = (self.templates > 0) & allowed & (self.counts > 0)
        return np.asarray((seen & (seen.sum(axis=0) == 1)).any(axis=-1).T.ravel())

    def moved_mean(self, optimum: AdaptiveOptimum, row: int, slope: Array) -> Array:
        """Derivative of the mean by what moves a template by `slope`, both (n_energy, n_pix)."""
        norms = optimum.norms.reshape(len(self.counts), -1)[:, row, None]
        for modes, block, (weighted, total) in zip(self.modes, self._blocks, self._weighted, strict=True):
            if modes.row == row:
                weights = np.ones_like(slope) if self.weights is None else self.weights
                logs = modes.logs(optimum.latent[block])
                factor = np.exp(logs - logs.max(axis=-1, keepdims=True))
                after = (weighted * factor).sum(axis=-1, keepdims=True)
                factor *= total / after
                rate = (weights * slope * (factor - 1)).sum(axis=-1, keepdims=True) / total
                return np.asarray(norms * factor * (slope - rate * self.templates[row]))
        return np.asarray(norms * slope)

    def mean_gradient(self, optimum: AdaptiveOptimum, moved: Array) -> Array:
        """Derivatives (n,) of the objective by what moves the mean by `moved` (n, n_energy, n_pix)."""
        return np.asarray(np.einsum("nep,ep->n", moved, self.counts / self._at(optimum).mean - 1))

    def information_with(self, optimum: AdaptiveOptimum, moved: Array) -> Array:
        """Of the norms, then of what moves the mean by `moved` (n, n_energy, n_pix), z fitted along.

        From first derivatives of the mean, but for that of the norms and z by themselves.
        """
        state = self._at(optimum)
        ratio = self.counts / state.mean**2
        n_norm = len(optimum.norms)
        by_norms = np.einsum("nep,tep->net", ratio * moved, state.templates).reshape(len(moved), -1)
        by_latent = np.zeros((len(moved), self.n_latent))
        for modes, block, (_, mean) in zip(self.modes, self._blocks, self._means(state), strict=True):
            light = ratio * state.norms[:, modes.row, None] * state.templates[modes.row]
            for row, each in zip(by_latent, moved * light, strict=True):
                row[block] = modes.sums(each).sum(axis=0) - each.sum(axis=-1) @ mean
        found = np.zeros((n_norm + len(moved), n_norm + len(moved)))
        found[:n_norm, :n_norm] = optimum.information
        found[n_norm:, :n_norm] = by_norms - by_latent @ optimum.response
        found[:n_norm, n_norm:] = found[n_norm:, :n_norm].T
        solved = cho_solve((optimum.factor, True), by_latent.T, check_finite=False)
        found[n_norm:, n_norm:] = np.einsum("nep,mep->nm", ratio * moved, moved) - by_latent @ solved
        return found

    def refit(self, maps: NDArray[np.int64], best: AdaptiveOptimum) -> tuple[Array, Array]:
        """Ln L (n,) and mean (n, n_energy, n_pix) of the best fits to maps (n, n_energy, n_pix), begun at one."""
        found = [replace(self, counts=counts).maximise(best.point, near=best) for counts in maps]
        return np.array([each.log_likelihood for each in found]), np.stack([self.mean(each) for each in found])

    def mean(self, optimum: AdaptiveOptimum) -> Array:
        """Expected counts (n_energy, n_pix)."""
        return self._at(optimum).mean

    def _at(self, optimum: AdaptiveOptimum) -> _State:
        return self._state(optimum.norms.reshape(len(self.counts), -1), optimum.latent)

    def prior(self, norms: Array) -> Array:
        """Logarithm of each norm's Gaussian prior, without its constant, of the shape of `norms` (..., n_norm)."""
        return -0.5 * ((norms - self.centre) / self.width) ** 2

    # -- derivatives ----------------------------------------------------------------------------------------------

    def gradient(self, norms: Array, latent: Array) -> tuple[Array, Array]:
        """Derivatives of :meth:`objective` by norms (n_norm,) and by z (n_latent,)."""
        return self._gradient(self._state(norms.reshape(len(self.counts), -1), latent))

    def curvature(self, point: Array, exact: bool = True) -> tuple[Array, Array, Array]:
        """Minus second derivatives at norms and z (n_norm + n_latent,).

        By norms (n_norm, n_norm), by norms and z (n_norm, n_latent), by z (n_latent, n_latent); if not exact, from the
        mean's first derivatives alone.
        """
        n_norm = len(self.bounds)
        return self._curvature(self._state(point[:n_norm].reshape(len(self.counts), -1), point[n_norm:]), exact)

    def pull_back(self, latent: Array, norms: Array, by_cell: Array) -> Array:
        """Derivatives by z (n_latent,), at z, of those by the mean (n_energy, n_pix), for norms (n_energy, n_template).

        The prior of z is not in it.
        """
        return self._pull_back(_State(norms, latent, self.modulated(latent), by_cell, 0.0), by_cell)

    def _pull_back(self, state: _State, by_cell: Array) -> Array:
        found = np.zeros(self.n_latent)
        for modes, block, (_, mean) in zip(self.modes, self._blocks, self._means(state), strict=True):
            moved = by_cell * state.norms[:, modes.row, None] * state.templates[modes.row]
            found[block] = modes.sums(moved).sum(axis=0) - moved.sum(axis=-1) @ mean
        return found

    def _means(self, state: _State) -> list[tuple[Array, Array]]:
        """Shares a T' / Σ a T' (n_energy, n_pix) and the modes' means b (n_energy, n_mode) of each modulated one."""
        found = []
        for modes, (weighted, total) in zip(self.modes, self._weighted, strict=True):
            base = self.templates[modes.row]
            ratio = np.divide(weighted, base, out=np.zeros_like(base), where=base > 0)
            share = ratio * state.templates[modes.row] / total
            found.append((share, modes.sums(share)))
        return found

    def _gradient(self, state: _State) -> tuple[Array, Array]:
        excess = self.counts / state.mean - 1
        by_norm = np.einsum("ep,tep->et", excess, state.templates).ravel()
        by_norm -= np.where(np.isinf(self.width), 0.0, (state.norms.ravel() - self.centre) / self.width**2)
        return by_norm, self._pull_back(state, excess) - state.latent

    def _curvature(self, state: _State, exact: bool) -> tuple[Array, Array, Array]:
        """Minus second derivatives: by norms, by norms and z (n_norm, n_latent), by z; else of the mean's first."""
        n_energy, n_template = state.norms.shape
        ratio = self.counts / state.mean**2
        excess = (self.counts / state.mean - 1) * exact
        own = np.zeros((n_energy, n_template, n_energy, n_template))
        each = np.arange(n_energy)
        own[each, :, each] = np.einsum("ep,tep,uep->etu", ratio, state.templates, state.templates, optimize=True)
        by_norms = own.reshape(n_energy * n_template, -1)
        by_norms[np.diag_indices(len(by_norms))] += np.where(np.isinf(self.width), 0.0, self.width**-2.0)
        mixed = np.zeros((n_energy, n_template, self.n_latent))
        by_latent = np.zeros((self.n_latent, self.n_latent))
        means = self._means(state)
        for i, (modes, block, (share, mean)) in enumerate(zip(self.modes, self._blocks, means, strict=True)):
            light = state.norms[:, modes.row, None] * state.templates[modes.row]
            for t in range(n_template):
                weight = ratio * state.templates[t] * light - (t == modes.row) * excess * state.templates[t]
                mixed[:, t, block] = modes.sums(weight) - weight.sum(axis=-1)[:, None] * mean
            for other, beside, (_, other_mean) in list(zip(self.modes, self._blocks, means, strict=True))[i:]:
                weight = ratio * light * state.norms[:, other.row, None] * state.templates[other.row]
                if other is modes:
                    moved = excess * light
                    weight -= moved - share * moved.sum(axis=-1, keepdims=True)
                found = modes.gram(other, weight)
                ends = modes.sums(weight), other.sums(weight)
                found -= mean.T @ ends[1] + (ends[0] - weight.sum(axis=-1)[:, None] * mean).T @ other_mean
                by_latent[block, beside] = found
                by_latent[beside, block] = found.T
        by_latent[np.diag_indices(self.n_latent)] += 1.0
        return by_norms, mixed.reshape(n_energy * n_template, -1), by_latent

    def _eliminated(self, state: _State, free: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
        """Information of norms with z fitted along, Cholesky's factor of z's, their mixed one, and its solution.

        They are exact where the information of the `free` norms then is positive.
        """
        for exact in (True, False):
            by_norms, mixed, by_latent = self._curvature(state, exact)
            try:
                factor = cholesky(by_latent, lower=True, overwrite_a=True, check_finite=False)
            except LinAlgError:
                continue
            half = solve_triangular(factor, mixed.T, lower=True, check_finite=False)
            left = by_norms - half.T @ half
            scale = np.sqrt(np.maximum(np.diag(by_norms), 1e-200))
            own = (left / np.outer(scale, scale))[np.ix_(free, free)]
            if not exact or np.linalg.eigvalsh(own).min(initial=1.0) > 0:
                break
        return left, factor, mixed, solve_triangular(factor, half, lower=True, trans=1, check_finite=False)

    # -- maxima ---------------------------------------------------------------------------------------------------

    def start(self) -> Array:
        """Norms of the best fit without modulation, then z = 0."""
        norms = []
        for e, (low, high, centre, width) in enumerate(self._by_energy()):
            bounds = np.stack([low, high], axis=-1)
            norms.append(PoissonProblem(self.counts[e], self.templates[:, e], bounds, centre, width).maximise().norms)
        return np.concatenate([*norms, np.zeros(self.n_latent)])

    def _by_energy(self) -> list[Array]:
        known = np.stack([*self.bounds.T, self.centre, self.width])
        return list(known.reshape(4, len(self.counts), -1).transpose(1, 0, 2))

    def maximise(
        self, start: Array | None = None, bounds: Array | None = None, near: AdaptiveOptimum | None = None
    ) -> AdaptiveOptimum:
        """The maximum.

        Parameters
        ----------
        start : array (n_norm + n_latent,), optional
            Norms and z where the search begins.
        bounds : array (n_norm, 2), optional
            In place of the problem's own.
        near : AdaptiveOptimum, optional
            Of a similar map: its curvature is taken first.
        """
        begin = self.start() if start is None else start
        low, high = (self.bounds if bounds is None else bounds).T
        n_energy, n_norm = len(self.counts), len(low)
        state = self._state(np.clip(begin[:n_norm], low, high).reshape(n_energy, -1), begin[n_norm:])
        known = None if near is None else near.curvature
        fresh = False  # curvature at an earlier point serves as long as its steps gain what they promise
        for _ in range(_MAX_STEPS):
            norms = state.norms.ravel()
            by_norm, by_latent = self._gradient(state)
            free = (low < high) & ((norms > low) | (by_norm > 0)) & ((norms < high) | (by_norm < 0))
            if known is None:
                known, fresh = self._eliminated(state, free), True
            information, factor, mixed, response = known
            slope = by_norm - response.T @ by_latent
            room = np.where(free, low - norms, 0.0), np.where(free, high - norms, 0.0)
            step = box_step(slope[None], information[None], room[0][None], room[1][None])[0]
            latent_step = cho_solve((factor, True), by_latent - mixed.T @ step, check_finite=False)
            promise = float(by_norm @ step + by_latent @ latent_step)
            found = None if promise < _CONVERGED else self._search(state, step, latent_step, promise, low, high)
            if found is None and (fresh or promise < _CONVERGED):
                break
            if found is None or found.objective - state.objective < _GAIN * promise:
                known = None
            state, fresh = state if found is None else found, False
        if not (fresh and free.all()):
            information, factor, mixed, response = self._eliminated(state, low < high)
        residual = float(kkt_residual(norms[None], slope[None], information[None], low[None], high[None])[0])
        return AdaptiveOptimum(
            norms,
            slope,
            information,
            float(np.sum(self.counts * np.log(state.mean) - state.mean - log_factorials(self.counts))),
            state.objective,
            max(residual, 0.5 * promise),
            state.latent,
            factor,
            mixed,
            response,
            2 * float(np.log(np.diag(factor)).sum()),
        )

    def _search(
        self, state: _State, step: Array, latent_step: Array, promise: float, low: Array, high: Array
    ) -> _State | None:
        """First of a step's halvings that raises the objective enough; None if none does."""
        length = min(1.0, _LONGEST / max(np.ptp(self.logs(latent_step)) / 2, 1e-300))
        rounding = 1e-13 * abs(state.objective)
        for _ in range(_MAX_HALVINGS):
            norms = np.clip(state.norms.ravel() + length * step, low, high).reshape(state.norms.shape)
            found = self._state(norms, state.latent + length * latent_step)
            if found.objective >= state.objective + 1e-4 * length * promise - rounding:
                return found
            length /= 2
        return None

    def hold(self, which: NDArray[np.int64], values: Array, start: Array) -> AdaptiveOptima:
        """Maxima with norm `which[i]` held at `values[i]`, each (n,); `start` is (n, n_point) or (n_point,)."""
        begin, found = np.broadcast_to(start, (len(values), start.shape[-1])), []
        for norm, value, point in zip(which, values, begin, strict=True):
            bounds = self.bounds.copy()
            bounds[norm] = value
            found.append(self.maximise(point, bounds))
        return AdaptiveOptima(tuple(found))

    def marginalise(self, best: AdaptiveOptimum) -> AdaptiveOptimum:
        """The maximum over norms with z marginalised: of ln L - ½ z² - ½ ln |H|, H the curvature by z.

        Modes take room from a template the less, the dimmer it is: where they are many, this lies several errors from
        the joint maximum. Newton's method, with the information of the joint posterior.
        """
        low, high = self.bounds.T
        found = best
        for _ in range(_MAX_SETTLING):
            slope = found.gradient - 0.5 * self._log_determinant_slopes(found)
            room = (low - found.norms)[None], (high - found.norms)[None]
            step = box_step(slope[None], found.information[None], *room)[0]
            if float(slope @ step) < _SETTLED:
                break
            norms = np.clip(found.norms + step, low, high)
            start = np.concatenate([norms, found.latent - found.response @ step])
            found = self.maximise(start, np.stack([norms, norms], axis=-1), near=found)
        return replace(found, gradient=slope)

    def _log_determinant_slopes(self, optimum: AdaptiveOptimum) -> Array:
        """Derivatives of ln |H| by norms (n_norm,), z following."""
        errors = 1 / np.sqrt(np.maximum(np.diag(optimum.information), 1e-200))
        found = np.zeros(len(optimum.norms))
        for i in np.flatnonzero(self.varied):
            step = _DIFFERENCE * errors[i]
            norms = optimum.norms.copy()
            norms[i] += step
            moved = self._state(norms.reshape(len(self.counts), -1), optimum.latent - step * optimum.response[:, i])
            factor = self._factor(moved)
            found[i] = (2 * float(np.log(np.diag(factor)).sum()) - optimum.log_determinant) / step
        return found

    def _factor(self, state: _State) -> Array:
        """Cholesky's factor of the curvature by z."""
        return self._eliminated(state, np.zeros(len(self.bounds), dtype=bool))[1]

    def covariance(self, optimum: Optimum) -> Array:
        """Covariance (n_norm, n_norm) of the norms, z marginalised; 0 for fixed ones."""
        rows = np.flatnonzero(self.varied)
        found = np.zeros_like(optimum.information)
        found[np.ix_(rows, rows)] = covariance(optimum.information[np.ix_(rows, rows)])
        return found

    def log_evidence(self, optimum: AdaptiveOptimum) -> float:
        """Laplace's ln ∫ L dA dz, with ln k!, norms flat or under their Gaussian priors (without constant).

        Norms at a bound are held there.
        """
        low, high = self.bounds.T
        free = np.flatnonzero((optimum.norms > low) & (optimum.norms < high))
        curvature = np.linalg.slogdet(optimum.information[np.ix_(free, free)])[1]
        value = optimum.log_likelihood + float(self.prior(optimum.norms).sum())
        value -= 0.5 * (float(optimum.latent @ optimum.latent) + optimum.log_determinant + float(curvature))
        return value + 0.5 * len(free) * float(np.log(2 * np.pi))

    def draw_latent(self, optimum: AdaptiveOptimum, norms: Array, rng: np.random.Generator) -> Array:
        """Draws of z (n, n_latent) given norms (n, n_norm), to second order."""
        noise = rng.standard_normal((self.n_latent, len(norms)))
        spread = solve_triangular(optimum.factor, noise, lower=True, trans=1, check_finite=False)
        return optimum.latent - (norms - optimum.norms) @ optimum.response.T + spread.T


@dataclass(frozen=True, eq=False)
class AdaptiveOptima:
    """Several maxima."""

    each: tuple[AdaptiveOptimum, ...]

    @property
    def norms(self) -> Array:
        """(n, n_norm)."""
        return np.stack([one.norms for one in self.each])

    @property
    def gradient(self) -> Array:
        """By norms, (n, n_norm)."""
        return np.stack([one.gradient for one in self.each])

    @property
    def point(self) -> Array:
        """Norms, then z, (n, n_norm + n_latent)."""
        return np.stack([one.point for one in self.each])

    @property
    def objective(self) -> Array:
        """(n,)."""
        return np.array([one.objective for one in self.each])

    @property
    def log_likelihood(self) -> Array:
        """(n,)."""
        return np.array([one.log_likelihood for one in self.each])

    @property
    def log_profile(self) -> Array:
        """Ln L - ½ z², (n,)."""
        return np.array([one.log_profile for one in self.each])


@njit(cache=True, nogil=True)
def _add_gram(ptr, at, value, other_ptr, other_at, other_value, weights, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add Σ_p w_p B_p B'_pᵀ of two sparse matrices to `out`."""
    for p in range(len(weights)):
        for a in range(ptr[p], ptr[p + 1]):
            scaled = weights[p] * value[a]
            row = out[at[a]]
            for b in range(other_ptr[p], other_ptr[p + 1]):
                row[other_at[b]] += scaled * other_value[b]
