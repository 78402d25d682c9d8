"""Alternative skies by name: whether a map would be fitted better by their templates.

Statistics that look for anything see little of a change of the interstellar model, which moves many pixels by a few
per cent each. Who names the change may look for it alone: the score test (Rao 1948) is locally the most powerful. With
μ = Σ_t A_t T_t the best fit of a map, another sky's templates T' would add

    D = Σ_t A_t (T'_t − T_t)

at the same composition, of which D⊥ is what no change of the norms A imitates, orthogonal to all T_t in the weights
1/μ. The statistic is

    z = Σ (k − μ) D⊥/μ / √(Σ D⊥²/μ),

summed over pixels and energy bins; without point sources it would be a standard normal on maps of the model. Counts
above μ + 4√μ are cut to it: bright sources, which every model has, would else decide. No second fit is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.simulation import SkyModel

__all__ = ["BRIGHT", "Alternative", "alternatives", "scores_towards"]

Array = NDArray[np.float64]

BRIGHT = 4.0
"""Counts count up to so many standard deviations, √μ, above the fit."""

_SAME = 1e-3
"""Templates whose pixels differ by less, relatively and on average, are the same."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """What a sky changes.

    Parameters
    ----------
    name : str
    rows : array (n_changed,)
        Which of the model's templates differ.
    change : array (n_changed, n_energy, n_pix)
        T' − T, for the norms of T: at the same flux in every energy bin. In half precision, as it is stored.
    """

    name: str
    rows: NDArray[np.intp]
    change: NDArray[np.float16]


def alternatives(model: SkyModel, others: Mapping[str, SkyModel]) -> tuple[Alternative, ...]:
    """Differences of models, by name, from a model of the same region and template names, where there are any."""
    found = []
    for name, other in others.items():
        same_flux = (model.flux_per_norm / other.flux_per_norm)[..., None] * other.templates
        change = same_flux - model.templates
        rows = np.flatnonzero(np.abs(change).sum(axis=(1, 2)) > _SAME * model.templates.sum(axis=(1, 2)))
        if rows.size:
            found.append(Alternative(name, rows, change[rows].astype(np.float16)))
    return tuple(found)


def scores_towards(
    others: Sequence[Alternative], counts: NDArray[np.integer], norms: Array, means: Array, model: SkyModel
) -> Array:
    """Score tests (n, n_other) of maps (n, n_energy, n_pix), from the model's fits to them.

    Parameters
    ----------
    others : sequence of Alternative
    counts, means : array (n, n_energy, n_pix)
    norms : array (n, n_template, n_energy)
    model : SkyModel
    """
    above, information = np.zeros((2, len(counts), len(others)))
    for e in range(model.n_energy if others else 0):
        mean = np.maximum(means[:, e], 1e-12)
        rest = np.minimum(counts[:, e] - mean, BRIGHT * np.sqrt(mean)) / mean
        templates = model.templates[:, e]
        gram = np.einsum("tp,np,up->ntu", templates, 1 / mean, templates, optimize=True)
        ridge = 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(len(templates))
        for i, other in enumerate(others):
            added = norms[:, other.rows, e] @ other.change[:, e]
            imitated = np.linalg.solve(gram + ridge, (added / mean @ templates.T)[..., None])[..., 0] @ templates
            own = added - imitated
            above[:, i] += np.sum(rest * own, axis=1)
            information[:, i] += np.sum(own**2 / mean, axis=1)
    return above / np.sqrt(np.maximum(information, 1e-6))
