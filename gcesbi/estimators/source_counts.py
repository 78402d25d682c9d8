"""Quantile estimator of source-count distributions: the CDF of an SCD histogram at any quantile level τ.

Trained with the Earth mover's pinball loss (List et al. 2021, arXiv:2107.09070; 2025, arXiv:2507.17804), with many
levels per map and step, stratified in (0, 1). To it is added, with a small weight, the pinball loss of the log odds of
the CDF: it has the same minimum, as quantiles are equivariant under increasing maps, and it teaches the outer quantiles
and the tails of the CDF, which the plain loss hardly feels. Quantiles do not cross:
see :mod:`gcesbi.networks.quantile`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.estimators.base import Estimator
from gcesbi.estimators.losses import check_quantile_loss, levels_of_loss, quantile_loss
from gcesbi.networks import QuantileHead, QuantileOutput
from gcesbi.physics.scd import true_cdf
from gcesbi.posterior import asked, check_levels
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky import Grid
from gcesbi.validation import ScoreMap, atom_bounds, undecided
from gcesbi.validation.recalibration import KNOTS

__all__ = ["SourceCountEstimator", "network_digest"]


class SourceCountEstimator(Estimator):
    """Quantiles of the SCD of every point-source template.

    Parameters
    ----------
    region, exposure, network, fingerprint, seed
        See :class:`gcesbi.estimators.base.Estimator`.
    names : sequence of str
        Point-source templates, in the order of the simulations' SCDs.
    n_bin : int
        Bins of an SCD histogram.
    n_level : int
        Quantile levels per map and training step.
    tail_weight : float
        Weight of the pinball loss of log odds beside the Earth mover's pinball loss.
    """

    kind = "source_counts"
    dropout = 0.1  # without it the bands come out too narrow when maps are seen several times
    head: QuantileHead
    recalibration: Tensor

    def __init__(
        self,
        region: Grid,
        exposure: ArrayLike,
        names: Sequence[str],
        *,
        n_bin: int = 26,
        n_level: int = 16,
        tail_weight: float = 0.05,
        **common: Any,
    ) -> None:
        check_quantile_loss(n_level, tail_weight)
        self.n_bin, self.n_level, self.tail_weight = n_bin, n_level, tail_weight
        super().__init__(region, exposure, names, **common)
        self.register_buffer("recalibration", torch.from_numpy(np.tile(KNOTS, (len(self.names), 1))))

    @classmethod
    def _labels(cls, model: SkyModel) -> dict[str, Any]:
        return {"names": model.point_sources, "n_bin": len(model.bins)}

    def _head(self) -> QuantileHead:
        return QuantileHead(self.network.n_features, len(self.names), self.n_bin)

    def _more_identity(self) -> dict[str, Any]:
        return {"n_bin": self.n_bin, "n_level": self.n_level, "tail_weight": self.tail_weight}

    def targets(self, simulations: Simulations) -> Tensor:
        """CDFs (n, n_ps, n_bin) of the SCD histograms."""
        if simulations.scd.shape[1:] != (len(self.names), self.n_bin):
            raise InputError(f"scd: must have shape (n, {len(self.names)}, {self.n_bin}), got {simulations.scd.shape}")
        return torch.from_numpy(np.cumsum(simulations.scd, axis=2)).clamp(0, 1)

    def loss(self, output: QuantileOutput, targets: Tensor) -> Tensor:
        """Mean over maps, templates and levels; levels are drawn afresh in training, and fixed in evaluation."""
        level = levels_of_loss(len(targets), self.n_level, self.training, targets.device)
        logit = self.head.logits(output, level)
        return quantile_loss(targets[:, None, :, :-1], logit, level[..., None], self.tail_weight)

    @torch.no_grad()
    def quantiles(self, counts: ArrayLike, taus: ArrayLike) -> NDArray[np.float64]:
        """CDFs (n_tau, n, n_ps, n_bin) at quantile levels τ: a low τ is a dimmer population, whose CDF rises early.

        Pointwise in flux bins: a band between two τ holds each bin's value with the stated probability, not the curve.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        taus : array (n_tau,)
            In (0, 1).
        """
        wanted, maps = check_levels(taus), self.score_maps
        if all(each.trivial for each in maps):
            return self.stated(counts, wanted)
        return np.stack([self.stated(counts, each.levels(wanted))[:, :, j] for j, each in enumerate(maps)], axis=2)

    def stated(self, counts: ArrayLike, taus: ArrayLike) -> NDArray[np.float64]:
        """As :meth:`quantiles`, without recalibration."""
        level = torch.from_numpy(1 - check_levels(taus)).float().clamp(1e-6, 1 - 1e-6)
        parts = [self.head.cdf(output, level).movedim(1, 0) for output in self.outputs(counts)]
        return torch.cat(parts, dim=1).double().numpy()

    @property
    def score_maps(self) -> tuple[ScoreMap, ...]:
        """At which levels the network is asked, by template; see :meth:`recalibrate`."""
        return tuple(ScoreMap(values) for values in self.recalibration.double().numpy())

    def recalibrate(self, maps: Simulations, seed: int = 0) -> None:
        """Let quantiles hold what they claim on maps of known truth; pooled over the bins of a template.

        Parameters
        ----------
        maps : Simulations
            That the network was neither trained on nor is to be judged by.
        seed : int
            Of the level of a truth that lies on an atom of its prediction, at 0 or 1.
        """
        levels, rng = np.arange(1, 80) / 80, np.random.default_rng(seed)
        curves, truth = self.stated(maps.counts, levels), true_cdf(maps.scd)
        found = []
        for j in range(len(self.names)):
            low, high = atom_bounds(truth[:, j], curves[:, :, j], levels)
            drawn = rng.uniform(low, high)[undecided(curves[:, :, j])]
            found.append(ScoreMap.fit(ndtri(np.clip(drawn, 1e-9, 1 - 1e-9))).values)
        self.recalibration.copy_(torch.from_numpy(np.stack(found)))

    def sample(self, counts: ArrayLike, n: int, seed: int = 0) -> NDArray[np.float64]:
        """Whole CDFs (n, n_map, n_ps, n_bin), each template's of one level τ ~ U(0, 1) of its own.

        Curves rise, and every bin's values are distributed as its own posterior. The bins of a template are perfectly
        ordered with each other, which those of true posterior samples are not: no correlation may be read from these
        curves. A Gaussian copula over bins, fitted to simulated maps, was tried in their place (10 bins, nside 16, 300
        maps): no better in the energy score over both templates (0.98, as here; one τ for both: 1.05), and worse in the
        coverage of the number of sources at 0.95 (0.89 and 0.86; here 0.95 and 0.93), as correlations differ from map
        to map and curves must be made to rise.
        """
        taus = self.draw_levels(n, seed)
        return np.stack([self.quantiles(counts, each)[:, :, j] for j, each in enumerate(taus)], axis=2)

    def draw_levels(self, n: int, seed: int = 0) -> NDArray[np.float64]:
        """Levels τ (n_ps, n) of the curves of :meth:`sample`."""
        n, seed = asked(n, seed)
        return np.random.default_rng(seed).uniform(size=(len(self.names), n)).clip(1e-6, 1 - 1e-6)

    def true_levels(self, maps: Simulations) -> NDArray[np.float64]:
        """Levels τ (n, n_ps) of the curves whose mean log₁₀ F is that of the true SCDs of maps; in steps of 1/64."""
        curves = self.quantiles(maps.counts, (np.arange(64) + 0.5) / 64)
        return np.mean(curves.sum(axis=-1) > self.targets(maps).double().numpy().sum(axis=-1), axis=0)


def network_digest(estimator: Estimator) -> str:
    """Hash of a network's weights at 16 bits, so that storing them at 16 bits does not change it.

    How its answers are recalibrated afterwards, and how its samples scatter, is left out.
    """
    found = hashlib.sha256()
    for name, value in sorted(estimator.state_dict().items()):
        if name in ("recalibration", "tails", "sample_covariance"):
            continue
        found.update(name.encode())
        found.update((value.half() if value.is_floating_point() else value).cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
