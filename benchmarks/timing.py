"""Time of a function: the best of several runs, after a first one that may compile."""

from __future__ import annotations

import time


def best(function, repeats):
    """Seconds of the fastest of `repeats` runs."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
