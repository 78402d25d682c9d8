"""Compiled kernels, kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["njit"]


def njit(function: Callable[..., Any] | None = None, *, cache: bool = False, **options: Any) -> Any:
    """`numba.njit`, which compiles anew in every process where no folder can keep what it compiled.

    That is so for a package that cannot be written and a home that cannot either; ``NUMBA_CACHE_DIR`` names another
    folder.
    """
    if function is None:
        return lambda each: njit(each, cache=cache, **options)
    try:
        return numba.njit(function, cache=cache, **options)
    except RuntimeError:
        return numba.njit(function, **options)
