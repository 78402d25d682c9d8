r"""What the NPTF reads of a sky model and an observation: summed maps, exposure, PSF correction, likelihood.

S is counted at the region's mean exposure E, so a source of S counts has the flux F = S / E.

**Several energy bins.** Spectra are held at those of the Poisson fit, and the map is summed over energies: templates
with the fit's norms as weights, the PSF mixed with the template's expected counts as weights, E the mean with its
fluxes as weights. What is neglected: all spectral information on the counts (norms of similar shape are told apart by
morphology and statistics alone), the error of the spectra, and that a source's photons of different energies spread
differently (the mixed PSF is that of the average photon).

**Bands.** Instead of the sum, every energy bin may have its own likelihood, with its own PSF and exposure and the share
c_e of a source's counts, S_e = c_e S; the source-count distribution of S is common. Bands then are multiplied as if
independent. What is neglected: that a source seen in one band is seen in the others too, which makes intervals of
source parameters too narrow and leaves the strongest evidence for a single source, its spectrum, unused; and, as above,
the error of the spectra. Norms are now told apart by spectra too, which are those of the fit.

**Joint.** The likelihood of vectors of counts, spectra floating, neglects neither: :mod:`gcesbi.baselines.nptf.joint`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.floating import FloatingTemplate
from gcesbi.baselines.nptf.likelihood import NptfLikelihood, exposure_groups
from gcesbi.baselines.nptf.psf_correction import PsfCorrection, psf_correction
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.baselines.poisson.fit import PoissonFit, PoissonFitResult
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["MapBasis", "NptfSky"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MapBasis:
    r"""Maps of one template and how they are combined: T = Σ_b v_b M_b, v_b = w_b / Σ_b' w_b' m_b'.

    Weights w are the template's own (:mod:`gcesbi.baselines.floating`); spectra are held. The flux for norm 1 is
    Σ_b v_b f_b. A template that does not float is one map, m = 1.

    Parameters
    ----------
    maps : array (n_basis, n_cell)
        M.
    means, fluxes : array (n_basis,)
        The norm m, and the flux f in the region, photons / cm² / s, of each map.
    floating : FloatingTemplate, optional
    """

    maps: FloatArray
    means: FloatArray
    fluxes: FloatArray
    floating: FloatingTemplate | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Shape parameters."""
        return () if self.floating is None else self.floating.names

    def weights(self, values: FloatArray) -> FloatArray:
        """The weights w (n, n_basis) of shape parameters (n, n_name)."""
        return np.ones((len(values), 1)) if self.floating is None else self.floating.basis.weights(values)

    def used(self, values: FloatArray) -> NDArray[np.int64]:
        """Maps with a weight, or one that may begin to rise, at shape parameters (n_name,)."""
        slopes = np.zeros(1) if self.floating is None else self.floating.basis.slopes(values)
        return np.flatnonzero((self.weights(values[None])[0] != 0) | np.any(slopes != 0, axis=0))

    def pull_back(self, values: FloatArray, by_weights: FloatArray) -> FloatArray:
        """Derivatives by shape parameters (n_name,), at values (n_name,), of those by weights (n_basis,)."""
        return np.zeros(0) if self.floating is None else self.floating.basis.slopes(values) @ by_weights

    def shares(self, weights: FloatArray) -> FloatArray:
        """The coefficients v (n, n_basis) of weights (n, n_basis)."""
        return weights / (weights @ self.means)[:, None]

    def flux_per_norm(self, weights: FloatArray) -> FloatArray:
        """Flux in the region for norm 1, (n,), photons / cm² / s."""
        return np.asarray((weights @ self.fluxes) / (weights @ self.means))


@dataclass(frozen=True, eq=False)
class NptfSky:
    """Maps of one model and observation, as the NPTF sees them.

    Parameters
    ----------
    model : SkyModel
        Of the observation's region and energies. PSF, exposure and spectra are those of the shapes that the Poisson fit
        finds, where templates float.
    observation : Observation
    point_sources : tuple of str
        Templates that shine through point sources.
    n_exposure : int
        Groups of pixels of like exposure in which sources give their own counts; 1 takes the mean everywhere.
    bands : bool
        Whether every energy bin has its own likelihood.
    psf : PsfCorrection, optional
        In place of that of the model's PSF.
    """

    model: SkyModel
    observation: Observation
    point_sources: tuple[str, ...]
    n_exposure: int = 1
    bands: bool = False
    psf: PsfCorrection | None = None

    @cached_property
    def fit(self) -> PoissonFitResult:
        """The Poisson fit, which fixes the spectra."""
        return PoissonFit(self.model, self.observation).run()

    @cached_property
    def bases(self) -> tuple[MapBasis, ...]:
        """Maps of every template of the model."""
        floating = {each.row: each for each in self.fit.fit.sky.floating}
        return tuple(
            self._basis(floating[row])
            if row in floating
            else MapBasis(self.maps[row : row + 1], np.ones(1), self.flux_per_norm[row : row + 1])
            for row in range(len(self.maps))
        )

    def _basis(self, template: FloatingTemplate) -> MapBasis:
        """Maps in counts for norm 1; those of point sources for flux 1."""
        spectrum, fluxes = self.spectrum[template.row], template.flux @ self.spectrum[template.row]
        means = np.ones(len(fluxes))
        binned = spectrum[:, None] * template.counts
        if template.of_flux:
            share = spectrum * self.fit.flux_per_norm[template.row]
            per_flux = share / share.sum() / template.flux
            binned, means, fluxes = per_flux[:, :, None] * template.counts, per_flux.sum(axis=1), means
        maps = binned.reshape(len(binned), -1) if self.bands else binned.sum(axis=1)
        return MapBasis(maps, means, fluxes, template)

    @cached_property
    def source_maps(self) -> tuple[FloatArray, ...]:
        """Maps (n_basis, n_cell) of every point-source template, per counts of a source."""
        rows = self.rows(self.point_sources)
        return tuple(self.bases[row].maps / each for row, each in zip(rows, self._per_source, strict=True))

    @cached_property
    def spectrum(self) -> NDArray[np.float64]:
        """Share of every template's norm in each energy bin (n_template, n_energy), from the Poisson fit.

        A template that the fit leaves without flux takes the spectrum of all counts.
        """
        norms = np.maximum(self.fit.spectrum, 0.0)
        total = norms.sum(axis=1, keepdims=True)
        overall = self.observation.counts.sum(axis=1) / max(self.observation.counts.sum(), 1)
        return np.where(total > 0, norms / np.where(total > 0, total, 1.0), overall)

    def rows(self, names: tuple[str, ...]) -> list[int]:
        """Places of templates in the model."""
        return [self.model.names.index(name) for name in names]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """What the likelihood is of, (n_cell,): pixels, or pixels of one energy bin after the other."""
        return self.observation.counts.ravel() if self.bands else self.observation.counts.sum(axis=0)

    @cached_property
    def maps(self) -> NDArray[np.float64]:
        """Expected counts in every cell for a summed norm of 1, (n_template, n_cell)."""
        binned = self.spectrum[:, :, None] * self.fit.templates
        return binned.reshape(len(binned), -1) if self.bands else binned.sum(axis=1)

    @cached_property
    def flux_per_norm(self) -> NDArray[np.float64]:
        """Flux in the region for a summed norm of 1, (n_template,), photons / cm² / s."""
        return np.sum(self.spectrum * self.fit.flux_per_norm, axis=1)

    @cached_property
    def _exposure(self) -> NDArray[np.float64]:
        """Exposure of every pixel to the photons of each point-source template, (n_ps, n_pix), cm² s."""
        rows = self.rows(self.point_sources)
        weights = self.spectrum[rows] * self.fit.flux_per_norm[rows]
        return weights / weights.sum(axis=1, keepdims=True) @ self.model.exposure

    @cached_property
    def mean_exposure(self) -> NDArray[np.float64]:
        """Mean exposure of the region to each point-source template, (n_ps,), cm² s: S counts are F = S / exposure."""
        return self._exposure.mean(axis=1)

    @cached_property
    def exposure_ratio(self) -> NDArray[np.float64]:
        """Exposure of every pixel over its mean, (n_ps, n_pix)."""
        return self._exposure / self.mean_exposure[:, None]

    def _count_shares(self, row: int) -> NDArray[np.float64]:
        """Share of a template's expected counts in each energy bin, (n_energy,)."""
        counts = self.spectrum[row] * self.fit.templates[row].sum(axis=1)
        return np.asarray(counts / counts.sum())

    @cached_property
    def _per_source(self) -> FloatArray:
        """Counts that a source of S = 1 gives in every cell, spread over pixels as its light is, (n_ps, n_cell)."""
        if not self.bands:
            return self.exposure_ratio
        exposure = self.model.exposure
        ratio = (exposure / exposure.mean(axis=1, keepdims=True)).ravel()
        shares = np.array([self._count_shares(row) for row in self.rows(self.point_sources)])
        return np.maximum(np.repeat(shares, exposure.shape[1], axis=1), np.finfo(float).tiny) * ratio

    @cached_property
    def likelihood(self) -> NptfLikelihood:
        """Likelihood of all cells."""
        return self._banded() if self.bands else self._summed()

    def _summed(self) -> NptfLikelihood:
        rows = self.rows(self.point_sources)
        ratio = self._per_source
        group, means = exposure_groups(ratio.mean(axis=0), self.n_exposure, ratio.shape[1])
        views = []
        for j, row in enumerate(rows):
            table = self.psf or psf_correction(self.model.psf, self.model.region, self._count_shares(row))
            f, rho = (np.tile(values, (len(means), 1)) for values in (table.f, table.df_rho))
            views.append(SourceView(f, rho, means, float(self.mean_exposure[j]), int(self.counts.max()) + 1))
        return NptfLikelihood.of_groups(self.counts, self.maps[rows] / ratio, group, views)

    def _banded(self) -> NptfLikelihood:
        """Groups are exposure groups of the first energy bin, of the second, and so on."""
        model = self.model
        n_pix = model.exposure.shape[1]
        ratio = model.exposure / model.exposure.mean(axis=1, keepdims=True)
        split = [exposure_groups(values, self.n_exposure, n_pix) for values in ratio]
        n_group = len(split[0][1])
        group = np.concatenate([cells + e * n_group for e, (cells, _) in enumerate(split)])
        means = np.concatenate([means for _, means in split])
        psf = [self.psf or psf_correction(one, model.region) for one in model.psf]
        f, rho = (np.repeat([getattr(t, key) for t in psf], n_group, axis=0) for key in ("f", "df_rho"))
        rows, views = self.rows(self.point_sources), []
        for j, row in enumerate(rows):
            seen = np.repeat(self._count_shares(row), n_group) * means
            views.append(SourceView(f, rho, seen, float(self.mean_exposure[j]), int(self.counts.max()) + 1))
        return NptfLikelihood.of_groups(self.counts, self.maps[rows] / self._per_source, group, views)
