"""Log-fields of a model's smooth templates, as modes of an adaptive fit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from gcesbi.baselines.poisson.adaptive import AdaptiveProblem, ModeBasis, Modes
from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Fixed
from gcesbi.simulation.prior import Parameter

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["adaptive_problem", "amplitude_parameters", "held_amplitudes", "template_modes"]

Array = NDArray[np.float64]


def amplitude_parameters(model: SkyModel) -> tuple[Parameter, ...]:
    """Amplitudes of a model's log-fields, those that are numbers as well, in its order."""
    return tuple(
        Parameter(f"{template.name}_{each.label}_sigma", each.amplitude, "", "")
        for template in (model.diffuse[i] for i in model.modulated)
        for each in template.modulations
    )


def held_amplitudes(model: SkyModel, given: Mapping[str, float]) -> dict[str, float]:
    """Every amplitude of a model: as given, its number, or the mean of its prior.

    Raises
    ------
    InputError
        If a given one is of no log-field of the model, or negative.
    """
    known = {each.name: each.marginal for each in amplitude_parameters(model)}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"amplitudes: must be among {', '.join(known) or 'none'}, got {name!r}")
        if not 0 <= value < np.inf:
            raise InputError(f"amplitudes: {name} must be finite and not negative, got {value}")
    return {name: float(given.get(name, marginal.moments[0])) for name, marginal in known.items()}


def free_amplitudes(model: SkyModel, given: Mapping[str, float]) -> tuple[Parameter, ...]:
    """Amplitudes that have a prior and are not given."""
    each = amplitude_parameters(model)
    return tuple(p for p in each if p.name not in given and not isinstance(p.marginal, Fixed))


def template_modes(model: SkyModel, amplitudes: Mapping[str, float]) -> tuple[Modes, ...]:
    """Modes of every template with log-fields, times their amplitudes by name."""
    found = []
    for i in model.modulated:
        template = model.diffuse[i]
        parts = [
            (amplitudes[f"{template.name}_{each.label}_sigma"] * each.basis, each.per_energy)
            for each in template.modulations
        ]
        found.append(Modes(i, _bases(parts, model.n_energy)))
    return tuple(found)


def _bases(parts: list[tuple[csr_array, bool]], n_energy: int) -> tuple[ModeBasis, ...]:
    """Bases in every energy bin of (modes, whether each bin has its own): one for all bins where all is shared."""
    own = any(per_energy for _, per_energy in parts) and n_energy > 1

    @cache
    def basis(e: int) -> ModeBasis:
        columns: list[csr_array] = []
        for modes, per_energy in parts:
            n = n_energy if per_energy else 1
            columns += [modes if not per_energy or k == e else csr_array(modes.shape) for k in range(n)]
        return ModeBasis(csr_array(hstack(columns, format="csr")))

    return tuple(basis(e if own else 0) for e in range(n_energy))


def adaptive_problem(
    counts: NDArray[np.int64], templates: Array, known: Array, model: SkyModel, amplitudes: Mapping[str, float]
) -> AdaptiveProblem:
    """The adaptive fit of a model's templates.

    Parameters
    ----------
    counts : array (n_energy, n_pix)
    templates : array (n_template, n_energy, n_pix)
    known : array (4, n_energy, n_template)
        Lowest and highest norm, centre and width of its Gaussian prior.
    model : SkyModel
    amplitudes : mapping of str to float
        Of every log-field.
    """
    low, high, centre, width = known.reshape(4, -1)
    modes = template_modes(model, amplitudes)
    return AdaptiveProblem(
        counts, templates, np.stack([low, high], axis=-1), centre, width, modes, 1 / np.asarray(model.exposure)
    )
