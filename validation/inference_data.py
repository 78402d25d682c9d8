"""ArviZ in and out: truths and posterior samples of many maps as InferenceData, for its checks of predictions.

Each map is one "observation": group ``observed_data`` holds the truth, ``posterior_predictive`` the samples, so that
``arviz.plot_bpv``, ``arviz.plot_ppc`` and ``arviz.plot_ecdf`` (of :func:`pit_of`) show calibration as they show it of
a fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gcesbi.errors import InputError

from .checks import Array, check_finite
from .pit import pit_from_samples

if TYPE_CHECKING:
    import arviz

__all__ = ["from_arviz", "pit_of", "to_arviz"]

DEFAULT_NAME = "truth"


def to_arviz(truth: ArrayLike, samples: ArrayLike, name: str = DEFAULT_NAME) -> arviz.InferenceData:
    """InferenceData of truth (n_map, ...) and samples (n_sample, n_map, ...), one chain."""
    import arviz

    values, draws = check_finite("truth", truth), check_finite("samples", samples)
    if values.ndim < 1 or draws.shape[1:] != values.shape:
        raise InputError(f"samples: must have shape (n_sample, *truth.shape), got {draws.shape} for {values.shape}")
    dims = {name: ["map", *(f"{name}_{i}" for i in range(1, values.ndim))]}
    return arviz.from_dict(posterior_predictive={name: draws[None]}, observed_data={name: values}, dims=dims)


def from_arviz(data: arviz.InferenceData, name: str = DEFAULT_NAME) -> tuple[Array, Array]:
    """Truth (n_map, ...) and samples (n_sample, n_map, ...) of one variable; chains are joined.

    Raises
    ------
    InputError
        If the groups ``observed_data`` and ``posterior_predictive`` do not both hold the variable.
    """
    for group in ("observed_data", "posterior_predictive"):
        held = list(data[group].data_vars) if group in data.groups() else []
        if name not in held:
            raise InputError(f"data: group {group} must hold {name!r}, holds {', '.join(map(str, held)) or 'nothing'}")
    draws = np.asarray(data["posterior_predictive"][name].transpose("chain", "draw", ...), dtype=np.float64)
    values = np.asarray(data["observed_data"][name], dtype=np.float64)
    return values, draws.reshape(-1, *draws.shape[2:])


def pit_of(data: arviz.InferenceData, name: str = DEFAULT_NAME, seed: int = 0) -> Array:
    """PIT (n_map, ...) of one variable, for ``arviz.plot_ecdf``: uniform if calibrated."""
    return pit_from_samples(*from_arviz(data, name), seed=seed)
