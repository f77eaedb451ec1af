"""Stopping cleanly: after a signal, long work ends in a state from which it can continue."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

# Control-C, the end of a batch job and warnings before it, a closed terminal, and a limit of processor time.
STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Interrupted(BaseException):
    """The work was interrupted. The same call continues it. Like KeyboardInterrupt it is no Exception, so that nothing
    that handles the errors of a user's environment or algorithm takes it for one."""


class StopSignals:
    """A context manager. Within it the signals in `STOP` set a flag, and end `interruptible` work at once.

    A signal that was ignored when the process started stays ignored, such as SIGHUP under `nohup`.

    Attributes:
        set: Whether one of the signals came.
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
            # Signals can only be handled in the main thread. Callers in other threads must stop in another way.
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


# Global, since signal handlers belong to the process.
_entered: StopSignals | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Marks work that may be dropped at any point and done again. A signal within it raises Interrupted at once."""
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
