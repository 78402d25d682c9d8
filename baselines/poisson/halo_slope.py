r"""Template fits of images: the inner slope γ of the excess and its cross-section, by interstellar model.

Every component of the background has a free norm A in every energy bin, the excess of slope γ one norm A_χ for all
bins, since annihilation fixes its spectrum. Counts k in bin e and pixel p are Poisson with mean

    μ_ep = Σ_j A_je T_jep + A_χ H_ep(γ),

H(γ) the expected counts at a stated <σv>₀, so that <σv> = A_χ <σv>₀. All norms are fitted anew at each γ. The test
statistic TS(γ) = 2 [ln L(γ) - ln L(no excess)] has its largest value at the best slope. The error of <σv> there counts
that of γ:

    Var <σv> = Var(<σv> | γ) + (d<σv>/dγ)² Var γ.

(Caron et al. 2018, arXiv:1708.06706, Fig. 2 and Table 1; Daylan et al. 2014, arXiv:1402.6703.)

An error is the statistical one under the interstellar model that is fitted. Where that model is wrong, or where part of
the excess is sources, fitted values scatter by more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from gcesbi.baselines.poisson.likelihood import check_templates
from gcesbi.baselines.poisson.optimum import PoissonProblem
from gcesbi.errors import InputError, shown
from gcesbi.physics.dark_matter import Annihilation
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.image_templates import Emission, ImageModel, expected_flux
from gcesbi.sky.observation import Observation, ObservationSet

__all__ = ["GAMMAS", "Halos", "SlopeFit", "fit_norms", "fit_slope", "halos_of_images", "halos_of_model"]

GAMMAS = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4)
"""Slopes at which a profile is taken first."""
FINE = 0.01
"""Step of the slopes added about the best of those."""

Array = NDArray[np.float64]
Halos = Callable[[Array], Array]
"""From slopes (n,) to expected counts (n, n_energy, n_pix) of the whole excess."""


@dataclass(frozen=True, eq=False)
class SlopeFit:
    """Fits of one image along the inner slope: a cubic spline through ln L gives the best slope and its interval.

    Attributes
    ----------
    gammas : array (n,)
        Slopes that were fitted, ascending.
    log_likelihoods : array (n,)
        With ln k!, all norms fitted.
    test_statistics : array (n,)
        2 Δ ln L against no excess.
    norms, norm_errors : array (n,)
        Of the excess.
    reference : float, cm³ / s
        <σv> for norm 1.
    """

    gammas: Array
    log_likelihoods: Array
    test_statistics: Array
    norms: Array
    norm_errors: Array
    reference: float

    @cached_property
    def _log_likelihood(self) -> CubicSpline:
        return CubicSpline(self.gammas, self.log_likelihoods - self.log_likelihoods.max())

    @cached_property
    def _cross_section(self) -> CubicSpline:
        return CubicSpline(self.gammas, self.cross_sections)

    @property
    def cross_sections(self) -> Array:
        """Best <σv> at every slope (n,), cm³ / s."""
        return self.norms * self.reference

    @cached_property
    def gamma(self) -> float:
        """Slope of the largest ln L, between the outermost; see :attr:`at_edge`."""
        stationary = self._log_likelihood.derivative().roots(extrapolate=False)
        candidates = np.concatenate([self.gammas[[0, -1]], stationary[np.isfinite(stationary)]])
        return float(candidates[np.argmax(self._log_likelihood(candidates))])

    @property
    def at_edge(self) -> bool:
        """Whether the best slope is the smallest or largest that was fitted: the true best may lie beyond."""
        return self.gamma in (self.gammas[0], self.gammas[-1])

    @property
    def gamma_interval(self) -> tuple[float, float]:
        """Where ln L has dropped by ½ on either side of the best slope, 68 %; NaN where it has not."""
        crossings = self._log_likelihood.solve(float(self._log_likelihood(self.gamma)) - 0.5, extrapolate=False)
        below, above = crossings[crossings < self.gamma], crossings[crossings > self.gamma]
        return float(below[-1]) if below.size else np.nan, float(above[0]) if above.size else np.nan

    @property
    def gamma_error(self) -> float:
        """Half the length of the interval of γ; NaN where a side does not end."""
        low, high = self.gamma_interval
        return 0.5 * (high - low)

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood at the best slope."""
        return float(self._log_likelihood(self.gamma) + self.log_likelihoods.max())

    @property
    def test_statistic(self) -> float:
        """TS at the best slope."""
        return 2 * (self.log_likelihood - float(self.log_likelihoods[0] - self.test_statistics[0] / 2))

    @property
    def cross_section(self) -> float:
        """<σv> at the best slope, cm³ / s."""
        return float(self._cross_section(self.gamma))

    @property
    def cross_section_error(self) -> float:
        """Error of <σv>, that of γ included, cm³ / s; NaN where the interval of γ does not end."""
        alone = np.interp(self.gamma, self.gammas, self.norm_errors) * self.reference
        return float(np.hypot(alone, self._cross_section(self.gamma, 1) * self.gamma_error))


def fit_slope(
    counts: NDArray[np.integer], background: ArrayLike, halos: Halos, reference: float, gammas: ArrayLike = GAMMAS
) -> SlopeFit:
    """Profile over γ, at `gammas` and more finely about the best of them.

    Parameters
    ----------
    counts : array (n_energy, n_pix)
    background : array (n_background, n_energy, n_pix)
        Expected counts of every component for norm 1.
    halos : callable
        See :func:`halos_of_model`.
    reference : float, cm³ / s
        <σv> for norm 1 of the halos.
    gammas : array (n,)
        Ascending, four at least.

    Raises
    ------
    InputError
        If slopes are fewer or unsorted, shapes disagree, or templates are linearly dependent.
    """
    where = np.asarray(gammas, dtype=np.float64)
    if where.ndim != 1 or where.size < 4 or np.any(np.diff(where) <= 0):
        raise InputError(f"gammas: must be at least four, ascending, got {shown(where)}")
    templates = _by_bin(np.asarray(background, dtype=np.float64), counts.shape)
    coarse = _fit(counts, templates, halos, where)  # (5, n): the attributes of a SlopeFit
    both = np.concatenate([coarse, _fit(counts, templates, halos, _between(where, int(np.argmax(coarse[1]))))], axis=1)
    slopes, likelihoods, statistics, norms, errors = both[:, np.argsort(both[0])]
    return SlopeFit(slopes, likelihoods, statistics, norms, errors, reference)


def fit_norms(counts: NDArray[np.integer], templates: ArrayLike, width: ArrayLike) -> Array:
    """Norms (n_template,) of templates, each one for all energy bins, by the largest likelihood.

    Parameters
    ----------
    counts : array (n_energy, n_pix)
    templates : array (n_template, n_energy, n_pix)
        Expected counts for norm 1.
    width : array (n_template,)
        Standard deviation of what is known of a norm beforehand, about 1; inf for nothing.

    Raises
    ------
    InputError
        If templates are linearly dependent, negative or not finite.
    """
    flat = np.asarray(templates, dtype=np.float64).reshape(len(np.asarray(width)), -1)
    check_templates(flat, tuple(f"component {i}" for i in range(len(flat))), "templates")
    free = np.tile([0.0, np.inf], (len(flat), 1))
    return (
        PoissonProblem(counts.ravel().astype(np.int64), flat, free, np.ones(len(flat)), np.asarray(width))
        .maximise()
        .norms
    )


def halos_of_model(model: ImageSkyModel) -> tuple[Halos, float]:
    """The excess of simulated images by slope, also beyond the model's prior, and its <σv>, cm³ / s."""
    halo = model.settings.halo

    def counts(gammas: Array) -> Array:
        signals: dict[str, Emission] = {f"{gamma:.6f}": halo(float(gamma)) for gamma in gammas}
        flux = expected_flux(model.region.geometry, model.energy_edges, model.psf, signals)
        return model.region.take(flux) * model.exposure

    return _remembered(counts), halo(model.settings.gamma[0]).cross_section


def halos_of_images(
    observation: Observation | ObservationSet, signal: Callable[[float], Annihilation]
) -> tuple[Halos, float]:
    """The excess by slope as real images of several event types see it, and its <σv>, cm³ / s."""

    def counts(gammas: Array) -> Array:
        signals: Mapping[str, Emission] = {f"{gamma:.6f}": signal(float(gamma)) for gamma in gammas}
        return ImageModel.build(observation, signals).templates

    return _remembered(counts), signal(1.0).cross_section


def _remembered(counts: Halos) -> Halos:
    """The same halos, each computed once."""
    known: dict[float, Array] = {}

    def remembered(gammas: Array) -> Array:
        new = [gamma for gamma in gammas if gamma not in known]
        if new:
            known.update(zip(new, counts(np.array(new)), strict=True))
        return np.stack([known[gamma] for gamma in gammas])

    return remembered


def _by_bin(background: Array, shape: tuple[int, ...]) -> Array:
    """One template (n_energy n_pix) for every component and energy bin, dark in all other bins."""
    if background.ndim != 3 or background.shape[1:] != shape:
        raise InputError(f"background: must have shape (n_background, {shape[0]}, {shape[1]}), got {background.shape}")
    bins = np.eye(shape[0])[:, :, None]
    return (background[:, None] * bins).reshape(-1, shape[0] * shape[1])


def _fit(counts: NDArray[np.integer], background: Array, halos: Halos, gammas: Array) -> Array:
    """Slopes, log-likelihoods, TS, norms of the excess and their errors, (5, n)."""
    found = [_fit_one(counts.ravel(), background, halo.ravel()) for halo in halos(gammas)]
    return np.stack([gammas, *np.array(found).reshape(-1, 4).T])


def _fit_one(counts: NDArray[np.integer], background: Array, halo: Array) -> tuple[float, float, float, float]:
    """Log-likelihood, TS, norm of the excess and its error."""
    templates = np.concatenate([background, halo[None]])
    check_templates(templates, tuple(f"component {i}" for i in range(len(templates))), "templates")
    n = len(templates)
    free = np.tile([0.0, np.inf], (n, 1))
    problem = PoissonProblem(counts.astype(np.int64), templates, free, np.zeros(n), np.full(n, np.inf))
    best = problem.maximise()
    without = problem.hold(np.array([n - 1]), np.zeros(1), best.norms)[0]
    error = float(np.sqrt(problem.covariance(best)[-1, -1]))
    return best.log_likelihood, 2 * (best.log_likelihood - without.log_likelihood), float(best.norms[-1]), error


def _between(gammas: Array, best: int) -> Array:
    """Slopes in steps of :data:`FINE` from the neighbour below the best one to that above it, those known left out."""
    low, high = gammas[max(best - 1, 0)], gammas[min(best + 1, len(gammas) - 1)]
    added = np.linspace(low, high, int(np.ceil((high - low) / FINE - 1e-9)) + 1)
    return np.array([x for x in added if np.abs(gammas - x).min() > FINE / 10])
