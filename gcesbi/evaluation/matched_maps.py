"""Parameters of maps that are as bright as an observation, template by template.

A prior leaves open how bright each template is, so that maps drawn from it are rarely like the map that was observed.
Here each template has the flux that the best Poisson fit of one model, the nominal one, gives it on the observation,
scattered by the fit's errors; and its spectrum, the nearest of many that the prior draws. What no fit of smooth
templates tells, the source counts, is left to the prior. The parameters may be another model's: maps of several skies
then differ in the shapes of their templates alone.
"""

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson.many_maps import fit_maps
from gcesbi.physics.spectra import skew_normal_shares
from gcesbi.simulation import SkyModel
from gcesbi.simulation.prior import Uniform
from gcesbi.sky import Observation

__all__ = ["at_composition", "fitted_fluxes"]

Array = NDArray[np.float64]

_CANDIDATES = 4096


def fitted_fluxes(nominal: SkyModel, observation: Observation, n: int, rng: np.random.Generator) -> Array:
    """Fluxes (n, n_template, n_energy) of the best fit to an observation, scattered by its errors, none below zero."""
    found = np.empty((n, *nominal.templates.shape[:2]))
    for e, (best,) in enumerate(fit_maps(observation.counts[None], nominal)):
        covariance = np.linalg.pinv(best.information, rcond=1e-10, hermitian=True)
        drawn = rng.multivariate_normal(best.norms, covariance, n, method="eigh")
        found[:, :, e] = np.maximum(drawn, 0.0) * nominal.flux_per_norm[:, e]
    return found


def at_composition(
    model: SkyModel, nominal: SkyModel, observation: Observation, n: int, rng: np.random.Generator
) -> Array:
    """Parameters (n, n_parameter) of `model` whose templates are as bright as `nominal`'s on an observation.

    Parameters
    ----------
    model : SkyModel
        Whose maps are to be drawn.
    nominal : SkyModel
        Whose templates are fitted; of the same names, energies and region.
    observation : Observation
    n : int
    rng : numpy Generator

    Returns
    -------
    array (n, n_parameter)
        Within the prior's ranges.
    """
    fine = model if model.resolved is None else model.resolved
    fluxes = fitted_fluxes(nominal, observation, n, rng)
    prior = model.prior()
    theta = prior.draw(n, rng)
    column = {name: i for i, name in enumerate(prior.names)}
    if fine.n_energy > 1 and fine.n_energy == fluxes.shape[-1]:
        for t, name in enumerate(model.names):
            columns = [column[f"{name}_spectrum_{key}"] for key in fine.spectrum.marginals()]
            theta[:, columns] = _nearest_spectra(theta[:, columns], fluxes[:, t], fine, rng)
    total, spectra = fluxes.sum(axis=-1), fine.emission(theta).spectra
    for t, template in enumerate(fine.diffuse):
        theta[:, column[f"{template.name}_norm"]] = total[:, t] * np.sum(spectra[:, t] / fine.flux_per_norm[t], axis=-1)
    for j, source in enumerate(fine.point_source_templates):
        n_population = len(source.populations)
        labels = [source.name] if n_population == 1 else [f"{source.name}{i + 1}" for i in range(n_population)]
        columns = [column[f"{label}_flux"] for label in labels]
        share = theta[:, columns] / theta[:, columns].sum(axis=1, keepdims=True)
        theta[:, columns] = total[:, len(fine.diffuse) + j, None] * share
    for i, marginal in enumerate(prior.marginals):
        if isinstance(marginal, Uniform):
            theta[:, i] = np.clip(theta[:, i], marginal.low, marginal.high)
    return theta


def _nearest_spectra(drawn: Array, fluxes: Array, model: SkyModel, rng: np.random.Generator) -> Array:
    """Spectra (n, 3), of many that the prior draws, nearest to fluxes (n, n_energy); `drawn` where all are zero."""
    total = fluxes.sum(axis=-1, keepdims=True)
    shares = np.divide(fluxes, total, out=np.zeros_like(fluxes), where=total > 0)
    marginals = model.spectrum.marginals().values()
    shapes = np.stack([m.from_uniform(rng.random(_CANDIDATES).clip(1e-12, 1 - 1e-12)) for m in marginals], axis=-1)
    offered = skew_normal_shares(model.energy_edges, *shapes.T)
    away = np.sum(offered**2, axis=1) - 2 * shares @ offered.T  # squared distance, less what does not choose
    return np.where(total > 0, shapes[np.argmin(away, axis=1)], drawn)
