"""Iterating a learner with checkpoints: shared by runs and experts.

A training is a learner, the rows of its learning curve and what else it keeps; all of it goes into one checkpoint
file, so that a training that was killed and resumed ends with the bytes of one that was left alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import Unreadable
from gailbench.plumbing.interrupts import Interrupted, interruptible
from gailbench.plumbing.state import State, join, part
from gailbench.policy import Policy

# Changes when a training's arithmetic rounds or samples differently: finished results stay valid, but a checkpoint of
# another one could not be continued to the bytes of an undisturbed training.
ARITHMETIC = 8
# Figures of a curve that need not exist: without variance there is none to explain.
MAY_BE_UNDEFINED = ("explained_variance",)
# A batch of eight episodes is a matter of luck: the best of a thousand such batches is the luckiest one.
BEST_WINDOW = 10
Row = dict[str, float]


class Learner(Protocol):
    """What is trained: everything that learns from a reward, and behavioral cloning."""

    policy: Policy
    iteration: int

    def iterate(self) -> Row:
        """Go on to the next row of the learning curve, and raise `iteration` to its number."""

    def state(self) -> State:
        """Return everything that is to come depends on."""

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""


@dataclass
class CheckpointFile:
    """Where a training saves itself, how often, and what it must be the checkpoint of.

    Attributes:
        path: The file.
        spec: JSON that determines the training; a checkpoint of another spec is not continued.
        every: Seconds between two saves.
    """

    path: Path
    spec: dict[str, Any]
    every: float = 300.0

    @property
    def aside(self) -> Path:
        """Where one that cannot be continued is kept."""
        return self.path.with_name(self.path.name.replace("checkpoint.", "unusable-checkpoint."))


class AnotherTraining(GailbenchError):
    """A checkpoint is whole, and of another training."""


@dataclass
class Training:
    """A learner on its way to a number of iterations.

    Attributes:
        learner: What is trained.
        iterations: In all.
        keep_best: Whether to keep the best policy by true return (experts): the last of the `BEST_WINDOW` successive
            iterations with the highest mean return.
        level: With `keep_best`: end with the first `BEST_WINDOW` successive iterations whose return per step is at
            least this on average, and keep the policy of the last of them.
        rows: The learning curve so far.
        best: State of the best policy so far.
        best_row: The row of the batch it sampled.
        seconds: Wall time spent, earlier sittings included.
    """

    learner: Learner
    iterations: int
    keep_best: bool = False
    level: float | None = None
    rows: list[Row] = field(default_factory=list)
    best: State | None = None
    best_row: int = -1
    seconds: float = 0.0

    def run(
        self,
        checkpoint: CheckpointFile | None,
        on_row: Callable[[Row], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Iterate to the end, saving from time to time and at the end; continues from the checkpoint if there is one.

        Raises:
            Interrupted: `stop` or a signal said so; the checkpoint is saved.
            GailbenchError: The checkpoint cannot be continued.
        """
        if checkpoint is not None and self.learner.iteration == 0 and checkpoint.path.exists():
            self.load(checkpoint)
        started = saved = time.monotonic()
        before = self.seconds
        state = self.learner.state()
        while not self.finished:
            sampled_by = self.learner.policy.state() if self.keep_best else None
            try:
                with interruptible():
                    row = self.learner.iterate()
            except Interrupted:  # the open iteration is dropped
                self._save(checkpoint, state)
                raise
            self._check_finite(row)
            self.rows.append(row)
            if sampled_by is not None and self._is_best():
                self.best, self.best_row = sampled_by, len(self.rows) - 1
            on_row(row)
            now = time.monotonic()
            self.seconds = before + now - started
            state = self.learner.state()
            stopping = stop() and not self.finished
            if stopping or self.finished or (checkpoint is not None and now - saved >= checkpoint.every):
                self._save(checkpoint, state)
                saved = now
            if stopping:
                raise Interrupted

    def _check_finite(self, row: Row) -> None:
        """Check that the iteration led to numbers.

        Raises:
            GailbenchError: A loss, a return or a parameter is not finite.
        """
        wrong = [name for name in row if name not in MAY_BE_UNDEFINED and not math.isfinite(row[name])]
        if not self.learner.policy.finite:
            wrong.append("a parameter of the policy")
        if wrong:
            raise GailbenchError(
                f"iteration {self.learner.iteration}: {wrong[0]} is not a finite number; look for huge numbers in the "
                "demonstrations or the environment, or settings that are too large"
            )

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.learner.iteration >= self.iterations or self._at_level

    @property
    def _at_level(self) -> bool:
        window = self.rows[-BEST_WINDOW:]
        if self.level is None or len(window) < BEST_WINDOW:
            return False
        return sum(row["return_mean"] / row["length_mean"] for row in window) / len(window) >= self.level

    def _is_best(self) -> bool:
        # Of equals the later one, which has learned longer.
        if self.best is None or self._at_level:
            return True
        return self._recent_return(len(self.rows) - 1) >= self._recent_return(self.best_row)

    def _recent_return(self, row: int) -> float:
        window = self.rows[max(0, row + 1 - BEST_WINDOW) : row + 1]
        return sum(r["return_mean"] for r in window) / len(window)

    def _save(self, checkpoint: CheckpointFile | None, state: State) -> None:
        if checkpoint is None:
            return
        arrays = join({"learner": state, "best": self.best or {}})
        content = {
            "arithmetic": ARITHMETIC,
            "spec": checkpoint.spec,
            "rows": self.rows,
            "best_row": self.best_row,
            "seconds": self.seconds,
        }
        checkpoints.write(checkpoint.path, "checkpoint", arrays, content)

    def load(self, checkpoint: CheckpointFile) -> None:
        """Continue from a checkpoint.

        Raises:
            AnotherTraining: It is of another spec.
            GailbenchError: It is damaged, or of another format or arithmetic; this training is then of no use.
        """
        arrays, content = checkpoints.read(checkpoint.path, "checkpoint")
        try:
            if content["spec"] != checkpoint.spec:
                raise AnotherTraining(
                    f"{checkpoint.path} is the checkpoint of another training; remove it to start anew"
                )
            if content.get("arithmetic") != ARITHMETIC:  # the first versions wrote none
                raise GailbenchError(
                    f"{checkpoint.path} was made by a version of gailbench that rounds differently; continue it with "
                    "that version, or remove it to start anew"
                )
            self.learner.load_state(part(arrays, "learner"))
            self.best = part(arrays, "best") or None
            self.rows, self.best_row, self.seconds = content["rows"], content["best_row"], content["seconds"]
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise GailbenchError(f"{checkpoint.path} is a damaged checkpoint ({first_line(error)})") from None


def resumed(
    make: Callable[[], Training],
    checkpoint: CheckpointFile,
    notice: Callable[[str], None],
    refused: tuple[type[GailbenchError], ...] = (Unreadable,),
) -> Training:
    """Return a training that goes on from its checkpoint, if there is one.

    One that cannot be continued is kept under another name, of which `notice` hears, and the training starts anew.

    Raises:
        GailbenchError: It cannot be continued for one of the reasons `refused`.
    """
    training = make()
    if not checkpoint.path.exists():
        return training
    try:
        training.load(checkpoint)
    except refused:
        raise
    except GailbenchError as unusable:
        checkpoint.path.replace(checkpoint.aside)
        notice(f"{unusable}; it is now {checkpoint.aside.name} and the training starts anew")
        return make()
    return training


def curve_csv(rows: list[Row], columns: Sequence[str]) -> str:
    """Return a learning curve as CSV: these columns, empty where there is no figure.

    Raises:
        GailbenchError: A row has a figure that is not among the columns.
    """
    if undeclared := sorted({name for row in rows for name in row} - set(columns)):
        raise GailbenchError(
            f"the learning curve has a figure '{undeclared[0]}' that its algorithm does not declare; "
            "add it to the diagnostics of the Algorithm"
        )
    return pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, lineterminator="\n")
