"""Many runs: plan them, skip what is done, carry out the rest in single-threaded worker processes.

Runs are ordered by their number of environment steps, so that rows of the table fill from the quick tasks up.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from gailbench import demonstrations, experts, runs
from gailbench.demonstrations import Demonstrations
from gailbench.errors import GailbenchError
from gailbench.interrupts import StopSignals
from gailbench.runs import RunSpec
from gailbench.tasks import CONSTANT, Task

DEMONSTRATIONS_SEED = 0


@dataclass(frozen=True)
class Job:
    """A run to carry out, and the file of its demonstrations, if it learns from any."""

    spec: RunSpec
    demonstrations: Path | None


@dataclass(frozen=True)
class Event:
    """What happened to a job: an iteration ("row" holds it), or its end."""

    job: Job
    kind: Literal["started", "row", "complete", "failed", "interrupted"]
    row: dict[str, float] = field(default_factory=dict)
    message: str = ""


@dataclass
class Outcome:
    """How a grid ended: mean returns of complete runs, messages of failed ones, whether it was interrupted."""

    complete: dict[RunSpec, float] = field(default_factory=dict)
    failed: dict[RunSpec, str] = field(default_factory=dict)
    interrupted: bool = False


def demonstrations_for(task: Task, results: Path, file: Path | None) -> tuple[Demonstrations, Path, bool]:
    """Return the demonstrations for a task's runs, their file, and whether they are a user's own.

    Without a file they are the shipped expert's, in the results folder, sampled now if they are not there yet.

    Raises:
        GailbenchError: No expert is shipped, a file is damaged or of another task.
    """
    path = file or results / "demos" / f"{task.name}.npz"
    if file is None and not path.exists():
        policy, digest = experts.load(task)
        demonstrations.sample(task, policy, digest, task.demonstrations, DEMONSTRATIONS_SEED).write(path)
    found = demonstrations.read(path)
    if found.task != task.name:
        raise GailbenchError(f"{path} holds demonstrations of '{found.task}', not of '{task.name}'")
    experts.check_dimensions(task, path, found.observations.shape[1], found.num_actions, found.discrete)
    card = experts.card(task.name)
    standard = (
        card is not None
        and found.expert_sha256 == card["sha256"]
        and found.seed == DEMONSTRATIONS_SEED
        and found.trajectories == task.demonstrations
    )
    if file is None and not standard:
        raise GailbenchError(f"{path} was not sampled from the shipped expert; move it away, or name it with --demos")
    return found, path, not standard


def plan(
    task: Task,
    results: Path,
    demonstrations_file: Path | None,
    sizes: list[int] | None,
    algorithms: list[str] | None,
    seeds: list[int],
    entropy_weights: list[float] | None,
    batch: int | None,
    iterations: int | None,
) -> list[Job]:
    """Return the jobs of one task; None means the paper's grid.

    Raises:
        GailbenchError: A size is larger than the demonstrations, or there are none to be had.
    """
    jobs = []
    if CONSTANT in (algorithms or ()):
        specs = (runs.make_spec(task, CONSTANT, 0, seed, None, batch=batch, iterations=iterations) for seed in seeds)
        jobs += [Job(spec, None) for spec in specs]
        algorithms = [algorithm for algorithm in algorithms or () if algorithm != CONSTANT]
        if not algorithms:
            return jobs
    found, path, own = demonstrations_for(task, results, demonstrations_file)
    for size in sizes or task.sizes:
        found.subset(size, task.keep_every)  # says so now if the size is too large
        for algorithm in algorithms or task.algorithms:
            weights = (entropy_weights or task.entropy_weights) if algorithm == "gail" else (0.0,)
            for weight in weights:
                for seed in seeds:
                    spec = runs.make_spec(
                        task,
                        algorithm,
                        size,
                        seed,
                        found,
                        entropy_weight=weight,
                        batch=batch,
                        iterations=iterations,
                        own_demonstrations=own,
                    )
                    jobs.append(Job(spec, path))
    return jobs


def execute(
    jobs: list[Job],
    results: Path,
    workers: int,
    on_event: Callable[[Event], None] = lambda event: None,
    checkpoint_every: float = 300.0,
) -> Outcome:
    """Carry out jobs in worker processes, fewest steps first; SIGINT or SIGTERM saves checkpoints and returns.

    A run that fails, or whose worker the system kills, does not stop the others.
    """
    waiting = sorted(jobs, key=lambda job: (job.spec.steps, job.spec.seed))
    outcome = Outcome()
    context = multiprocessing.get_context("spawn")
    pool: list[_Worker] = []
    stopping = StopSignals()
    deadline = 0.0
    with stopping:
        while waiting or pool:
            while waiting and len(pool) < workers and not stopping.set:
                pool.append(_Worker(context, results, checkpoint_every))
            for worker in pool:
                if worker.job is None and waiting and not stopping.set:
                    worker.give(waiting.pop(0))
                    on_event(Event(worker.current(), "started"))
            if stopping.set and not outcome.interrupted:
                outcome.interrupted = True
                deadline = time.monotonic() + 8
                waiting.clear()
                for worker in pool:
                    worker.terminate()
            if outcome.interrupted and time.monotonic() > deadline:
                for worker in pool:
                    worker.kill()
            for worker in [w for w in pool if w.job is None]:
                worker.close()
                pool.remove(worker)
            if not pool:
                continue
            for connection in wait([worker.connection for worker in pool], timeout=0.2):
                worker = next(w for w in pool if w.connection is connection)
                for event in worker.receive():
                    _record(event, outcome)
                    on_event(event)
                if worker.dead:
                    pool.remove(worker)
    return outcome


def _record(event: Event, outcome: Outcome) -> None:
    if event.kind == "complete":
        outcome.complete[event.job.spec] = event.row["return_mean"]
    elif event.kind == "failed" and not outcome.interrupted:
        outcome.failed[event.job.spec] = event.message


class _Worker:
    """A process that carries out one job after another, and the pipe to it."""

    def __init__(self, context: Any, results: Path, checkpoint_every: float) -> None:
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, results, checkpoint_every), daemon=True)
        # Libraries read this when they are imported; a worker is one thread.
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            self.process.start()
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before
        theirs.close()
        self.job: Job | None = None
        self.dead = False

    def current(self) -> Job:
        assert self.job is not None
        return self.job

    def give(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # a dead worker is noticed when it is read
            self.connection.send(job)

    def receive(self) -> list[Event]:
        """Return what has arrived; a worker that died fails its job."""
        job = self.current()
        try:
            kind, row, message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            self.dead = True
            code = self.process.exitcode or 0
            cause = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            return [Event(job, "failed", message=f"its process ended {cause}")]
        if kind != "row":
            self.job = None
        return [Event(job, kind, row, message)]

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.connection.close()
        self.process.join()


def _work(connection: Connection, results: Path, checkpoint_every: float) -> None:
    """The worker's loop: ends when the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    import torch

    from gailbench.training import Interrupted

    torch.set_num_threads(1)
    loaded: dict[Path, Demonstrations] = {}
    while not stopping:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        folder = job.spec.folder(results)
        try:
            if job.demonstrations is not None and job.demonstrations not in loaded:
                loaded = {job.demonstrations: demonstrations.read(job.demonstrations)}
            mean = runs.execute(
                job.spec,
                None if job.demonstrations is None else loaded[job.demonstrations],
                results,
                lambda row: connection.send(("row", row, "")),
                lambda: stopping,
                checkpoint_every,
            )
            connection.send(("complete", {"return_mean": mean}, ""))
        except Interrupted:
            connection.send(("interrupted", {}, ""))
        except Exception as error:
            with contextlib.suppress(OSError):
                (folder / "error.txt").write_text(traceback.format_exc())
            kind = "" if isinstance(error, GailbenchError) else f"{type(error).__name__}: "
            where = f" (details in {folder / 'error.txt'})" if kind else ""
            connection.send(("failed", {}, f"{kind}{str(error).splitlines()[0] if str(error) else ''}{where}"))
