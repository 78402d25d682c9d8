"""What a model says of the named quantities before any map is seen: with it, tables tell a posterior from its prior."""

from functools import lru_cache

import numpy as np

from gcesbi.estimators.neural_posterior_quantities import scd_moments
from gcesbi.physics.scd import cdf_to_pdf
from gcesbi.posterior import SamplePosterior
from gcesbi.simulation import SkyModel
from gcesbi.simulation.expected import expected_quantities

__all__ = ["prior_quantities"]

N_DRAW = 1024


@lru_cache(maxsize=2)
def prior_quantities(model: SkyModel, n: int = N_DRAW, seed: int = 0) -> SamplePosterior:
    """Samples of the prior of all quantities that a model expects, and of its shape parameters by their names."""
    prior = model.prior()
    theta = prior.draw(n, np.random.default_rng(seed))
    found = expected_quantities(model, theta)
    mean, width = scd_moments(cdf_to_pdf(found["scd_cdf"]), model.bins.centres)
    shapes = {name: theta[:, prior.names.index(name)] for name in model.coordinates.shape}
    return SamplePosterior("prior", model.coordinates, {**found, "scd_mean": mean, "scd_width": width, **shapes})
