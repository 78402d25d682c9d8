"""Named statistics of what a fit of Poisson templates leaves of a map.

The templates are fitted to every energy bin (norms free), and the statistics are of what the fit leaves of the counts,
energies summed, k less μ in a pixel:

- *deviance* of the fit, per degree of freedom;
- *counts histogram*: Cramér-von Mises distance of the mid-P values of k from the uniform law;
- *residual kurtosis* of (k − μ)/√μ, as ln(1 + excess), so that single bright pixels do not rule it;
- *angular power*: χ² per cell of the residual counts in cells 2, 4 and 8 pixels wide, about 2°, 4° and 7° at nside 64;
- *north-south* and *left-right*: difference of the residuals of the two halves, in units of its Poisson error;
  for these and the angular power, residuals count up to 4√μ, or single bright sources would rule them;
- *towards* another sky: score test of that sky's templates, see :mod:`gcesbi.evaluation.score_tests`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc, xlogy

from gcesbi.baselines.poisson.likelihood import log_factorials
from gcesbi.baselines.poisson.many_maps import fitted_means, fitted_norms
from gcesbi.evaluation.score_tests import BRIGHT, Alternative, scores_towards
from gcesbi.simulation import SkyModel
from gcesbi.sky import Grid

__all__ = ["FIT_STATISTICS", "fit_statistics"]

Array = NDArray[np.float64]

_CELLS = (2, 4, 8)
FIT_STATISTICS = {
    "deviance of the Poisson fit": False,
    "counts histogram": False,
    "residual kurtosis": True,
    **{f"angular power in cells of {width} pixels": True for width in _CELLS},
    "north-south": True,
    "left-right": True,
}
"""Names of the statistics of a fit's residuals, and whether small values are as suspicious as large ones."""


def fit_statistics(
    counts: ArrayLike, model: SkyModel, others: Sequence[Alternative] = (), workers: int = 1, batch: int = 128
) -> Array:
    """Statistics (n, n_statistic) of maps (n, n_energy, n_pix): :data:`FIT_STATISTICS`, then one for each other sky.

    Batches of maps are shared among `workers` threads.
    """
    maps = np.asarray(counts)

    def of(start: int) -> Array:
        each = maps[start : start + batch]
        norms = fitted_norms(each, model)
        means = fitted_means(norms, model)
        return np.concatenate([_statistics(each, means, model), scores_towards(others, each, norms, means, model)], 1)

    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(of, range(0, len(maps), batch))))


def _statistics(counts: NDArray[np.integer], means: Array, model: SkyModel) -> Array:
    k, mu = counts.astype(np.float64), np.maximum(means, 1e-12)
    free = k[0].size - len(model.names) * k.shape[1]
    deviance = 2 * np.sum(k * np.log(np.maximum(k, 1) / mu) - (k - means), axis=(1, 2)) / free
    k, mu = k.sum(axis=1), mu.sum(axis=1)
    rest = k - mu
    standard = rest / np.sqrt(mu)
    kurtosis = np.mean(standard**4, axis=1) / np.mean(standard**2, axis=1) ** 2 - 3
    columns = [deviance, np.log(_histogram_distance(k, mu)), np.log1p(np.maximum(kurtosis, -0.9))]
    rest = np.minimum(rest, BRIGHT * np.sqrt(mu))
    columns += [np.log(_cell_power(rest, mu, model.region, width)) for width in _CELLS]
    glon, glat = model.region.glon_glat()
    middle = model.composition.region.centre
    beside = (glon - middle[0] + 180) % 360 - 180
    columns += [_asymmetry(rest, mu, side) for side in (np.sign(glat - middle[1]), np.sign(beside))]
    return np.stack(columns, axis=1)


def _histogram_distance(k: Array, mu: Array) -> Array:
    """Cramér-von Mises distance (n,) of the mid-P values of counts (n, n_pix) from the uniform law, times n_pix."""
    point = np.exp(xlogy(k, mu) - mu - log_factorials(k.astype(np.int64)))
    level = np.sort(np.clip(gammaincc(k + 1, mu) - 0.5 * point, 0, 1), axis=1)
    n = level.shape[1]
    return 1 / (12 * n) + np.sum((level - (np.arange(n) + 0.5) / n) ** 2, axis=1)


def _cell_power(rest: Array, mu: Array, region: Grid, width: int) -> Array:
    """χ² per cell (n,) of residuals (n, n_pix) over cells of width² pixels, those at least half inside the region."""
    cells = region.cells(width)
    order = np.argsort(cells, kind="stable")
    parents = cells[order]
    starts = np.flatnonzero(np.diff(parents, prepend=-1))
    whole = np.diff(starts, append=len(parents)) * 2 >= width**2
    whole = whole if whole.any() else np.ones(len(starts), bool)
    above, below = (np.add.reduceat(values[:, order], starts, axis=1)[:, whole] for values in (rest, mu))
    return np.mean(above**2 / below, axis=1)


def _asymmetry(rest: Array, mu: Array, side: Array) -> Array:
    return rest @ side / np.sqrt(mu @ np.abs(side))
