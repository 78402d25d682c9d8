"""Shapes of floating templates by the Poisson fit: the profile likelihood of each times its prior, on a grid.

All else stands at its best value for each value of the shape, where a posterior would average over it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines import PoissonFitResult
from gcesbi.estimators.shapes import independent_draws
from gcesbi.posterior import Coordinates, JointPosterior, Posterior, check_levels
from gcesbi.simulation import SkyModel
from gcesbi.simulation.marginals import Marginal

__all__ = ["ProfiledShapes", "poisson_posterior"]

Array = NDArray[np.float64]
_N_VALUE = 33


def poisson_posterior(result: PoissonFitResult, model: SkyModel) -> Posterior:
    """Posterior of a fit, with the shapes of the model's templates by name, where any were fitted."""
    posterior = result.posterior()
    fitted = [name for name in model.shapes if name in result.shapes]
    if not fitted:
        return posterior
    return JointPosterior(
        posterior.method, [posterior, ProfiledShapes(result, model, fitted, posterior.coordinates, posterior.method)]
    )


class ProfiledShapes(Posterior):
    """Posterior of shape parameters, each under its own name, a number.

    Parameters
    ----------
    result : PoissonFitResult
    model : SkyModel
        Whose prior it is.
    shapes : sequence of str
    coordinates : Coordinates
    method : str
    """

    def __init__(
        self, result: PoissonFitResult, model: SkyModel, shapes: Sequence[str], coordinates: Coordinates, method: str
    ) -> None:
        self.method, self.coordinates = method, coordinates
        marginals = dict(zip(model.prior().names, model.prior().marginals, strict=True))
        self._known = {name: _cumulative(result, name, marginals[name]) for name in shapes}

    @property
    def names(self) -> tuple[str, ...]:
        """The shape parameters."""
        return tuple(self._known)

    def sample(self, n: int, seed: int = 0) -> dict[str, Array]:
        """Draw `n` values (n,) of each; no correlation may be read from them."""
        return independent_draws(self, n, seed)

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> Array:
        """Quantiles (n_level,)."""
        self._check(name)
        values, cumulative = self._known[name]
        return np.interp(check_levels(levels), cumulative, values)


def _cumulative(result: PoissonFitResult, name: str, marginal: Marginal) -> tuple[Array, Array]:
    """Values (n,), equally spaced in the prior's probability, and the posterior's probability below each."""
    level = (np.arange(_N_VALUE) + 0.5) / _N_VALUE
    values = marginal.from_uniform(level)
    weight = result.shape_profile(name, values)
    weight = np.exp(weight - weight.max())
    ends = marginal.from_uniform(np.arange(_N_VALUE + 1) / _N_VALUE)
    return ends, np.concatenate([[0.0], np.cumsum(weight)]) / weight.sum()
