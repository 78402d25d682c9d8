"""Gaussian estimator of spectra: the flux fraction of every template in every energy bin, with its error.

Means are a softmax over templates in each bin; the covariance is diagonal, and the loss the Gaussian negative
log-likelihood (List et al. 2025, arXiv:2507.17804). Where there are several energy bins, one more column answers for
all energies together: its error is learnt, not propagated, since errors of neighbouring bins go together and a diagonal
covariance does not know it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gcesbi.estimators.base import Estimator
from gcesbi.estimators.losses import gaussian_nll
from gcesbi.networks import GaussianHead, GaussianOutput
from gcesbi.simulation.simulations import Simulations

__all__ = ["SpectralEstimator", "SpectralPrediction"]


class SpectralPrediction(NamedTuple):
    """Mean and standard deviation of flux fractions, (n, n_template, n_energy) or (n, n_template)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


class SpectralEstimator(Estimator):
    """Flux fractions of all templates: see :class:`gcesbi.estimators.base.Estimator` for the arguments."""

    kind = "spectra"
    head: GaussianHead

    @property
    def n_column(self) -> int:
        """Energy bins, and where there are several one column for all energies together."""
        return self.n_energy + (self.n_energy > 1)

    def _head(self) -> GaussianHead:
        return GaussianHead(self.network.n_features, len(self.names), self.n_column)

    def targets(self, simulations: Simulations) -> Tensor:
        """Flux fractions (n, n_template, n_column); all energies together last, where there are several bins."""
        flux = simulations.flux
        if self.n_energy > 1:
            flux = np.concatenate([flux, flux.sum(axis=2, keepdims=True)], axis=2)
        total = flux.sum(axis=1, keepdims=True)
        return torch.from_numpy(np.divide(flux, total, out=np.zeros_like(flux), where=total > 0)).float()

    def loss(self, output: GaussianOutput, targets: Tensor) -> Tensor:
        """Gaussian negative log-likelihood, mean over maps, templates and columns."""
        return gaussian_nll(targets, output.mean, output.log_std).mean()

    def predict(self, counts: ArrayLike) -> SpectralPrediction:
        """Mean and standard deviation (n, n_template, n_energy) of the flux fractions in every energy bin.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        """
        mean, std = self._columns(counts)
        return SpectralPrediction(mean[..., : self.n_energy], std[..., : self.n_energy])

    def predict_total(self, counts: ArrayLike) -> SpectralPrediction:
        """Mean and standard deviation (n, n_template) of the flux fractions of all energies together."""
        mean, std = self._columns(counts)
        return SpectralPrediction(mean[..., -1], std[..., -1])

    def _columns(self, counts: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        outputs = list(self.outputs(counts))
        mean = torch.cat([output.mean for output in outputs]).double()
        return mean.numpy(), torch.cat([output.log_std for output in outputs]).double().exp().numpy()
