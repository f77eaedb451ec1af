"""Iterating a learner with checkpoints: shared by runs and experts.

A training holds a learner, its learning curve and its best policy. All of this is saved in one checkpoint file. So a
training that is killed and resumed ends with the same bytes as an uninterrupted one.
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

# Raised when a version rounds or samples differently. Finished results stay valid. But a checkpoint of another version
# could not be continued to the same bytes as those of an uninterrupted training.
ARITHMETIC = 8
# Columns of a learning curve that may be undefined: if returns have no variance, no share of it is explained.
MAY_BE_UNDEFINED = ("explained_variance",)
# Iterations over which returns are averaged to find the best policy. A single batch of eight episodes is too noisy.
BEST_WINDOW = 10
Row = dict[str, float]


class Learner(Protocol):
    """The interface of what is trained: the loop that learns from a reward, or behavioral cloning."""

    policy: Policy
    iteration: int

    def iterate(self) -> Row:
        """Train up to the next row of the learning curve, set `iteration` to its number, and return it."""

    def state(self) -> State:
        """Return everything that later iterations depend on."""

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`."""


@dataclass
class CheckpointFile:
    """Where a training is saved, how often, and which training it is.

    Attributes:
        path: The checkpoint file.
        spec: JSON that determines the training. A checkpoint with another spec is not continued.
        every: Seconds between two saves.
    """

    path: Path
    spec: dict[str, Any]
    every: float = 300.0

    @property
    def aside(self) -> Path:
        """The path to which a checkpoint is renamed if it cannot be continued."""
        return self.path.with_name(self.path.name.replace("checkpoint.", "unusable-checkpoint."))


class AnotherTraining(GailbenchError):
    """A checkpoint is undamaged, but belongs to another training."""


@dataclass
class Training:
    """A learner that is trained for a number of iterations.

    Attributes:
        learner: What is trained.
        iterations: Total number of iterations.
        keep_best: Whether to keep the best policy by true return (for experts). It is the policy of the last of the
            `BEST_WINDOW` successive iterations with the highest mean return.
        required: Columns that every row must have besides `iteration`.
        level: With `keep_best`, the training ends when the return per step, averaged over `BEST_WINDOW` successive
            iterations, reaches this level. The policy of the last of these iterations is kept.
        rows: The learning curve so far.
        best: State of the best policy so far.
        best_row: Index of the row whose batch the best policy sampled.
        seconds: Wall time of the training, including the time before interruptions.
    """

    learner: Learner
    iterations: int
    keep_best: bool = False
    level: float | None = None
    required: tuple[str, ...] = ()
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
        """Iterate to the end. Save a checkpoint from time to time and at the end.

        Raises:
            Interrupted: `stop` returned true or a signal came; the checkpoint is saved.
            GailbenchError: An iteration gave numbers that are not finite, its number is wrong, or its row lacks a
                required column.
        """
        started = saved = time.monotonic()
        before = self.seconds
        state = self.learner.state()
        while not self.finished:
            sampled_by = self.learner.policy.state() if self.keep_best else None
            try:
                with interruptible():
                    row = self.learner.iterate()
            except Interrupted:  # the unfinished iteration is dropped
                self._save(checkpoint, state)
                raise
            # A learner of another package may return numbers of NumPy or PyTorch, which JSON does not know.
            row = {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
            self._check_finite(row)
            self._check_number(row)
            self._check_columns(row)
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
        """Check that the iteration gave finite numbers.

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

    def _check_number(self, row: Row) -> None:
        """Check the number of an iteration, since a learner of another package may count differently.

        Raises:
            GailbenchError: It is not above that of the row before, or beyond the last one, or the row has another
                number.
        """
        reached, before = self.learner.iteration, self.rows[-1]["iteration"] if self.rows else 0
        if not before < reached <= self.iterations or row.get("iteration") != reached:
            raise GailbenchError(
                f"the learner is at iteration {reached} of {self.iterations} and its row says {row.get('iteration')}; "
                f"correct its iterate(): both must be the same number, above {before} and at most {self.iterations}"
            )

    def _check_columns(self, row: Row) -> None:
        """Check that a row has all required columns.

        Raises:
            GailbenchError: It lacks one.
        """
        if missing := [name for name in self.required if name not in row]:
            raise GailbenchError(
                f"the row of iteration {self.learner.iteration} has no '{missing[0]}'; correct iterate() of the learner"
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
        # If returns are equal, the later policy is kept, since it was trained longer.
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
            AnotherTraining: The checkpoint has another spec.
            GailbenchError: The checkpoint is damaged, or has another format or arithmetic. This object must not be used
                afterwards.
        """
        arrays, content = checkpoints.read(checkpoint.path, "checkpoint")
        try:
            if content["spec"] != checkpoint.spec:
                raise AnotherTraining(f"{checkpoint.path} is the checkpoint of another training")
            if content.get("arithmetic") != ARITHMETIC:  # missing in checkpoints of the first versions
                raise GailbenchError(f"{checkpoint.path} was made by a version of gailbench that rounds differently")
            self.learner.load_state(part(arrays, "learner"))
            self.best = part(arrays, "best") or None
            self.rows, self.best_row, self.seconds = content["rows"], content["best_row"], content["seconds"]
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise GailbenchError(f"{checkpoint.path} is a damaged checkpoint ({first_line(error)})") from None


def resumed(
    make: Callable[[], Training],
    checkpoint: CheckpointFile,
    notice: Callable[[str], None],
    refused: tuple[type[GailbenchError], ...] = (),
) -> Training:
    """Return a training that continues from its checkpoint, if there is one.

    A checkpoint that cannot be continued is renamed, `notice` gets a message, and the training starts anew.

    Raises:
        Unreadable: The checkpoint cannot be read.
        GailbenchError: The checkpoint cannot be continued because of one of the errors in `refused`.
    """
    training = make()
    if not checkpoint.path.exists():
        return training
    try:
        training.load(checkpoint)
    except Unreadable:
        raise
    except GailbenchError as unusable:
        if isinstance(unusable, refused):
            raise GailbenchError(f"{unusable}; remove it to start anew") from None
        checkpoint.path.replace(checkpoint.aside)
        notice(f"{unusable}; it is now {checkpoint.aside.name} and the training starts anew")
        return make()
    return training


def curve_csv(rows: list[Row], columns: Sequence[str]) -> str:
    """Return a learning curve as CSV with these columns. Numbers have seven digits; missing ones are empty.

    Raises:
        GailbenchError: A row has a number for a column that is not among these.
    """
    if undeclared := sorted({name for row in rows for name in row} - set(columns)):
        raise GailbenchError(
            f"the learning curve has a column '{undeclared[0]}' that its algorithm does not declare; "
            "add it to the diagnostics of the Algorithm"
        )
    return pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, float_format="%.7g", lineterminator="\n")
