"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gailbench.commands.printing import duration
from gailbench.plumbing.errors import one_line
from gailbench.runs.grid import Event
from gailbench.runs.spec import RunSpec


def _bars(console: Console) -> Progress:
    """Bars with a count, the time remaining and a note."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


class _Display:
    """A context manager that shows bars on a terminal. Without a terminal `_progress` is None."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = _bars(console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _print(self, line: str) -> None:
        # The work goes on even if standard error is closed.
        with contextlib.suppress(OSError, ValueError):
            self._console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)


class GridProgress(_Display):
    """Shows the progress of many runs: a bar for all runs and one per active run, or a line per finished run."""

    def __init__(self, total: int, console: Console) -> None:
        super().__init__(console)
        self._total, self._finished = total, 0
        self._started = time.monotonic()
        self._bars: dict[RunSpec, TaskID] = {}
        self._locked: set[RunSpec] = set()
        if self._progress is not None:
            self._grid = self._progress.add_task("all runs", total=total, note="")

    def show(self, event: Event) -> None:
        """Show an event."""
        spec = event.job.spec
        if event.kind == "row":
            self._show_row(spec, event.row)
            return
        if event.kind == "notice":
            self._print(f"{spec.label()}: {event.message}")
            return
        if event.kind == "started":
            if self._progress is not None:
                self._bars[spec] = self._progress.add_task(spec.label(), total=spec.iterations, note="")
            return
        if self._progress is not None and spec in self._bars:
            self._progress.remove_task(self._bars.pop(spec))
        if event.kind == "locked":
            if spec not in self._locked:
                self._locked.add(spec)
                self._print(f"{spec.label()}: {event.message}; this command tries the run again later")
            return
        if self._progress is not None:
            self._progress.advance(self._grid)
        self._finished += 1
        text = {
            "complete": f"return {event.row.get('return_mean', float('nan')):.2f}",
            "interrupted": f"not saved since its last checkpoint: {event.message}" if event.message else "saved",
            "failed": f"failed: {event.message}",
        }[event.kind]
        elapsed = duration(time.monotonic() - self._started)
        self._print(f"[{self._finished}/{self._total}, {elapsed}] {spec.label()}: {text}")

    def _show_row(self, spec: RunSpec, row: dict[str, float]) -> None:
        if self._progress is None or spec not in self._bars:
            return
        if "return_mean" in row:
            note = f"return {row['return_mean']:.1f}"
        elif "validation_loss" in row:
            note = f"validation loss {row['validation_loss']:.4g}"
        else:
            note = ""
        self._progress.update(self._bars[spec], completed=row["iteration"], note=note)


class FrameProgress(_Display):
    """Shows on a terminal how many frames of a video are written."""

    def __init__(self, name: str, console: Console) -> None:
        super().__init__(console)
        if self._progress is not None:
            self._bar = self._progress.add_task(name, total=None, note="frames")

    def advance(self) -> None:
        """Count a frame."""
        if self._progress is not None:
            self._progress.advance(self._bar)


class CurveProgress(_Display):
    """Shows the progress of one training: on a terminal a bar with the current return, and learning-curve rows."""

    LINES = 25

    def __init__(self, name: str, iterations: int, console: Console) -> None:
        super().__init__(console)
        self._iterations = iterations
        self._every = max(1, iterations // self.LINES)
        if self._progress is not None:
            self._bar = self._progress.add_task(name, total=iterations, note="")

    def show(self, row: dict[str, float]) -> None:
        """Show a row of the learning curve."""
        iteration = int(row["iteration"])
        if self._progress is not None:
            self._progress.update(self._bar, completed=iteration, note=f"return {row['return_mean']:.1f}")
        if iteration % self._every == 0 or iteration in (1, self._iterations):
            self._print(
                f"iteration {iteration}: {int(row['steps']):,} steps, return {row['return_mean']:.1f} ± "
                f"{row['return_std']:.1f}, length {row['length_mean']:.0f}, entropy {row['entropy']:.2f}"
            )
