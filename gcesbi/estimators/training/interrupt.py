"""Signals that end a training: at the end of a step, so that a checkpoint of it can be written first."""

import signal
import threading
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupt"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A context in which Ctrl-C and SIGTERM, as of batch systems, only ask; another Ctrl-C does not wait.

    Signals reach the main thread alone; elsewhere nothing changes.

    Attributes
    ----------
    asked : int or None
        Number of the signal that asked to end.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def obey(self) -> None:
        """Send the signal that asked once more, to whoever had to do with it before."""
        self._restore()
        if self.asked is not None:
            signal.raise_signal(self.asked)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
