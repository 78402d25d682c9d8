"""Shared by the tests of the measures: exact posteriors, in closed form, and the same stretched by a factor."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.stats import norm


@dataclass(frozen=True)
class Predictions:
    """Truth and Gaussian predictions (n_map, d); samples and features to go with them."""

    truth: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    features: np.ndarray
    seed: int = 0
    taus: np.ndarray = field(default_factory=lambda: np.arange(1, 100) / 100)

    @property
    def quantiles(self):
        return self.mean + self.std * norm.ppf(self.taus)[:, None, None]

    def samples(self, n=199):
        rng = np.random.default_rng(self.seed + 1)
        return self.mean + self.std * rng.normal(size=(n, *self.mean.shape))


def _linear_gaussian(factor=1.0, n_map=500, d=12, seed=1):
    """Parameters θ ~ N(0, 1), data θ + noise of another size for each: the posterior is Gaussian and independent.

    `factor` stretches the claimed standard deviations.
    """
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.3, 1.5, size=d)
    theta = rng.normal(size=(n_map, d))
    data = theta + noise * rng.normal(size=theta.shape)
    mean = data / (1 + noise**2)
    std = np.broadcast_to(np.sqrt(noise**2 / (1 + noise**2)), mean.shape)
    return Predictions(theta, mean, factor * std, data, seed)


@pytest.fixture(scope="session")
def linear_gaussian():
    """The function that makes predictions of the conjugate linear-Gaussian model."""
    return _linear_gaussian
