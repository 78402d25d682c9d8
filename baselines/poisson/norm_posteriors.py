"""Posteriors of a Poisson fit: the quadratic one, at once, and that of a chain, exact where bins hold few counts."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from gcesbi.baselines.poisson.optimum import Optimum, PoissonProblem, Problem
from gcesbi.baselines.samplers.sampling import Chain, run_emcee
from gcesbi.errors import InputError
from gcesbi.posterior import Coordinates, Posterior, SamplePosterior, asked, check_levels

__all__ = ["PoissonChainPosterior", "PoissonPosterior", "sample_chain", "truncated_gaussian"]

_GIBBS_BURN_IN = 25
_CHAINS = 1000
_FLAT = 1e-12  # least curvature of an axis, in that of the steepest

Array = NDArray[np.float64]
Quantities = Callable[[Array], dict[str, Array]]
"""From norms (n, n_template, n_energy) to named quantities (n, ...)."""


class PoissonPosterior(Posterior):
    """Posterior of a Poisson fit under the fit's priors, the log-likelihood expanded to second order.

    Energy bins are independent. In each, the expansion about the maximum is a Gaussian; a norm at its bound keeps its
    gradient, which moves the Gaussian's mean beyond it. Sampled within the bounds by Gibbs' method, every norm in turn
    from its truncated conditional (Geman & Geman 1984). It is not the exact posterior where a bin holds but few counts:
    :class:`PoissonChainPosterior` is.

    Parameters
    ----------
    coordinates : Coordinates
    problems, optima : tuple of Problem, tuple of Optimum
        One for every energy bin.
    quantities : callable
        From norms (n, n_template, n_energy) to named quantities.
    """

    def __init__(
        self,
        coordinates: Coordinates,
        problems: tuple[Problem, ...],
        optima: tuple[Optimum, ...],
        quantities: Quantities,
    ) -> None:
        self.method = "Poisson fit"
        self.coordinates = coordinates
        self._pairs = tuple(zip(optima, problems, strict=True))
        self._quantities = quantities

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return ("flux_fraction", "spectrum_fraction", "flux", "spectrum")

    def sample(self, n: int, seed: int = 0) -> dict[str, Array]:
        """Draw `n` samples: name -> array (n, *axes of the quantity)."""
        n, seed = asked(n, seed)
        rng = np.random.default_rng(seed)
        draws = [truncated_gaussian(optimum, problem.bounds, n, rng) for optimum, problem in self._pairs]
        joined = np.concatenate(draws, axis=1).reshape(n, -1, len(self.coordinates.template))
        return self._quantities(joined.swapaxes(1, 2))

    @cached_property
    def _stored(self) -> dict[str, Array]:
        return self.sample(8192, seed=0)

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> Array:
        """Quantiles of a quantity, (n_level, *axes), pointwise, from 8,192 samples."""
        self._check(name)
        samples = self._stored if seed == 0 else self.sample(8192, seed)
        return np.quantile(samples[name], check_levels(levels), axis=0)


class PoissonChainPosterior(SamplePosterior):
    """Posterior of a Poisson fit under the fit's priors, by an ensemble of walkers in each energy bin.

    Attributes
    ----------
    chains : tuple of Chain
        One for every energy bin, over the norms that are not fixed, with its diagnostics.
    """

    def __init__(
        self,
        coordinates: Coordinates,
        problems: tuple[Problem, ...],
        optima: tuple[Optimum, ...],
        quantities: Quantities,
        chains: tuple[Chain, ...],
        seed: int = 0,
    ) -> None:
        self.chains = chains
        rng = np.random.default_rng(seed)
        n = min(len(chain.flat) for chain in chains)
        self.norms = np.tile(np.stack([optimum.norms for optimum in optima], axis=1), (n, 1, 1))
        for e, (chain, problem) in enumerate(zip(chains, problems, strict=True)):
            self.norms[:, problem.varied, e] = rng.permutation(chain.flat)[:n]
        super().__init__("Poisson fit", coordinates, quantities(self.norms))

    @property
    def converged(self) -> bool:
        """Whether every chain passes its checks."""
        return all(chain.convergence.converged for chain in self.chains)


def sample_chain(
    problem: PoissonProblem, optimum: Optimum, names: tuple[str, ...], n_steps: int, n_walkers: int, seed: int
) -> Chain:
    """Chain over the norms of one energy bin that are not fixed, begun from the quadratic posterior.

    Warns
    -----
    SamplingWarning
        If the chain did not converge.
    """
    rows = np.flatnonzero(problem.varied)
    if not rows.size:
        raise InputError("priors: leave at least one norm to sample, all are fixed")

    def log_probability(points: Array) -> Array:
        norms = np.tile(optimum.norms, (len(points), 1))
        norms[:, rows] = points
        return problem.log_posterior(norms)

    start = truncated_gaussian(optimum, problem.bounds, n_walkers, np.random.default_rng(seed))[:, rows]
    return run_emcee(log_probability, start, n_steps, seed, [names[i] for i in rows], burn_in=0.2, progress=False)


def truncated_gaussian(optimum: Optimum, bounds: Array, n: int, rng: np.random.Generator) -> Array:
    """`n` draws (n, n_template) from exp(g·d - d·H d / 2), d = norms - optimum, in a box: parallel Gibbs chains.

    There are n chains, but at most 1,000: of these, successive sweeps are taken. They move along every norm and along
    the axes of H in turn, so that norms that data hardly tell apart mix as well. An axis along which H is not positive
    counts as flat: there the box alone bounds the density.
    """
    rows = np.flatnonzero(bounds[:, 0] < bounds[:, 1])
    found = np.tile(optimum.norms, (n, 1))
    if not rows.size:
        return found
    information = optimum.information[np.ix_(rows, rows)]
    scale = 1 / np.sqrt(np.where(np.diag(information) > 0, np.diag(information), 1.0))
    values, axes = np.linalg.eigh(information * np.outer(scale, scale))
    values = np.maximum(values, _FLAT * max(values[-1], 1.0))
    hessian, slope = axes * values @ axes.T, optimum.gradient[rows] * scale
    low, high = (bounds[rows].T - optimum.norms[rows]) / scale
    noise = rng.standard_normal((min(n, _CHAINS), len(rows)))
    x = np.clip((axes.T @ slope / values + noise / np.sqrt(values)) @ axes.T, low, high)
    drawn = []
    for sweep in range(1 - _GIBBS_BURN_IN, -(-n // len(x)) + 1 if n else 0):
        for way in np.concatenate([np.eye(len(rows)), axes.T]):
            pull, moved = hessian @ way, np.flatnonzero(way)
            spread = 1 / np.sqrt(way @ pull)
            near, far = (np.where(way > 0, *ends)[moved] for ends in ((low, high), (high, low)))
            room = (near - x[:, moved]) / way[moved], (far - x[:, moved]) / way[moved]
            walls = np.minimum(room[0].max(axis=1), 0.0), np.maximum(room[1].min(axis=1), 0.0)
            step = _between((way @ slope - x @ pull) * spread**2, spread, *walls, rng.random(len(x)))
            x = np.clip(x + step[:, None] * way, low, high)
        if sweep > 0:
            drawn.append(x)
    found[:, rows] = optimum.norms[rows] + np.concatenate(drawn)[:n] * scale
    return found


def _between(mean: Array, sigma: float, low: Array, high: Array, uniform: Array) -> Array:
    """Inverse CDF at `uniform` of a Gaussian cut to [low, high]; exponential if the mean lies far outside."""
    mirror = mean - low > high - mean
    ends = np.where(mirror, -high, low), np.where(mirror, -low, high)
    near_low = _above(np.where(mirror, -mean, mean), sigma, *ends, uniform)
    return np.where(mirror, -near_low, near_low)


def _above(mean: Array, sigma: float, low: Array, high: Array, uniform: Array) -> Array:
    """As :func:`_between`, where the mean is not above the middle of the range."""
    depth = (low - mean) / sigma
    top, bottom = ndtr(-depth), ndtr((mean - high) / sigma)
    near = mean - sigma * ndtri(np.maximum(bottom + uniform * (top - bottom), 1e-300))
    rate = np.maximum(depth, 1.0) / sigma
    far = low - np.log1p(-(1 - uniform) * -np.expm1(-rate * (high - low))) / rate
    return np.clip(np.where(depth > 30, far, near), low, high)
