"""Seeds: whole numbers of any type, so that what they draw can be drawn again."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from gcesbi.errors import InputError

__all__ = ["checked_seed"]


def checked_seed(seed: SupportsIndex) -> int:
    """The seed as Python's integer; raise InputError unless it is a whole number from 0 (a NumPy one is)."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0 or isinstance(seed, bool):
        raise InputError(f"seed: must be a whole number from 0, got {seed!r}")
    return number
