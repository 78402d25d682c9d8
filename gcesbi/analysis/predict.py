"""Maps that a posterior predicts: drawn from the sky model with the parameters that a fit of all of it has found."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.baselines import NptfPosterior
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.posterior import Posterior
from gcesbi.simulation import Simulator
from gcesbi.sky import Observation

__all__ = ["predicted_maps"]

_N_MAP = 100


def predicted_maps(
    run: RunFolder, observation: Observation, posteriors: Mapping[str, Posterior]
) -> dict[str, NDArray[np.integer]]:
    """Counts (n_map, n_pix), energies summed, by the methods whose parameters are those of the run's prior.

    That is the NPTF with the model's priors. What it does not know, the spectra, are the nearest to the Poisson fit's.
    """
    prior, found = run.model.prior(), {}
    for name, posterior in posteriors.items():
        if isinstance(posterior, NptfPosterior) and set(prior.names) & set(posterior.names) >= _of_sources(run):
            rng = np.random.default_rng(purpose_seed(run, Purpose.predicted))
            theta = at_composition(run.model, run.model, observation, _N_MAP, rng)
            drawn = posterior.sample(_N_MAP, seed=run.settings.seed)
            for i, parameter in enumerate(prior.names):
                if parameter in drawn:
                    theta[:, i] = drawn[parameter]
            found[name] = Simulator(run.model).draw(theta, rng).counts.sum(axis=1)
    return found


def _of_sources(run: RunFolder) -> set[str]:
    """Parameters of the source counts of all populations."""
    parameters, names = run.model.parameters, run.model.prior().names
    return {names[i] for source in run.model.point_sources for i in parameters.columns(source, "flux")}
