"""Streams of random numbers of the steps that follow training, each its own: none of their maps was seen before."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from gcesbi.analysis.run import Run

__all__ = ["Stream", "stream_seed"]


class Stream(IntEnum):
    """Numbers that no shard of a store reaches; :mod:`gcesbi.analysis.steps` has 2³¹ and 2³¹ + 1."""

    gate = 2**31 + 11
    varied = 2**31 + 12
    injected = 2**31 + 13
    smooth = 2**31 + 14
    composed = 2**31 + 15


def stream_seed(run: Run, stream: Stream, *further: int) -> int:
    """Seed of a stream of a run, and of further numbers within it."""
    sequence = np.random.SeedSequence(run.settings.seed, spawn_key=(int(stream), *further))
    return int(sequence.generate_state(1)[0])
