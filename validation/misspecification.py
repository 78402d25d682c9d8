"""A gate that tells whether the model that a network was trained on could have produced a map.

Statistics of a map are compared with those of fresh maps of the model, at a stated rate of false alarms. Three look at
the network's embedding h of the map, where a map unlike all others should lie apart (Schmitt et al. 2021, 2112.08866):

- *MMD²* of one map from the reference maps h_j, 1 + ⟨k(h_i, h_j)⟩ − 2 ⟨k(h, h_j)⟩, k Gaussian with the median distance
  as width: what ``sbi.diagnostics.calc_misspecification_mmd`` computes for one observation;
- *log-probability* of h under a Gaussian in the leading principal components (as sbi's log-probability test, with a
  density that needs no training);
- *remainder*: how much of h lies outside those components.

Others are the caller's (deviance of a fit, asymmetries). Most depend on how bright each component of the map is, which
the model leaves open. So each statistic is first compared with what maps *with the same answers* (covariates:
predicted fluxes, counts) have: z = (s − m(c)) / σ(c), with m quadratic in c, and ln σ too but without products of
different covariates, both fitted on one half of the reference maps. The other half gives the law of every z, and that
of the largest z in units of its own 99 % quantile, which decides: for fresh maps of the model its p-value is uniform,
whatever the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from scipy.special import ndtri

from gcesbi.errors import InputError

from .checks import Array, check_finite
from .estimate import Estimate

__all__ = ["EMBEDDING_STATISTICS", "EmbeddingReference", "Gate", "GateVerdict", "area_under_curve", "mmd_of_one"]

EMBEDDING_STATISTICS = ("embedding: MMD²", "embedding: −ln p", "embedding: remainder")
MIN_REFERENCE = 200
_RIDGE = 1e-3


def mmd_of_one(embedding: ArrayLike, reference: ArrayLike, width: float) -> Array:
    """Squared maximum mean discrepancy (biased estimate) of each single map (n, d) from reference maps (m, d)."""
    single, others = check_finite("embedding", embedding), check_finite("reference", reference)
    within = np.exp(-cdist(others, others, "sqeuclidean") / (2 * width**2)).mean()
    return 1 + within - 2 * np.exp(-cdist(single, others, "sqeuclidean") / (2 * width**2)).mean(axis=1)


@dataclass(frozen=True, eq=False)
class EmbeddingReference:
    """Embeddings of the model's maps.

    Parameters
    ----------
    centre, scale : array (d,)
        By which embeddings are standardised.
    maps : array (m, d)
        Standardised embeddings of some reference maps, in half precision, as they are stored.
    width : float
        Of the kernel.
    axes : array (d, n_component)
        Leading principal components, scaled so that projections have unit variance; in single precision.
    """

    centre: Array
    scale: Array
    maps: NDArray[np.float16]
    width: float
    axes: NDArray[np.float32]

    @classmethod
    def fit(cls, embedding: ArrayLike, n_kept: int = 512, share: float = 0.95) -> EmbeddingReference:
        """From embeddings (n, d) of maps of the model; components hold `share` of the variance, at most n / 20."""
        values = check_finite("embedding", embedding)
        if values.ndim != 2 or len(values) < MIN_REFERENCE:
            raise InputError(f"embedding: must have shape (n, d), n at least {MIN_REFERENCE}, got {values.shape}")
        centre, scale = values.mean(axis=0), values.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        standard = (values - centre) / scale
        _, singular, rows = np.linalg.svd(standard, full_matrices=False)
        variance = singular**2 / len(values)
        n = int(np.searchsorted(np.cumsum(variance) / variance.sum(), share)) + 1
        n = max(1, min(n, len(values) // 20, int(np.count_nonzero(variance > 1e-10))))
        kept = standard[:n_kept].astype(np.float16)
        distances = cdist(kept.astype(float), kept.astype(float))
        axes = (rows[:n] / np.sqrt(variance[:n, None])).T.astype(np.float32)
        return cls(centre, scale, kept, float(np.median(distances)) or 1.0, axes)

    def statistics(self, embedding: ArrayLike) -> Array:
        """The three statistics (n, 3) of embeddings (n, d), in the order of :data:`EMBEDDING_STATISTICS`."""
        values = check_finite("embedding", embedding)
        if values.ndim != 2 or values.shape[1:] != self.centre.shape:
            raise InputError(f"embedding: must have shape (n, {self.centre.size}), got {values.shape}")
        standard = (values - self.centre) / self.scale
        part = standard @ self.axes
        unit = self.axes / np.linalg.norm(self.axes, axis=0)
        rest = np.sum(standard**2, axis=1) - np.sum((standard @ unit) ** 2, axis=1)
        density = 0.5 * np.sum(part**2, axis=1) + 0.5 * self.axes.shape[1] * np.log(2 * np.pi)
        distance = mmd_of_one(standard, self.maps.astype(float), self.width)
        return np.stack([distance, density, np.log(np.maximum(rest, 1e-12))], axis=1)


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says of one map.

    Parameters
    ----------
    p_value : float
        Probability that a map of the model is at least as unusual.
    false_alarm : float
        Rate at which maps of the model are turned away.
    names : tuple of str
    values, z, p_values : tuple of float
        Each statistic, in units of its scatter about what like maps have, and its own p-value (two-sided for
        asymmetries).
    """

    p_value: float
    false_alarm: float
    names: tuple[str, ...]
    values: tuple[float, ...]
    z: tuple[float, ...]
    p_values: tuple[float, ...]

    @property
    def accepted(self) -> bool:
        """Whether the model could have produced the map."""
        return self.p_value > self.false_alarm

    @property
    def worst(self) -> str:
        """Name of the statistic with the smallest p-value; the farthest out if several share it."""
        order = sorted(range(len(self.names)), key=lambda i: (self.p_values[i], -abs(self.z[i])))
        return self.names[order[0]]

    def __str__(self) -> str:
        i = self.names.index(self.worst)
        if self.accepted:
            return (
                f"The training model could have produced this map (p = {self.p_value:.2g}; "
                f"{100 * self.false_alarm:g} % of its own maps fall below {self.false_alarm:g})."
            )
        return (
            f"The training model does not produce maps like this one (p = {self.p_value:.2g}, below "
            f"{self.false_alarm:g}): {self.worst} is {self.z[i]:+.1f} standard deviations from like maps. "
            "Do not trust the posterior."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        rows = zip(self.names, self.values, self.z, self.p_values, strict=True)
        return {
            "p_value": self.p_value,
            "false_alarm": self.false_alarm,
            "accepted": self.accepted,
            "verdict": str(self),
            "statistics": {name: {"value": v, "z": z, "p_value": p} for name, v, z, p in rows},
        }


@dataclass(frozen=True, eq=False)
class Gate:
    """Law of the statistics over maps of the model. Make one by :meth:`fit`.

    Parameters
    ----------
    names : array (n_statistic,) of str
    two_sided : array (n_statistic,) of bool
        Whether small values are as suspicious as large ones.
    centre, scale : array (n_covariate,)
    mean, spread : array (n_term, n_statistic)
        Coefficients of m and ln σ; the latter has no products of covariates.
    calibration : array (n, n_statistic)
        Sorted scores of the calibration maps: z, or |z| where two-sided.
    reach : array (n_statistic,)
        99 % quantile of each score.
    largest : array (n,)
        Sorted, of the calibration maps: the largest score over its reach.
    false_alarm : float
    """

    names: NDArray[np.str_]
    two_sided: NDArray[np.bool_]
    centre: Array
    scale: Array
    mean: Array
    spread: Array
    calibration: Array
    reach: Array
    largest: Array
    false_alarm: float = 0.01

    @classmethod
    def fit(
        cls,
        covariates: ArrayLike,
        statistics: ArrayLike,
        names: Sequence[str],
        two_sided: Sequence[bool],
        false_alarm: float = 0.01,
    ) -> Gate:
        """From covariates (n, n_covariate) and statistics (n, n_statistic) of fresh maps of the model.

        The first half of the maps fits the expectation, the second half calibrates.
        """
        known, values = check_finite("covariates", covariates), check_finite("statistics", statistics)
        if known.ndim != 2 or values.shape != (len(known), len(names)) or len(two_sided) != len(names):
            raise InputError(f"statistics: must have shape ({len(known)}, {len(names)}), got {values.shape}")
        if len(known) < 2 * MIN_REFERENCE:
            raise InputError(f"covariates: a gate needs at least {2 * MIN_REFERENCE} maps, got {len(known)}")
        if not 2 / len(known) < false_alarm < 0.5:
            raise InputError(f"false_alarm: must lie in ({2 / len(known):.2g}, 0.5), got {false_alarm}")
        half = len(known) // 2
        centre, scale = known[:half].mean(axis=0), known[:half].std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        terms = _terms(known[:half], centre, scale)
        mean = _ridge(terms, values[:half])
        rest = np.abs(values[:half] - terms @ mean)
        floor = 1e-3 * rest.mean(axis=0) + 1e-300
        few = _terms(known[:half], centre, scale, products=False)
        spread = _ridge(few, np.log(rest + floor))
        spread[0] += np.log(np.std((values[:half] - terms @ mean) / np.exp(few @ spread), axis=0) + 1e-300)
        sides = np.asarray(two_sided, dtype=bool)
        score = _scores(known[half:], values[half:], centre, scale, mean, spread)
        score = np.where(sides, np.abs(score), score)
        reach = np.maximum(np.quantile(score, 0.99, axis=0), 1e-3)
        largest = np.sort((score / reach).max(axis=1))
        arrays = (np.asarray(names, dtype=np.str_), sides, centre, scale, mean, spread)
        return cls(*arrays, np.sort(score, axis=0), reach, largest, false_alarm)

    def z(self, covariates: ArrayLike, statistics: ArrayLike) -> Array:
        """Statistics (n, n_statistic) in units of their scatter about what maps of like covariates have."""
        known, values = check_finite("covariates", covariates), check_finite("statistics", statistics)
        if known.shape[1:] != self.centre.shape or values.shape != (len(known), len(self.names)):
            raise InputError(
                f"statistics: must have shape (n, {len(self.names)}) and covariates (n, {self.centre.size}), got "
                f"{values.shape} and {known.shape}"
            )
        return _scores(known, values, self.centre, self.scale, self.mean, self.spread)

    def largest_score(self, z: Array) -> Array:
        """The deciding number (n,) of scores (n, n_statistic): the largest in units of its own 99 % quantile."""
        return (np.where(self.two_sided, np.abs(z), z) / self.reach).max(axis=1)

    def p_values(self, covariates: ArrayLike, statistics: ArrayLike) -> Array:
        """Probability (n,) that a map of the model is at least as unusual."""
        return _tail(self.largest, self.largest_score(self.z(covariates, statistics)))

    def verdict(self, covariates: ArrayLike, statistics: ArrayLike) -> GateVerdict:
        """The verdict on one map, from its covariates (n_covariate,) and statistics (n_statistic,)."""
        values = np.asarray(statistics, dtype=np.float64)[None]
        z = self.z(np.asarray(covariates, dtype=np.float64)[None], values)
        scores = np.where(self.two_sided, np.abs(z), z)[0]
        each = [float(_tail(column, np.array([s]))[0]) for column, s in zip(self.calibration.T, scores, strict=True)]
        p = float(_tail(self.largest, self.largest_score(z))[0])
        return GateVerdict(
            p,
            self.false_alarm,
            tuple(map(str, self.names)),
            tuple(values[0].tolist()),
            tuple(z[0].tolist()),
            tuple(each),
        )

    def arrays(self) -> dict[str, NDArray]:
        """All there is to store."""
        return {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray]) -> Gate:
        """The gate that :meth:`arrays` came from."""
        found: dict[str, Any] = {each.name: np.asarray(arrays[each.name]) for each in fields(cls)}
        found["false_alarm"] = float(found["false_alarm"])
        return cls(**found)


def area_under_curve(null: ArrayLike, alternative: ArrayLike, level: float = 0.95) -> Estimate:
    """Probability that an alternative scores above a null map, ties half; with the band of Hanley & McNeil (1982)."""
    below, above = check_finite("null", null), check_finite("alternative", alternative)
    n, m = len(below), len(above)
    order = np.sort(below)
    ranks = (np.searchsorted(order, above, "left") + np.searchsorted(order, above, "right")) / 2
    area = float(ranks.mean() / n)
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (one - area**2) + (n - 1) * (two - area**2)) / (n * m)
    reach = ndtri((1 + level) / 2) * np.sqrt(max(variance, 0.0))
    return Estimate(area, max(area - reach, 0.0), min(area + reach, 1.0))


def _terms(known: Array, centre: Array, scale: Array, products: bool = True) -> Array:
    """1, c, and all products c c' or only squares, covariates standardised and kept within five deviations."""
    c = np.clip((known - centre) / scale, -5, 5)
    i, j = np.triu_indices(c.shape[1]) if products else (np.arange(c.shape[1]),) * 2
    return np.concatenate([np.ones((len(c), 1)), c, c[:, i] * c[:, j]], axis=1)


def _ridge(terms: Array, values: Array) -> Array:
    penalty = _RIDGE * len(terms) * np.eye(terms.shape[1])
    penalty[0, 0] = 0.0
    return np.asarray(np.linalg.solve(terms.T @ terms + penalty, terms.T @ values), dtype=np.float64)


def _scores(known: Array, values: Array, centre: Array, scale: Array, mean: Array, spread: Array) -> Array:
    few = _terms(known, centre, scale, products=len(spread) == len(mean))  # gates of version 0.1 had them
    return (values - _terms(known, centre, scale) @ mean) / np.exp(np.clip(few @ spread, -600, 600))


def _tail(ordered: Array, values: Array) -> Array:
    """(1 + number at or above) / (1 + n) for ascending calibration values."""
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    return (1 + above) / (1 + len(ordered))
