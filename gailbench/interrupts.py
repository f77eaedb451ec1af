"""Stopping cleanly: signals that set a flag, which long work looks at when it can save."""

from __future__ import annotations

import contextlib
import signal
from typing import Any


class StopSignals:
    """While entered, SIGINT and SIGTERM only set a flag.

    Attributes:
        set: Whether one of them came.
    """

    def __init__(self) -> None:
        self.set = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Outside the main thread signals cannot be handled; whoever calls from there stops in another way.
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.set = True
