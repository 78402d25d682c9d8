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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.poisson.intervals import profile_intervals, upper_limits
from gcesbi.baselines.poisson.likelihood import check_covered, check_templates, log_factorials
from gcesbi.baselines.poisson.norm_posteriors import PoissonChainPosterior, PoissonPosterior, sample_chain
from gcesbi.baselines.poisson.optimum import Optimum, PoissonProblem
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

    Raises
    ------
    InputError
        If the observation does not fit the model (:meth:`SkyModel.for_observation`), a prior is of no template, a
        shape is of no name or out of range, or
        templates are negative, NaN, all zero, fewer than pixels, or linearly dependent.
    """

    model: SkyModel
    observation: Observation
    priors: Mapping[str, NormPrior | Fixed] = field(default_factory=dict)
    extra: tuple[UserTemplate, ...] = ()
    shapes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model.for_observation(self.observation))
        object.__setattr__(self, "extra", tuple(self.extra))
        for name, prior in self.priors.items():
            if name not in self.names:
                raise InputError(f"priors: templates are {', '.join(self.names)}, got {name!r}")
            if not isinstance(prior, (NormPrior, Fixed)):
                raise InputError(f"priors: {name!r} must be a NormPrior or Fixed, got {prior!r}")
        for e, problem in enumerate(self.problems):
            where = f"templates (energy bin {e})"
            check_templates(problem.templates, self.names, where, problem.varied & np.isinf(problem.width))
            check_covered(problem.counts, problem.templates[problem.bounds[:, 1] > 0], where)

    @cached_property
    def sky(self) -> FittedTemplates:
        """What is fitted."""
        return FittedTemplates(self.model, self.observation, self.extra, self.shapes)

    @property
    def names(self) -> tuple[str, ...]:
        """Templates: the model's, then the extra ones."""
        return self.sky.names

    @cached_property
    def problems(self) -> tuple[PoissonProblem, ...]:
        """The likelihood of every energy bin."""
        return self._problems(self.sky.maps)

    def _problems(self, templates: Array) -> tuple[PoissonProblem, ...]:
        n_energy = self.observation.n_energy
        known = [self.priors.get(name, NormPrior()).arrays(n_energy) for name in self.names]
        low, high, centre, width = np.array(known).transpose(1, 2, 0)
        bounds = np.stack([low, high], axis=-1)
        return tuple(
            PoissonProblem(
                self.observation.counts[e],
                np.ascontiguousarray(templates[:, e]),
                bounds[e],
                centre[e],
                width[e],
            )
            for e in range(n_energy)
        )

    def run(self) -> PoissonFitResult:
        """Fit norms, and the shapes of templates that float."""
        if not self.sky.fitted:
            return PoissonFitResult(self, tuple(problem.maximise() for problem in self.problems))
        found = self.sky.likelihood(self._problems).maximise()
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

    @property
    def templates(self) -> Array:
        """Expected counts for norm 1, (n_template, n_energy, n_pix)."""
        return self.fit.sky.maps

    def _squeeze(self, values: Array, axis: int = 1) -> Array:
        return values.squeeze(axis) if len(self.optima) == 1 else values

    @cached_property
    def spectrum(self) -> Array:
        """Norms by energy bin, (n_template, n_energy), also for a single bin."""
        return np.stack([optimum.norms for optimum in self.optima], axis=1)

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
            n = len(self.names)
            blocks = [slice(e * n, (e + 1) * n) for e in range(len(self.optima))]
            return np.stack([self.joint.point.covariance[block, block] for block in blocks])
        pairs = zip(self.fit.problems, self.optima, strict=True)
        return np.stack([problem.covariance(optimum) for problem, optimum in pairs])

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
        return self.log_likelihood + float(log_factorials(self.observed).sum())

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
        return np.stack([_test_statistics(*pair) for pair in zip(self.fit.problems, self.optima, strict=True)], axis=1)

    def test_statistic(self, name: str) -> float:
        """2 (ln L - ln L without the template), summed over energy bins, norms and shapes fitted anew."""
        row = self._row(name)
        if self.joint is None or np.isinf(self.test_statistics[row]).any():
            return float(self.test_statistics[row].sum())
        free = [each.name for each in self.joint.likelihood.parameters]
        held = {key: value for key, value in self.fit.shapes.items() if key not in free}
        own = [template.names for template in self.fit.sky.floating if template.row == row]
        held |= {key: self.fit.shapes[key] for names in own for key in names}  # nothing shines in these shapes
        without = replace(self.fit, priors={**self.fit.priors, name: Fixed(0.0)}, shapes=held).run()
        lost = sum(float(p.prior(o.norms)[row]) for p, o in zip(self.fit.problems, self.optima, strict=True))
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
        return self._squeeze(np.stack([profile_intervals(*pair, level) for pair in pairs], axis=1))

    def upper_limits(self, level: float = 0.95) -> Array:
        """Profile-likelihood upper limits, one-sided, (n_template[, n_energy])."""
        pairs = zip(self.fit.problems, self.optima, strict=True)
        return self._squeeze(np.stack([upper_limits(*pair, level) for pair in pairs], axis=1))

    def profile(self, name: str, values: ArrayLike, energy: int = 0) -> Array:
        """Ln L (with ln k!), maximised over all other norms, of one norm at `values` (n,) in one energy bin, (n,)."""
        row, held = self._row(name), np.atleast_1d(np.asarray(values, dtype=np.float64))
        if held.ndim != 1 or not np.all(held >= 0):
            raise InputError(f"values: must be a vector of numbers >= 0, got {values!r}")
        optimum = self.optima[energy]
        return self.fit.problems[energy].hold(np.full(held.size, row), held, optimum.norms).log_likelihood

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
        return PoissonPosterior(self.coordinates, self.fit.problems, self.optima, self.fit.sky.quantities)

    def sample_posterior(self, n_steps: int = 2000, n_walkers: int = 32, seed: int = 0) -> PoissonChainPosterior:
        """Posterior under the fit's priors by emcee, bin by bin, exact also where bins hold few counts.

        A fifth of the steps is dropped; `n_walkers` must be even, and at least 2 n_template + 2.
        """
        streams = np.random.SeedSequence(checked_seed(seed)).spawn(len(self.optima))
        seeds = [int(stream.generate_state(1)[0]) for stream in streams]
        chains = tuple(
            sample_chain(problem, optimum, self.names, n_steps, n_walkers, each)
            for problem, optimum, each in zip(self.fit.problems, self.optima, seeds, strict=True)
        )
        return PoissonChainPosterior(
            self.coordinates, self.fit.problems, self.optima, self.fit.sky.quantities, chains, seed
        )


def _test_statistics(problem: PoissonProblem, best: Optimum) -> Array:
    """2 Δ ln L without each template, (n_template,)."""
    n = len(best.norms)
    without = problem.hold(np.arange(n), np.zeros(n), best.norms)
    own = np.diagonal(problem.prior(without.norms)), problem.prior(best.norms)
    found = 2 * ((best.objective - own[1]) - (without.objective - own[0]))
    seen = problem.templates[:, problem.counts > 0] * (problem.bounds[:, 1] > 0)[:, None] > 0
    alone = (seen & (seen.sum(axis=0) == 1)).any(axis=1)
    return np.where(alone, np.inf, found)
