"""Doing one run in its folder: train (or continue from a checkpoint), evaluate, and write the results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gailbench.algorithms import Algorithm, Assignment, get_algorithm
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import remove_temporary, write_atomic
from gailbench.plumbing.locks import Lock
from gailbench.runs import folder as folders
from gailbench.runs.folder import Notice, RunFolder, evaluation_csv, folder_of
from gailbench.runs.settings import LOOP, apply, of_task
from gailbench.runs.spec import RunSpec
from gailbench.runs.tensorboard import EventFile

if TYPE_CHECKING:
    from gailbench.training import Learner, Training


def make_learner(spec: RunSpec, demonstrations: Demonstrations | None, results: Path = Path("results")) -> Learner:
    """Return the learner of a run, before its first iteration."""
    from gailbench.algorithms.loop import LoopSettings

    task = spec.task_itself()
    algorithm = get_algorithm(spec.algorithm)
    changes = {**of_task(algorithm, task), **dict(spec.changes)}
    loop = LoopSettings(batch=spec.batch or task.batch, entropy_weight=spec.entropy_weight or 0.0)
    own = algorithm.settings_class()
    subset = spec.trajectories, task.keep_every
    return algorithm.make(
        Assignment(
            task=task,
            demonstrations=demonstrations,
            pairs=None if demonstrations is None else demonstrations.subset(*subset),
            rows=None if demonstrations is None else demonstrations.kept(*subset),
            iterations=spec.iterations,
            seed=spec.seed,
            loop=apply(loop, LOOP, changes),
            settings=None if own is None else apply(own(), algorithm.name, changes),
            results=results,
        )
    )


def execute(
    spec: RunSpec,
    demonstrations: Demonstrations | None,
    results: Path,
    on_row: Callable[[dict[str, float]], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 300.0,
    notice: Notice = lambda text: None,
    tensorboard: bool = False,
) -> float:
    """Do a run and return its mean evaluation return. If there is a checkpoint, the run continues from it.

    With `tensorboard` the learning curve is also written to an event file for TensorBoard.

    Raises:
        Interrupted: `stop` returned true or a signal came; the same call continues the run.
        Locked: Another process works on the run.
        GailbenchError: The folder cannot be written, the demonstrations are not those of the spec or are too few, or
            TensorBoard is not installed.
    """
    if demonstrations is not None and demonstrations.sha256() != spec.demonstrations_sha256:
        raise GailbenchError(
            f"the demonstrations of '{spec.task}' were changed after the runs were planned; give the same command again"
        )
    folder = folder_of(spec, results)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with Lock(folder.lock):
            remove_temporary(folder.path / "*")
            returns = folder.returns(spec, notice)  # another process may have completed the run
            if returns is None:
                returns = _train_and_evaluate(
                    spec, demonstrations, results, folder, on_row, stop, checkpoint_every, notice, tensorboard
                )
            folder.checkpoint.unlink(missing_ok=True)
            folder.error.unlink(missing_ok=True)
    except OSError as error:
        raise GailbenchError(f"cannot write {error.filename or folder.path}: {error.strerror}") from None
    return float(returns.mean())


class _GrowingCurve:
    """Writes the learning curve during a run, so that any tool can follow it: curve.csv, and TensorBoard's file."""

    EVERY = 10.0  # seconds

    def __init__(self, folder: RunFolder, algorithm: Algorithm, training: Training, tensorboard: bool) -> None:
        self._folder, self._algorithm, self._training = folder, algorithm, training
        self._events = EventFile(folder, training.rows) if tensorboard else None
        self._written = time.monotonic()

    def show(self, row: dict[str, float], on_row: Callable[[dict[str, float]], None]) -> None:
        """Pass a row to `on_row`, and write the curve if `EVERY` seconds have passed since the last time."""
        on_row(row)
        if time.monotonic() - self._written >= self.EVERY:
            self.write()

    def write(self) -> None:
        """Write the curve so far."""
        from gailbench.training import curve_csv

        write_atomic(self._folder.curve, curve_csv(self._training.rows, self._algorithm.columns))
        if self._events is not None:
            self._events.extend(self._training.rows)
        self._written = time.monotonic()

    def close(self) -> None:
        """Write the curve for the last time."""
        self.write()
        if self._events is not None:
            self._events.close()


def _train_and_evaluate(
    spec: RunSpec,
    demonstrations: Demonstrations | None,
    results: Path,
    folder: RunFolder,
    on_row: Callable[[dict[str, float]], None],
    stop: Callable[[], bool],
    checkpoint_every: float,
    notice: Notice,
    tensorboard: bool,
) -> NDArray[np.float64]:
    """Train, evaluate and write the run's files. Return the returns of the evaluation."""
    from gailbench.plumbing.interrupts import interruptible
    from gailbench.plumbing.streams import stream
    from gailbench.plumbing.versions import command, versions
    from gailbench.policy import policy_bytes
    from gailbench.sampling import evaluate
    from gailbench.training import CheckpointFile, Training, curve_csv, resumed

    made_with = {**versions(), "command": command()}  # before hours in which the source may change
    algorithm = get_algorithm(spec.algorithm)
    folder.evaluation.unlink(missing_ok=True)  # a damaged run may have one
    write_atomic(folder.spec, json.dumps(spec.as_json(), indent=2) + "\n")
    checkpoint = CheckpointFile(folder.checkpoint, spec.as_json(), checkpoint_every)
    training = resumed(
        lambda: Training(
            make_learner(spec, demonstrations, results), spec.iterations, required=algorithm.required_columns
        ),
        checkpoint,
        notice,
    )
    growing = _GrowingCurve(folder, algorithm, training, tensorboard)
    try:
        training.run(checkpoint, lambda row: growing.show(row, on_row), stop)
    finally:
        growing.close()
    policy = training.learner.policy

    started = time.monotonic()
    with interruptible():
        returns, lengths = evaluate(spec.task_itself(), policy, folders.EPISODES, stream(spec.seed, "evaluation"))
    timing = {
        "training_seconds": round(training.seconds, 2),
        "evaluation_seconds": round(time.monotonic() - started, 2),
    }
    folder.write_result(
        {
            folder.curve.name: curve_csv(training.rows, algorithm.columns),
            folder.policy.name: policy_bytes(policy),
            folder.versions.name: json.dumps(made_with, indent=2) + "\n",
            folder.timing.name: json.dumps(timing, indent=2) + "\n",
            folder.evaluation.name: evaluation_csv(returns, lengths),
        }
    )
    return returns
