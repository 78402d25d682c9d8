r"""Whether a Poisson fit explains its map, and where it does not.

* **Deviance**, D = 2 Σ k ln(k/μ̂) - (k - μ̂), of counts and fitted mean: :func:`deviance` gives it for many maps, each
  fitted by itself, ``deviance(counts (n, n_energy, n_pix), model) -> (n,)``: 2,000 maps of 7,749 pixels in some
  seconds of one core. Its law follows from maps drawn from the best fit and fitted again, not from χ², which few counts
  a pixel do not obey.
* **Residual significance** of every pixel, by the mid-P value of its counts (Lancaster 1961), and of Gaussian-weighted
  neighbourhoods; the law of the largest one comes from the same simulated maps.
* **PIT** of the counts, F(k - 1) + v P(k) with v ~ U(0, 1) (Smith 1985; Czado et al. 2009): uniform for a right model,
  heaped at both ends where counts scatter more than Poisson, as point sources make them.
* **Deviant pixels**: the exact Poisson probability of a count as far out, two-sided, and after as many trials as there
  are pixels, 1 - (1 - p)^n (Šidák 1967). The mean is taken as known: its own error, given with each pixel, is of the
  order of √(n_template / n_pix) of the Poisson scatter, which is negligible for a map of thousands of pixels.

Counts of all energy bins are summed for what is said of single pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from scipy.special import gammainc, gammaincc, kolmogorov, ndtri, xlogy

from gcesbi.baselines.poisson.fit import PoissonFitResult
from gcesbi.baselines.poisson.likelihood import log_factorials
from gcesbi.baselines.poisson.many_maps import fit_maps
from gcesbi.errors import InputError, checked_seed, whole_number
from gcesbi.sky import Grid
from gcesbi.sky.observation import check_counts

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = [
    "DeviantPixel",
    "GoodnessOfFit",
    "count_pit",
    "deviance",
    "deviant_pixels",
    "goodness_of_fit",
    "pixel_significance",
    "smoothed_significance",
]

_REACH = 3.0  # standard deviations at which the smoothing kernel ends
_BATCH = 128  # simulated maps held at a time

Array = NDArray[np.float64]


# -- many maps ------------------------------------------------------------------------------------------------------


def deviance(counts: ArrayLike, model: SkyModel) -> Array:
    """Deviance of every map from its own best fit of the model's templates, summed over energy bins.

    Norms are free above zero in every energy bin.

    Parameters
    ----------
    counts : array (n, n_energy, n_pix)
        Maps of the model's region.
    model : SkyModel
        Whose ``templates`` (n_template, n_energy, n_pix) are fitted.

    Returns
    -------
    array (n,)
    """
    k, fits = check_counts(counts), fit_maps(counts, model)
    return 2 * sum((_saturated(k[:, e]) - best.log_likelihood for e, best in enumerate(fits)), np.zeros(len(k)))


def _saturated(counts: NDArray[np.int64]) -> Array:
    """Ln L of means equal to the counts (n, n_pix), (n,)."""
    largest = int(counts.max(initial=0))
    if largest >= counts.size:
        return np.sum(xlogy(counts, counts) - counts - log_factorials(counts), axis=1)
    values = np.arange(largest + 1, dtype=np.float64)
    table = xlogy(values, values) - values - log_factorials(values.astype(np.int64))
    return table[counts].sum(axis=1)


# -- single pixels --------------------------------------------------------------------------------------------------


def _tails(counts: ArrayLike, mean: ArrayLike) -> tuple[Array, Array, Array]:
    """P(K >= k), P(K <= k) and P(K = k), accurate in both tails."""
    k, mu = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), np.asarray(mean, dtype=np.float64))
    upper = np.where(k > 0, gammainc(np.maximum(k, 1.0), mu), 1.0)
    point = np.exp(xlogy(k, mu) - mu - log_factorials(k.astype(np.int64)))
    return upper, gammaincc(k + 1.0, mu), point


def pixel_significance(counts: ArrayLike, mean: ArrayLike) -> Array:
    """Signed significance of every count, in standard deviations: the Gaussian quantile of its mid-P value."""
    upper, lower, point = _tails(counts, mean)
    bright, dim = np.maximum(upper - 0.5 * point, 0.5 * upper), np.maximum(lower - 0.5 * point, 0.5 * lower)
    return np.where(bright < dim, -ndtri(np.maximum(bright, 1e-300)), ndtri(np.maximum(dim, 1e-300)))


def count_pit(counts: ArrayLike, mean: ArrayLike, seed: int) -> Array:
    """Randomised PIT of counts given their mean, of their shape; the same seed gives the same values."""
    _, lower, point = _tails(counts, mean)
    return np.clip(lower - np.random.default_rng(seed).random(point.shape) * point, 0.0, 1.0)


def _kernel(region: Grid, sigma: float) -> csr_array:
    """Gaussian weights between pixels of a region, (n_pix, n_pix), up to three `sigma` (degrees)."""
    tree, reach = cKDTree(region.vectors), 2 * np.sin(np.radians(_REACH * sigma) / 2)
    near = tree.sparse_distance_matrix(tree, reach, output_type="coo_matrix")
    angle = np.degrees(2 * np.arcsin(np.minimum(near.data / 2, 1.0)))
    return csr_array((np.exp(-0.5 * (angle / sigma) ** 2), (near.row, near.col)), shape=near.shape)


def smoothed_significance(counts: ArrayLike, mean: ArrayLike, region: Grid, sigma: float = 1.0) -> Array:
    """Σ w (k - μ) / √Σ w² μ over each pixel's neighbours in the region, w a Gaussian of `sigma` degrees.

    Parameters
    ----------
    counts, mean : array (..., n_pix)
    region : Grid
    sigma : float
        Degrees; weights end at three of them. Neighbouring values are correlated.
    """
    if not 0 < sigma <= 30:
        raise InputError(f"sigma: must lie in (0, 30] degrees, got {sigma}")
    return _smoothed(np.asarray(counts), np.asarray(mean), _kernel(region, sigma))


def _smoothed(counts: NDArray[Any], mean: Array, kernel: csr_array) -> Array:
    residual = np.atleast_2d(counts - mean)
    scatter = np.sqrt(np.atleast_2d(mean) @ kernel.power(2).T)
    return ((residual @ kernel.T) / np.maximum(scatter, 1e-150)).reshape(np.shape(counts))


@dataclass(frozen=True)
class DeviantPixel:
    """A pixel whose counts the fit does not explain.

    Attributes
    ----------
    pixel : int
        NESTED index.
    glon, glat : float, degrees
        Of its centre.
    counts : int
    expected, expected_error : float
        Fitted mean, and the error of that mean from the fit's covariance.
    p_value : float
        Two-sided Poisson probability of a count at least as far out.
    p_after_trials : float
        Probability that any of the region's pixels is as far out.
    """

    pixel: int
    glon: float
    glat: float
    counts: int
    expected: float
    expected_error: float
    p_value: float
    p_after_trials: float


def deviant_pixels(result: PoissonFitResult, threshold: float = 0.05) -> tuple[DeviantPixel, ...]:
    """Pixels that are improbable even after trials, the most deviant first.

    Parameters
    ----------
    result : PoissonFitResult
    threshold : float
        Largest probability after trials that is listed.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold: must lie in (0, 1], got {threshold}")
    counts, mean = result.observed.sum(axis=0), result.mean.sum(axis=0)
    upper, lower, _ = _tails(counts, mean)
    p = np.minimum(2 * np.minimum(upper, lower), 1.0)
    with np.errstate(divide="ignore"):
        after = -np.expm1(counts.size * np.log1p(-p))
    chosen = np.flatnonzero(after <= threshold)
    chosen = chosen[np.argsort(p[chosen], kind="stable")]
    return tuple(_deviant(result, int(i), counts, mean, p, after) for i in chosen)


def _deviant(
    result: PoissonFitResult, i: int, counts: NDArray[np.int64], mean: Array, p: Array, after: Array
) -> DeviantPixel:
    region = result.fit.observation.region
    glon, glat = (float(angle[i]) for angle in region.glon_glat())
    at = result.templates[:, :, i]
    finite = np.where(np.isfinite(result.covariances), result.covariances, 0.0)
    error = float(np.sqrt(np.einsum("te,etu,ue->", at, finite, at)))
    return DeviantPixel(
        int(region.pixels[i]), glon, glat, int(counts[i]), float(mean[i]), error, float(p[i]), float(after[i])
    )


# -- one fit --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """What speaks against a fit.

    Attributes
    ----------
    result : PoissonFitResult
    deviance, log_likelihood : float
        Of the observed map.
    simulated_deviance, simulated_log_likelihood : array (n,)
        Of maps drawn from the best fit, each fitted again.
    significance : array (n_pix,)
        Of every pixel, energies summed; see :func:`pixel_significance`.
    smoothed : array (n_pix,)
        Of its neighbourhood; see :func:`smoothed_significance`.
    simulated_largest : array (n,)
        Largest absolute value of `smoothed` on each simulated map.
    sigma : float, degrees
        Of the smoothing.
    pit : array (n_energy, n_pix)
        Randomised PIT of the counts.
    pit_p_value : float
        Of a Kolmogorov-Smirnov test that the PIT is uniform; parameters were fitted, which favours the model slightly.
    deviant : tuple of DeviantPixel
    threshold : float
        Probability after trials up to which pixels are listed there.
    """

    result: PoissonFitResult
    deviance: float
    log_likelihood: float
    simulated_deviance: Array
    simulated_log_likelihood: Array
    significance: Array
    smoothed: Array
    simulated_largest: Array
    sigma: float
    pit: Array
    pit_p_value: float
    deviant: tuple[DeviantPixel, ...]
    threshold: float

    @property
    def p_value(self) -> float:
        """Share of maps of the best fit, the observed one counted in, whose deviance is at least the observed one."""
        return _p_value(self.simulated_deviance, self.deviance)

    @property
    def z(self) -> float:
        """Deviance in standard deviations of the simulated ones, from their mean."""
        return float((self.deviance - self.simulated_deviance.mean()) / self.simulated_deviance.std(ddof=1))

    @property
    def smoothed_p_value(self) -> float:
        """Share of maps of the best fit whose largest smoothed significance is at least the observed one."""
        return _p_value(self.simulated_largest, float(np.abs(self.smoothed).max()))

    def refit(self) -> PoissonFitResult:
        """The fit of the region less the deviant pixels, run."""
        return self.result.without([pixel.pixel for pixel in self.deviant])

    def to_dict(self) -> dict[str, Any]:
        """All numbers but the maps, plain."""
        return {
            "log_likelihood": self.log_likelihood,
            "expected_log_likelihood": float(self.simulated_log_likelihood.mean()),
            "expected_log_likelihood_error": float(self.simulated_log_likelihood.std(ddof=1)),
            "n_simulated": len(self.simulated_deviance),
            "deviance": self.deviance,
            "expected_deviance": float(self.simulated_deviance.mean()),
            "deviance_z": self.z,
            "deviance_p_value": self.p_value,
            "pit_p_value": self.pit_p_value,
            "largest_smoothed_significance": float(np.abs(self.smoothed).max()),
            "smoothed_p_value": self.smoothed_p_value,
            "deviant_pixels": [vars(pixel) for pixel in self.deviant],
        }


def _p_value(simulated: Array, observed: float) -> float:
    return float((1 + np.count_nonzero(simulated >= observed)) / (1 + simulated.size))


def _uniform_p_value(values: Array) -> float:
    """P-value of Kolmogorov and Smirnov's test that `values` (n,) are uniform on (0, 1).

    Kolmogorov's law in Vrbik's (2018) correction: within 2·10⁻⁴ from n = 100 on. SciPy's exact one imports its stats.
    """
    n = len(values)
    rank = np.arange(n + 1) / n
    ordered = np.sort(values)
    z = math.sqrt(n) * max((rank[1:] - ordered).max(), (ordered - rank[:-1]).max())
    return float(kolmogorov(z + 1 / (6 * math.sqrt(n)) + (z - 1) / (4 * n)))


def goodness_of_fit(
    result: PoissonFitResult, n_simulated: int = 200, seed: int = 0, sigma: float = 1.0, threshold: float = 0.05
) -> GoodnessOfFit:
    """Judge a fit.

    Parameters
    ----------
    result : PoissonFitResult
    n_simulated : int
        Maps drawn from the best fit and fitted again; no probability below 1 / (n_simulated + 1) can be told.
    seed : int
    sigma : float
        Degrees, of the smoothed significance.
    threshold : float
        Deviant pixels are those of at most this probability after trials.
    """
    n_simulated, seed = whole_number(n_simulated, "n_simulated", 2), checked_seed(seed)
    region, counts = result.fit.observation.region, result.observed
    mean = result.mean.sum(axis=0)
    smoothed = smoothed_significance(counts.sum(axis=0), mean, region, sigma)
    pit = count_pit(counts, result.mean, seed)
    drawn = [np.concatenate(parts) for parts in zip(*_simulated(result, n_simulated, seed, sigma), strict=True)]
    log_likelihood = result.log_likelihood
    return GoodnessOfFit(
        result=result,
        deviance=float(2 * (_saturated(counts).sum() - log_likelihood)),
        log_likelihood=log_likelihood,
        simulated_deviance=drawn[0],
        simulated_log_likelihood=drawn[1],
        significance=pixel_significance(counts.sum(axis=0), mean),
        smoothed=smoothed,
        simulated_largest=drawn[2],
        sigma=sigma,
        pit=pit,
        pit_p_value=_uniform_p_value(pit.ravel()),
        deviant=deviant_pixels(result, threshold),
        threshold=threshold,
    )


def _simulated(result: PoissonFitResult, n: int, seed: int, sigma: float) -> Iterator[tuple[Array, Array, Array]]:
    """Deviance, ln L and largest smoothed significance of maps drawn from the best fit, batch by batch."""
    kernel = _kernel(result.fit.observation.region, sigma)
    rng = np.random.default_rng([seed, 1])
    for first in range(0, n, _BATCH):
        maps = rng.poisson(result.mean, (min(_BATCH, n - first), *result.mean.shape))
        saturated, fitted = np.zeros((2, len(maps)))
        mean = np.zeros((len(maps), maps.shape[2]))
        n_bin = maps.shape[1] // len(result.optima)
        for i, (problem, best) in enumerate(zip(result.fit.problems, result.optima, strict=True)):
            part = maps[:, i * n_bin : (i + 1) * n_bin]
            log_likelihood, expected = problem.refit(part.reshape(len(maps), *problem.counts.shape), best)
            saturated += _saturated(part.reshape(len(maps), -1))
            fitted += log_likelihood
            mean += expected.reshape(len(maps), n_bin, -1).sum(axis=1)
        largest = np.abs(_smoothed(maps.sum(axis=1), mean, kernel)).max(axis=1)
        yield 2 * (saturated - fitted), fitted, largest
