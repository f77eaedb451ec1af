"""Stopping cleanly: SIGINT and SIGTERM end long work where it can be taken up again."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


class Interrupted(Exception):
    """The work was asked to stop; the same call continues it."""


class StopSignals:
    """While entered, SIGINT and SIGTERM set a flag, and end what is `interruptible` at once.

    Attributes:
        set: Whether one of them came.
    """

    def __init__(self) -> None:
        self.set = False
        self.interrupting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        global _entered
        for number in (signal.SIGINT, signal.SIGTERM):
            # Outside the main thread signals cannot be handled; whoever calls from there stops in another way.
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._stop)
        _entered = self
        return self

    def __exit__(self, *exception: object) -> None:
        global _entered
        _entered = None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.set = True
        if self.interrupting:
            raise Interrupted


# Signal handlers belong to the process, and so does what they look at.
_entered: StopSignals | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Work that may be dropped at any point and done again: a signal within it raises Interrupted there and then."""
    signals = _entered
    if signals is None:
        yield
        return
    signals.interrupting = True
    try:
        if signals.set:
            raise Interrupted
        yield
    finally:
        signals.interrupting = False
