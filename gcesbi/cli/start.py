"""Where the command begins: it can be stopped from here on, also while the rest of the library is still being imported.

Ctrl-C and SIGTERM end it with one line, whatever it was about to do, and the customary exit status 128 + signal.
"""

from __future__ import annotations

import gc
import os
import shlex
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

__all__ = ["Stopped", "main", "until_stopped"]


class Stopped(BaseException):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> None:
    """Run the command line until it ends or is stopped."""
    until_stopped("gcesbi", _command_line)


def _command_line() -> None:
    gc.set_threshold(50_000, 20, 20)  # imports make many objects and no garbage: a tenth of their time
    from gcesbi.cli.main import main as run

    run()


def until_stopped(program: str, run: Callable[[], object]) -> None:
    """Run a program, by its name, until it ends or a signal ends it with one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.unraisablehook = partial(_unraisable, program)
    try:
        run()
    except BaseException as error:
        if not _asked:
            raise
        del error
    if _asked:
        _leave(_asked[0], program)


_asked: list[int] = []


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    raise Stopped(number)


def _unraisable(program: str, told: sys.UnraisableHookArgs) -> None:
    """Where nothing can be raised, as in what is called when an object goes, the program ends there and then."""
    if isinstance(told.exc_value, Stopped):
        _leave(told.exc_value.number, program)
    sys.__unraisablehook__(told)


def _leave(number: int, program: str) -> None:
    """Say how to go on, and end at once: threads that still work on something have nothing half-written to lose."""
    name = "interrupted" if number == signal.SIGINT else "terminated"
    command = f"{program} {shlex.join(sys.argv[1:])}".rstrip()
    line = f"\ngcesbi: {name}; what was written is whole, the same command goes on: {command}\n"
    os.write(2, line.encode(errors="replace"))
    os._exit(128 + number)
