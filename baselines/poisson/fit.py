r"""Poisson template fit: maximum likelihood of norms within bounds, exact and certified.

Counts k_p in pixel p are Poisson with mean μ_p = Σ_j A_j T_jp; the log-likelihood

.. math:: \ln L(A) = \sum_p k_p \ln\mu_p - \mu_p - \ln k_p!

is concave in the norms A, and :mod:`gcesbi.baselines.poisson.optimum` finds its maximum. Energy bins are fitted one by
one.

The inverse of the observed information Σ_p k_p T_ip T_jp / μ_p² gives errors and covariance: the curvature at the
maximum, which says nothing about how far a norm at its bound could go. Profile intervals, upper limits and posteriors
know that.

Where templates float, energy bins share their shapes, and the fit is of norms and shapes jointly: see
:mod:`gcesbi.baselines.poisson.outer`. Errors and covariance of norms then count that of shapes; profiles, intervals and
posteriors of norms are those at the best shapes.

Where templates have log-fields, these are fitted along, all energy bins at once
(:mod:`gcesbi.baselines.poisson.adaptive`). Norms and profiles are those of the joint maximum; errors and posteriors
marginalise log-fields and shapes, which may move fluxes by several errors. Amplitudes that have a prior are where the
evidence is highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from gcesbi.baselines.poisson.intervals import profile_intervals, upper_limits
from gcesbi.baselines.poisson.modulated import LogFields, ModelLikelihood
from gcesbi.baselines.poisson.norm_posteriors import (
    PoissonChainPosterior,
    PoissonPosterior,
    sample_chain,
)
from gcesbi.baselines.poisson.optimum import Optimum, Problem
from gcesbi.baselines.poisson.outer import OuterMaximum
from gcesbi.baselines.poisson.priors import Fixed, NormPrior, UserTemplate
from gcesbi.baselines.poisson.spectrum import TemplateSpectrum
from gcesbi.baselines.poisson.templates import FittedTemplates, shares
from gcesbi.errors import InputError, checked_seed
from gcesbi.posterior import Coordinates
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["PoissonFit", "PoissonFitResult"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PoissonFit:
    """Fit of all templates of `model`, as smooth emission, to `observation`; energy bins independently.

    Parameters
    ----------
    model : SkyModel
    observation : Observation
    priors : mapping of str to NormPrior or Fixed
        By template; norms without one are free above zero.
    extra : tuple of UserTemplate
        Templates beside the model's.
    shapes : mapping of str to float
        Shape parameters that are held at these values. The others are fitted, within their priors' ranges.
    amplitudes : mapping of str to float
        Amplitudes of log-fields that are held at these values, by the names of the model's parameters. The others are
        numbers, or fitted within their priors.

    Raises
    ------
    InputError
        If the observation does not fit the model (:meth:`SkyModel.for_observation`), a prior is of no template, a
        shape or an amplitude is of no name or out of range, or
        templates are negative, NaN, all zero, fewer than pixels, or linearly dependent.
    """

    model: SkyModel
    observation: Observation
    priors: Mapping[str, NormPrior | Fixed] = field(default_factory=dict)
    extra: tuple[UserTemplate, ...] = ()
    shapes: Mapping[str, float] = field(default_factory=dict)
    amplitudes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model.for_observation(self.observation))
        object.__setattr__(self, "extra", tuple(self.extra))
        self.likelihood.check(self.sky.maps)

    @cached_property
    def sky(self) -> FittedTemplates:
        """What is fitted."""
        return FittedTemplates(self.model, self.observation, self.extra, self.shapes)

    @property
    def names(self) -> tuple[str, ...]:
        """Templates: the model's, then the extra ones."""
        return self.sky.names

    @cached_property
    def likelihood(self) -> ModelLikelihood:
        """Likelihoods of templates."""
        return ModelLikelihood(self.model, self.observation, self.names, self.priors, self.amplitudes)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """The likelihood of every energy bin; a single one of all where templates have log-fields."""
        return self.likelihood.problems(self.sky.maps)

    def run(self) -> PoissonFitResult:
        """Fit norms, the shapes of templates that float, and log-fields."""
        plain = self.sky.likelihood(self.likelihood.plain).maximise() if self.sky.fitted else None
        if self.likelihood.free:
            shapes = np.zeros(0) if plain is None else plain.values
            return replace(self, amplitudes=self.likelihood.best_amplitudes(self.sky.at(shapes))).run()
        if plain is None:
            return PoissonFitResult(self, tuple(problem.maximise() for problem in self.problems))
        found = self.sky.likelihood(self.likelihood.problems).climb(plain.values) if self.model.modulated else plain
        best = replace(self, shapes=self.sky.all_shapes(found.values))
        return PoissonFitResult(best, found.point.optima, found)

    def without(self, pixels: ArrayLike) -> PoissonFit:
        """The same fit on the region less some pixels (NESTED indices).

        Raises
        ------
        InputError
            If a pixel is not in the region, or none is left.
        """
        observation, extra = self.sky.without(pixels)
        return replace(self, observation=observation, extra=extra)


@dataclass(frozen=True, eq=False)
class PoissonFitResult:
    """Best fit of templates to an observation.

    Arrays over templates and energies drop the axis of energies where there is one bin.

    Parameters
    ----------
    fit : PoissonFit
        What was fitted.
    optima : tuple of Optimum
        One for every energy bin, with gradient, information and certificate.
    joint : OuterMaximum, optional
        The maximum over shapes, where they were fitted; `fit` then holds them at their best values.
    """

    fit: PoissonFit
    optima: tuple[Optimum, ...]
    joint: OuterMaximum | None = None

    # -- the best fit -------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Templates."""
        return self.fit.names

    @property
    def coordinates(self) -> Coordinates:
        """Labels of the posteriors' axes."""
        return self.fit.sky.coordinates

    @property
    def flux_per_norm(self) -> Array:
        """Flux inside the region for norm 1, (n_template, n_energy), photons / cm² / s."""
        return self.fit.sky.flux_per_norm

    @property
    def observed(self) -> NDArray[np.int64]:
        """Observed counts, (n_energy, n_pix)."""
        return self.fit.observation.counts

    @cached_property
    def templates(self) -> Array:
        """Expected counts for norm 1, (n_template, n_energy, n_pix), log-fields at their best."""
        return self.log_fields.templates if self.fit.model.modulated else self.fit.sky.maps

    @cached_property
    def log_fields(self) -> LogFields:
        """The log-fields that were fitted.

        Raises
        ------
        InputError
            If no template has one.
        """
        shapes = None if self.joint is None else self.joint.point.norms_alone[0].information
        return LogFields.of(self.names, self.fit.problems[0], self.optima[0], shapes)

    @property
    def amplitudes(self) -> dict[str, float]:
        """Amplitudes of the log-fields: best values, or those at which they were held."""
        return self.fit.likelihood.held

    def _squeeze(self, values: Array, axis: int = 1) -> Array:
        return values.squeeze(axis) if len(self.observed) == 1 else values

    def _by_bin(self, each: Iterable[Array]) -> Array:
        """Arrays (n_norm, ...) of the problems, as (n_template, n_energy, ...)."""
        joined = np.concatenate(list(each))
        return joined.reshape(len(self.observed), len(self.names), *joined.shape[1:]).swapaxes(0, 1)

    def _place(self, row: int, energy: int) -> tuple[Problem, Optimum, int]:
        """Problem and optimum of a template's norm in an energy bin, and its place there."""
        if len(self.optima) == 1:
            return self.fit.problems[0], self.optima[0], energy * len(self.names) + row
        return self.fit.problems[energy], self.optima[energy], row

    @cached_property
    def spectrum(self) -> Array:
        """Norms by energy bin, (n_template, n_energy), also for a single bin."""
        return self._by_bin(optimum.norms for optimum in self.optima)

    @property
    def norms(self) -> Array:
        """Mean expected counts per pixel over the normalisation disc, (n_template[, n_energy])."""
        return self._squeeze(self.spectrum)

    @property
    def shapes(self) -> dict[str, float]:
        """Shape parameters: best values, or those at which they were held."""
        return dict(self.fit.shapes)

    def _fitted_shapes(self) -> OuterMaximum:
        if self.joint is None:
            raise InputError("shape: none was fitted, no template floats or all are held")
        return self.joint

    @property
    def shape_covariance(self) -> Array:
        """Of the shape parameters that were fitted, norms not held, (n_shape, n_shape); 0 at the end of a range."""
        n = len(self._fitted_shapes().values)
        return self._fitted_shapes().point.covariance[-n:, -n:]

    def shape_profile(self, name: str, values: ArrayLike) -> Array:
        """Ln L (with ln k!) at `values` (n,) of a shape parameter, maximised over norms and other shapes, (n,)."""
        return self._fitted_shapes().profile(name, values)

    def shape_interval(self, name: str, level: float = 0.6827) -> tuple[float, float]:
        """Ends of a shape parameter's profile-likelihood interval, within its range."""
        return self._fitted_shapes().interval(name, level)

    @cached_property
    def covariances(self) -> Array:
        """Covariance of the norms in every energy bin, (n_energy, n_template, n_template), also for a single bin."""
        if self.joint is not None:
            return self._blocks(self.joint.point.covariance)
        pairs = zip(self.fit.problems, self.optima, strict=True)
        return np.concatenate([self._blocks(problem.covariance(optimum)) for problem, optimum in pairs])

    def _blocks(self, covariance: Array) -> Array:
        """Of the norms of each energy bin, out of that of several bins, (n_bin, n_template, n_template)."""
        n = len(self.names)
        ends = range(n, min(len(covariance), n * len(self.observed)) + 1, n)
        return np.stack([covariance[end - n : end, end - n : end] for end in ends])

    @property
    def covariance(self) -> Array:
        """Of the norms, from the curvature at the maximum, bounds ignored, ([n_energy,] n_template, n_template).

        Zero for fixed norms; variance inf where the likelihood has no curvature.
        """
        return self._squeeze(self.covariances, 0)

    @property
    def errors(self) -> Array:
        """Square root of the variances, (n_template[, n_energy])."""
        return self._squeeze(np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2)).T)

    @property
    def correlation(self) -> Array:
        """Correlation matrix (or matrices) of the norms; NaN where one is fixed or has no curvature."""
        sigma = np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.covariance / (sigma[..., :, None] * sigma[..., None, :])

    @cached_property
    def mean(self) -> Array:
        """Expected counts of the best fit, (n_energy, n_pix)."""
        return np.einsum("te,tep->ep", self.spectrum, self.templates)

    @cached_property
    def counts(self) -> Array:
        """Fitted counts of each template in the region, all energies together, (n_template,)."""
        return np.einsum("te,tep->t", self.spectrum, self.templates)

    @cached_property
    def flux(self) -> Array:
        """Fitted flux in the region, (n_template, n_energy), photons / cm² / s."""
        return self.spectrum * self.flux_per_norm

    @property
    def flux_fraction(self) -> Array:
        """Share of each template in the region's flux, all energies together, (n_template,)."""
        return shares(self.flux.sum(axis=1), axis=0)

    @property
    def spectrum_fraction(self) -> Array:
        """Share of each template in the flux of an energy bin, (n_template, n_energy)."""
        return shares(self.flux, axis=0)

    # -- how good it is -----------------------------------------------------------------------------------------

    @property
    def log_likelihood(self) -> float:
        """Ln L with ln k!, summed over energy bins, without priors."""
        return sum(optimum.log_likelihood for optimum in self.optima)

    @property
    def log_likelihood_kernel(self) -> float:
        """Ln L without ln k!: Σ k ln μ - μ."""
        return self.log_likelihood + float(gammaln(self.observed + 1.0).sum())

    @property
    def converged(self) -> bool:
        """Whether every energy bin's optimum meets the Karush-Kuhn-Tucker conditions."""
        return all(optimum.converged for optimum in self.optima)

    @property
    def kkt_residual(self) -> float:
        """Largest gain in ln L that could still be had, over energy bins."""
        return max(optimum.kkt_residual for optimum in self.optima)

    @cached_property
    def test_statistics(self) -> Array:
        """2 (ln L - ln L without the template), all else fitted anew, (n_template, n_energy).

        Shapes are held; Gaussian priors of the other norms count in both. inf where the template alone shines where
        counts are seen.
        """
        return self._by_bin(_test_statistics(*pair) for pair in zip(self.fit.problems, self.optima, strict=True))

    def test_statistic(self, name: str) -> float:
        """2 (ln L - ln L without the template), summed over energy bins, norms and shapes fitted anew."""
        row = self._row(name)
        apart = self.joint is None and len(self.optima) == len(self.observed)
        if apart or np.isinf(self.test_statistics[row]).any():
            return float(self.test_statistics[row].sum())
        free = [] if self.joint is None else [each.name for each in self.joint.likelihood.parameters]
        held = {key: value for key, value in self.fit.shapes.items() if key not in free}
        own = [template.names for template in self.fit.sky.floating if template.row == row]
        held |= {key: self.fit.shapes[key] for names in own for key in names}  # nothing shines in these shapes
        without = replace(self.fit, priors={**self.fit.priors, name: Fixed(0.0)}, shapes=held).run()
        places = [self._place(row, e) for e in range(len(self.observed))]
        lost = sum(float(problem.prior(optimum.norms)[i]) for problem, optimum, i in places)
        gain = sum(o.objective for o in self.optima) - sum(o.objective for o in without.optima)
        return 2 * (gain - lost)

    def _row(self, name: str) -> int:
        if name not in self.names:
            raise InputError(f"template: must be one of {', '.join(self.names)}, got {name!r}")
        return self.names.index(name)

    # -- intervals ----------------------------------------------------------------------------------------------

    def intervals(self, level: float = 0.6827) -> Array:
        """Ends of the profile-likelihood intervals, (n_template, [n_energy,] 2); see :mod:`.intervals`."""
        pairs = zip(self.fit.problems, self.optima, strict=True)
        return self._squeeze(self._by_bin(profile_intervals(*pair, level) for pair in pairs))

    def upper_limits(self, level: float = 0.95) -> Array:
        """Profile-likelihood upper limits, one-sided, (n_template[, n_energy])."""
        pairs = zip(self.fit.problems, self.optima, strict=True)
        return self._squeeze(self._by_bin(upper_limits(*pair, level) for pair in pairs))

    def profile(self, name: str, values: ArrayLike, energy: int = 0) -> Array:
        """Ln L (with ln k!), maximised over all other norms, of one norm at `values` (n,) in one energy bin, (n,)."""
        row, held = self._row(name), np.atleast_1d(np.asarray(values, dtype=np.float64))
        if held.ndim != 1 or not np.all(held >= 0):
            raise InputError(f"values: must be a vector of numbers >= 0, got {values!r}")
        problem, optimum, place = self._place(row, energy)
        return problem.hold(np.full(held.size, place), held, optimum.point).log_profile

    def template_spectra(self, level: float = 0.6827, limit_level: float = 0.95) -> tuple[TemplateSpectrum, ...]:
        """Spectrum of every template: flux with profile errors, upper limits and test statistics by energy bin."""
        shape = self.spectrum.shape
        ends = self.intervals(level).reshape(*shape, 2) * self.flux_per_norm[..., None]
        limits = self.upper_limits(limit_level).reshape(shape) * self.flux_per_norm
        seen = self.fit.observation
        return tuple(
            TemplateSpectrum(
                name=name,
                energy_edges=seen.energy_edges,
                flux=self.flux[t],
                low=ends[t, :, 0],
                high=ends[t, :, 1],
                upper_limit=limits[t],
                test_statistic=self.test_statistics[t],
                solid_angle=seen.region.solid_angle,
                level=level,
                limit_level=limit_level,
            )
            for t, name in enumerate(self.names)
        )

    # -- what follows -------------------------------------------------------------------------------------------

    def without(self, pixels: ArrayLike) -> PoissonFitResult:
        """The fit of the region less some pixels (NESTED indices), run."""
        return self.fit.without(pixels).run()

    def shift_to(self, other: PoissonFitResult) -> Array:
        """How far the norms of another fit of the same templates lie from these, in these errors, as ``norms``.

        Where `other` is a fit of a part of the same pixels, scatter about 0 is less than 1. NaN for fixed norms.
        """
        if other.names != self.names or other.norms.shape != self.norms.shape:
            raise InputError(f"other: must be a fit of {', '.join(self.names)}, in as many energy bins")
        with np.errstate(invalid="ignore"):
            return (other.norms - self.norms) / np.where(self.errors > 0, self.errors, np.nan)

    def posterior(self) -> PoissonPosterior:
        """Posterior of fluxes and their fractions under the fit's priors, to second order."""
        return PoissonPosterior(self.coordinates, self.fit.problems, self._marginal, self.fit.sky.quantities)

    @property
    def _marginal(self) -> tuple[Optimum, ...]:
        """The optima; with log-fields marginalised, and information that counts the shapes', where there are any."""
        return (self.log_fields.marginal,) if self.fit.model.modulated else self.optima

    def sample_posterior(self, n_steps: int = 2000, n_walkers: int = 32, seed: int = 0) -> PoissonChainPosterior:
        """Posterior under the fit's priors by emcee, bin by bin, exact also where bins hold few counts.

        A fifth of the steps is dropped; `n_walkers` must be even, and at least 2 n_template + 2.

        Raises
        ------
        InputError
            If templates have log-fields.
        """
        if self.fit.model.modulated:
            raise InputError("model: log-fields have too many coefficients for emcee; use posterior()")
        streams = np.random.SeedSequence(checked_seed(seed)).spawn(len(self.optima))
        seeds = [int(stream.generate_state(1)[0]) for stream in streams]
        chains = tuple(
            sample_chain(problem, optimum, self.names, n_steps, n_walkers, each)
            for problem, optimum, each in zip(
                self.fit.likelihood.plain(self.fit.sky.maps), self.optima, seeds, strict=True
            )
        )
        return PoissonChainPosterior(
            self.coordinates, self.fit.problems, self.optima, self.fit.sky.quantities, chains, seed
        )


def _test_statistics(problem: Problem, best: Optimum) -> Array:
    """2 Δ ln L without each template, (n_norm,)."""
    found = np.full(len(best.norms), np.inf)
    rows = np.flatnonzero(~problem.alone)
    if not rows.size:
        return found
    without = problem.hold(rows, np.zeros(rows.size), best.point)
    own = problem.prior(without.norms)[np.arange(rows.size), rows], problem.prior(best.norms)[rows]
    found[rows] = 2 * ((best.objective - own[1]) - (without.objective - own[0]))
    return found
