r"""Adaptive template fit: templates of which each pixel may shine brighter or dimmer, as a Gaussian prior allows.

Counts k are Poisson with mean μ_c = Σ_j A_j T'_jc in cells c, pixels of an energy bin. A template that is modulated is

.. math:: T'_c = T_c \, e^{g_c} / Z_e, \qquad g = B z, \qquad z \sim N(0, 1), \qquad
          Z_e = \sum_{c\in e} a_c T_c e^{g_c} \Big/ \sum_{c\in e} a_c T_c,

B the modes times their amplitude, a the weights in which the template's sum in each energy bin stays. The logarithm of
the posterior, ln L(A, z) - ½ z², is nearly concave (Storm et al. 2017, arXiv:1705.04065, penalise likewise; harmonics
as in Buschmann et al. 2020, arXiv:2002.12373). Scoring finds its maximum over norms and thousands of modes: z
is eliminated from each step by Cholesky's factor of its block, and norms take the exact step within their bounds
(:mod:`gcesbi.baselines.poisson.optimum`). Several templates may share one log-field, each with a Z of its own.

With b_j the modes' mean over an energy bin, weighted with a T'_j, and s_j = A_j T'_j, the mean's derivative by z is
J_c = Σ_j s_jc (B_c - b_j). Information is that of first derivatives of the mean, by z

.. math:: H = 1 + \sum_c \frac{k_c}{\mu_c^2} J_c J_c^T,

which is positive, and so is what is left of the norms' once z is eliminated. Second derivatives of μ, times k/μ - 1,
count in the mixed block alone, of norms between their bounds: there they decide on directions that data hardly tell.

Laplace's approximation about the maximum gives errors with z marginalised, joint draws of norms and z, and the
evidence. The marginal posterior of the norms, ln L - ½ z² - ½ ln |H|, has its maximum elsewhere. The derivative of ln
|H| by a norm, z following, is that of Σ_c J_c C J_cᵀ / μ_c at fixed C = H⁻¹, counts taken as expected: one inverse and
one form per pixel for all norms.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri

from gcesbi.baselines.poisson.likelihood import log_factorials
from gcesbi.baselines.poisson.modes import Modes
from gcesbi.baselines.poisson.optimum import Optimum, PoissonProblem, box_step, covariance, kkt_residual

__all__ = ["AdaptiveOptima", "AdaptiveOptimum", "AdaptiveProblem"]

Array = NDArray[np.float64]

_MAX_STEPS = 100
_MAX_HALVINGS = 40
_LONGEST = 2.0  # change of ln T' in one step
_CONVERGED = 1e-10  # in ln L, what a step promises
_GAIN = 0.4  # of what a step promises, half of it if all is quadratic
_MAX_SETTLING = 20  # steps to the maximum over norms with z marginalised
_SHORTEST = 1e-3  # of such a step
_SETTLED = 1e-3  # in the logarithm of the marginal posterior, what a step promises
_FLOOR = 1e-100  # in place of a mean of zero


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
    def log_marginal(self) -> float:
        """Of the norms' posterior with z marginalised, without constants: objective - ½ ln |H|."""
        return self.objective - 0.5 * self.log_determinant

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
class _Field:
    """What one log-field does at a state: how its modes move the mean.

    Attributes
    ----------
    modes : Modes
    block : slice
        Of its coefficients among all.
    light, share : array (n_row, n_energy, n_pix)
        A T' and a T' / Σ a T' of its templates.
    mean : array (n_row, n_energy, n_mode)
        The modes' means b.
    """

    modes: Modes
    block: slice
    light: Array
    share: Array
    mean: Array

    def pull(self, weights: Array) -> Array:
        """Σ_jc v_jc (B_c - b_j) in every energy bin, (n, n_energy, n_mode), of v (n, n_row, n_energy, n_pix)."""
        return self.modes.sums(weights.sum(axis=1)) - np.einsum(
            "nje,jek->nek", weights.sum(axis=-1), self.mean, optimize=True
        )

    def gram(self, other: _Field, ratio: Array) -> Array:
        """Σ_c w_c J_c J'_cᵀ (n_mode, n_mode') of weights (n_energy, n_pix)."""
        own, beside = self.light.sum(axis=0), other.light.sum(axis=0)
        found = self.modes.gram(other.modes, ratio * own * beside)
        found -= np.einsum("jek,jel->kl", self.mean, other.modes.sums(ratio * self.light * beside), optimize=True)
        centred = self.pull(ratio * self.light * other.light[:, None])
        found -= np.einsum("iek,iel->kl", centred, other.mean, optimize=True)
        return found

    def along(self, directions: Array) -> Array:
        """(B_c - b_j)·d_j of directions d (n_row, n_energy, n_mode), (n_row, n_energy, n_pix)."""
        found = np.stack([self.modes.logs(each) for each in directions])
        return found - (self.mean * directions).sum(axis=-1, keepdims=True)


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
    def _weights(self) -> Array:
        return np.ones_like(self.templates[0]) if self.weights is None else self.weights

    @cached_property
    def _sums(self) -> Array:
        """Σ_p a T (n_template, n_energy, 1)."""
        return np.asarray((self._weights * self.templates).sum(axis=-1, keepdims=True))

    # -- the sky at some coefficients -----------------------------------------------------------------------------

    def logs(self, latent: Array) -> Array:
        """The log-fields g (n_field, n_energy, n_pix) at z (n_latent,)."""
        return np.stack([modes.logs(latent[block]) for modes, block in zip(self.modes, self._blocks, strict=True)])

    def modulated(self, latent: Array) -> Array:
        """Templates T' (n_template, n_energy, n_pix) at z (n_latent,)."""
        found = self.templates.copy()
        for modes, logs in zip(self.modes, self.logs(latent), strict=True):
            found[list(modes.rows)] *= self._factors(modes, logs)
        return found

    def _factors(self, modes: Modes, logs: Array) -> Array:
        """Exp(g) / Z (n_row, n_energy, n_pix) of a log-field's templates."""
        rows = list(modes.rows)
        factor = np.exp(logs - logs.max(axis=-1, keepdims=True))
        after = (self._weights * factor * self.templates[rows]).sum(axis=-1, keepdims=True)
        return np.asarray(factor * np.divide(self._sums[rows], after, out=np.zeros_like(after), where=after > 0))

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
        for modes, logs in zip(self.modes, self.logs(optimum.latent), strict=True):
            if row in modes.rows:
                factor = self._factors(modes, logs)[modes.rows.index(row)]
                rate = (self._weights * slope * (factor - 1)).sum(axis=-1, keepdims=True) / self._sums[row]
                return np.asarray(norms * factor * (slope - rate * self.templates[row]))
        return np.asarray(norms * slope)

    def mean_gradient(self, optimum: AdaptiveOptimum, moved: Array) -> Array:
        """Derivatives (n,) of the objective by what moves the mean by `moved` (n, n_energy, n_pix)."""
        return np.asarray(np.einsum("nep,ep->n", moved, self.counts / self._at(optimum).mean - 1))

    def information_with(self, optimum: AdaptiveOptimum, moved: Array) -> Array:
        """Of the norms, then of what moves the mean by `moved` (n, n_energy, n_pix), z fitted along."""
        state = self._at(optimum)
        ratio = self.counts / state.mean**2
        n_norm = len(optimum.norms)
        by_norms = np.einsum("nep,tep->net", ratio * moved, state.templates).reshape(len(moved), -1)
        by_latent = np.concatenate(
            [each.pull((ratio * moved)[:, None] * each.light).sum(axis=1) for each in self._fields(state)], axis=1
        )
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

    def curvature(self, norms: Array, latent: Array) -> tuple[Array, Array, Array]:
        """Information, from first derivatives of the mean, at norms (n_norm,) and z (n_latent,).

        By norms (n_norm, n_norm), by norms and z (n_norm, n_latent), by z (n_latent, n_latent).
        """
        return self._curvature(self._state(norms.reshape(len(self.counts), -1), latent))

    def pull_back(self, latent: Array, norms: Array, by_cell: Array) -> Array:
        """Derivatives by z (n_latent,), at z, of those by the mean (n_energy, n_pix), for norms (n_energy, n_template).

        The prior of z is not in it.
        """
        return self._pull_back(_State(norms, latent, self.modulated(latent), by_cell, 0.0), by_cell).sum(axis=0)

    def _fields(self, state: _State) -> list[_Field]:
        found = []
        for modes, block in zip(self.modes, self._blocks, strict=True):
            rows = list(modes.rows)
            light = state.norms.T[rows][:, :, None] * state.templates[rows]
            share = self._weights * state.templates[rows] / self._sums[rows]
            found.append(_Field(modes, block, light, share, modes.sums(share)))
        return found

    def _pull_back(self, state: _State, by_cell: Array) -> Array:
        """Σ_c w_c J_c in every energy bin, (n_energy, n_latent)."""
        return np.concatenate([each.pull((by_cell * each.light)[None])[0] for each in self._fields(state)], axis=1)

    def _gradient(self, state: _State) -> tuple[Array, Array]:
        excess = self.counts / state.mean - 1
        by_norm = np.einsum("ep,tep->et", excess, state.templates).ravel()
        by_norm -= np.where(np.isinf(self.width), 0.0, (state.norms.ravel() - self.centre) / self.width**2)
        return by_norm, self._pull_back(state, excess).sum(axis=0) - state.latent

    def _curvature(self, state: _State) -> tuple[Array, Array, Array]:
        """Information by norms, by norms and z (n_norm, n_latent), by z."""
        n_energy, n_template = state.norms.shape
        ratio = self.counts / state.mean**2
        own = np.zeros((n_energy, n_template, n_energy, n_template))
        each = np.arange(n_energy)
        own[each, :, each] = np.einsum("ep,tep,uep->etu", ratio, state.templates, state.templates, optimize=True)
        by_norms = own.reshape(n_energy * n_template, -1)
        by_norms[np.diag_indices(len(by_norms))] += np.where(np.isinf(self.width), 0.0, self.width**-2.0)
        mixed = np.zeros((n_energy, n_template, self.n_latent))
        by_latent = np.zeros((self.n_latent, self.n_latent))
        fields = self._fields(state)
        for i, field in enumerate(fields):
            pulled = field.pull((ratio * state.templates)[:, None] * field.light)
            mixed[:, :, field.block] = pulled.swapaxes(0, 1)
            for other in fields[i:]:
                found = field.gram(other, ratio)
                by_latent[field.block, other.block] = found
                by_latent[other.block, field.block] = found.T
        by_latent[np.diag_indices(self.n_latent)] += 1.0
        return by_norms, mixed.reshape(n_energy * n_template, -1), by_latent

    def _turned(self, state: _State) -> Array:
        """Second derivatives of the mean by norms and z, times k/μ - 1: (n_norm, n_latent)."""
        excess = self.counts / state.mean - 1
        found = np.zeros((*state.norms.shape, self.n_latent))
        for field in self._fields(state):
            rows = np.arange(len(field.modes.rows))
            weights = np.zeros((len(rows), *field.light.shape))
            weights[rows, rows] = excess * state.templates[list(field.modes.rows)]
            found[:, list(field.modes.rows), field.block] = field.pull(weights).swapaxes(0, 1)
        return found.reshape(-1, self.n_latent)

    def _eliminated(self, state: _State) -> tuple[Array, Array, Array, Array]:
        """Information of norms with z fitted along, Cholesky's factor of z's, their mixed one, and its solution.

        The mixed one is exact for norms between their bounds where their information then is positive.
        """
        by_norms, first, by_latent = self._curvature(state)
        factor = cholesky(by_latent, lower=True, overwrite_a=True, check_finite=False)
        inside = (state.norms.ravel() > self.bounds[:, 0]) & (state.norms.ravel() < self.bounds[:, 1])
        for mixed in (first - self._turned(state) * inside[:, None], first):
            half = solve_triangular(factor, mixed.T, lower=True, check_finite=False)
            left = by_norms - half.T @ half
            scale = np.sqrt(np.maximum(np.diag(by_norms), 1e-200))
            if np.linalg.eigvalsh((left / np.outer(scale, scale))[np.ix_(inside, inside)]).min(initial=1.0) > 0:
                break
        return left, factor, mixed, solve_triangular(factor, half, lower=True, trans=1, check_finite=False)

    def log_determinant_slopes(self, optimum: AdaptiveOptimum) -> Array:
        """Derivatives of ln |H| by norms (n_norm,), z following."""
        lower = np.tril(dpotri(optimum.factor, lower=1)[0])
        inverse = lower + np.tril(lower, -1).T
        state = self._at(optimum)
        by_norms, by_latent = self._form_slopes(state, inverse)
        return by_norms - by_latent @ optimum.response

    def _form_slopes(self, state: _State, matrix: Array) -> tuple[Array, Array]:
        """Derivatives of Σ_c J_c C J_cᵀ / μ_c at fixed C (n_latent, n_latent): by norms (n_norm,), by z (n_latent,)."""
        mean, fields = state.mean, self._fields(state)
        ends = [np.zeros((*each.mean.shape[:2], self.n_latent)) for each in fields]  # b_j among all coefficients
        for each, field in zip(ends, fields, strict=True):
            each[:, :, field.block] = field.mean
        every = np.concatenate(ends)
        solved, lights = every @ matrix, np.concatenate([each.light for each in fields])
        crossed = [np.stack([field.modes.logs(row[:, field.block]) for row in solved]) for field in fields]  # B C b_j
        centre = np.einsum(
            "iep,ije->jep", lights, np.einsum("iek,jek->ije", every, solved), optimize=True
        )  # Σ_i s_i b_i C b_j
        forms = []  # J C (B - b_j), (n_row, n_energy, n_pix) of each field
        moved = sum(field.light.sum(axis=0) * each for field, each in zip(fields, crossed, strict=True)) - centre
        first = 0
        for field, own in zip(fields, crossed, strict=True):
            form = -(lights * own).sum(axis=0)
            for other in fields:
                form += other.light.sum(axis=0) * field.modes.quadratic(other.modes, matrix[field.block, other.block])
            forms.append(form - moved[first : first + len(field.light)])
            first += len(field.light)
        total = sum((field.light * form).sum(axis=0) for field, form in zip(fields, forms, strict=True))
        by_norms = -np.einsum("ep,tep->et", total / mean**2, state.templates)
        by_latent = np.zeros(self.n_latent)
        for field, form in zip(fields, forms, strict=True):
            rows = list(field.modes.rows)
            by_norms[:, rows] += 2 * np.einsum("jep,jep->ej", form / mean, state.templates[rows])
            spread = np.stack(
                [self._pull_back(state, 2 * light / mean) @ matrix[:, field.block] for light in field.light]
            )
            weights = field.light * (2 * form / mean - total / mean**2) - field.share * field.along(spread)
            by_latent[field.block] = field.pull(weights[None])[0].sum(axis=0)
        return by_norms.ravel(), by_latent

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
                known, fresh = self._eliminated(state), True
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
        if not fresh:
            information, factor, mixed, response = self._eliminated(state)
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
            slope = found.gradient - 0.5 * self.log_determinant_slopes(found)
            room = (low - found.norms)[None], (high - found.norms)[None]
            step = box_step(slope[None], found.information[None], *room)[0]
            promise = float(slope @ step)
            moved = None if promise < _SETTLED else self._settle(found, step, promise)
            if moved is None:
                break
            found = moved
        return replace(found, gradient=slope)

    def _settle(self, found: AdaptiveOptimum, step: Array, promise: float) -> AdaptiveOptimum | None:
        """First of a step's shortenings that raises the marginal posterior enough; None if none does."""
        length = 1.0
        while length > _SHORTEST:
            norms = np.clip(found.norms + length * step, *self.bounds.T)
            start = np.concatenate([norms, found.latent - length * (found.response @ step)])
            moved = self.maximise(start, np.stack([norms, norms], axis=-1), near=found)
            gain = moved.log_marginal - found.log_marginal
            if gain >= 1e-4 * length * promise:
                return moved
            length *= max(0.1, min(0.5, 0.5 * length * promise / (length * promise - gain)))  # a parabola's top
        return None

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
