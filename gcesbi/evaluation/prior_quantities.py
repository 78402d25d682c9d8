"""What a model says of the named quantities before any map is seen, and what is true of simulated maps.

With the former, tables tell a posterior from its prior; with the latter, whether it holds the truth.
"""

from functools import lru_cache

import numpy as np

from gcesbi.estimators import true_shapes
from gcesbi.estimators.neural_posterior_quantities import scd_moments
from gcesbi.physics.scd import cdf_to_pdf, n_sources
from gcesbi.physics.spectra import e2dnde
from gcesbi.posterior import SamplePosterior
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.simulation.expected import expected_quantities

__all__ = ["prior_quantities", "true_quantities"]

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


def true_quantities(model: SkyModel, maps: Simulations) -> SamplePosterior:
    """Labels of simulated maps, one sample a map, of all quantities and shape parameters; of one map every quantile."""
    flux = maps.flux.sum(axis=-1)
    of_sources = flux[:, [model.names.index(name) for name in model.point_sources]]
    mean, width = scd_moments(maps.scd, model.bins.centres)
    known = {
        "flux": flux,
        "flux_fraction": flux / flux.sum(axis=1, keepdims=True),
        "spectrum": e2dnde(maps.flux, model.energy_edges),
        "scd_cdf": np.cumsum(maps.scd, axis=-1),
        "n_sources": n_sources(maps.scd, of_sources, model.bins),
        "scd_mean": mean,
        "scd_width": width,
    }
    shapes = dict(zip(model.coordinates.shape, true_shapes(model, maps).T, strict=True))
    return SamplePosterior("truth", model.coordinates, known | shapes)
