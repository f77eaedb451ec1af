"""Engines: they do many runs, in processes of one machine (local) or on a cluster (ray)."""

from __future__ import annotations

from pathlib import Path

from gailbench.runs.folder import folder_of
from gailbench.runs.grid import Event, Job, keep_error

# Seconds that processes have to save before they are abandoned, and seconds between two attempts at a locked run.
GRACE = 8.0
LOCKED_PAUSE = 2.0


def ended_by_system(event: Event, earlier: set[Job], results: Path) -> Event:
    """Return the event to report if the system, and not the engine, ended the process of a job.

    The first time it is a notice, and the engine must give the job to another process, which continues from the
    checkpoint. The second time it is a failure.

    Args:
        event: The event "interrupted".
        earlier: The jobs to which this has happened; the job is added.
        results: The results folder.
    """
    cause = event.message or "its process was told to end"
    if event.job in earlier:
        text = f"{cause}, twice"
        keep_error(folder_of(event.job.spec, results), f"{text}\n")
        return Event(event.job, "failed", message=text)
    earlier.add(event.job)
    return Event(event.job, "notice", message=f"{cause}; the run is continued")
