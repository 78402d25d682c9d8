"""How far samples of shares scatter, measured on maps of known truth: long tails, and the errors of sums of two.

Quantiles of a share by itself are what its network answers. Samples are of all shares together, and a sum of two of
them should err by as much as its samples claim, in every energy bin and in all energies together. Two things are
measured, in units of the deviations that the network tells:

- the tails of the errors, by column (Student's t, :func:`gcesbi.estimators.simplex.student_factors`), for the mean of
  all shares and sums;
- then the covariance of the errors of one column, for each share and each sum by itself. Between columns correlations
  stay those of :meth:`gcesbi.estimators.SpectralEstimator.fit_errors`.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from gcesbi.estimators.network_posteriors import SpectralPosterior
from gcesbi.estimators.spectra import SpectralEstimator
from gcesbi.posterior import Coordinates
from gcesbi.simulation.simulations import Simulations

__all__ = ["fit_samples"]

Array = NDArray[np.float64]

_N_DRAWN = 128
_UNBIASED = (_N_DRAWN - 3) / (_N_DRAWN - 1)  # of 1 / variance of Gaussian draws
_TRIED_TAIL, _LONGEST_TAIL = 1 / 6, 1 / 4
_N_ROUNDS = 3
_LARGEST_CHANGE = 2.0
_WILD = 10.0
_LEAST_STD = 1e-6


def fit_samples(spectra: SpectralEstimator, maps: Simulations, coordinates: Coordinates) -> None:
    """Let samples of shares err as much as they claim: every share and every sum of two, in every column.

    Tails come first. They are taken to widen samples in proportion to what they add to the variance of t, as found at
    ν = 6; ν is 4 at least. Then, with a diagonal covariance, the covariance of errors is moved thrice by least squares
    to where shares and sums have the root mean square of one. Errors beyond ten deviations count as ten, that no single
    map decides.

    Parameters
    ----------
    spectra : SpectralEstimator
        As it is recalibrated; its tails are set, and the covariance that samples have.
    maps : Simulations
        Of known truth, that the network was neither trained on nor is to be judged by.
    coordinates : Coordinates
    """
    truth = spectra.targets(maps).double().numpy()
    measured = spectra.covariance == "diagonal"
    if measured:
        spectra.sample_covariance.copy_(spectra.error_correlation)
    posteriors = list(SpectralPosterior.each(spectra, maps.counts, coordinates))
    tails = _tails(truth, posteriors)
    spectra.tails.copy_(torch.from_numpy(tails))
    if measured:
        covariance = spectra.error_correlation.double().numpy()
        for _ in range(_N_ROUNDS):
            covariance = _moved(covariance, *_scatter(truth, posteriors, tails))
            SpectralPosterior.scatter_as(posteriors, covariance)
        spectra.sample_covariance.copy_(torch.from_numpy(covariance))


def _tails(truth: Array, posteriors: Sequence[SpectralPosterior]) -> Array:
    """1/ν of every column, for the mean square of all shares and sums."""
    without, tried = (
        _scatter(truth, posteriors, np.full(truth.shape[2], tail))[0].mean(axis=0) for tail in (0.0, _TRIED_TAIL)
    )
    own = 2 * _TRIED_TAIL / (1 - 2 * _TRIED_TAIL)  # excess variance of Student's t
    growth = np.maximum(without / np.maximum(tried, 1e-9) - 1, 1e-3) / own
    excess = np.maximum(without - 1, 0) / growth
    return np.asarray(np.minimum(excess / (1 + excess) / 2, _LONGEST_TAIL))


def _sums(n_template: int) -> Array:
    """Every share, then every sum of two, as rows over templates."""
    one = np.eye(n_template)
    return np.array([*one, *(a + b for a, b in combinations(one, 2))])


def _scatter(truth: Array, posteriors: Sequence[SpectralPosterior], tails: Array) -> tuple[Array, Array]:
    """Mean square over maps of the errors of shares and sums in units of the samples' deviation, (n_sum, n_column).

    And the root mean square of those deviations, of the shares alone, (n_template, n_column). `truth` is
    (n_map, n_template, n_column); samples have the tails given.
    """
    n_template, n_column = truth.shape[1:]
    sums = _sums(n_template)
    square, used, variance = np.zeros((3, len(sums), n_column))
    for i, (true, posterior) in enumerate(zip(truth, posteriors, strict=True)):
        posterior.tails = tails
        drawn = posterior.sample(_N_DRAWN, seed=i)
        shares = np.dstack([drawn["spectrum_fraction"], drawn["flux_fraction"]])[..., :n_column]
        claimed = np.einsum("st,ntc->nsc", sums, shares)
        error, std = sums @ true - claimed.mean(axis=0), claimed.std(axis=0)
        known = std > _LEAST_STD
        square += np.minimum(np.abs(np.divide(error, std, out=np.zeros_like(std), where=known)), _WILD) ** 2
        used += known
        variance += std**2
    return _UNBIASED * square / np.maximum(used, 1), np.sqrt(variance[:n_template] / max(len(truth), 1))


def _moved(covariance: Array, square: Array, std: Array) -> Array:
    """Covariance (T C, T C) of errors in units of what is told, moved towards mean squares (n_sum, C) of one.

    `std` (T, C) are typical deviations of samples. A column's T² moves are those of least squares, relative to the
    variance of every share and sum; deviations change by a factor of √2 at most.
    """
    n_template, n_column = std.shape
    upper, sums = np.triu_indices(n_template), _sums(n_template)
    counted = np.where(upper[0] == upper[1], 1.0, 2.0)
    index = np.arange(std.size).reshape(std.shape)
    spread = np.sqrt(np.diagonal(covariance))
    found, grown = covariance / np.outer(spread, spread), np.ones(std.shape)
    for c in range(n_column):
        here = np.ix_(index[:, c], index[:, c])
        own = found[here] * np.outer(std[:, c], std[:, c])
        now = np.maximum(np.einsum("st,tu,su->s", sums, own, sums), 1e-300)
        terms = sums[:, upper[0]] * sums[:, upper[1]] * counted / now[:, None]
        moved = own.copy()
        moved[upper] += np.linalg.lstsq(terms, square[:, c] - 1, rcond=1e-3)[0]
        moved.T[upper] = moved[upper]
        least, most = np.diagonal(own) / _LARGEST_CHANGE, np.diagonal(own) * _LARGEST_CHANGE
        variance = np.maximum(np.clip(np.diagonal(moved), least, most), 1e-300)
        grown[:, c] = np.sqrt(variance / np.maximum(np.diagonal(own), 1e-300))
        found[here] = np.clip(moved / np.sqrt(np.outer(variance, variance)), -1, 1)
    np.fill_diagonal(found, 1)
    return _correlation(found) * np.outer(spread * grown.ravel(), spread * grown.ravel())


def _correlation(values: Array) -> Array:
    """The symmetric matrix without what is negative of it, of diagonal one."""
    own, vectors = np.linalg.eigh(values)
    found = (vectors * np.maximum(own, 1e-9)) @ vectors.T
    norm = np.sqrt(np.diagonal(found))
    return np.asarray(found / np.outer(norm, norm))
