"""Posteriors of the neural estimators on one observation.

Both answer the calls of :class:`gcesbi.posterior.Posterior`. Quantiles of flux fractions and of the SCD's CDF are
exact: those of the Gaussian, and of the network's quantile functions. What samples know of correlations is said at
each class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from gcesbi.errors import InputError, shown
from gcesbi.estimators.map_flux import flux_error, flux_shares, total_flux
from gcesbi.estimators.simplex import error_correlation, onto_simplex, simplex_scale, student_factors
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.estimators.spectra import SpectralEstimator
from gcesbi.physics.scd import ScdBins, cdf_to_pdf, n_sources, pdf_to_dndf, pdf_to_f2dndf
from gcesbi.physics.spectra import e2dnde
from gcesbi.posterior import Coordinates, Posterior, asked, check_levels
from gcesbi.simulation.simulations import Simulations
from gcesbi.validation import ScoreMap
from gcesbi.validation.recalibration import KNOTS

__all__ = ["SourceCountPosterior", "SpectralPosterior", "flux_correlation"]

Array = NDArray[np.float64]

_N_QUANTILE = 4096


class SpectralPosterior(Posterior):
    """Gaussian posterior of flux fractions, and what follows with the flux of the map: fluxes and spectra.

    Samples are shares: not negative, of sum one over templates in every energy bin and in all together, the latter the
    weighted ones of the bins. Their errors go together over templates and energies as `scale` says; without it as
    little as the sum allows. Their tails are longer than a Gaussian's by `tails`, which leaves quantiles as they are.
    See :mod:`gcesbi.estimators.simplex`.

    The flux of the map in every bin has a Poisson error, taken as independent of the fractions: gamma distributed in
    samples, to first order in quantiles of ``flux`` and ``spectrum``, which are those of a Gaussian, cut at zero.

    Parameters
    ----------
    coordinates : Coordinates
    mean, std : array (n_template, n_energy)
        Of the flux fractions in every energy bin.
    total_mean, total_std : array (n_template,)
        Of the flux fractions of all energies together.
    total_flux : array (n_energy,), photons / cm² / s
        Flux of the observed map.
    method : str
    total_flux_error : array (n_energy,), optional, photons / cm² / s
        Its Poisson error; neglected if not given.
    scale : array (n_template, n_energy, m), optional
        A of the joint Gaussian of samples, mean + A ε with ε ~ N(0, 1) of m components; its norms over m may differ
        from `std`, which quantiles have. Made by :func:`gcesbi.estimators.simplex.simplex_scale` if not given, of `std`
        and `total_std`.
    total_scale : array (n_template, m), optional
        The same of all energies together, with `scale`; the weighted errors of the bins if not given.
    tails : array (n_energy,) or (n_energy + 1,), optional
        1/ν of Student's t of samples, in every bin and of all energies together; zero, a Gaussian, if not given.
    energy_edges : array (n_energy + 1,), optional, GeV
        Needed for ``spectrum``, E² dN/dE.
    score_maps : two tuples of ScoreMap, optional
        At which scores of the Gaussian its quantiles lie, by template: in energy bins, and of all energies together;
        see :meth:`gcesbi.estimators.SpectralEstimator.recalibrate`.
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
        *,
        total_flux_error: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        total_scale: ArrayLike | None = None,
        tails: ArrayLike | None = None,
        energy_edges: ArrayLike | None = None,
        score_maps: tuple[tuple[ScoreMap, ...], tuple[ScoreMap, ...]] | None = None,
    ) -> None:
        n_template, n_energy = len(coordinates.template), len(coordinates.energy)
        self.method, self.coordinates = method, coordinates
        self.mean, self.std = (
            _checked(name, value, (n_template, n_energy)) for name, value in (("mean", mean), ("std", std))
        )
        totals = {"total_mean": total_mean, "total_std": total_std}
        self.total_mean, self.total_std = (_checked(name, value, (n_template,)) for name, value in totals.items())
        self.total_flux = _checked("total_flux", total_flux, (n_energy,))
        error = np.zeros(n_energy) if total_flux_error is None else total_flux_error
        self.total_flux_error = _checked("total_flux_error", error, (n_energy,))
        self.scale, self.total_scale = self._scales(scale, total_scale)
        n_column = n_energy + (self.total_scale is not None)
        self.tails = _checked("tails", np.zeros(n_column) if tails is None else tails, (n_column,))
        self.energy_edges = None if energy_edges is None else np.asarray(energy_edges, dtype=np.float64)
        if self.energy_edges is not None and self.energy_edges.shape != (n_energy + 1,):
            raise InputError(f"energy_edges: must have shape {(n_energy + 1,)}, got {self.energy_edges.shape}")
        self._maps = score_maps or ((ScoreMap(KNOTS),) * n_template,) * 2
        self._gaussians = self._named_gaussians()

    @classmethod
    def of(
        cls,
        estimator: SpectralEstimator,
        counts: ArrayLike,
        coordinates: Coordinates,
        method: str = "neural spectra",
        *,
        exposure: ArrayLike | None = None,
        energy_edges: ArrayLike | None = None,
    ) -> SpectralPosterior:
        """Posterior of an estimator on the counts (n_energy, n_pix) of one observation.

        Parameters
        ----------
        exposure : array (n_energy, n_pix), optional, cm² s
            The observation's own, by which its counts become fluxes; the estimator's if not given.
        energy_edges : array (n_energy + 1,), optional, GeV
            Needed for spectra in E² dN/dE.
        """
        (found,) = cls.each(
            estimator, np.asarray(counts)[None], coordinates, method, exposure=exposure, energy_edges=energy_edges
        )
        return found

    @classmethod
    def each(
        cls,
        estimator: SpectralEstimator,
        counts: ArrayLike,
        coordinates: Coordinates,
        method: str = "neural spectra",
        *,
        exposure: ArrayLike | None = None,
        energy_edges: ArrayLike | None = None,
    ) -> Iterator[SpectralPosterior]:
        """Posteriors of an estimator on the counts (n, n_energy, n_pix) of many observations: see :meth:`of`."""
        counts = np.asarray(counts)
        exposure = estimator.exposure if exposure is None else np.asarray(exposure)
        mean, std, scale = estimator.joint(counts, exposure)
        n_energy = estimator.n_energy
        if estimator.covariance == "diagonal":
            total_mean, total_std = mean[..., -1], std[..., -1]
        else:
            total_mean, total_std = estimator.predict_total(counts, exposure)
        for i, seen in enumerate(counts):
            yield cls(
                coordinates,
                mean[i, :, :n_energy],
                std[i, :, :n_energy],
                total_mean[i],
                total_std[i],
                total_flux(seen, exposure),
                method,
                total_flux_error=flux_error(seen, exposure),
                scale=scale[i, :, :n_energy],
                total_scale=scale[i, :, n_energy] if estimator.n_column > n_energy else None,
                tails=estimator.tails.double().numpy(),
                energy_edges=energy_edges,
                score_maps=estimator.score_maps,
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return tuple(self._gaussians)

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` samples; all quantities of a sample follow from the same fractions and fluxes."""
        n, seed = asked(n, seed)
        rng = np.random.default_rng(seed)
        deviates = rng.standard_normal((n, self.scale.shape[-1]))
        in_bin = self._draw_flux(n, rng)
        longer, n_energy = student_factors(self.tails, n, rng), len(self.total_flux)
        errors = np.einsum("tem,nm->nte", self.scale, deviates) * longer[:, None, :n_energy]
        shares = self.mean + _asked(errors, self.std, self._maps[0])
        weight = flux_shares(in_bin)
        if self.total_scale is None:
            together = np.einsum("nte,ne->nt", shares, weight)
        else:
            errors = deviates @ self.total_scale.T * longer[:, n_energy:]
            together = self.total_mean + _asked(errors, self.total_std, self._maps[1])
        shares, together = onto_simplex(shares, together, weight, self.mean)
        flux = together * in_bin.sum(axis=1, keepdims=True)
        drawn = {"flux_fraction": together, "spectrum_fraction": shares, "flux": flux}
        if self.energy_edges is not None:
            drawn["spectrum"] = e2dnde(shares * in_bin[:, None], self.energy_edges)
        return drawn

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles of the Gaussian as it is recalibrated, (n_level, *axes), pointwise; cut to the quantity's range."""
        self._check(name)
        mean, std, largest = self._gaussians[name]
        deviate = ndtri(check_levels(levels)).reshape(-1, *(1,) * mean.ndim)
        return np.clip(mean + _asked(std * deviate, std, self._maps[mean.ndim == 1]), 0, largest)

    @staticmethod
    def scatter_as(posteriors: Sequence[SpectralPosterior], covariance: Array) -> None:
        """Let errors of samples have a covariance (T C, T C), in units of the deviations that quantiles have.

        Columns are the energy bins, and all energies together if samples draw these by themselves.
        """
        together = len(covariance) > posteriors[0].std.size
        std = np.stack([np.column_stack([each.std, each.total_std][: 1 + together]) for each in posteriors])
        made = simplex_scale(std, covariance, flux_shares(np.stack([each.total_flux for each in posteriors])))
        for each, scale in zip(posteriors, made, strict=True):
            each.scale, each.total_scale = (scale[:, :-1], scale[:, -1]) if together else (scale, None)

    def _scales(self, scale: ArrayLike | None, total_scale: ArrayLike | None) -> tuple[Array, Array | None]:
        """A of the bins and of all energies together, as given or of errors that go together as little as can be."""
        if scale is None:
            self.scatter_as([self], np.eye(self.std.size + self.total_std.size))
            return self.scale, self.total_scale
        checked = _checked_scale(scale, self.std)
        if total_scale is None:
            return checked, None
        total = np.asarray(total_scale, dtype=np.float64)
        if total.shape != (wanted := (len(checked), checked.shape[-1])):
            raise InputError(f"total_scale: must have shape {wanted}, got {total.shape}")
        return checked, total

    def _named_gaussians(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], float]]:
        """Mean, deviation and largest value of every quantity."""
        known = {
            "flux_fraction": (self.total_mean, self.total_std, 1.0),
            "spectrum_fraction": (self.mean, self.std, 1.0),
            "flux": (*self._flux(), np.inf),
        }
        if self.energy_edges is not None:
            value = self.mean * self.total_flux
            error = np.hypot(self.std * self.total_flux, self.mean * self.total_flux_error)
            known["spectrum"] = (e2dnde(value, self.energy_edges), e2dnde(error, self.energy_edges), np.inf)
        return known

    def _flux(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of the templates' fluxes, all energies together."""
        if self.total_scale is not None:
            total, error = self.total_flux.sum(), np.linalg.norm(self.total_flux_error)
            return self.total_mean * total, np.hypot(self.total_std * total, self.total_mean * error)
        spread = np.linalg.norm(np.einsum("tem,e->tm", self.scale, self.total_flux), axis=-1)
        return self.mean @ self.total_flux, np.hypot(spread, np.linalg.norm(self.mean * self.total_flux_error, axis=1))

    def _draw_flux(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Fluxes of the map (n, n_energy): gamma distributed, with the observed mean and Poisson error."""
        flux, error = self.total_flux, self.total_flux_error
        known = (error > 0) & (flux > 0)
        shape = np.divide(flux, error, out=np.ones_like(flux), where=known) ** 2
        return np.where(known, flux * rng.standard_gamma(shape, size=(n, len(flux))) / shape, flux)


class SourceCountPosterior(Posterior):
    """Posterior of the SCDs of the point-source templates, in all their representations.

    ``scd_cdf`` is known by its pointwise quantiles, exactly. All else (``scd_pdf``; with the templates' fluxes also
    ``f2dndf``, ``dndf`` and ``n_sources`` = Σ_i F p_i / F_i, with F_i the centres of the flux bins) needs several bins
    at once, and has the quantiles of samples of whole SCDs.

    A sample has one level τ ~ U(0, 1) for each template, common to its bins, independent of the other templates': see
    :meth:`gcesbi.estimators.SourceCountEstimator.sample`. The flux of a template goes together with its τ by a Gaussian
    copula: where dim sources are taken for a smooth template, their flux is underestimated and their SCD is too bright.

    Parameters
    ----------
    estimator : SourceCountEstimator
    counts : array (n_energy, n_pix), photons
        The observation.
    coordinates : Coordinates
    template_flux : array (n_ps,), optional, photons / cm² / s
        Total flux of each point-source template.
    method : str
    template_flux_error : array (n_ps,), optional, photons / cm² / s
        Its standard deviation (Gaussian, cut at zero); neglected if not given.
    flux_correlation : array (n_ps,), optional
        Of the flux with the normal score of τ, as :func:`flux_correlation` finds; none if not given.
    """

    def __init__(
        self,
        estimator: SourceCountEstimator,
        counts: ArrayLike,
        coordinates: Coordinates,
        template_flux: ArrayLike | None = None,
        method: str = "neural source counts",
        *,
        template_flux_error: ArrayLike | None = None,
        flux_correlation: ArrayLike | None = None,
    ) -> None:
        if estimator.names != tuple(coordinates.point_source) or estimator.n_bin != len(coordinates.flux_bin):
            raise InputError(
                f"coordinates: must name point sources {estimator.names} and {estimator.n_bin} flux bins, got "
                f"{coordinates.point_source} and {len(coordinates.flux_bin)}"
            )
        self.method, self.coordinates = method, coordinates
        self.estimator, self.counts = estimator, np.asarray(counts)[None]
        estimator.check_counts(self.counts)
        shape = (len(estimator.names),)
        self.template_flux = None if template_flux is None else _checked("template_flux", template_flux, shape)
        error = np.zeros(shape) if template_flux_error is None else template_flux_error
        self.template_flux_error = _checked("template_flux_error", error, shape)
        self.flux_correlation = np.zeros(shape) if flux_correlation is None else np.asarray(flux_correlation, float)
        if self.flux_correlation.shape != shape or not np.all(np.abs(self.flux_correlation) <= 1):
            raise InputError(
                f"flux_correlation: must be {shape[0]} numbers in [-1, 1], got {shown(self.flux_correlation)}"
            )
        self.bins = _bins(coordinates)
        self._drawn: dict[int, dict[str, NDArray[np.float64]]] = {}  # samples behind the quantiles, of the last seed

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        known = ("scd_cdf", "scd_pdf")
        return known if self.template_flux is None else (*known, "f2dndf", "dndf", "n_sources")

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` whole SCDs; all quantities of a sample are of the same SCD and flux."""
        n, seed = asked(n, seed)
        cdf = self.estimator.sample(self.counts, n, seed)[:, 0]
        if self.template_flux is None:
            return self._values(cdf, None)
        alone = np.random.default_rng((seed, 1)).standard_normal((n, len(self.template_flux)))
        along, score = self.flux_correlation, ndtri(self.estimator.draw_levels(n, seed)).T
        deviates = along * score + np.sqrt(1 - along**2) * alone
        return self._values(cdf, np.maximum(self.template_flux + self.template_flux_error * deviates, 0))

    def curves(self, taus: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Every quantity of the curves of given levels τ, dim to bright: (n_tau, *axes), at the templates' mean flux.

        A curve's CDF values are the bins' own quantiles at 1 − τ; its other quantities follow from it, and are not
        their own quantiles. The curve of τ = ½ is the median SCD.
        """
        cdf = self.estimator.quantiles(self.counts, taus)[:, 0]
        flux = self.template_flux
        return self._values(cdf, None if flux is None else np.broadcast_to(flux, cdf.shape[:2]))

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles, (n_level, *axes), pointwise; exact for the CDF, whose q-quantile is the curve of τ = 1 - q."""
        self._check(name)
        if name != "scd_cdf":
            if seed not in self._drawn:
                self._drawn = {seed: self.sample(_N_QUANTILE, seed)}
            return np.quantile(self._drawn[seed][name], check_levels(levels), axis=0)
        return self.estimator.quantiles(self.counts, 1 - check_levels(levels))[:, 0]

    def _values(self, cdf: NDArray[np.float64], flux: NDArray[np.float64] | None) -> dict[str, NDArray[np.float64]]:
        """All quantities of CDFs (n, n_ps, n_bin) of templates with fluxes (n, n_ps)."""
        pdf = cdf_to_pdf(cdf)
        if flux is None:
            return {"scd_cdf": cdf, "scd_pdf": pdf}
        return {
            "scd_cdf": cdf,
            "scd_pdf": pdf,
            "f2dndf": pdf_to_f2dndf(pdf, flux, self.bins),
            "dndf": pdf_to_dndf(pdf, flux, self.bins),
            "n_sources": n_sources(pdf, flux, self.bins),
        }


def _asked(errors: Array, std: Array, maps: Sequence[ScoreMap]) -> Array:
    """Errors (n, n_template, ...) of Gaussians with deviations `std`, where the maps (n_template,) ask for them."""
    if all(each.trivial for each in maps):
        return errors
    scores = np.divide(errors, std, out=np.zeros_like(errors), where=std > 0)
    return std * np.stack([each(scores[:, t]) for t, each in enumerate(maps)], axis=1)


def flux_correlation(spectra: SpectralEstimator, source_counts: SourceCountEstimator, maps: Simulations) -> Array:
    """Correlation (n_ps,) of normal scores: of the error of a point-source template's share, and of its true SCD's τ.

    Parameters
    ----------
    spectra, source_counts : SpectralEstimator, SourceCountEstimator
    maps : Simulations
        Of known truth, that neither was trained on.
    """
    rows = [spectra.names.index(name) for name in source_counts.names]
    share = flux_shares(maps.flux.sum(axis=2))
    mean, std = spectra.predict_total(maps.counts)
    error = ((share - mean) / std)[:, rows]
    found = error_correlation(np.concatenate([error, source_counts.true_levels(maps)], axis=1))
    return np.diagonal(found, len(rows)).copy()


def _bins(coordinates: Coordinates) -> ScdBins:
    """Flux bins of which the coordinates name the centres."""
    centres = np.asarray(coordinates.flux_bin)
    half = (centres[-1] - centres[0]) / (len(centres) - 1) / 2
    return ScdBins(centres[0] + half, centres[-1] - half, len(centres) - 2)


def _checked_scale(scale: ArrayLike, std: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(scale, dtype=np.float64)
    if array.ndim != 3 or array.shape[:2] != std.shape:
        raise InputError(f"scale: must have shape {(*std.shape, 'm')}, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("scale: must be finite")
    return array


def _checked(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name}: must have shape {shape}, got {array.shape}")
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise InputError(f"{name}: must be finite and not negative, got {array.min()}")
    return array
