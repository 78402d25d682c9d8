"""Threads of a process that the command line starts; for its own processes alone, never for those of a user's script.

OpenMP's threads spin while they wait for each other: beside any other process on the machine, two of them train 4 to 6
times slower than one. Here they sleep. What the environment says already (``OMP_NUM_THREADS``, ``OMP_WAIT_POLICY``)
holds; torch and NumPy read it when they are imported, which must come later.
"""

from __future__ import annotations

import os

from gcesbi.errors import InputError

__all__ = ["CORES", "set_threads"]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Cores that this process may use."""


def set_threads(threads: int | None = None) -> None:
    """Let threads sleep while they wait, and take `threads` of them for each parallel computation, if given.

    Raises
    ------
    InputError
        If there are not so many cores, or none is wanted.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ["MPLBACKEND"] = "agg"  # that of a notebook is in the environment of its commands, not at hand there
    if threads is None:
        return
    if not 1 <= threads <= CORES:
        raise InputError(f"threads: must lie in [1, {CORES}], the cores at hand, got {threads}")
    os.environ["OMP_NUM_THREADS"] = str(threads)
