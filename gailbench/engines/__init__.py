"""Engines: they do many runs, in processes of one machine (local) or on a cluster (ray)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gailbench.runs.folder import folder_of
from gailbench.runs.grid import Event, Job, OnEvent, Outcome, keep_error

# Seconds that processes have to save before they are abandoned, and seconds between two attempts at a locked run.
GRACE = 8.0
LOCKED_PAUSE = 2.0


class Endings:
    """Receives how each attempt at a job ended. Records it, or has the job done again.

    Args:
        results: The results folder.
        outcome: Where jobs that are done are recorded. Once it is interrupted, no job is done again.
        on_event: Gets every event.
        again: Gives a job to another process, which continues from its checkpoint.
        later: Does the same after `LOCKED_PAUSE`.
    """

    def __init__(
        self,
        results: Path,
        outcome: Outcome,
        on_event: OnEvent,
        again: Callable[[Job], None],
        later: Callable[[Job], None],
    ) -> None:
        self._results, self._outcome, self._on_event = results, outcome, on_event
        self._again, self._later = again, later
        self._killed: set[Job] = set()

    def receive(self, event: Event) -> None:
        """Receive the last event of an attempt."""
        if event.kind == "interrupted" and not self._outcome.interrupted:
            event = self._ended_by_system(event)
            if event.kind == "notice":
                self._again(event.job)
        elif event.kind == "locked" and not self._outcome.interrupted:
            self._later(event.job)
        self._outcome.record(event)
        self._on_event(event)

    def _ended_by_system(self, event: Event) -> Event:
        """Return the event to report if the system, and not the engine, ended the process of a job: the first time a
        notice, the second time a failure."""
        cause = event.message or "its process was told to end"
        if event.job in self._killed:
            text = f"{cause}, twice"
            keep_error(folder_of(event.job.spec, self._results), f"{text}\n")
            return Event(event.job, "failed", message=text)
        self._killed.add(event.job)
        return Event(event.job, "notice", message=f"{cause}; the run is continued")
