"""A mock sky like the observed one: composed as the best Poisson fit of the real map, source counts of mid prior.

Drawn from the prior a sky is hardly ever like ours: the excess may have any share of the flux, in sources of any
brightness. Shares and total are those of the Poisson fit, with Model O, to the 573-week map of Leane & Slatyer
(2002.12370; 2-20 GeV, within 25° of the Galactic Centre, |b| > 2°, 3FGL sources masked). That map has one energy bin.
Spectra are those of the literature: power laws of the isotropic emission (Ackermann et al. 2015, 1410.3696), the
bubbles (Ackermann et al. 2014, 1407.7905) and the excess above its peak (Calore et al. 2015, 1409.0042), a pulsar's for
the disk (McCann 2015, 1412.2422), and what comes near the interstellar models for the rest.
"""

import numpy as np
from numpy.typing import NDArray

from gcesbi.evaluation.matched_maps import with_fluxes
from gcesbi.simulation import SkyModel

__all__ = ["SHARES", "typical_theta"]

Array = NDArray[np.float64]

SHARES = {"pi": 0.5335, "ic": 0.2503, "iso": 0.0182, "bub": 0.0565, "gce": 0.0765, "disk": 0.0651}
"""Of the flux of the region, by template."""
_BRIGHTNESS = 1.777e-6 / 0.495  # photons / cm² / s / sr: flux of the map over the solid angle of its pixels
_INDEX = {"pi": 2.6, "ic": 2.4, "iso": 2.32, "bub": 1.87, "gce": 2.63, "disk": 1.54}
_CUTOFF = {"disk": 3.7}  # GeV


def typical_theta(model: SkyModel, rng: np.random.Generator) -> Array:
    """Parameters (n_parameter,): the prior's medians; of a sky of built-in templates, as bright as the real one."""
    prior = model.prior()
    theta = prior.from_uniform(np.full((1, len(prior.names)), 0.5))
    if not set(model.names) <= set(SHARES):
        return theta[0]
    total = _BRIGHTNESS * model.region.solid_angle
    fluxes = np.stack([SHARES[name] * total * _spectrum(name, model.energy_edges) for name in model.names])
    return with_fluxes(model, theta, fluxes[None], rng)[0]


def _spectrum(name: str, edges: Array) -> Array:
    """Share of each energy bin in the photons of a template."""
    energy = np.geomspace(edges[:-1], edges[1:], 65)
    density = energy ** (1 - _INDEX[name]) * np.exp(-energy / _CUTOFF.get(name, np.inf))
    found = density.mean(axis=0) * np.log(edges[1:] / edges[:-1])
    return np.asarray(found / found.sum())
