"""Seeds of what a run draws beyond its stores, by purpose: no map is ever drawn for two of them."""

from enum import IntEnum

import numpy as np

from gcesbi.analysis.folder import RunFolder

__all__ = ["Purpose", "purpose_seed", "purpose_sequence"]


class Purpose(IntEnum):
    """Numbers that no shard of a store reaches."""

    mock = 2**31
    poisson_fraction = 2**31 + 1
    misspecification = 2**31 + 11
    varied = 2**31 + 12
    injected = 2**31 + 13
    smooth = 2**31 + 14
    composed = 2**31 + 15
    error_correlation = 2**31 + 16
    recalibration = 2**31 + 17
    predicted = 2**31 + 18


def purpose_sequence(run: RunFolder, purpose: Purpose, *further: int) -> np.random.SeedSequence:
    """Source of the seeds of a purpose, and of further numbers within it."""
    return np.random.SeedSequence(run.settings.seed, spawn_key=(int(purpose), *further))


def purpose_seed(run: RunFolder, purpose: Purpose, *further: int) -> int:
    """Seed of a purpose of a run, and of further numbers within it."""
    return int(purpose_sequence(run, purpose, *further).generate_state(1)[0])
