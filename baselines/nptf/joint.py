r"""The template fit of vectors of counts: norms, source counts and spectra of a sky model, jointly.

Norm A of a smooth template puts A c_e T_e(p) expected counts into bin e of pixel p, T_e the model's maps (exposure and
PSF of their energy applied), c_e of its spectrum (:mod:`gcesbi.baselines.nptf.floating_spectra`). Sources of template j
have the splits

.. math:: a_{je}(p) = \frac{c_{je}\,T_{je}(p)}{\sum_{e'} c_{je'}\,T_{je'}(p)} ,

the flux-weighted mean, over the positions of sources whose light reaches the pixel, of the share that each energy has
in it: the mean counts of every bin are right whatever the PSF. Exact where the share f of a source's light in the pixel
does not depend on energy; else the error is of second order in its changes. Source counts are seen as on the summed map
(:mod:`gcesbi.baselines.nptf.sky`): the PSF table is that of the Poisson fit's mean photon, the exposure its mean over
the region, which here follows the spectrum: a source of flux F gives S = F Σ_e s_e E_e counts.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.energy_map import EnergyMap
from gcesbi.baselines.nptf.floating_spectra import FloatingSpectra
from gcesbi.baselines.nptf.parameters import NptfParameters
from gcesbi.baselines.nptf.scd_family import BoundFamily
from gcesbi.baselines.nptf.sky import NptfSky
from gcesbi.physics.spectra import e2dnde

__all__ = ["JointLikelihood", "JointSlopes"]

Array = NDArray[np.float64]

_STEP = 1e-4  # in ln of the exposure, of a central difference of count vectors


@dataclass(frozen=True, eq=False)
class _Sources:
    """What one parameter vector says of the sources.

    Attributes
    ----------
    norms : array (n_population,)
        Mean counts per pixel.
    units : list of array (n_row,)
        X of every population for norm 1.
    vectors : array (n_ps, n_row)
    templates : array (n_ps, n_pix)
    splits : array (n_ps, n_pix, n_energy)
    """

    norms: Array
    units: list[Array]
    vectors: Array
    templates: Array
    splits: Array


@dataclass(frozen=True, eq=False)
class JointSlopes:
    """Log-likelihood and its derivatives by what a parameter vector means.

    Attributes
    ----------
    value : float
    by_binned : array (n_smooth, n_energy)
        By the smooth templates' norms in every energy bin.
    by_source : array (n_population,)
        By norms of the populations.
    by_norm_shares : array (n_ps, n_energy)
        By shares of norms of the point-source templates, held independent of each other.
    by_ratio : array (n_ps,)
        By ln of the relative exposure that sources see.
    by_shape : list of array (n_shape,)
        By every population's shape.
    """

    value: float
    by_binned: Array
    by_source: Array
    by_norm_shares: Array
    by_ratio: Array
    by_shape: list[Array]


@dataclass(frozen=True, eq=False)
class JointLikelihood:
    """Likelihood of norms, source counts and spectra given counts with energies.

    Parameters
    ----------
    sky : NptfSky
        Of the summed map.
    parameters : NptfParameters
        Spectra come after those of the fit to the sum.
    spectra : FloatingSpectra
    coarse_above : int
        K₀, see :mod:`gcesbi.baselines.nptf.energy_map`.
    workers : int, optional
        Threads; all cores by default.
    """

    sky: NptfSky
    parameters: NptfParameters
    spectra: FloatingSpectra
    coarse_above: int
    workers: int | None = None

    # -- the sky -------------------------------------------------------------------------------------------------

    @cached_property
    def map(self) -> EnergyMap:
        """The counts."""
        return EnergyMap.build(self.sky.observation.counts.T, self.coarse_above, self.workers)

    @cached_property
    def maps(self) -> Array:
        """Expected counts for norm 1, (n_template, n_pix, n_energy)."""
        return np.ascontiguousarray(self.sky.model.templates.transpose(0, 2, 1), dtype=np.float64)

    @cached_property
    def source_rows(self) -> list[int]:
        """Places of the point-source templates in the model."""
        return self.sky.rows(self.sky.point_sources)

    @cached_property
    def smooth_rows(self) -> list[int]:
        """Places of the templates that shine smoothly."""
        return self.sky.rows(self.parameters.smooth_templates)

    @cached_property
    def _flux_rows(self) -> list[int]:
        """Point-source templates whose norms are stated as fluxes."""
        return self.sky.rows(tuple({p.template: 0 for p in self.parameters.populations if p.brightness == "flux"}))

    @cached_property
    def exposure(self) -> Array:
        """Mean of the region in every energy bin, (n_energy,), cm² s."""
        return np.asarray(self.sky.model.exposure.mean(axis=1))

    @cached_property
    def _families(self) -> tuple[BoundFamily, ...]:
        """Of every population, bound at the largest exposure that any spectrum can have."""
        highest = float(self.exposure.max())
        views = dict(zip(self.sky.point_sources, self.sky.likelihood.views, strict=True))
        return tuple(p.family.bind(replace(views[p.template], exposure=highest)) for p in self.parameters.populations)

    def _exposure_ratio(self, shares: Array) -> Array:
        """Exposure of sources with spectra (..., n_energy), relative to that at which families are bound."""
        return np.asarray(np.minimum(shares @ self.exposure / self.exposure.max(), 1.0))

    # -- what parameters mean -----------------------------------------------------------------------------------

    def flux_per_norm(self, shares: Array) -> Array:
        """Flux inside the region for norm 1, (..., n_template), of spectra (..., n_template, n_energy)."""
        return np.asarray(1.0 / np.sum(shares / self.sky.model.flux_per_norm, axis=-1))

    def norm_shares(self, shares: Array) -> Array:
        """Shares c of a norm in each energy bin, for spectra (..., n_template, n_energy)."""
        raw = shares / self.sky.model.flux_per_norm
        return np.asarray(raw / raw.sum(axis=-1, keepdims=True))

    def _gains(self, shares: Array) -> Array:
        """Norm of each template, (n, n_template), over what it would be with the Poisson fit's spectrum."""
        out = np.ones(shares.shape[:-1])
        rows = self._flux_rows
        out[:, rows] = self.sky.flux_per_norm[rows] / self.flux_per_norm(shares)[:, rows]
        return out

    def norms(self, theta: Array, shares: Array) -> tuple[Array, Array]:
        """Norms of the smooth templates (n, n_smooth) and of the populations (n, n_population)."""
        parameters, gains = self.parameters, self._gains(shares)
        smooth, sources = parameters.smooth_norms(theta), parameters.source_norms(theta)
        n = len(parameters.smooth)
        smooth[:, n:] *= gains[:, self.smooth_rows[n:]]
        return smooth, sources * gains[:, self.population_rows]

    @cached_property
    def population_rows(self) -> list[int]:
        """Places of the populations' templates."""
        return self.sky.rows(tuple(population.template for population in self.parameters.populations))

    def histograms(self, theta: Array, shares: Array, p: int, edges: Array) -> Array:
        """Expected SCD histograms (n, n_bin) of population `p`."""
        family = self._families[p]
        ratios = self._exposure_ratio(shares[:, self.population_rows[p]])
        found = zip(ratios, self.parameters.shapes(theta, p), strict=True)
        return np.concatenate([family.at_exposure(float(r)).histogram(shape[None], edges) for r, shape in found])

    def quantities(self, theta: Array) -> dict[str, Array]:
        """Named quantities (n, ...) of parameter vectors (n, n_dim)."""
        model, shares = self.sky.model, self.spectra.shares(theta)
        smooth, sources = (np.zeros((len(theta), len(model.names))) for _ in range(2))
        smooth_norms, norms = self.norms(theta, shares)
        per_norm, ps = self.flux_per_norm(shares), self.sky.rows(tuple(model.point_sources))
        edges, centres = np.asarray(model.scd_edges), 10.0 ** np.asarray(model.coordinates.flux_bin)
        binned = np.zeros((len(theta), len(ps), len(centres)))
        for i, row in enumerate(self.smooth_rows):
            smooth[:, row] += smooth_norms[:, i] * per_norm[:, row]
        for p, row in enumerate(self.population_rows):
            flux = norms[:, p] * per_norm[:, row]
            sources[:, row] += flux
            binned[:, ps.index(row)] += flux[:, None] * self.histograms(theta, shares, p, edges)
        binned[..., 0] += np.where(binned.sum(axis=-1) > 0, 0.0, np.finfo(float).tiny)  # no sources: the dimmest bin
        pdf = binned / binned.sum(axis=-1, keepdims=True)
        flux = smooth + sources
        total = flux.sum(axis=1, keepdims=True)
        in_bins = flux[..., None] * shares
        result = {
            "flux_fraction": flux / total,
            "flux": flux,
            "spectrum_fraction": in_bins / in_bins.sum(axis=1, keepdims=True),
            "spectrum": e2dnde(in_bins, model.energy_edges),
            "scd_cdf": np.cumsum(pdf, axis=-1),
            "n_sources": sources[:, ps] * np.sum(pdf / centres, axis=-1),
            "poisson_flux_fraction": smooth[:, ps] / total,
            "point_source_flux_fraction": sources[:, ps] / total,
        }
        return result | {name: theta[:, i] for i, name in enumerate(self.parameters.names)}

    # -- likelihood ----------------------------------------------------------------------------------------------

    def _mean(self, binned: Array) -> Array:
        """Expected counts of smooth emission (n_pix, n_energy) of its binned norms (n_smooth, n_energy)."""
        return np.einsum("te,tpe->pe", binned, self.maps[self.smooth_rows])

    @cached_property
    def _ratio(self) -> Array:
        """Exposure of every pixel over its mean, (n_ps, n_pix), with the Poisson fit's spectrum."""
        return self.sky.exposure_ratio

    def _sources(self, theta: Array, shares: Array, c: Array, norms: Array) -> _Sources:
        """What sources mean at one vector (n_dim,), with spectra and their shares of norms (n_template, n_energy)."""
        n_row = self.map.largest + 1
        vectors, units = np.zeros((len(self.source_rows), n_row)), []
        for p, population in enumerate(self.parameters.populations):
            j = self.sky.point_sources.index(population.template)
            unit = self._unit(theta, p, float(self._exposure_ratio(shares[self.source_rows[j]])))
            units.append(unit)
            vectors[j] += norms[p] * unit
        binned = c[self.source_rows][:, None] * self.maps[self.source_rows]
        summed = binned.sum(axis=-1)
        splits = np.where(summed[..., None] > 0, binned / np.where(summed > 0, summed, 1.0)[..., None], 0.0)
        splits[summed <= 0, 0] = 1.0
        return _Sources(norms, units, vectors, summed / self._ratio, splits)

    def _unit(self, theta: Array, p: int, ratio: float) -> Array:
        out = np.zeros((1, 1, self.map.largest + 1))
        self._families[p].at_exposure(ratio).unit_vectors(self.parameters.shapes(theta[None], p), out)
        return out[0, 0]

    def log_likelihood(self, theta: Array, workers: int | None = None) -> float:
        """Log-likelihood of one parameter vector (n_dim,)."""
        shares = self.spectra.shares(theta[None])
        smooth, norms = self.norms(theta[None], shares)
        c = self.norm_shares(shares[0])
        found = self._sources(theta, shares[0], c, norms[0])
        mean = self._mean(smooth[0][:, None] * c[self.smooth_rows])
        return float(self.map.log_probabilities(mean, found.templates, found.vectors, found.splits, workers).sum())

    def evaluate_many(self, theta: Array) -> Array:
        """Log-likelihoods (n,) of parameter vectors (n, n_dim), on all cores."""
        if len(theta) == 1:
            return np.array([self.log_likelihood(theta[0])])
        with ThreadPoolExecutor(min(self.map.workers, max(len(theta), 1))) as pool:
            return np.array(list(pool.map(lambda row: self.log_likelihood(row, 1), theta)))

    def log_likelihood_gradient(self, theta: Array) -> tuple[float, Array]:
        """Log-likelihood and its gradient (n_dim,) at one parameter vector (n_dim,)."""
        parameters, shares = self.parameters, self.spectra.shares(theta[None])
        smooth, norms = self.norms(theta[None], shares)
        c, gains = self.norm_shares(shares[0]), self._gains(shares)[0]
        found = self.slopes(theta, smooth[0][:, None] * c[self.smooth_rows], norms[0], shares[0])
        by_c, by_gain = np.zeros(c.shape), np.zeros(len(c))
        np.add.at(by_c, self.smooth_rows, smooth[0][:, None] * found.by_binned)
        by_smooth = np.sum(found.by_binned * c[self.smooth_rows], axis=1)
        by_c[self.source_rows] += found.by_norm_shares
        n = len(parameters.smooth)
        np.add.at(by_gain, self.smooth_rows[n:], by_smooth[n:] * smooth[0, n:])
        np.add.at(by_gain, self.population_rows, found.by_source * norms[0])
        by_shares = self._by_shares(shares[0], c, by_c, by_gain, found.by_ratio)
        by_smooth[n:] *= gains[self.smooth_rows[n:]]
        out = parameters.pull_back(theta, by_smooth, found.by_source * gains[self.population_rows], found.by_shape)
        return found.value, out + self.spectra.pull_back(theta, by_shares)

    def slopes(self, theta: Array, binned: Array, norms: Array, shares: Array) -> JointSlopes:
        """Derivatives at what a parameter vector means.

        Parameters
        ----------
        theta : array (n_dim,)
            Of which shapes alone are used.
        binned : array (n_smooth, n_energy)
            Norms of the smooth templates in every energy bin.
        norms : array (n_population,)
        shares : array (n_template, n_energy)
            Spectra, of which those of sources alone are used.
        """
        c = self.norm_shares(shares)
        at = self._sources(theta, shares, c, norms)
        found = self.map.gradient(self._mean(binned), at.templates, at.vectors, at.splits)
        by_binned = np.einsum("pe,tpe->te", found.by_mean, self.maps[self.smooth_rows])
        by_ratio, by_source, by_shape = np.zeros(len(self.source_rows)), np.empty(len(norms)), []
        for p, population in enumerate(self.parameters.populations):
            j = self.sky.point_sources.index(population.template)
            ratio = float(self._exposure_ratio(shares[self.source_rows[j]]))
            slope = found.by_vectors[j]
            family = self._families[p]
            unit = family.at_exposure(ratio).unit_gradient(self.parameters.shapes(theta[None], p)[0])[0]
            by_source[p] = at.units[p] @ slope
            by_shape.append(norms[p] * (unit[1:] @ slope[: unit.shape[1]]))
            ends = [self._unit(theta, p, ratio * np.exp(sign * _STEP)) @ slope for sign in (-1, 1)]
            by_ratio[j] += norms[p] * (ends[1] - ends[0]) / (2 * _STEP)
        by_c = self._by_norm_shares(found.by_templates, found.by_splits, at)
        return JointSlopes(found.value, by_binned, by_source, by_c, by_ratio, by_shape)

    def _by_norm_shares(self, by_templates: Array, by_splits: Array, at: _Sources) -> Array:
        """Derivatives (n_ps, n_energy) by the point-source templates' shares of norms, through maps and splits."""
        summed = at.templates * self._ratio
        inner = by_splits - np.sum(by_splits * at.splits, axis=-1, keepdims=True)
        by_binned = (by_templates / self._ratio)[..., None] + inner / np.where(summed > 0, summed, 1.0)[..., None]
        return np.einsum("jpe,jpe->je", by_binned, self.maps[self.source_rows])

    def _by_shares(self, shares: Array, c: Array, by_c: Array, by_gain: Array, by_ratio: Array) -> Array:
        """Derivatives (n_template, n_energy) by shares of flux, from those by c, ln gain and ln exposure ratio."""
        flux = self.sky.model.flux_per_norm
        per_norm = self.flux_per_norm(shares)[:, None] / flux
        out = per_norm * (by_c - np.sum(by_c * c, axis=1, keepdims=True))
        out[self._flux_rows] += per_norm[self._flux_rows] * by_gain[self._flux_rows, None]
        seen = shares[self.source_rows] @ self.exposure
        out[self.source_rows] += by_ratio[:, None] * self.exposure / seen[:, None]
        return np.asarray(out)
