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

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from gcesbi.baselines.poisson.likelihood import check_templates
from gcesbi.baselines.poisson.optimum import PoissonProblem
from gcesbi.baselines.poisson.profiles import ShapeProfile
from gcesbi.errors import InputError
from gcesbi.physics.dark_matter import Annihilation
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.image_templates import Emission, ImageModel, expected_flux
from gcesbi.sky.observation import Observation, ObservationSet

__all__ = ["GAMMAS", "Halos", "SlopeFit", "fit_slope", "halos_of_images", "halos_of_model"]

GAMMAS = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4)
"""Slopes at which a profile is taken first."""
FINE = 0.01
"""Step of the slopes added about the best of those."""

Array = NDArray[np.float64]
Halos = Callable[[Array], Array]
"""From slopes (n,) to expected counts (n, n_energy, n_pix) of the whole excess."""


@dataclass(frozen=True, eq=False)
class SlopeFit:
    """Fits of one image along the inner slope.

    Attributes
    ----------
    profile : ShapeProfile
        Over γ; its norms are those of the excess, (n, 1).
    reference : float, cm³ / s
        <σv> for norm 1.
    """

    profile: ShapeProfile
    reference: float

    @property
    def gammas(self) -> Array:
        """Slopes that were fitted (n,), ascending."""
        return self.profile.values

    @property
    def test_statistics(self) -> Array:
        """2 Δ ln L against no excess at every slope (n,)."""
        return self.profile.test_statistic

    @property
    def cross_sections(self) -> Array:
        """Best <σv> at every slope (n,), cm³ / s."""
        return self.profile.norm[:, 0] * self.reference

    @property
    def gamma(self) -> float:
        """Best slope; see :attr:`at_edge`."""
        return self.profile.best

    @property
    def gamma_error(self) -> float:
        """Half the length of the 68 % interval of γ; NaN where a side does not end."""
        return self.profile.error

    @property
    def at_edge(self) -> bool:
        """Whether the best slope is the smallest or largest that was fitted: the true best may lie beyond."""
        return self.profile.at_edge

    @property
    def test_statistic(self) -> float:
        """TS at the best slope."""
        none = self.profile.log_likelihood[0] - self.profile.test_statistic[0] / 2
        return 2 * (self.profile.largest_log_likelihood - float(none))

    @property
    def cross_section(self) -> float:
        """<σv> at the best slope, cm³ / s."""
        return float(self._cross_section(self.gamma))

    @property
    def cross_section_error(self) -> float:
        """Error of <σv>, that of γ included, cm³ / s; NaN where the interval of γ does not end."""
        alone = np.interp(self.gamma, self.gammas, self.profile.norm_error[:, 0]) * self.reference
        return float(np.hypot(alone, self._cross_section(self.gamma, 1) * self.gamma_error))

    @cached_property
    def _cross_section(self) -> CubicSpline:
        return CubicSpline(self.gammas, self.cross_sections)


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
        raise InputError(f"gammas: must be at least four, ascending, got {where.tolist()}")
    templates = _by_bin(np.asarray(background, dtype=np.float64), counts.shape)
    coarse = _fit(counts, templates, halos, where)
    return SlopeFit(_joined(coarse, _fit(counts, templates, halos, _between(coarse))), reference)


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


def _fit(counts: NDArray[np.integer], background: Array, halos: Halos, gammas: Array) -> ShapeProfile:
    found = [_fit_one(counts.ravel(), background, halo.ravel()) for halo in halos(gammas)]
    likelihood, statistic, norm, error = np.array(found).reshape(-1, 4).T
    return ShapeProfile("gce", gammas, likelihood, statistic, norm[:, None], error[:, None])


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


def _between(profile: ShapeProfile) -> Array:
    """Slopes in steps of :data:`FINE` from the neighbour below the best one to that above it, those known left out."""
    best = int(np.argmax(profile.log_likelihood))
    low, high = profile.values[max(best - 1, 0)], profile.values[min(best + 1, len(profile.values) - 1)]
    added = np.linspace(low, high, int(np.ceil((high - low) / FINE - 1e-9)) + 1)
    return np.array([x for x in added if np.abs(profile.values - x).min() > FINE / 10])


def _joined(first: ShapeProfile, second: ShapeProfile) -> ShapeProfile:
    order = np.argsort(np.concatenate([first.values, second.values]))
    names: Iterable[str] = ("values", "log_likelihood", "test_statistic", "norm", "norm_error")
    return ShapeProfile("gce", *(np.concatenate([getattr(p, name) for p in (first, second)])[order] for name in names))
