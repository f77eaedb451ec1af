"""The bars of progress on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gailbench.commands.progress import GridProgress
from gailbench.runs import grid
from gailbench.tasks import TASKS


@pytest.mark.parametrize(
    ("row", "note"),
    [
        ({"iteration": 1, "return_mean": 2.0, "entropy": 0.5}, "return 2.0"),
        ({"iteration": 1, "validation_loss": 0.25}, "validation loss 0.25"),
        ({"iteration": 1, "entropy": 0.5}, ""),  # a learner of another package
    ],
)
def test_a_run_shows_its_latest_row(tmp_path: Path, row: dict[str, float], note: str) -> None:
    (job,) = grid.plan(TASKS["cartpole"], grid.Request(tmp_path, sizes=[1], algorithms=["fem"]))
    progress = GridProgress(1, Console(file=io.StringIO(), force_terminal=True))
    progress.show(grid.Event(job, "started"))
    progress.show(grid.Event(job, "row", row))
    assert progress._progress is not None
    bar = progress._progress.tasks[-1]
    assert (bar.completed, bar.fields["note"]) == (1, note)
