"""Many runs: their plan and order, what an engine (`gailbench.engines`) is given and what it tells.

Runs are ordered by their number of environment steps, then by seed, then as in the paper's table (size, algorithm):
its rows are complete from the quick tasks up, with one seed before there is a second.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gailbench import demonstrations, experts, runs
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import write_atomic
from gailbench.plumbing.interrupts import Interrupted
from gailbench.plumbing.locks import Locked
from gailbench.runs import Notice, RunSpec
from gailbench.tasks import CONSTANT, Task

DEMONSTRATIONS_SEED = 0


@dataclass(frozen=True)
class Job:
    """A run to carry out, and the file of its demonstrations, if it learns from any."""

    spec: RunSpec
    demonstrations: Path | None


Ending = Literal["complete", "failed", "interrupted", "locked"]


@dataclass(frozen=True)
class Event:
    """What happened to a job.

    Attributes:
        job: The job.
        kind: An iteration, something to know ("notice"), or how an attempt at it ended; "locked": another process
            is at it, and it is tried again later.
        row: Of the learning curve; of a complete run its `return_mean`.
        message: Of a notice, a failure, or who holds the lock.
    """

    job: Job
    kind: Literal["started", "row", "notice"] | Ending
    row: dict[str, float] = field(default_factory=dict)
    message: str = ""


OnEvent = Callable[[Event], None]


@dataclass
class Outcome:
    """How a grid ended: mean returns of complete runs, messages of failed ones, whether it was interrupted."""

    complete: dict[RunSpec, float] = field(default_factory=dict)
    failed: dict[RunSpec, str] = field(default_factory=dict)
    interrupted: bool = False

    def record(self, event: Event) -> None:
        """Take how an attempt ended."""
        if event.kind == "complete":
            self.complete[event.job.spec] = event.row["return_mean"]
        elif event.kind == "failed":
            self.failed[event.job.spec] = event.message


def ordered(jobs: list[Job]) -> list[Job]:
    """Return planned jobs in the order in which they are begun."""
    return sorted(jobs, key=lambda job: (job.spec.steps, job.spec.seed))


def shard(jobs: list[Job], number: int, of: int) -> list[Job]:
    """Return the jobs of one of `of` shards of a plan, numbered from 1: every `of`-th in the order."""
    return ordered(jobs)[number - 1 :: of]


def attempt(
    job: Job,
    load: Callable[[], Demonstrations | None],
    results: Path,
    on_event: OnEvent,
    stop: Callable[[], bool],
    checkpoint_every: float,
) -> Event:
    """Carry out a job in this process; return how it ended. An error is kept in the run's folder."""
    try:
        mean = runs.execute(
            job.spec,
            load(),
            results,
            lambda row: on_event(Event(job, "row", row)),
            stop,
            checkpoint_every,
            lambda text: on_event(Event(job, "notice", message=text)),
        )
    except Interrupted:
        return Event(job, "interrupted")
    except Locked as held:
        return Event(job, "locked", message=str(held))
    except Exception as error:
        kept = keep_error(job.spec.folder(results), traceback.format_exc())
        if isinstance(error, GailbenchError):
            return Event(job, "failed", message=str(error))
        return Event(job, "failed", message=f"{type(error).__name__}: {first_line(error)} (details in {kept})")
    return Event(job, "complete", {"return_mean": mean})


def keep_error(folder: Path, text: str) -> Path:
    """Write why a run failed to its folder, if that can be written at all; return the file."""
    path = folder / "error.txt"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    return path


def demonstrations_for(
    task: Task, results: Path, file: Path | None, notice: Notice = lambda text: None, write: bool = True
) -> tuple[Demonstrations, Path, bool]:
    """Return the demonstrations for a task's runs, their file, and whether they are a user's own.

    Without a file they are the shipped expert's, in the results folder; sampled now, and with `write` written, if
    they are not there yet or the file there is damaged.

    Raises:
        GailbenchError: No expert is shipped, a file is damaged or of another task.
    """
    path = file or results / "demos" / f"{task.name}.npz"
    found = demonstrations.read(path) if file is not None else _standard_demonstrations(task, path, notice, write)
    if found.task != task.name:
        raise GailbenchError(f"{path} holds demonstrations of '{found.task}', not of '{task.name}'")
    if file is not None:
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


def _standard_demonstrations(task: Task, path: Path, notice: Notice, write: bool) -> Demonstrations:
    if path.exists():
        try:
            return demonstrations.read(path)
        except GailbenchError as damage:
            policy, digest = experts.load(task)
            notice(f"{str(damage).partition('; ')[0]}; it is sampled again from the shipped expert")
    else:
        policy, digest = experts.load(task)
    found = demonstrations.sample(task, policy, digest, task.demonstrations, DEMONSTRATIONS_SEED)
    if write:
        found.write(path)
    return found


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
    notice: Notice = lambda text: None,
    write: bool = True,
) -> list[Job]:
    """Return the jobs of one task; None means the paper's grid. `notice` and `write`: see `demonstrations_for`.

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
    found, path, own = demonstrations_for(task, results, demonstrations_file, notice, write)
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
