"""Whether an observation is what a model was built for: the same energies, and the same exposure to 2 %."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError, shown

__all__ = ["SAME_EXPOSURE", "check_same_energies", "check_same_exposure", "same_exposure"]

Array = NDArray[np.float64]

SAME_EXPOSURE = 0.02
"""Relative difference up to which exposures count as the same."""


def check_same_energies(seen: Array, own: Array) -> None:
    """Raise InputError unless energy edges (n_energy + 1,) of an observation are the model's own."""
    if seen.shape != own.shape or not np.allclose(seen, own, rtol=1e-6):
        raise InputError(
            f"observation: energy edges must be the model's {shown(own.round(4))} GeV, got {shown(seen.round(4))}"
        )


def same_exposure(seen: Array, own: Array) -> bool:
    """Whether the exposure (n_energy, n_pix) of an observation is the model's own, nearly."""
    return bool(np.max(np.abs(seen / own - 1)) <= SAME_EXPOSURE)


def check_same_exposure(seen: Array, own: Array) -> None:
    """Raise InputError unless the exposure (n_energy, n_pix) of an observation is the model's own, nearly."""
    if not same_exposure(seen, own):
        ratio = seen / own
        raise InputError(
            f"observation: exposure must be the model's within {SAME_EXPOSURE * 100:.0f} %, "
            f"is {ratio.min():.3g} to {ratio.max():.3g} of it"
        )
