r"""Poisson fit of all energy bins at once, with a parametric spectrum for every template.

Template t has the norm A_t (mean expected counts per pixel, summed over energies) and a spectrum of shape φ_t; its
norm in bin e is

.. math:: A_{te} = A_t c_{te}, \quad c_{te} = \frac{s_e(\phi_t) / f_{te}}{\sum_{e'} s_{e'}(\phi_t) / f_{te'}},

with s_e the spectrum's share of flux and f_te the flux for norm 1, as in :mod:`gcesbi.simulation.model`.
ln L is concave in A but not in φ. Newton's method climbs with exact gradients and second derivatives, damped (Levenberg
1944, Marquardt 1963) where the information is not positive definite or a step would not gain; every step is the maximum
of the quadratic model within the bounds. It begins in several places; the best end is kept.

The result carries its certificate: the gain that the KKT conditions leave, the eigenvalues of the information, and how
many starts ended at the same ln L.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import chi2

from gcesbi.baselines.poisson.fit import PoissonFit, PoissonFitResult
from gcesbi.baselines.poisson.likelihood import log_factorials
from gcesbi.baselines.poisson.optimum import box_step, covariance, kkt_residual
from gcesbi.baselines.poisson.spectral_families import SpectralFamily
from gcesbi.errors import InputError
from gcesbi.physics.spectra import e2dnde

__all__ = ["JointFit", "JointFitResult"]

_MAX_STEPS = 500
_CONVERGED = 1e-6  # in ln L
_SCATTER = 0.5  # of further starts about a family's own

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JointFit:
    """Fit of all energy bins with parametric spectra.

    Parameters
    ----------
    fit : PoissonFit
        Model and observation; two energy bins or more, without priors.
    spectra : SpectralFamily or mapping of str to SpectralFamily
        One for all templates, or one for each.

    Raises
    ------
    InputError
        If a template has no family, bins are too few, or the fit has priors.
    """

    fit: PoissonFit
    spectra: SpectralFamily | Mapping[str, SpectralFamily]

    def __post_init__(self) -> None:
        if self.fit.priors:
            raise InputError(f"fit: priors are on norms of single bins, must be none here, got {len(self.fit.priors)}")
        if not isinstance(self.spectra, SpectralFamily) and set(self.spectra) != set(self.fit.names):
            wanted = ", ".join(self.fit.names)
            raise InputError(f"spectra: needs one for each of {wanted}, got {', '.join(self.spectra)}")
        most = max(len(family.names) for family in self.families)
        if len(self.edges) - 1 <= most:
            raise InputError(f"spectra: {most} parameters need more than {most} energy bins, got {len(self.edges) - 1}")

    @property
    def edges(self) -> Array:
        """Energy edges, GeV."""
        return self.fit.observation.energy_edges

    @property
    def families(self) -> tuple[SpectralFamily, ...]:
        """Spectral family of every template."""
        if isinstance(self.spectra, SpectralFamily):
            return (self.spectra,) * len(self.fit.names)
        return tuple(self.spectra[name] for name in self.fit.names)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """``TEMPLATE_norm`` of every template, then ``TEMPLATE_PARAMETER`` of the spectra."""
        pairs = zip(self.fit.names, self.families, strict=True)
        shapes = (f"{name}_{parameter}" for name, family in pairs for parameter in family.names)
        return (*(f"{name}_norm" for name in self.fit.names), *shapes)

    @cached_property
    def bounds(self) -> Array:
        """(n_parameter, 2)."""
        norms = np.tile([0.0, np.inf], (len(self.families), 1))
        return np.concatenate([norms, *(family.bounds(self.edges) for family in self.families)])

    @cached_property
    def places(self) -> tuple[NDArray[np.int64], ...]:
        """Where each template's parameters stand: its norm, then its spectrum's."""
        ends = len(self.families) + np.cumsum([0, *(len(family.names) for family in self.families)])
        return tuple(np.r_[t, ends[t] : ends[t + 1]] for t in range(len(self.families)))

    def _norms_of(self, t: int, values: Array) -> tuple[Array, Array]:
        """Norms (n_energy,) of template t, and derivatives (n_energy, n) by its own parameters (n,)."""
        share, slope = self.families[t].shares(self.edges, values[1:])
        weight, weight_slope = share / self.fit.flux_per_norm[t], slope / self.fit.flux_per_norm[t][:, None]
        fraction = weight / weight.sum()
        by_shape = values[0] * (weight_slope - fraction[:, None] * weight_slope.sum(axis=0)) / weight.sum()
        return values[0] * fraction, np.column_stack([fraction, by_shape])

    def norms(self, theta: Array) -> tuple[Array, Array]:
        """Norms (n_template, n_energy) and their derivatives (n_template, n_energy, n_parameter)."""
        norms = np.zeros((len(self.families), len(self.edges) - 1))
        slopes = np.zeros((*norms.shape, len(theta)))
        for t, place in enumerate(self.places):
            norms[t], slopes[t][:, place] = self._norms_of(t, theta[place])
        return norms, slopes

    def evaluate(self, theta: Array) -> JointPoint:
        """The log-likelihood and its derivatives at some parameters."""
        norms, slopes = self.norms(theta)
        value, steepness = 0.0, np.zeros(norms.shape)
        pulled = np.zeros((len(theta), len(theta)))
        for e, problem in enumerate(self.fit.problems):
            part, steepness[:, e], curvature = problem.evaluate(norms[:, e])
            value += part
            pulled += slopes[:, e].T @ curvature @ slopes[:, e]
        return JointPoint(theta, value, np.einsum("te,tei->i", steepness, slopes), steepness, pulled)

    def information(self, point: JointPoint) -> Array:
        """Minus the second derivative of ln L, (n_parameter, n_parameter).

        The information of the norms, pulled back, less what the norms' own second derivatives add: central differences
        of their exact first ones.
        """
        found = point.pulled.copy()
        for t, place in enumerate(self.places):
            values, bending = point.theta[place], np.zeros((place.size, place.size))
            for i in range(1, place.size):
                h = np.eye(place.size)[i] * 1e-5 * max(abs(values[i]), 0.1)
                rise = self._norms_of(t, values + h)[1] - self._norms_of(t, values - h)[1]
                bending[i] = point.steepness[t] @ rise / (2 * h[i])
            bending[0] = bending[:, 0]
            found[np.ix_(place, place)] -= 0.5 * (bending + bending.T)
        return found

    def held(self, point: JointPoint) -> NDArray[np.bool_]:
        """Parameters that a bound holds against the gradient, or that have no influence, (n_parameter,)."""
        low, high = self.bounds.T
        beyond = ((point.theta <= low) & (point.gradient <= 0)) | ((point.theta >= high) & (point.gradient >= 0))
        return beyond | (np.diag(point.pulled) <= 0)

    def run(self, n_start: int = 4, seed: int = 0) -> JointFitResult:
        """Climb from `n_start` places, the first of them the families' own, and keep the best end."""
        if n_start < 1:
            raise InputError(f"n_start: must be at least 1, got {n_start}")
        free = self.fit.run()
        rng = np.random.default_rng(seed)
        ends = [self._climb(self._start(free, _SCATTER * min(i, 1), rng)) for i in range(n_start)]
        values = np.array([end.value for end in ends])
        best = ends[int(np.argmax(values))]
        return JointFitResult(self, best, free, int(np.count_nonzero(values > values.max() - 1e-3)), n_start)

    def _start(self, free: PoissonFitResult, scatter: float, rng: np.random.Generator) -> Array:
        """Least squares of every family to the norms that the bins give one by one, from scattered first guesses."""
        total = np.maximum(free.spectrum.sum(axis=1), 1e-3 * free.spectrum.sum() / len(self.families))
        errors = np.sqrt(np.diagonal(free.covariances, axis1=1, axis2=2)).T
        theta = np.concatenate([total, *(family.start(self.edges) for family in self.families)])
        theta[len(total) :] += scatter * rng.standard_normal(theta.size - len(total))
        inside = self.bounds + np.array([1e-6, -1e-6])
        theta = np.clip(theta, inside[:, 0], inside[:, 1])
        for t, place in enumerate(self.places):
            theta[place] = self._match(t, theta[place], free.spectrum[t], errors[t])
        return theta

    def _match(self, t: int, values: Array, norms: Array, errors: Array) -> Array:
        """Parameters of template t that match its norms (n_energy,) best, from `values`."""
        weight = 1 / np.where(np.isfinite(errors) & (errors > 0), errors, np.inf)
        found = least_squares(
            lambda trial: (self._norms_of(t, trial)[0] - norms) * weight,
            values,
            lambda trial: self._norms_of(t, trial)[1] * weight[:, None],
            bounds=tuple(self.bounds[self.places[t]].T),
            x_scale="jac",
        )
        return np.asarray(found.x, dtype=np.float64)

    def _climb(self, theta: Array) -> JointPoint:
        """End of the climb from `theta`."""
        damping, point = 1e-3, self.evaluate(theta)
        information = self.information(point)
        for _ in range(_MAX_STEPS):
            step = self._step(point, information, damping)
            if damping > 1e10 or (damping <= 1e-3 and point.gradient @ step < 1e-8):
                break
            trial = self.evaluate(np.clip(point.theta + step, *self.bounds.T))
            if trial.value > point.value:
                point, damping = trial, damping / 10
                information = self.information(point)
            else:
                damping = max(10 * damping, 1e-6)
        return point

    def _step(self, point: JointPoint, information: Array, damping: float) -> Array:
        """Maximum of the damped quadratic model within the bounds.

        Where the information is not positive definite, that of the norms, pulled back, is taken.
        """
        held = self.held(point)
        size = np.where(np.diag(point.pulled) > 0, np.diag(point.pulled), 1.0)
        scale = np.sqrt(np.outer(size, size))
        for candidate in (information, point.pulled):
            matrix = candidate + damping * np.diag(size)
            matrix[held] = matrix[:, held] = 0.0
            matrix[held, held] = size[held]
            if np.linalg.eigvalsh(matrix / scale)[0] > 1e-12:
                break
        low, high = np.where(held, 0.0, (self.bounds - point.theta[:, None]).T)
        return box_step(point.gradient[None], matrix[None], low[None], high[None])[0]


@dataclass(frozen=True, eq=False)
class JointPoint:
    """The log-likelihood and its derivatives at some parameters.

    Attributes
    ----------
    theta : array (n_parameter,)
    value : float
        ln L without ln k!.
    gradient : array (n_parameter,)
    steepness : array (n_template, n_energy)
        Derivative by the norms.
    pulled : array (n_parameter, n_parameter)
        The information of the norms, pulled back to the parameters (Gauss and Newton's approximation).
    """

    theta: Array
    value: float
    gradient: Array
    steepness: Array
    pulled: Array


@dataclass(frozen=True, eq=False)
class JointFitResult:
    """Best parametric spectra.

    Parameters
    ----------
    joint : JointFit
    point : JointPoint
        The maximum.
    free : PoissonFitResult
        The fit of the same bins one by one.
    n_agreed, n_start : int
        Starts that ended within 10⁻³ of the best ln L, and all.
    """

    joint: JointFit
    point: JointPoint
    free: PoissonFitResult
    n_agreed: int
    n_start: int

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters."""
        return self.joint.parameter_names

    @property
    def theta(self) -> Array:
        """Best parameters, (n_parameter,)."""
        return self.point.theta

    @cached_property
    def spectrum(self) -> Array:
        """Norms by energy bin, (n_template, n_energy)."""
        return self.joint.norms(self.theta)[0]

    @property
    def flux(self) -> Array:
        """Flux in the region, (n_template, n_energy), photons / cm² / s."""
        return self.spectrum * self.joint.fit.flux_per_norm

    @property
    def e2dnde(self) -> Array:
        """E² dN/dE at the bin centres, (n_template, n_energy), GeV / cm² / s."""
        return e2dnde(self.flux, self.joint.edges)

    @cached_property
    def log_likelihood(self) -> float:
        """With ln k!."""
        return self.point.value - float(log_factorials(self.free.observed).sum())

    @cached_property
    def information(self) -> Array:
        """Minus the second derivative of ln L, (n_parameter, n_parameter)."""
        return self.joint.information(self.point)

    @cached_property
    def _free(self) -> NDArray[np.int64]:
        """Parameters that no bound holds."""
        return np.flatnonzero(~self.joint.held(self.point))

    @cached_property
    def kkt_residual(self) -> float:
        """Gain in ln L, to second order, that the KKT conditions leave: of one parameter, or of a Newton step."""
        point, bounds = self.point, self.joint.bounds
        low, high = bounds[None, :, 0], bounds[None, :, 1]
        single = kkt_residual(point.theta[None], point.gradient[None], point.pulled[None], low, high)[0]
        matrix = self.covariance[np.ix_(self._free, self._free)]
        slope = point.gradient[self._free]
        return float(max(single, 0.5 * abs(slope @ np.where(np.isfinite(matrix), matrix, 0.0) @ slope)))

    @cached_property
    def eigenvalues(self) -> Array:
        """Of the information of parameters that no bound holds, scaled to a unit diagonal; positive at a maximum."""
        matrix = self.information[np.ix_(self._free, self._free)]
        scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
        return np.asarray(np.linalg.eigvalsh(matrix * np.outer(scale, scale)), dtype=np.float64)

    @property
    def converged(self) -> bool:
        """Whether the KKT conditions hold to 10⁻⁶ in ln L, and no direction curves upwards beyond rounding."""
        return self.kkt_residual < _CONVERGED and bool(np.all(self.eigenvalues > -1e-8))

    @cached_property
    def covariance(self) -> Array:
        """Of the parameters, (n_parameter, n_parameter); variance inf for those that a bound holds."""
        found = np.diag(np.full(len(self.theta), np.inf))
        rows = np.ix_(self._free, self._free)
        found[rows] = covariance(self.information[rows])
        return found

    @property
    def errors(self) -> Array:
        """Square root of the variances, (n_parameter,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def flux_errors(self) -> Array:
        """Errors of `flux` from those of the parameters that no bound holds, linearised, (n_template, n_energy)."""
        slopes = self.joint.norms(self.theta)[1]
        finite = np.where(np.isfinite(self.covariance), self.covariance, 0.0)
        return np.sqrt(np.einsum("tei,ij,tej->te", slopes, finite, slopes)) * self.joint.fit.flux_per_norm

    @property
    def test_statistic(self) -> float:
        """2 (ln L of free bins - ln L of these spectra)."""
        return 2 * (self.free.log_likelihood - self.log_likelihood)

    @property
    def p_value(self) -> float:
        """Of that ratio, by χ² with as many degrees of freedom as parameters were saved; bounds ignored."""
        return float(chi2.sf(self.test_statistic, self.spectrum.size - len(self.theta)))
