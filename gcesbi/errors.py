"""The one error a user can mend: bad input, told in one line that names argument, rule and value."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["InputError", "checked_seed", "nearest", "shown", "whole_number"]

_MOST = 40  # numbers that a message shows


class InputError(ValueError):
    """Input that breaks a rule; the command line prints its message and exits with status 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say beside an unknown name: the nearest valid one, or all of them."""
    valid = list(known)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.3)
    return f"the nearest valid one is {near[0]!r}" if near else f"valid ones are {', '.join(valid)}"


def whole_number(value: SupportsIndex, name: str, least: int = 0) -> int:
    """A whole number of any type, NumPy's too, as Python's; raise InputError for anything else, and if it is less."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        rule = "at least" if number is not None and least > 0 else "a whole number from"
        raise InputError(f"{name}: must be {rule} {least}, got {' '.join(repr(value).split())}")
    return number


def checked_seed(seed: SupportsIndex) -> int:
    """A seed as Python's integer, so that what it draws can be drawn again; raises as :func:`whole_number`."""
    return whole_number(seed, "seed")


def shown(values: NDArray[np.generic]) -> str:
    """Numbers as a message tells them: all of a few; of many their shape and ends, NaN if one is none."""
    if values.size <= _MOST:
        return str(values.tolist())
    return f"{' x '.join(map(str, values.shape))} numbers from {values.min()} to {values.max()}"
