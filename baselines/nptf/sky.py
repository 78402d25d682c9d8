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

from gcesbi.baselines.nptf.likelihood import NptfLikelihood, exposure_groups
from gcesbi.baselines.nptf.psf_correction import PsfCorrection, psf_correction
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.baselines.poisson.fit import PoissonFit, PoissonFitResult
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["NptfSky"]


@dataclass(frozen=True, eq=False)
class NptfSky:
    """Maps of one model and observation, as the NPTF sees them.

    Parameters
    ----------
    model : SkyModel
        Of the observation's region and energies.
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
        binned = self.spectrum[:, :, None] * self.model.templates
        return binned.reshape(len(binned), -1) if self.bands else binned.sum(axis=1)

    @cached_property
    def flux_per_norm(self) -> NDArray[np.float64]:
        """Flux in the region for a summed norm of 1, (n_template,), photons / cm² / s."""
        return np.sum(self.spectrum * self.model.flux_per_norm, axis=1)

    @cached_property
    def _exposure(self) -> NDArray[np.float64]:
        """Exposure of every pixel to the photons of each point-source template, (n_ps, n_pix), cm² s."""
        rows = self.rows(self.point_sources)
        weights = self.spectrum[rows] * self.model.flux_per_norm[rows]
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
        counts = self.spectrum[row] * self.model.templates[row].sum(axis=1)
        return np.asarray(counts / counts.sum())

    @cached_property
    def likelihood(self) -> NptfLikelihood:
        """Likelihood of all cells."""
        return self._banded() if self.bands else self._summed()

    def _summed(self) -> NptfLikelihood:
        rows = self.rows(self.point_sources)
        ratio = self.exposure_ratio
        group, means = exposure_groups(ratio.mean(axis=0), self.n_exposure, ratio.shape[1])
        views = []
        for j, row in enumerate(rows):
            table = self.psf or psf_correction(self.model.psf, self.model.region, self._count_shares(row))
            f, rho = (np.tile(values, (len(means), 1)) for values in (table.f, table.df_rho))
            views.append(SourceView(f, rho, means, float(self.mean_exposure[j]), int(self.counts.max()) + 1))
        return NptfLikelihood.of_groups(self.counts, self.maps[rows] / ratio, group, views)

    def _banded(self) -> NptfLikelihood:
        """Groups are exposure groups of the first energy bin, of the second, and so on."""
        rows, model = self.rows(self.point_sources), self.model
        n_pix = model.exposure.shape[1]
        ratio = model.exposure / model.exposure.mean(axis=1, keepdims=True)
        split = [exposure_groups(values, self.n_exposure, n_pix) for values in ratio]
        n_group = len(split[0][1])
        group = np.concatenate([cells + e * n_group for e, (cells, _) in enumerate(split)])
        means = np.concatenate([means for _, means in split])
        psf = [self.psf or psf_correction(one, model.region) for one in model.psf]
        f, rho = (np.repeat([getattr(t, key) for t in psf], n_group, axis=0) for key in ("f", "df_rho"))
        views, templates = [], []
        for j, row in enumerate(rows):
            shares = self._count_shares(row)
            seen = np.repeat(shares, n_group) * means
            views.append(SourceView(f, rho, seen, float(self.mean_exposure[j]), int(self.counts.max()) + 1))
            per_source = np.maximum(np.repeat(shares, n_pix), np.finfo(float).tiny) * ratio.ravel()
            templates.append(self.maps[row] / per_source)
        return NptfLikelihood.of_groups(self.counts, np.array(templates), group, views)
