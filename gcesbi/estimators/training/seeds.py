"""Seeds of a training's random choices, each a function of the training's seed, a purpose and a counter."""

from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "seed_for"]


class Purpose(IntEnum):
    """What random numbers are for; each has a stream of its own."""

    order = 0
    step = 1
    validation = 2
    stream = 3
    held_out = 4
    head = 5


def seed_for(seed: int, purpose: Purpose, *counters: int) -> int:
    """A 63-bit seed, a function of its arguments alone."""
    return int(np.random.SeedSequence((seed, purpose, *counters)).generate_state(1, np.uint64)[0] >> 1)
