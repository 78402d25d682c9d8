r"""Poisson template fit: maximum likelihood with non-negative norms, exact and certified.

Counts k_p in pixel p are Poisson with mean μ_p = Σ_j A_j T_jp. The log-likelihood

.. math:: \ln L(A) = \sum_p k_p \ln\mu_p - \mu_p - \ln k_p!

is concave in the norms A, so the point that meets the Karush-Kuhn-Tucker conditions (gradient zero where A_j > 0, not
positive where A_j = 0) is the global maximum. Newton's method finds it: every step is
the exact maximum of the quadratic model within the bounds, shortened until ln L rises.

The observed information Σ_p k_p T_ip T_jp / μ_p² gives errors and covariance. They are those of the
likelihood's curvature at the maximum and, for a norm at its bound, say nothing about how far it could go:
:class:`PoissonPosterior` knows that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtr, ndtri, xlogy

from gcesbi.errors import InputError
from gcesbi.posterior import Coordinates, Posterior, check_levels
from gcesbi.sky.observation import Observation, check_counts

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = [
    "Optimum",
    "PoissonFit",
    "PoissonFitResult",
    "PoissonPosterior",
    "check_templates",
    "maximise",
    "poisson_log_likelihood",
]

_DEGENERATE = 1e-12  # smallest eigenvalue of the templates' correlation matrix that can be told from zero
_MAX_ITERATIONS = 200
_GIBBS_BURN_IN = 50


def poisson_log_likelihood(counts: ArrayLike, mean: ArrayLike) -> float:
    """Σ k ln μ - μ - ln k!, with 0 ln 0 = 0, hence -inf where counts meet a mean of zero.

    Parameters
    ----------
    counts, mean : array (...,)
        Photons and their expectation, of the same shape.

    Examples
    --------
    >>> round(poisson_log_likelihood([0, 2], [0.0, 2.0]), 6)
    -1.306853
    """
    k = check_counts(np.asarray(counts))
    mu = np.asarray(mean, dtype=np.float64)
    if k.shape != mu.shape:
        raise InputError(f"mean: must have the shape of counts, {k.shape}, got {mu.shape}")
    if not np.all(mu >= 0):
        raise InputError(f"mean: must not be negative or NaN, got {mu[~(mu >= 0)].flat[0]}")
    return float(np.sum(xlogy(k, mu) - mu - gammaln(k + 1.0)))


def check_templates(templates: ArrayLike, names: tuple[str, ...], argument: str = "templates") -> NDArray[np.float64]:
    """Templates (n_template, n_pix) as float64; InputError if negative, NaN, all zero, or linearly dependent."""
    values = np.asarray(templates, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(names):
        raise InputError(f"{argument}: must have shape ({len(names)}, n_pix), got {values.shape}")
    if values.shape[1] < len(names):
        raise InputError(f"{argument}: need at least as many pixels as templates, got {values.shape[1]} < {len(names)}")
    for name, row in zip(names, values, strict=True):
        if not np.isfinite(row).all():
            raise InputError(
                f"{argument}: {name!r} must be finite, has {np.count_nonzero(~np.isfinite(row))} bad pixels"
            )
        if row.min() < 0:
            raise InputError(f"{argument}: {name!r} must not be negative, got {row.min()}")
        if not row.any():
            raise InputError(f"{argument}: {name!r} is zero in every pixel, its norm cannot be fitted")
    _check_degeneracy(values, names, argument)
    return values


def _check_degeneracy(values: NDArray[np.float64], names: tuple[str, ...], argument: str) -> None:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    eigenvalues, vectors = np.linalg.eigh(unit @ unit.T)
    if eigenvalues[0] < _DEGENERATE:
        involved = [name for name, weight in zip(names, vectors[:, 0], strict=True) if abs(weight) > 1e-3]
        raise InputError(f"{argument}: {', '.join(involved)} are linearly dependent, their norms cannot be told apart")


@dataclass(frozen=True, eq=False)
class Optimum:
    """Maximum of one likelihood.

    Attributes
    ----------
    norms : array (n_template,)
    gradient : array (n_template,)
        Derivative of ln L by the norms; at most zero at the lower bound, zero in between, at least zero at the upper.
    information : array (n_template, n_template)
        Minus the second derivative.
    log_likelihood : float
        With ln k!.
    kkt_residual : float
        Largest gain in ln L that any norm alone, to second order, could still bring.
    """

    norms: NDArray[np.float64]
    gradient: NDArray[np.float64]
    information: NDArray[np.float64]
    log_likelihood: float
    kkt_residual: float

    @property
    def converged(self) -> bool:
        """Whether the Karush-Kuhn-Tucker conditions hold, to 1e-8 in ln L."""
        return self.kkt_residual < 1e-8


def _objective(
    norms: NDArray[np.float64], counts: NDArray[np.float64], templates: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Log-likelihood without ln k!, its gradient and the observed information, over pixels with a mean above zero."""
    mean = norms @ templates
    ratio = np.divide(counts, mean, out=np.zeros_like(mean), where=counts > 0)
    weighted = templates * (np.divide(ratio, mean, out=np.zeros_like(mean), where=counts > 0))
    return float(np.sum(xlogy(counts, mean) - mean)), templates @ (ratio - 1.0), weighted @ templates.T


def _residual(
    norms: NDArray[np.float64],
    gradient: NDArray[np.float64],
    information: NDArray[np.float64],
    bounds: NDArray[np.float64],
) -> float:
    """Largest gain in ln L from a Newton step of one norm within its bounds."""
    curvature = np.maximum(np.diag(information), 1e-300)
    step = np.clip(norms + gradient / curvature, bounds[:, 0], bounds[:, 1]) - norms
    return float(np.max(gradient * step - 0.5 * curvature * step**2, initial=0.0))


def _box_step(
    norms: NDArray[np.float64],
    gradient: NDArray[np.float64],
    information: NDArray[np.float64],
    bounds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Step to the maximum of the quadratic model within the bounds (active-set method; Nocedal & Wright, ch. 16.5)."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(information), 1e-200))
    hessian = information * np.outer(scale, scale) + 1e-14 * np.eye(len(norms))
    slope = gradient * scale
    low, high = (bounds - norms[:, None]).T / scale
    step = np.zeros_like(norms)
    side = np.where(low >= 0, -1, np.where(high <= 0, 1, 0))  # the bound that holds each norm
    for _ in range(20 * len(norms)):
        free = side == 0
        target = step.copy()
        rest = slope - hessian[:, ~free] @ step[~free]
        target[free] = np.linalg.solve(hessian[np.ix_(free, free)], rest[free]) if free.any() else 0.0
        room = np.where(target < low, low - step, np.where(target > high, high - step, np.inf))
        length = np.full_like(step, np.inf)
        blocked = free & np.isfinite(room)
        length[blocked] = room[blocked] / (target - step)[blocked]
        first = int(np.argmin(length))
        if length[first] < 1:
            step = np.where(free, step + length[first] * (target - step), step)
            side[first] = -1 if target[first] < low[first] else 1
            step[first] = low[first] if side[first] < 0 else high[first]
            continue
        step = target
        inward = -side * (slope - hessian @ step)
        inward[low >= high] = 0.0  # fixed norms stay
        if inward.max() <= 1e-13 * np.abs(slope).max():
            break
        side[int(np.argmax(inward))] = 0
    return step * scale


def maximise(
    counts: NDArray[np.int64],
    templates: NDArray[np.float64],
    bounds: ArrayLike | None = None,
    centre: ArrayLike | None = None,
    width: ArrayLike | None = None,
) -> Optimum:
    """Maximum of the Poisson likelihood over norms within bounds, by projected Newton steps.

    Parameters
    ----------
    counts : array (n_pix,)
    templates : array (n_template, n_pix)
        Checked, see :func:`check_templates`.
    bounds : array (n_template, 2), optional
        Lowest (>= 0) and highest norm; equal for a fixed norm. From 0 to infinity by default.
    centre, width : array (n_template,), optional
        Gaussian priors on the norms; width inf for none. Their logarithms count in gradient and information, not in
        ``log_likelihood``.
    """
    k = np.asarray(counts, dtype=np.float64)
    n_template = len(templates)
    limits = np.tile([0.0, np.inf], (n_template, 1)) if bounds is None else np.asarray(bounds, dtype=np.float64)
    mu = np.zeros(n_template) if centre is None else np.asarray(centre, dtype=np.float64)
    precision = np.zeros(n_template) if width is None else 1.0 / np.asarray(width, dtype=np.float64) ** 2

    def evaluate(norms: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        value, gradient, information = _objective(norms, k, templates)
        offset = norms - mu
        return (
            value - 0.5 * float(precision @ offset**2),
            gradient - precision * offset,
            information + np.diag(precision),
        )

    norms = np.clip(max(k.sum(), 1.0) / n_template / templates.sum(axis=1), limits[:, 0], limits[:, 1])
    value, gradient, information = evaluate(norms)
    for _ in range(_MAX_ITERATIONS):
        step = _box_step(norms, gradient, information, limits)
        if gradient @ step < 1e-12:
            break
        norms, (value, gradient, information) = _search(evaluate, norms, step, value, gradient, limits)
    residual = max(_residual(norms, gradient, information, limits), 0.5 * float(gradient @ step))
    likelihood = _objective(norms, k, templates)[0] - float(np.sum(gammaln(k + 1.0)))
    return Optimum(norms, gradient, information, likelihood, residual)


Evaluation = tuple[float, NDArray[np.float64], NDArray[np.float64]]


def _search(
    evaluate: Callable[[NDArray[np.float64]], Evaluation],
    norms: NDArray[np.float64],
    step: NDArray[np.float64],
    value: float,
    gradient: NDArray[np.float64],
    limits: NDArray[np.float64],
) -> tuple[NDArray[np.float64], Evaluation]:
    """First of the step's halvings that raises the objective enough, up to rounding (Armijo's rule)."""
    rounding = 1e-13 * abs(value)
    for halving in range(60):
        length = 0.5**halving
        trial = np.clip(norms + length * step, limits[:, 0], limits[:, 1])
        result = evaluate(trial)
        if result[0] >= value + 1e-4 * length * float(gradient @ step) - rounding:
            return trial, result
    return norms, evaluate(norms)


@dataclass(frozen=True, eq=False)
class PoissonFitResult:
    """Best fit of a model's templates to an observation.

    Attributes
    ----------
    names : tuple of str
        Templates.
    norms, errors : array (n_template,), or (n_template, n_energy) where there are several energy bins
        Mean expected counts per pixel over the normalisation disc, and the error from the information's inverse,
        bounds ignored
        (inf where the likelihood has no curvature).
    covariance : array (n_template, n_template), or (n_energy, n_template, n_template)
    log_likelihood : float
        With ln k!, summed over energy bins.
    counts : array (n_template,)
        Fitted counts in the region, all energies together.
    flux : array (n_template, n_energy), photons / cm² / s
        Fitted flux in the region.
    optima : tuple of Optimum
        One for every energy bin, with gradient, information and certificate.
    """

    names: tuple[str, ...]
    norms: NDArray[np.float64]
    errors: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float
    counts: NDArray[np.float64]
    flux: NDArray[np.float64]
    optima: tuple[Optimum, ...]
    coordinates: Coordinates
    flux_per_norm: NDArray[np.float64] = field(repr=False)
    observed: NDArray[np.int64] = field(repr=False)
    templates: NDArray[np.float64] = field(repr=False)

    @property
    def converged(self) -> bool:
        """Whether every energy bin's optimum meets the Karush-Kuhn-Tucker conditions."""
        return all(optimum.converged for optimum in self.optima)

    @property
    def kkt_residual(self) -> float:
        """Largest gain in ln L that could still be had, over energy bins."""
        return max(optimum.kkt_residual for optimum in self.optima)

    @property
    def flux_fraction(self) -> NDArray[np.float64]:
        """Share of each template in the region's flux, all energies together, (n_template,)."""
        return _share(self.flux.sum(axis=1), axis=0)

    @property
    def spectrum_fraction(self) -> NDArray[np.float64]:
        """Share of each template in the flux of an energy bin, (n_template, n_energy)."""
        return _share(self.flux, axis=0)

    @property
    def spectrum(self) -> NDArray[np.float64]:
        """Norms by energy bin, (n_template, n_energy), also for a single bin."""
        return np.stack([optimum.norms for optimum in self.optima], axis=1)

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlation matrix (or matrices) of the norms."""
        sigma = np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        return self.covariance / (sigma[..., :, None] * sigma[..., None, :])

    def test_statistic(self, name: str) -> float:
        """2 (ln L - ln L without the template), summed over energy bins, each fitted anew."""
        if name not in self.names:
            raise InputError(f"template: must be one of {', '.join(self.names)}, got {name!r}")
        others = [i for i, other in enumerate(self.names) if other != name]
        without = 0.0
        for counts, templates in zip(self.observed, self.templates.transpose(1, 0, 2), strict=True):
            _check_covered(counts, templates[others], f"templates without {name!r}")
            without += maximise(counts, templates[others]).log_likelihood
        return 2.0 * (self.log_likelihood - without)

    def posterior(self) -> PoissonPosterior:
        """Posterior of fluxes and their fractions under flat priors on norms >= 0."""
        return PoissonPosterior(self)


def _share(flux: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    total = flux.sum(axis=axis, keepdims=True)
    return np.divide(flux, total, out=np.zeros_like(flux), where=total > 0)


def _covariance(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of the information; inf on the diagonal, 0 elsewhere, for norms without curvature."""
    curved = np.flatnonzero(np.diag(information) > 0)
    covariance = np.diag(np.full(len(information), np.inf))
    block = information[np.ix_(curved, curved)]
    scale = 1.0 / np.sqrt(np.diag(block))
    covariance[np.ix_(curved, curved)] = np.linalg.pinv(block * np.outer(scale, scale), hermitian=True) * np.outer(
        scale, scale
    )
    return covariance


def _check_covered(counts: NDArray[np.int64], templates: NDArray[np.float64], argument: str) -> None:
    bare = (counts > 0) & ~templates.any(axis=0)
    if bare.any():
        raise InputError(
            f"{argument}: must not all be zero where counts are seen, are in {np.count_nonzero(bare)} pixels"
        )


@dataclass(frozen=True, eq=False)
class PoissonFit:
    """Fit of all templates of `model`, as smooth emission, to `observation`; energy bins independently.

    Raises
    ------
    InputError
        If the observation does not fit the model (:meth:`SkyModel.for_observation`), or templates are
        negative, NaN, all zero, or linearly dependent.
    """

    model: SkyModel
    observation: Observation

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model.for_observation(self.observation))
        for e, counts in enumerate(self.observation.counts):
            templates = check_templates(
                self.model.templates[:, e], tuple(self.model.names), f"templates (energy bin {e})"
            )
            _check_covered(counts, templates, f"templates (energy bin {e})")

    def run(self) -> PoissonFitResult:
        """Fit."""
        templates = np.asarray(self.model.templates, dtype=np.float64)
        observed = self.observation.counts
        optima = tuple(maximise(observed[e], templates[:, e]) for e in range(len(observed)))
        norms = np.stack([optimum.norms for optimum in optima], axis=1)
        covariance = np.stack([_covariance(optimum.information) for optimum in optima])
        errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T
        one = len(optima) == 1
        return PoissonFitResult(
            names=tuple(self.model.names),
            norms=norms[:, 0] if one else norms,
            errors=errors[:, 0] if one else errors,
            covariance=covariance[0] if one else covariance,
            log_likelihood=sum(optimum.log_likelihood for optimum in optima),
            counts=np.einsum("te,tep->t", norms, templates),
            flux=norms * self.model.flux_per_norm,
            optima=optima,
            coordinates=self.model.coordinates,
            flux_per_norm=np.asarray(self.model.flux_per_norm),
            observed=observed,
            templates=templates,
        )


class PoissonPosterior(Posterior):
    """Posterior of a Poisson fit with flat priors on norms >= 0, the log-likelihood expanded to second order.

    Energy bins are independent. In each, the expansion about the maximum is a Gaussian; a norm at its bound keeps its
    gradient, which moves the Gaussian's mean below zero. Sampled within norms >= 0 by Gibbs' method, every norm in turn
    from its truncated conditional (Geman & Geman 1984). It is not the exact posterior where a bin holds but few counts.
    """

    def __init__(self, result: PoissonFitResult) -> None:
        self.method = "Poisson fit"
        self.coordinates = result.coordinates
        self._result = result

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return ("flux_fraction", "spectrum_fraction", "flux")

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` samples: name -> array (n, *axes of the quantity)."""
        rng = np.random.default_rng(seed)
        norms = np.stack([_truncated_gaussian(optimum, n, rng) for optimum in self._result.optima], axis=-1)
        flux = norms * self._result.flux_per_norm
        total = flux.sum(axis=2)
        return {"flux_fraction": _share(total, axis=1), "spectrum_fraction": _share(flux, axis=1), "flux": total}

    @cached_property
    def _stored(self) -> dict[str, NDArray[np.float64]]:
        return self.sample(8192, seed=0)

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles of a quantity, (n_level, *axes), pointwise, from 8,192 samples."""
        self._check(name)
        samples = self._stored if seed == 0 else self.sample(8192, seed)
        return np.quantile(samples[name], check_levels(levels), axis=0)


def _truncated_gaussian(optimum: Optimum, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`n` draws (n, n_template) from exp(g·d - d·H d / 2), d = norms - optimum, norms >= 0: n parallel Gibbs chains."""
    hessian = optimum.information + np.diag(np.where(np.diag(optimum.information) > 0, 0.0, 1e-12))
    sigma = 1.0 / np.sqrt(np.diag(hessian))
    mean = optimum.norms + np.linalg.solve(hessian, optimum.gradient)
    whitened = np.linalg.cholesky(hessian).T
    x = np.maximum(mean + np.linalg.solve(whitened, rng.standard_normal((len(mean), n))).T, 0.0)
    for _ in range(_GIBBS_BURN_IN):
        for j in range(len(sigma)):
            slope = optimum.gradient[j] - (x - optimum.norms) @ hessian[j]
            centre = x[:, j] + slope * sigma[j] ** 2
            x[:, j] = _above_zero(centre, sigma[j], rng.random(n))
    return x


def _above_zero(mean: NDArray[np.float64], sigma: float, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse CDF at `uniform` of a Gaussian truncated to values above zero; exponential if the mean is far below."""
    depth = -mean / sigma
    near = mean - sigma * ndtri(np.maximum(uniform * ndtr(-depth), 1e-300))
    far = -np.log(np.maximum(uniform, 1e-300)) * sigma / np.maximum(depth, 1.0)
    return np.maximum(np.where(depth > 30, far, near), 0.0)
