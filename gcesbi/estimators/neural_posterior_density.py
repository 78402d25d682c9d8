"""sbi's density estimators as heads of this library's networks, and the way back into sbi's own posteriors.

Neural posterior estimation (NPE: Papamakarios & Murray 2016, arXiv:1605.06376; Greenberg, Nonnenmacher & Macke 2019,
arXiv:1905.07488) fits a normalizing flow q(y | features) by maximum likelihood, here a neural spline flow (Durkan et
al. 2019, arXiv:1906.04032). Flow matching posterior estimation (FMPE: Wildberger et al. 2023, arXiv:2305.17161) fits
the velocity of a continuous flow by least squares and samples by integrating it. Both are built by sbi
(Boelts et al. 2024, arXiv:2411.17337), which provides for training in a loop of one's own: its estimators state the
loss, and whoever likes may minimise it.

This module imports sbi, which takes two seconds; nothing imports it before a neural posterior is made.
"""

from abc import abstractmethod
from typing import Any

import torch
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from sbi.neural_nets.factory import posterior_flow_nn, posterior_nn
from sbi.samplers.ode_solvers import build_neural_ode
from torch import Tensor, nn

from gcesbi.estimators.base import Estimator
from gcesbi.estimators.neural_posterior_quantities import NamedQuantities

__all__ = ["DensityHead", "DensityOfMaps", "FlowMatchingHead", "SplineFlowHead"]


class DensityHead(nn.Module):
    """Density of real numbers y (n, n_real) given features (n, n_features): sbi's estimator of standardised y.

    Parameters
    ----------
    density : module
        sbi's conditional estimator.
    n_real : int
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, density: nn.Module, n_real: int) -> None:
        super().__init__()
        self.density: Any = density
        self.register_buffer("shift", torch.zeros(n_real))
        self.register_buffer("scale", torch.ones(n_real))

    @torch.no_grad()
    def set_prior(self, targets: Tensor) -> None:
        """Standardise by the mean and spread of training labels (n, n_real)."""
        self.shift.copy_(targets.mean(dim=0))
        self.scale.copy_(targets.std(dim=0, correction=0).clamp_min(1e-3))

    def forward(self, features: Tensor) -> Tensor:
        """The features, in float32: what the density is conditioned on."""
        return features.float()

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Loss that sbi states, of labels (n, n_real), mean over maps."""
        with torch.autocast(features.device.type, enabled=False):
            return self.density.loss((targets - self.shift) / self.scale, features.float()).mean()

    def sample(self, features: Tensor, n: int) -> Tensor:
        """Draw y (n, n_map, n_real) for features (n_map, n_features), with torch's global generator."""
        return self._draw(features, n) * self.scale + self.shift

    def log_prob(self, real: Tensor, features: Tensor) -> Tensor:
        """Log densities (n, n_map) at y (n, n_map, n_real), for features (n_map, n_features)."""
        return self._log_density((real - self.shift) / self.scale, features) - self.scale.log().sum()

    @abstractmethod
    def _draw(self, features: Tensor, n: int) -> Tensor: ...

    @abstractmethod
    def _log_density(self, standard: Tensor, features: Tensor) -> Tensor: ...


class SplineFlowHead(DensityHead):
    """A neural spline flow of `n_layer` transforms; `hidden` is the width of the networks that give their knots."""

    def __init__(self, n_features: int, n_real: int, hidden: int, n_layer: int) -> None:
        build = posterior_nn(
            "zuko_nsf", z_score_theta="none", z_score_x="none", hidden_features=hidden, num_transforms=n_layer
        )
        super().__init__(build(torch.zeros(2, n_real), torch.zeros(2, n_features)), n_real)

    def _draw(self, features: Tensor, n: int) -> Tensor:
        return self.density.sample((n,), condition=features)

    def _log_density(self, standard: Tensor, features: Tensor) -> Tensor:
        return self.density.log_prob(standard, condition=features)


class FlowMatchingHead(DensityHead):
    """A velocity field, integrated from noise to the posterior: a network of `n_layer` layers of width `hidden`."""

    def __init__(self, n_features: int, n_real: int, hidden: int, n_layer: int) -> None:
        build = posterior_flow_nn(
            "mlp", z_score_theta="none", z_score_x="none", hidden_features=hidden, num_layers=n_layer
        )
        super().__init__(build(torch.zeros(2, n_real), torch.zeros(2, n_features)), n_real)

    def _flow(self, features: Tensor) -> Any:
        """Distribution of standardised y for features (n_map, n_features)."""
        density = self.density
        return build_neural_ode(
            density.ode_fn,
            density.net,
            density.mean_base,
            density.std_base,
            density.condition_shape,
            t_min=density.t_min,
            t_max=density.t_max,
        )(features)

    def _draw(self, features: Tensor, n: int) -> Tensor:
        return self._flow(features).sample((n,))

    def _log_density(self, standard: Tensor, features: Tensor) -> Tensor:
        return self._flow(features).log_prob(standard)


class DensityOfMaps(ConditionalDensityEstimator):
    """A trained neural posterior of θ as sbi's own kind of estimator: densities of θ given counts.

    ``sbi.inference.posteriors.DirectPosterior`` takes it, and with it all of sbi's diagnostics.

    Parameters
    ----------
    estimator : NeuralPosteriorEstimator
    quantities : NamedQuantities
        Its own: ``"theta"`` alone.
    """

    def __init__(self, estimator: Estimator, quantities: NamedQuantities) -> None:
        super().__init__(estimator, torch.Size(quantities.shapes["theta"]), torch.Size(estimator.exposure.shape))
        self.quantities = quantities

    @property
    def embedding_net(self) -> nn.Module:
        """Network that makes features of counts."""
        return self.net.embedding

    def log_prob(self, input: Tensor, condition: Tensor, **options: Any) -> Tensor:
        """Log density (n, n_map) of θ (n, n_map, n_parameter) given counts (n_map, n_energy, n_pix)."""
        theta, condition, n_map = self._broadcast_and_align(input, condition)
        features = self.net(condition[0])
        real = self.quantities.to_real({"theta": theta})
        density = self.net.head.log_prob(real.float(), features).reshape(len(theta), n_map)
        return density - self.quantities.log_jacobian(real).to(density)

    def loss(self, input: Tensor, condition: Tensor, **options: Any) -> Tensor:
        """Negative log density (n_map,) of θ (n_map, n_parameter)."""
        return -self.log_prob(input[None], condition)[0]

    def sample(self, sample_shape: torch.Size, condition: Tensor, **options: Any) -> Tensor:
        """Draw θ (*sample_shape, n_map, n_parameter) given counts (n_map, n_energy, n_pix)."""
        drawn = self.net.head.sample(self.net(condition), torch.Size(sample_shape).numel())
        theta = self.quantities.to_values(drawn)["theta"].float()
        return theta.reshape(*sample_shape, *theta.shape[1:])
