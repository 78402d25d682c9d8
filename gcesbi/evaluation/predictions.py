"""What the networks predict for maps of known truth, quantity by quantity, in the form that measures ask for.

A quantity is the spectrum of a template (flux fractions by energy bin) or the source counts of a point-source template
(CDF values by flux bin). Of each pair of map and bin it is known whether its intervals hold the truth, between which
levels the truth lies, and its score. CDFs have atoms at 0 and 1: see :mod:`gcesbi.validation.atoms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gcesbi.estimators import SourceCountEstimator, SpectralEstimator
from gcesbi.physics.scd import true_cdf
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.validation import (
    ScoreMap,
    atom_bounds,
    crps_from_quantiles,
    crps_gaussian,
    groups_by,
    share_inside,
    sharpness,
    undecided,
)
from gcesbi.validation.pit import normal_scores

__all__ = ["ALPHAS", "TAUS", "Predictions", "Quantity", "SourceCounts", "Spectrum"]

TAUS = np.arange(1, 80) / 80
"""Quantile levels at which source counts are evaluated."""

ALPHAS = np.array([0.5, 0.68, 0.95])
"""Nominal levels at which coverage is looked at bin by bin."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity on all maps.

    Parameters
    ----------
    name : str
        "source counts of gce" or "spectrum of pi".
    truth : array (n_map, n_bin)
    """

    name: str
    truth: Array

    @property
    def used(self) -> Mask:
        """Pairs (n_map, n_bin) whose prediction is open, whatever the truth."""
        return np.ones(self.truth.shape, bool)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Levels (n_map, n_bin) between which the truth lies, uniformly."""
        raise NotImplementedError

    @cached_property
    def square(self) -> Array:
        """Squared z (n_map, n_bin): the squared error in units of the claimed one, 1 on average if calibrated."""
        return normal_scores(*self.bounds)[1]

    @cached_property
    def covered(self) -> Mask | Array:
        """Whether the intervals of :data:`ALPHAS` hold the truth, or with what probability: (n_alpha, n_map, n_bin)."""
        return share_inside(*self.bounds, ALPHAS)

    @cached_property
    def crps(self) -> Array:
        """Continuous ranked probability score (n_map, n_bin)."""
        raise NotImplementedError

    @property
    def width(self) -> Array:
        """Width (n_map, n_bin) of the interval that tells sharpness: 95 % of CDFs, 68 % of spectra."""
        raise NotImplementedError

    def crps_of(self, curves: Array) -> Array:
        """Score (n_map, n_bin) of who states the same quantile curves (n_tau, n_bin) for every map."""
        return crps_from_quantiles(self.truth, curves[:, None] + np.zeros((1, len(self.truth), 1)), TAUS)


@dataclass(frozen=True, eq=False)
class SourceCounts(Quantity):
    """CDF of a point-source template's source counts: `curves` (n_tau, n_map, n_bin) at :data:`TAUS`."""

    curves: Array

    @property
    def used(self) -> Mask:
        """Pairs whose curves do not all lie on one atom."""
        return undecided(self.curves)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Levels between which the truth lies, atoms allowed for."""
        return atom_bounds(self.truth, self.curves, TAUS)

    @cached_property
    def crps(self) -> Array:
        """Score by the curves."""
        return crps_from_quantiles(self.truth, self.curves, TAUS)

    @property
    def width(self) -> Array:
        """Width of the 95 % interval."""
        return sharpness(self.curves, TAUS)


@dataclass(frozen=True, eq=False)
class Spectrum(Quantity):
    """Flux fractions of a template: Gaussians `mean`, `std` (n_map, n_bin), asked at recalibrated scores."""

    mean: Array
    std: Array
    asked: ScoreMap

    @cached_property
    def score(self) -> Array:
        """Error in units of the claimed one."""
        return self.asked.inverse((self.truth - self.mean) / self.std)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """The level of the truth, twice."""
        level = ndtr(self.score)
        return level, level

    @cached_property
    def square(self) -> Array:
        """Squared error in units of the claimed one."""
        return self.score**2

    @cached_property
    def covered(self) -> Mask | Array:
        """Whether the intervals hold the truth."""
        return np.abs(self.score) <= ndtri((1 + ALPHAS) / 2)[:, None, None]

    @cached_property
    def crps(self) -> Array:
        """Continuous ranked probability score."""
        if self.asked.trivial:
            return crps_gaussian(self.truth, self.mean, self.std)
        curves = self.mean + self.std * self.asked(ndtri(TAUS))[:, None, None]
        return crps_from_quantiles(self.truth, curves, TAUS)

    @property
    def width(self) -> Array:
        """Width of the 68 % interval."""
        low, high = self.asked(ndtri([0.16, 0.84]))
        return self.std * (high - low)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Truths and predictions of the same maps.

    Parameters
    ----------
    model : SkyModel
        Of the networks; the maps may be another's.
    maps : Simulations
    mean, std : array (n_map, n_template, n_energy)
        Flux fractions.
    curves : array (n_tau, n_map, n_point_source, n_bin)
        CDFs at :data:`TAUS`.
    asked : tuple of ScoreMap
        At which scores spectra are asked, by template.
    """

    model: SkyModel
    maps: Simulations
    mean: Array
    std: Array
    curves: Array
    asked: tuple[ScoreMap, ...]

    @classmethod
    def of(
        cls, model: SkyModel, maps: Simulations, spectra: SpectralEstimator, source_counts: SourceCountEstimator
    ) -> Predictions:
        """Ask both networks about every map."""
        predicted = spectra.predict(maps.counts)
        curves, (asked, _) = source_counts.quantiles(maps.counts, TAUS), spectra.score_maps
        return cls(model, maps, predicted.mean, predicted.std, curves, asked)

    @cached_property
    def source_counts(self) -> tuple[SourceCounts, ...]:
        """One for each point-source template."""
        cdfs = true_cdf(self.maps.scd)
        return tuple(
            SourceCounts(f"source counts of {name}", cdfs[:, j], self.curves[:, :, j])
            for j, name in enumerate(self.model.point_sources)
        )

    @cached_property
    def spectra(self) -> tuple[Spectrum, ...]:
        """One for each template."""
        return tuple(
            Spectrum(
                f"spectrum of {name}", self.maps.flux_fractions[:, i], self.mean[:, i], self.std[:, i], self.asked[i]
            )
            for i, name in enumerate(self.model.names)
        )

    @property
    def quantities(self) -> tuple[SourceCounts | Spectrum, ...]:
        """All of them, source counts first."""
        return (*self.source_counts, *self.spectra)

    @cached_property
    def features(self) -> dict[str, Array]:
        """Quantities (n_map,) that do not know the truth."""
        found = {"ln counts": np.log(np.maximum(self.maps.counts.sum(axis=(1, 2), dtype=np.float64), 1.0))}
        for counts, name in zip(self.source_counts, self.model.point_sources, strict=True):
            found[f"predicted fraction of {name}"] = self.mean[:, self.model.names.index(name)].mean(axis=-1)
            found[f"predicted CDF of {name}"] = counts.curves[len(TAUS) // 2].mean(axis=-1)
            found[f"width of {name}"] = counts.width.mean(axis=-1)
        return found

    @property
    def groups(self) -> dict[str, Mask]:
        """Maps in groups by each of the features."""
        return {k: v for name, values in self.features.items() for k, v in groups_by(values, name).items()}

    @property
    def regions(self) -> dict[str, Mask]:
        """Maps in groups by their truth: parts of parameter space."""
        found: dict[str, Mask] = {}
        for counts, name in zip(self.source_counts, self.model.point_sources, strict=True):
            fraction = self.maps.flux_fractions[:, self.model.names.index(name)].mean(axis=-1)
            found |= groups_by(fraction, f"true fraction of {name}")
            found |= groups_by(counts.truth.mean(axis=-1), f"true CDF of {name}")
        return found
