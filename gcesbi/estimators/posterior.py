"""Posteriors of the neural estimators on one observation.

Both answer the calls of :class:`gcesbi.posterior.Posterior`. Quantiles are exact: of the Gaussian, and of the
network's quantile functions. Neither knows correlations: samples of different entries of one array are independent for
the spectra, and perfectly ordered for the source counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from gcesbi.errors import InputError
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.estimators.spectra import SpectralEstimator
from gcesbi.posterior import Coordinates, Posterior, check_levels

__all__ = ["SourceCountPosterior", "SpectralPosterior", "total_flux"]


def total_flux(counts: ArrayLike, exposure: ArrayLike) -> NDArray[np.float64]:
    """Flux of a map (n_energy, n_pix) in every energy bin, Σ_p counts / exposure, photons / cm² / s: (n_energy,)."""
    return np.sum(np.asarray(counts) / np.asarray(exposure), axis=-1)


class SpectralPosterior(Posterior):
    """Gaussian posterior of flux fractions; truncated to [0, 1] by moving what lies outside to the bound.

    Entries are independent in the samples: neither the sum to one over templates nor the correlation between energies
    is in them. Use ``flux_fraction``, which the network learns by itself, and no sum over ``spectrum_fraction``.

    Parameters
    ----------
    coordinates : Coordinates
    mean, std : array (n_template, n_energy)
        Of the flux fractions in every energy bin.
    total_mean, total_std : array (n_template,)
        Of the flux fractions of all energies together.
    total_flux : array (n_energy,), photons / cm² / s
        Flux of the observed map; its Poisson error is neglected.
    method : str
    """

    def __init__(
        self,
        coordinates: Coordinates,
        mean: ArrayLike,
        std: ArrayLike,
        total_mean: ArrayLike,
        total_std: ArrayLike,
        total_flux: ArrayLike,
        method: str = "neural spectra",
    ) -> None:
        n_template, n_energy = len(coordinates.template), len(coordinates.energy)
        shapes = [(n_template, n_energy)] * 2 + [(n_template,)] * 2 + [(n_energy,)]
        given = {
            "mean": mean,
            "std": std,
            "total_mean": total_mean,
            "total_std": total_std,
            "total_flux": total_flux,
        }
        arrays = [_checked(name, value, shape) for (name, value), shape in zip(given.items(), shapes, strict=True)]
        self.method, self.coordinates = method, coordinates
        self.total_flux = arrays[4]
        scale = float(self.total_flux.sum())
        self._gaussians = {
            "flux_fraction": (arrays[2], arrays[3], 1.0),
            "spectrum_fraction": (arrays[0], arrays[1], 1.0),
            "flux": (arrays[2], arrays[3], scale),
        }

    @classmethod
    def of(
        cls, estimator: SpectralEstimator, counts: ArrayLike, coordinates: Coordinates, method: str = "neural spectra"
    ) -> SpectralPosterior:
        """Posterior of an estimator on the counts (n_energy, n_pix) of one observation."""
        counts = np.asarray(counts)[None]
        spectrum, total = estimator.predict(counts), estimator.predict_total(counts)
        flux = total_flux(counts[0], estimator.exposure)
        return cls(coordinates, spectrum.mean[0], spectrum.std[0], total.mean[0], total.std[0], flux, method)

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return tuple(self._gaussians)

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` independent samples of every entry; ``flux`` is ``flux_fraction`` of the same draw, scaled."""
        rng = np.random.default_rng(seed)
        draws = {name: rng.standard_normal((n, *self._gaussians[name][0].shape)) for name in self.names[:2]}
        draws["flux"] = draws["flux_fraction"]
        return {name: self._value(name, draws[name]) for name in self.names}

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Exact quantiles, (n_level, *axes), pointwise."""
        self._check(name)
        axes = (1,) * self._gaussians[name][0].ndim
        return self._value(name, ndtri(check_levels(levels)).reshape(-1, *axes))

    def _value(self, name: str, deviate: NDArray[np.float64]) -> NDArray[np.float64]:
        mean, std, scale = self._gaussians[name]
        return np.clip(mean + std * deviate, 0, 1) * scale


class SourceCountPosterior(Posterior):
    """Posterior of the SCD histograms of the point-source templates, known by its pointwise quantiles.

    Parameters
    ----------
    estimator : SourceCountEstimator
    counts : array (n_energy, n_pix), photons
        The observation.
    coordinates : Coordinates
    template_flux : array (n_ps,), optional, photons / cm² / s
        Total flux of each point-source template, taken as known; gives ``n_sources`` = Σ_i F p_i / F_i, with F_i the
        centres of the flux bins. N rises with every value of the CDF: its quantiles are those of the CDF, carried over.
    method : str
    """

    def __init__(
        self,
        estimator: SourceCountEstimator,
        counts: ArrayLike,
        coordinates: Coordinates,
        template_flux: ArrayLike | None = None,
        method: str = "neural source counts",
    ) -> None:
        if estimator.names != tuple(coordinates.point_source) or estimator.n_bin != len(coordinates.flux_bin):
            raise InputError(
                f"coordinates: must name point sources {estimator.names} and {estimator.n_bin} flux bins, got "
                f"{coordinates.point_source} and {len(coordinates.flux_bin)}"
            )
        self.method, self.coordinates = method, coordinates
        self.estimator, self.counts = estimator, np.asarray(counts)[None]
        estimator.check_counts(self.counts)
        n_ps = len(estimator.names)
        self.template_flux = None if template_flux is None else _checked("template_flux", template_flux, (n_ps,))

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return ("scd_cdf",) if self.template_flux is None else ("scd_cdf", "n_sources")

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` levels τ; all bins and templates of a sample share one: not samples of their joint posterior."""
        return self._values(self.estimator.sample(self.counts, n, seed)[:, 0])

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Exact quantiles, (n_level, *axes), pointwise: the CDF's q-quantile is the curve of τ = 1 - q."""
        self._check(name)
        return self._values(self.estimator.quantiles(self.counts, 1 - check_levels(levels))[:, 0])[name]

    def _values(self, cdf: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        if self.template_flux is None:
            return {"scd_cdf": cdf}
        share = np.diff(cdf, axis=-1, prepend=0)
        per_flux = share @ (10.0 ** -np.asarray(self.coordinates.flux_bin))
        return {"scd_cdf": cdf, "n_sources": per_flux * self.template_flux}


def _checked(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name}: must have shape {shape}, got {array.shape}")
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise InputError(f"{name}: must be finite and not negative, got {array.min()}")
    return array
