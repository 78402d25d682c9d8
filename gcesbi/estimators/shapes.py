"""Quantile estimator of shape parameters: those that change a template on the sky, as the slope of a halo.

A shape parameter θ has a prior with two ends. Its place between them, (θ − low) / (high − low), is a share, and the
network answers all its quantiles at once: see :class:`gcesbi.networks.quantile.SharesQuantileHead`. It is trained by
the pinball loss with many levels per map and step, as are source counts (:mod:`gcesbi.estimators.source_counts`).
Every parameter is answered by itself: no correlation may be read from samples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.estimators.base import Estimator
from gcesbi.estimators.losses import check_quantile_loss, levels_of_loss, quantile_loss
from gcesbi.networks.quantile import QuantileOutput, SharesQuantileHead
from gcesbi.posterior import Coordinates, Posterior, asked, check_levels
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.region import Region

__all__ = ["ShapeEstimator", "ShapePosterior", "independent_draws", "true_shapes"]

Array = NDArray[np.float64]


def independent_draws(posterior: Posterior, n: int, seed: int) -> dict[str, Array]:
    """Draw `n` values (n,) of each of a posterior's quantities, each by inverting its own quantile function."""
    n, seed = asked(n, seed)
    rng = np.random.default_rng(seed)
    levels = [rng.uniform(size=n).clip(1e-6, 1 - 1e-6) for _ in posterior.names]
    return {name: posterior.quantiles(name, each) for name, each in zip(posterior.names, levels, strict=True)}


def true_shapes(model: SkyModel, simulations: Simulations) -> Array:
    """Shape parameters (n, n_shape) of simulated maps of a model."""
    names = model.prior().names
    return simulations.theta[:, [names.index(name) for name in model.parameters.shapes]]


class ShapeEstimator(Estimator):
    """Quantiles of every shape parameter.

    Parameters
    ----------
    region, exposure, network, fingerprint, seed
        See :class:`gcesbi.estimators.base.Estimator`.
    names : sequence of str
        Shape parameters.
    ranges : mapping of str to (low, high)
        Ends of their priors.
    columns : sequence of int
        Their places among the parameters of simulations.
    n_level, tail_weight
        See :class:`gcesbi.estimators.SourceCountEstimator`.
    """

    kind = "shapes"
    dropout = 0.1
    head: SharesQuantileHead

    def __init__(
        self,
        region: Region,
        exposure: ArrayLike,
        names: Sequence[str],
        *,
        ranges: Mapping[str, Sequence[float]],
        columns: Sequence[int],
        n_level: int = 16,
        tail_weight: float = 0.05,
        **common: Any,
    ) -> None:
        check_quantile_loss(n_level, tail_weight)
        if set(ranges) != set(names) or len(columns) != len(names):
            raise InputError(f"ranges, columns: need one for each of {tuple(names)}, got {ranges} and {columns}")
        self.ranges = {name: (float(ranges[name][0]), float(ranges[name][1])) for name in names}
        self.columns = tuple(int(i) for i in columns)
        self.n_level, self.tail_weight = n_level, tail_weight
        super().__init__(region, exposure, names, **common)

    @classmethod
    def _labels(cls, model: SkyModel) -> dict[str, Any]:
        shapes, prior = model.parameters.shapes, model.prior()
        if not shapes:
            raise InputError("model: has no template that floats, there is no shape to learn")
        columns = [prior.names.index(name) for name in shapes]
        ranges = {name: prior.marginals[i].range for name, i in zip(shapes, columns, strict=True)}
        return {"names": shapes, "ranges": ranges, "columns": columns}

    def _head(self) -> SharesQuantileHead:
        return SharesQuantileHead(self.network.n_features, len(self.names))

    def _more_identity(self) -> dict[str, Any]:
        ranges = {name: list(ends) for name, ends in self.ranges.items()}
        return {
            "ranges": ranges,
            "columns": list(self.columns),
            "n_level": self.n_level,
            "tail_weight": self.tail_weight,
        }

    @property
    def _ends(self) -> tuple[Array, Array]:
        low, high = np.array(list(self.ranges.values())).T
        return low, high

    def targets(self, simulations: Simulations) -> Tensor:
        """Places (n, n_shape) of the parameters between the ends of their priors."""
        low, high = self._ends
        return torch.from_numpy((simulations.theta[:, list(self.columns)] - low) / (high - low)).clamp(0, 1)

    def loss(self, output: QuantileOutput, targets: Tensor) -> Tensor:
        """Mean over maps, parameters and levels; levels are drawn afresh in training, and fixed in evaluation."""
        level = levels_of_loss(len(targets), self.n_level, self.training, targets.device)
        logit = self.head.logits(output, level)[..., None]
        return quantile_loss(targets[:, None, :, None], logit, level[..., None], self.tail_weight)

    @torch.no_grad()
    def quantiles(self, counts: ArrayLike, levels: ArrayLike) -> Array:
        """Quantiles (n_level, n, n_shape) of the parameters, given counts (n, n_energy, n_pix)."""
        level = torch.from_numpy(check_levels(levels)).float().clamp(1e-6, 1 - 1e-6)
        parts = [self.head.share(output, level).movedim(1, 0) for output in self.outputs(counts)]
        low, high = self._ends
        return low + (high - low) * torch.cat(parts, dim=1).double().numpy()


class ShapePosterior(Posterior):
    """Posterior of the shape parameters on one observation, each under its own name, a number.

    Parameters
    ----------
    estimator : ShapeEstimator
    counts : array (n_energy, n_pix), photons
    coordinates : Coordinates
    method : str
    """

    def __init__(
        self, estimator: ShapeEstimator, counts: ArrayLike, coordinates: Coordinates, method: str = "neural shapes"
    ) -> None:
        self.method, self.coordinates, self.estimator = method, coordinates, estimator
        self.counts = np.asarray(counts)[None]
        estimator.check_counts(self.counts)

    @property
    def names(self) -> tuple[str, ...]:
        """The shape parameters."""
        return self.estimator.names

    def sample(self, n: int, seed: int = 0) -> dict[str, Array]:
        """Draw `n` values (n,) of each, by inverting its quantile function."""
        return independent_draws(self, n, seed)

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> Array:
        """Exact quantiles (n_level,)."""
        self._check(name)
        return self.estimator.quantiles(self.counts, levels)[:, 0, self.names.index(name)]
