r"""What energies add to the likelihood of the sum, as a quadratic in binned norms.

The norm of every component in every energy bin, x = A c_e, is what a joint likelihood sees of spectra. In these it is
nearly a normal's, as every Poisson likelihood is in norms of templates, whatever ridge a spectrum's parameters lie on.
So ln L − ln L_sum is expanded to second order in the parameters of the sum and in x, by differences of gradients: of
the joint likelihood by x and shapes, of the sum's by its own parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gcesbi.baselines.nptf.floating_spectra import FloatingSpectrum
from gcesbi.baselines.nptf.joint import JointLikelihood
from gcesbi.baselines.nptf.problem import NptfProblem, within
from gcesbi.baselines.samplers.quadratic import Quadratic
from gcesbi.baselines.samplers.target import Target

__all__ = ["JointRefinement"]

Array = NDArray[np.float64]

_STEP = 0.1  # in z, of a difference by a parameter of the sum
_BINNED_STEP = 0.5  # of the Poisson error of a binned norm, of a difference by it
_LEAST = 1e-6  # of the largest binned norm of a component, such a step


@dataclass(frozen=True, eq=False)
class JointRefinement:
    """Spectra beside the posterior of the sum; what samplers ask of a refinement.

    Parameters
    ----------
    joint : JointLikelihood
    sum : NptfProblem
        Its parameters are the first of the joint likelihood's.
    """

    joint: JointLikelihood
    sum: NptfProblem

    @cached_property
    def coarser(self) -> Target:
        """The likelihood of the sum."""
        return self.sum.target

    @cached_property
    def _members(self) -> list[FloatingSpectrum]:
        return [member for member in self.joint.spectra.members if member.columns]

    @cached_property
    def first_blocks(self) -> tuple[NDArray[np.int64], ...]:
        """Columns of every population, and of all else that the sum has."""
        parameters = self.sum.parameters
        own = [np.array(parameters.columns([*each.shape, each.norm])) for each in parameters.populations]
        rest = np.setdiff1d(np.arange(len(self.sum.names)), np.concatenate(own))
        return tuple(block for block in (rest, *own) if len(block))

    @cached_property
    def blocks(self) -> tuple[NDArray[np.int64], ...]:
        """Columns of every spectrum."""
        return tuple(np.array(member.columns) for member in self._members)

    @cached_property
    def _held(self) -> Array:
        """Spectra of all templates (n_template, n_energy), right where they do not float."""
        prior = self.joint.parameters.prior
        return self.joint.spectra.shares(prior.from_uniform(np.full((1, len(prior.names)), 0.5)))[0]

    def first(self, z: Array) -> Array:
        """Parameters of the fit (n, n_dim) at coordinates of the sum's (n, n_first), those of spectra 0."""
        theta = self.sum.from_cube(ndtr(z))
        return np.pad(theta, ((0, 0), (0, len(self.joint.parameters.names) - theta.shape[1])))

    def part(self, block: int, z: Array) -> Array:
        """Spectra (n, n_energy) at coordinates of a block (n, n_column)."""
        member, parameters = self._members[block], self.joint.parameters
        theta = np.zeros((len(z), len(parameters.names)))
        for column, u in zip(member.columns, within(ndtr(z)).T, strict=True):
            theta[:, column] = parameters.marginals[parameters.names[column]].from_uniform(u)
        return member.family.shares(self.joint.sky.model.energy_edges, member.values(theta))

    def _shares(self, parts: Array) -> Array:
        """Spectra of all templates (n, n_template, n_energy)."""
        shares = np.tile(self._held, (len(parts), 1, 1))
        shares[:, [member.row for member in self._members]] = parts
        return shares

    def features(self, first: Array, parts: Array) -> Array:
        """Parameters of the sum, and binned norms of the smooth templates and of the populations, (n, n_feature)."""
        joint, shares = self.joint, self._shares(parts)
        norms = np.concatenate(joint.norms(first, shares), axis=1)
        binned = norms[..., None] * joint.norm_shares(shares)[:, [*joint.smooth_rows, *joint.population_rows]]
        return np.concatenate([first[:, : len(self.sum.names)], binned.reshape(len(first), -1)], axis=1)

    # -- the expansion --------------------------------------------------------------------------------------------

    def expansion(self, z: Array) -> Quadratic:
        """The joint log-likelihood less the sum's by features, about z (n_dim,), without upward curvature."""
        found, units = self.second_order(z)
        return replace(found, curvature=found.curvature - self._upward(found, units))

    def second_order(self, z: Array) -> tuple[Quadratic, Array]:
        """The joint log-likelihood less the sum's, about z (n_dim,), and scales of features (n_feature,)."""
        k = len(self.sum.names)
        parts = np.stack([self.part(i, z[None, block]) for i, block in enumerate(self.blocks)], axis=1)
        at = self.features(self.first(z[None, :k]), parts)[0]
        ends = [self.sum.from_cube(ndtr(z[:k] + sign * _STEP)) for sign in (-1, 1)]
        steps = self._binned_steps(at[k:])
        low, high = (
            np.concatenate(end) for end in zip(ends, (np.maximum(at[k:] - steps, 0), at[k:] + steps), strict=True)
        )
        value, slope, curvature = _second_order(self._joint, at, low, high)
        sum_value, sum_slope, sum_curvature = _second_order(self.sum.log_likelihood_gradient, at[:k], low[:k], high[:k])
        slope[:k] -= sum_slope
        curvature[:k, :k] -= sum_curvature
        units = np.concatenate([(ends[1] - ends[0]) / (2 * _STEP), steps / _BINNED_STEP])
        return Quadratic(at, value - sum_value, slope, curvature), units

    def _upward(self, found: Quadratic, units: Array) -> Array:
        """Upward curvature (n_feature, n_feature) along shapes and binned norms, which nothing would bound.

        Norms of the sum are what binned ones add up to. Scales of features are `units` (n_feature,).
        """
        k, n, at = len(self.sum.names), len(found.at), found.at
        parameters = self.sum.parameters
        shapes = sorted({i for population in parameters.populations for i in parameters.columns(population.shape)})
        norms = [i for i in range(k) if i not in shapes]
        free = [*shapes, *range(k, n)]
        rows = at[:k] + np.diag(1e-4 * units[:k]), at[:k] - np.diag(1e-4 * units[:k])
        ends = [np.concatenate([parameters.smooth_norms(each), parameters.source_norms(each)], axis=1) for each in rows]
        by_parameter = ((ends[0] - ends[1]) / (2e-4 * units[:k, None])).T
        added = np.zeros((len(by_parameter), len(free)))
        added[:, : len(shapes)] = -by_parameter[:, shapes]
        added[:, len(shapes) :] = np.repeat(np.eye(len(by_parameter)), (n - k) // len(by_parameter), axis=1)
        tangent = np.zeros((n, len(free)))
        tangent[free] = np.eye(len(free))
        tangent[norms] = np.linalg.lstsq(by_parameter[:, norms], added, rcond=None)[0]
        scaled = tangent * units[free]
        values, axes = np.linalg.eigh(scaled.T @ found.curvature @ scaled)
        axes = axes / units[free, None]
        upward = np.zeros((n, n))
        upward[np.ix_(free, free)] = (axes * np.maximum(values, 0.0)) @ axes.T
        return upward

    def _binned_steps(self, binned: Array) -> Array:
        """Steps of differences by binned norms, all (n_component * n_energy,)."""
        maps = self.joint.maps[[*self.joint.smooth_rows, *self.joint.population_rows]]
        x = binned.reshape(len(maps), -1)
        mean = np.einsum("te,tpe->pe", x, maps)
        information = np.einsum("tpe,pe->te", maps**2, 1 / np.maximum(mean, 1e-12))
        step = np.minimum(_BINNED_STEP / np.sqrt(information), 0.4 * x)
        return np.maximum(step, _LEAST * x.max(axis=1, keepdims=True)).ravel()

    def _joint(self, y: Array) -> tuple[float, Array]:
        """Joint log-likelihood and its gradient (n_feature,) at features (n_feature,)."""
        joint, parameters, k = self.joint, self.joint.parameters, len(self.sum.names)
        n, sources, flux = len(joint.smooth_rows), joint.source_rows, joint.sky.model.flux_per_norm
        binned = y[k:].reshape(-1, self._held.shape[1])
        norms, kinds = binned[n:].sum(axis=1), [sources.index(row) for row in joint.population_rows]
        summed = np.zeros((len(sources), binned.shape[1]))
        np.add.at(summed, kinds, binned[n:])
        shares = self._held.copy()
        shares[sources] = _normalised(summed * flux[sources])
        theta = np.pad(y[:k], (0, len(parameters.names) - k))
        found = joint.slopes(theta, binned[:n], norms, shares)

        by_share = found.by_ratio[:, None] * joint.exposure / (shares[sources] @ joint.exposure)[:, None]
        c = _normalised(summed)
        by_c = found.by_norm_shares + _through(by_share, shares[sources]) * flux[sources] / np.sum(
            c * flux[sources], axis=1, keepdims=True
        )
        total = summed.sum(axis=1, keepdims=True)
        by_summed = _through(by_c, c) / np.where(total > 0, total, np.inf)
        by_binned = np.concatenate([found.by_binned, found.by_source[:, None] + by_summed[kinds]])
        none = np.zeros(n), np.zeros(len(norms))
        by_theta = parameters.pull_back(theta, *none, found.by_shape)[:k]
        return found.value, np.concatenate([by_theta, by_binned.ravel()])


def _normalised(x: Array) -> Array:
    """Rows (n, n_energy) that add up to 1; even ones where there is nothing."""
    total = x.sum(axis=1, keepdims=True)
    return np.where(total > 0, x / np.where(total > 0, total, 1.0), 1 / x.shape[1])


def _through(slopes: Array, shares: Array) -> Array:
    """Derivatives (n, n_energy) by numbers that shares are proportional to, times their sum."""
    return np.asarray(slopes - np.sum(slopes * shares, axis=1, keepdims=True))


def _second_order(
    function: Callable[[Array], tuple[float, Array]], at: Array, low: Array, high: Array
) -> tuple[float, Array, Array]:
    """Value, gradient (n,) and curvature (n, n) of a function, by differences of its gradient between ends (n,)."""
    value, slope = function(at)
    curvature = np.empty((len(at), len(at)))
    for i in range(len(at)):
        below, above = at.copy(), at.copy()
        below[i], above[i] = low[i], high[i]
        curvature[i] = (function(above)[1] - function(below)[1]) / (high[i] - low[i])
    return value, slope.copy(), 0.5 * (curvature + curvature.T)
