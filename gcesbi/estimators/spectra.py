"""Gaussian estimator of spectra: the flux fraction of every template in every energy bin, with its error.

Means are a softmax over templates in each bin, and the loss is the Gaussian negative log-likelihood (List et al. 2025,
arXiv:2507.17804), with one of three covariances (:mod:`gcesbi.networks.gaussian`):

- ``"diagonal"``: every entry by itself. How the errors of a map go together is measured afterwards, on maps of known
  truth, and stored with the weights (:mod:`gcesbi.estimators.simplex`). Where there are several energy bins, one more
  column answers for all energies together: its mean and error are learnt, not propagated, and are the better for it.
  True errors have longer tails than a Gaussian. The likelihood takes their root mean square for its deviation, which
  a few large ones decide, and 68 % intervals come out too wide (coverage 0.71 to 0.74). Where the head is trained alone
  at the end (``TrainingSettings.head_maps``), it is by the continuous ranked probability score, proper too, and
  moved less by a few.
- ``"full"``: over templates and bins, through a Cholesky factor.
- ``"low_rank"``: low rank + diagonal.

The last two are scored twice: by the joint likelihood of all entries of a map, and by the likelihood of every entry by
itself. Both scores are proper, that is least at the true Gaussian; the second makes means learn that the first, through
wide common errors, would forgive for long. (Ten bins at nside 16, 120,000 maps presented: root mean square error of π⁰
0.18 with the first alone, 0.09 with both, 0.07 with a diagonal covariance; joint likelihood per contrast −2.46, −2.50,
−1.77.)

With the last two the fractions of all energies together are not learnt but follow: y_t = Σ_e w_e y_te, with w_e the
share of bin e in the map's flux, which the counts tell to a fraction of a per cent.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.estimators.base import Estimator
from gcesbi.estimators.losses import cholesky_nll, gaussian_crps, gaussian_nll, low_rank_nll
from gcesbi.estimators.map_flux import flux_error, flux_shares, total_flux
from gcesbi.estimators.simplex import error_correlation, simplex_scale
from gcesbi.networks import (
    CholeskyGaussianHead,
    CholeskyOutput,
    GaussianHead,
    GaussianOutput,
    LowRankGaussianHead,
    LowRankOutput,
)
from gcesbi.networks.gaussian import ContrastHead
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky import Grid
from gcesbi.validation import ScoreMap
from gcesbi.validation.recalibration import KNOTS

__all__ = ["COVARIANCES", "SpectralEstimator", "SpectralPrediction", "all_energies"]

COVARIANCES = ("diagonal", "full", "low_rank")


class SpectralPrediction(NamedTuple):
    """Mean and standard deviation of flux fractions, (n, n_template, n_energy) or (n, n_template)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


class SpectralEstimator(Estimator):
    """Flux fractions of all templates.

    Parameters
    ----------
    region, exposure, names, network, fingerprint, seed
        See :class:`gcesbi.estimators.base.Estimator`.
    covariance : {"diagonal", "full", "low_rank"}
        Of the errors of a map's fractions; see the module's docstring.
    rank : int
        Of the low-rank part of ``"low_rank"``.
    """

    kind = "spectra"
    head: GaussianHead | ContrastHead
    error_correlation: Tensor
    sample_covariance: Tensor
    recalibration: Tensor
    tails: Tensor

    def __init__(
        self,
        region: Grid,
        exposure: ArrayLike,
        names: Sequence[str],
        *,
        covariance: str = "diagonal",
        rank: int = 8,
        **common: Any,
    ) -> None:
        if covariance not in COVARIANCES:
            raise InputError(f"covariance: must be one of {', '.join(COVARIANCES)}, got {covariance!r}")
        self.covariance, self.rank = covariance, rank
        super().__init__(region, exposure, names, **common)
        if covariance == "diagonal":
            size = len(self.names) * self.n_column
            self.register_buffer("error_correlation", torch.eye(size))
            self.register_buffer("sample_covariance", torch.zeros(size, size))
        self.register_buffer("tails", torch.zeros(self.n_column))
        self.register_buffer("recalibration", torch.from_numpy(np.tile(KNOTS, (2, len(self.names), 1))))

    @property
    def n_column(self) -> int:
        """Energy bins, and with a diagonal covariance, where there are several, one column for all of them together."""
        return self.n_energy + (self.covariance == "diagonal" and self.n_energy > 1)

    def _head(self) -> GaussianHead | ContrastHead:
        size = (self.network.n_features, len(self.names), self.n_column)
        if self.covariance == "full":
            return CholeskyGaussianHead(*size)
        return GaussianHead(*size) if self.covariance == "diagonal" else LowRankGaussianHead(*size, self.rank)

    @property
    def _contrasts(self) -> ContrastHead:
        """The head of a correlated covariance."""
        if not isinstance(self.head, ContrastHead):
            raise InputError(f"covariance: must be full or low_rank for a joint likelihood, got {self.covariance!r}")
        return self.head

    def _more_identity(self) -> dict[str, Any]:
        if self.covariance == "diagonal":
            return {}
        return {"covariance": self.covariance} | ({"rank": self.rank} if self.covariance == "low_rank" else {})

    def targets(self, simulations: Simulations) -> Tensor:
        """Flux fractions (n, n_template, n_column); all energies together last, if they are a column."""
        flux = simulations.flux
        if self.n_column > self.n_energy:
            flux = np.concatenate([flux, flux.sum(axis=2, keepdims=True)], axis=2)
        total = flux.sum(axis=1, keepdims=True)
        return torch.from_numpy(np.divide(flux, total, out=np.zeros_like(flux), where=total > 0)).float()

    def loss(self, output: GaussianOutput | CholeskyOutput | LowRankOutput, targets: Tensor) -> Tensor:
        """Gaussian negative log-likelihood, mean over maps, templates and columns; see the module's docstring."""
        if isinstance(output, GaussianOutput):
            return gaussian_nll(targets, output.mean, output.log_std).mean()
        log_std = self._contrasts.scale(output).square().sum(dim=-1).log().float() / 2
        alone = gaussian_nll(targets, output.mean, log_std).mean()
        return self.joint_nll(output, targets).mean() / self._contrasts.n_contrast + alone

    def head_loss(self, output: GaussianOutput | CholeskyOutput | LowRankOutput, targets: Tensor) -> Tensor:
        """With a diagonal covariance the mean CRPS, else :meth:`loss`; see the module's docstring."""
        if isinstance(output, GaussianOutput):
            return gaussian_crps(targets, output.mean, output.log_std).mean()
        return self.loss(output, targets)

    def joint_nll(self, output: CholeskyOutput | LowRankOutput, targets: Tensor) -> Tensor:
        """Joint negative log-likelihood of all contrasts of each map, (n,)."""
        head = self._contrasts
        deviation = head.whitened(targets - output.mean)
        if isinstance(output, CholeskyOutput):
            return cholesky_nll(deviation, output.factor) + head.log_det()
        return low_rank_nll(deviation, output.log_std, output.loadings) + head.log_det()

    def predict(self, counts: ArrayLike) -> SpectralPrediction:
        """Mean and standard deviation (n, n_template, n_energy) of the flux fractions in every energy bin.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        """
        if self.covariance == "diagonal":
            mean, std = self._columns(counts)
            return SpectralPrediction(mean[..., : self.n_energy], std[..., : self.n_energy])
        return SpectralPrediction(*self.joint(counts)[:2])

    def predict_total(self, counts: ArrayLike, exposure: ArrayLike | None = None) -> SpectralPrediction:
        """Mean and standard deviation (n, n_template) of the flux fractions of all energies together.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        exposure : array (n_energy, n_pix), optional, cm² s
            Of the maps, if not the estimator's own; it weighs the bins where fractions are propagated.
        """
        if self.covariance == "diagonal":
            mean, std = self._columns(counts)
            return SpectralPrediction(mean[..., -1], std[..., -1])
        exposure = self.exposure if exposure is None else exposure
        mean, _, scale = self.joint(counts)
        return all_energies(mean, scale, total_flux(counts, exposure), flux_error(counts, exposure))

    def fit_errors(self, maps: Simulations) -> None:
        """Measure, on maps of known truth, how the errors of a diagonal covariance go together.

        Parameters
        ----------
        maps : Simulations
            That the network was not trained on; thousands, since correlations are known to 1/√n.

        Raises
        ------
        InputError
            If the covariance is not diagonal: the network then knows it for every map by itself.
        """
        if self.covariance != "diagonal":
            raise InputError(f"covariance: must be diagonal for a correlation to be fitted, got {self.covariance!r}")
        mean, std = self._columns(maps.counts)
        errors = (self.targets(maps).double().numpy() - mean) / std
        self.error_correlation.copy_(torch.from_numpy(error_correlation(errors.reshape(len(errors), -1))))
        self.sample_covariance.zero_()

    def recalibrate(self, maps: Simulations) -> None:
        """Let quantiles hold what they claim on maps of known truth: pooled over energy bins, and for all together.

        Parameters
        ----------
        maps : Simulations
            That the network was neither trained on nor is to be judged by.
        """
        share = flux_shares(maps.flux.sum(axis=2))
        errors = (maps.flux_fractions, self.predict(maps.counts)), (share, self.predict_total(maps.counts))
        found = [
            [ScoreMap.fit(((truth - told.mean) / told.std)[:, t]).values for t in range(len(self.names))]
            for truth, told in errors
        ]
        self.recalibration.copy_(torch.from_numpy(np.array(found)))

    @property
    def score_maps(self) -> tuple[tuple[ScoreMap, ...], tuple[ScoreMap, ...]]:
        """At which scores the Gaussians are asked, by template: in energy bins, and of all together."""
        in_bins, together = (tuple(map(ScoreMap, each)) for each in self.recalibration.double().numpy())
        return in_bins, together

    @torch.no_grad()
    def joint(self, counts: ArrayLike, exposure: ArrayLike | None = None) -> tuple[NDArray[np.float64], ...]:
        """Every fraction of a map by itself, ȳ ± σ, and all together: y = ȳ + A ε with ε ~ N(0, 1) of m components.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        exposure : array (n_energy, n_pix), optional, cm² s
            Of the maps, if not the estimator's own; it weighs the bins.

        Returns
        -------
        mean, std : array (n, n_template, n_column)
        scale : array (n, n_template, n_column, m)
            A; its covariances are A Aᵀ, and its errors sum to zero over templates. With a diagonal covariance they are,
            in units of σ, those of :func:`gcesbi.estimators.sample_errors.fit_samples`, before it the correlations of
            :meth:`fit_errors`; or the nearest that sum to zero.
        """
        if self.covariance == "diagonal":
            mean, std = self._columns(counts)
            known = self.sample_covariance if self.sample_covariance.any() else self.error_correlation
            covariance = known.double().numpy()
            shares = flux_shares(total_flux(counts, self.exposure if exposure is None else exposure))
            return mean, std, simplex_scale(std, covariance, shares)
        parts = [(output.mean.double(), self._contrasts.scale(output)) for output in self.outputs(counts)]
        means, scales = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
        return means, np.linalg.norm(scales, axis=-1), scales

    def _columns(self, counts: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        outputs = list(self.outputs(counts))
        mean = torch.cat([output.mean for output in outputs]).double()
        return mean.numpy(), torch.cat([output.log_std for output in outputs]).double().exp().numpy()


def all_energies(
    mean: NDArray[np.float64], scale: NDArray[np.float64], flux: NDArray[np.float64], error: NDArray[np.float64]
) -> SpectralPrediction:
    """Fractions of all energies together, Σ_e w_e y_te with w_e = F_e / Σ F, of maps with fluxes F_e ± error.

    Parameters
    ----------
    mean, scale : array (n, n_template, n_energy), (n, n_template, n_energy, m)
        Joint Gaussian of the fractions in every bin.
    flux, error : array (n, n_energy)
        Errors of the fluxes count to first order: Σ_e (y_te − y_t)² error_e² / (Σ F)².
    """
    total, share = flux.sum(axis=1)[:, None], flux_shares(flux)
    together = np.einsum("nte,ne->nt", mean, share)
    variance = np.square(np.einsum("ntem,ne->ntm", scale, share)).sum(axis=-1)
    relative = np.divide(error, total, out=np.zeros_like(error), where=total > 0)
    weighing = np.einsum("nte,ne->nt", np.square(mean - together[..., None]), np.square(relative))
    return SpectralPrediction(together, np.sqrt(variance + weighing))
