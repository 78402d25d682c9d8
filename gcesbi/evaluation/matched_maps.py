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
from gcesbi.simulation import SkyModel
from gcesbi.sky import Observation

__all__ = ["at_composition", "fitted_fluxes", "with_fluxes"]

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
    fluxes = fitted_fluxes(nominal, observation, n, rng)
    return with_fluxes(model, model.prior().draw(n, rng), fluxes, rng)


def with_fluxes(model: SkyModel, theta: Array, fluxes: Array, rng: np.random.Generator) -> Array:
    """Parameters (n, n_parameter) made as bright as `fluxes` (n, n_template, n_energy), within the prior's ranges.

    What does not decide fluxes and spectra is kept. Fluxes of other energy bins than the model's count as their sum.
    """
    fine = model if model.resolved is None else model.resolved
    prior, theta = model.prior(), theta.copy()
    column = {name: i for i, name in enumerate(prior.names)}
    if fine.n_energy > 1 and fine.n_energy == fluxes.shape[-1]:
        offers = prior.draw(_CANDIDATES, rng)
        spectra = fine.emission(offers).spectra
        for t, name in enumerate(model.names):
            columns = fine.parameters.columns(name, "spectrum")
            theta[:, columns] = _nearest(theta[:, columns], fluxes[:, t], offers[:, columns], spectra[:, t])
    total, spectra = fluxes.sum(axis=-1), fine.emission(theta).spectra
    for t, template in enumerate(fine.diffuse):
        if f"{template.name}_norm" in column:
            norm = total[:, t] * np.sum(spectra[:, t] / fine.flux_per_norm[t], axis=-1)
            theta[:, column[f"{template.name}_norm"]] = norm
    for j, source in enumerate(fine.point_source_templates):
        columns = fine.parameters.columns(source.name, "flux")
        if not columns:
            continue
        share = theta[:, columns] / theta[:, columns].sum(axis=1, keepdims=True)
        theta[:, columns] = total[:, len(fine.diffuse) + j, None] * share
    for i, marginal in enumerate(prior.marginals):
        theta[:, i] = np.clip(theta[:, i], *marginal.range)
    return theta


def _nearest(kept: Array, fluxes: Array, offers: Array, spectra: Array) -> Array:
    """Of offered parameters (m, k) with their spectra (m, n_energy) those nearest to fluxes (n, n_energy): (n, k).

    Those that are `kept` where all fluxes are zero.
    """
    total = fluxes.sum(axis=-1, keepdims=True)
    shares = np.divide(fluxes, total, out=np.zeros_like(fluxes), where=total > 0)
    away = np.sum(spectra**2, axis=1) - 2 * shares @ spectra.T  # squared distance, less what does not choose
    return np.where(total > 0, offers[np.argmin(away, axis=1)], kept)
