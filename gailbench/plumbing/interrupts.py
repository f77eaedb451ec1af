"""Stopping cleanly: signals end long work where it can be taken up again."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

# Control-C; a batch system's end, its warnings before it, a vanished terminal, a limit of processor time.
STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Interrupted(Exception):
    """The work was asked to stop; the same call continues it."""


class StopSignals:
    """While entered, the signals of `STOP` set a flag, and end what is `interruptible` at once.

    One that the process was started to ignore stays ignored, as `nohup` has it for SIGHUP.

    Attributes:
        set: Whether one of them came.
    """

    def __init__(self) -> None:
        self.set = False
        self.interrupting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        global _entered
        for number in STOP:
            if signal.getsignal(number) == signal.SIG_IGN:
                continue
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
