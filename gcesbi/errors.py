"""The one error a user can mend: bad input, told in one line that names argument, rule and value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "nearest"]


class InputError(ValueError):
    """Input that breaks a rule; the command line prints its message and exits with status 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say beside an unknown name: the nearest valid one, or all of them."""
    valid = list(known)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.3)
    return f"the nearest valid one is {near[0]!r}" if near else f"valid ones are {', '.join(valid)}"
