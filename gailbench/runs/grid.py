"""Many runs: their plan and order, what an engine (`gailbench.engines`) is given and what it tells.

Runs are ordered by their number of environment steps, then by seed, then as in the paper's table (size, algorithm):
its rows are complete from the quick tasks up, with one seed before there is a second.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gailbench import demonstrations, experts
from gailbench.algorithms import Algorithm, get_algorithm, registry
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError, first_line, nearest
from gailbench.plumbing.files import Unreadable, check_writable, write_atomic
from gailbench.plumbing.interrupts import Interrupted
from gailbench.plumbing.locks import Locked
from gailbench.runs import settings
from gailbench.runs.execute import execute
from gailbench.runs.folder import Notice, RunFolder, Status, folder_of, status
from gailbench.runs.spec import RunSpec, make_spec
from gailbench.tasks import Task

DEMONSTRATIONS_SEED = 0


@dataclass(frozen=True)
class Job:
    """A run to carry out.

    Attributes:
        spec: What determines it.
        demonstrations: The file of its demonstrations, if it learns from any.
        tensorboard: Whether its curve is also written for TensorBoard.
    """

    spec: RunSpec
    demonstrations: Path | None
    tensorboard: bool = False


Ending = Literal["complete", "failed", "interrupted", "locked"]


@dataclass(frozen=True)
class Event:
    """What happened to a job.

    Attributes:
        job: The job.
        kind: An iteration, something to know ("notice"), or how an attempt at it ended; "locked": another process
            is at it, and it is tried again later.
        row: Of the learning curve; of a complete run its `return_mean`.
        message: Of a notice, a failure, who holds the lock, or how a process ended that could not save.
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
        mean = execute(
            job.spec,
            load(),
            results,
            lambda row: on_event(Event(job, "row", row)),
            stop,
            checkpoint_every,
            lambda text: on_event(Event(job, "notice", message=text)),
            job.tensorboard,
        )
    except Interrupted:
        return Event(job, "interrupted")
    except Locked as held:
        return Event(job, "locked", message=str(held))
    except Exception as error:
        kept = keep_error(folder_of(job.spec, results), traceback.format_exc())
        if isinstance(error, GailbenchError):
            return Event(job, "failed", message=str(error))
        return Event(job, "failed", message=f"{type(error).__name__}: {first_line(error)} (details in {kept})")
    return Event(job, "complete", {"return_mean": mean})


def keep_error(folder: RunFolder, text: str) -> Path:
    """Write why a run failed to its folder, if that can be written at all; return the file."""
    with contextlib.suppress(OSError):
        folder.path.mkdir(parents=True, exist_ok=True)
        write_atomic(folder.error, text)
    return folder.error


def demonstrations_for(
    task: Task, results: Path, file: Path | None, notice: Notice = lambda text: None, write: bool = True
) -> tuple[Demonstrations, Path, bool]:
    """Return the demonstrations for a task's runs, their file, and whether they are a user's own.

    Without a file they are the shipped expert's, in the results folder; sampled now, and with `write` written, if
    they are not there yet or the file there is damaged.

    Raises:
        GailbenchError: No expert is shipped, a file is damaged or of another task.
    """
    path = file or standard_path(task, results)
    found = (
        demonstrations.read(path) if file is not None else _standard_demonstrations(task, path, results, notice, write)
    )
    if found.task != task.name:
        raise GailbenchError(f"{path} holds demonstrations of '{found.task}', not of '{task.name}'")
    if file is not None:
        experts.check_dimensions(task, path, found.observations.shape[1], found.num_actions, found.discrete)
    card = experts.card_of(task, results)
    standard = (
        card is not None
        and found.genuine
        and found.expert_sha256 == card["sha256"]
        and found.seed == DEMONSTRATIONS_SEED
        and found.trajectories == task.demonstrations
    )
    if file is None and not standard:
        raise GailbenchError(f"{path} was not sampled from the task's expert; move it away, or name it with --demos")
    return found, path, not standard


def _standard_demonstrations(task: Task, path: Path, results: Path, notice: Notice, write: bool) -> Demonstrations:
    if path.exists():
        try:
            found = demonstrations.read(path)
            if found.stated_sha256:
                return found
            remark = f"{path} was written by an earlier version, without a checksum"
        except Unreadable:  # it may be whole
            raise
        except GailbenchError as damage:
            remark = str(damage).partition("; ")[0]
        policy, digest = experts.load(task, results=results)
        notice(f"{remark}; it is sampled again from the task's expert")
    else:
        policy, digest = experts.load(task, results=results)
    found = demonstrations.sample(task, policy, digest, task.demonstrations, DEMONSTRATIONS_SEED)
    if write:
        found.write(path)
    return found


@dataclass(frozen=True)
class Request:
    """What a grid of runs is asked for; None means the paper's.

    Attributes:
        results: The results folder.
        demonstrations: File of a user's own.
        sizes: Demonstration sizes in trajectories.
        algorithms: Names.
        seeds: Seeds.
        entropy_weights: lambdas.
        batch: Pairs per iteration.
        iterations: Iterations or gradient steps.
        settings: Further settings as (name, value): text from the command line, or what a file holds.
        write: Whether demonstrations that are not there yet are sampled and written; without them a job's spec has no
            hash of them, and any run that is otherwise the same counts as done.
        tensorboard: Whether curves are also written for TensorBoard.
    """

    results: Path
    demonstrations: Path | None = None
    sizes: Sequence[int] | None = None
    algorithms: Sequence[str] | None = None
    seeds: Sequence[int] = (0,)
    entropy_weights: Sequence[float] | None = None
    batch: int | None = None
    iterations: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    write: bool = True
    tensorboard: bool = False


def plan(task: Task, request: Request, notice: Notice = lambda text: None) -> list[Job]:
    """Return the jobs of one task. `notice` hears of demonstrations that are sampled again.

    Raises:
        GailbenchError: A size is larger than the demonstrations, there are none to be had, or a setting is unknown.
    """
    jobs = []
    found, path, own = None, None, False
    algorithms = [get_algorithm(name) for name in request.algorithms or task.algorithms]
    _check_owners(request.settings, algorithms)
    _check_owners(task.settings, registry().values())  # a task's are for whatever runs on it
    for algorithm in algorithms:
        changes = _changes(algorithm, task, request)
        if algorithm.needs_demonstrations and path is None:
            path = request.demonstrations or standard_path(task, request.results)
            if request.demonstrations is None and not request.write and not path.exists():
                _check_can_be_sampled(task, request)
            else:
                found, path, own = demonstrations_for(
                    task, request.results, request.demonstrations, notice, request.write
                )
                for size in request.sizes or task.sizes:
                    found.subset(size, task.keep_every)  # says so now if the size is too large
        for size in (request.sizes or task.sizes) if algorithm.needs_demonstrations else (0,):
            weights = (request.entropy_weights or task.entropy_weights) if algorithm.has_entropy_weight else (0.0,)
            for weight in weights:
                for seed in request.seeds:
                    spec = make_spec(
                        task,
                        algorithm,
                        size,
                        seed,
                        found if algorithm.needs_demonstrations else None,
                        entropy_weight=weight,
                        batch=request.batch,
                        iterations=request.iterations,
                        changes=changes,
                        own_demonstrations=own and algorithm.needs_demonstrations,
                    )
                    jobs.append(Job(spec, path if algorithm.needs_demonstrations else None, request.tensorboard))
    # As in the paper's table: by size, then by algorithm.
    return sorted(jobs, key=lambda job: job.spec.trajectories)


def standard_path(task: Task, results: Path) -> Path:
    """Where the demonstrations of a task's expert are."""
    return results / "demos" / f"{task.name}.npz"


def _check_can_be_sampled(task: Task, request: Request) -> None:
    """Check what sampling would find.

    Raises:
        GailbenchError: There is no expert, or a size is larger than the full set.
    """
    experts.check_exists(task, request.results)
    for size in request.sizes or task.sizes:
        if size > task.demonstrations:
            raise GailbenchError(
                f"size {size} is larger than the demonstrations of '{task.name}', which hold {task.demonstrations} "
                "trajectories; choose a smaller --sizes, or name more, made by 'gailbench demos sample', with --demos"
            )


def _check_owners(given: Iterable[tuple[str, Any]], algorithms: Collection[Algorithm]) -> None:
    """Check that each setting is one of some algorithm's.

    Raises:
        GailbenchError: One is of none of them.
    """
    for name, _ in given:
        if not any(settings.belongs(algorithm, name) for algorithm in algorithms):
            known = [known for algorithm in algorithms for known in settings.describe(algorithm)]
            names = ", ".join(algorithm.name for algorithm in algorithms)
            raise GailbenchError(f"unknown setting '{name}' of {names}{nearest(name, known)}")


def _changes(algorithm: Algorithm, task: Task, request: Request) -> dict[str, Any]:
    """The settings of a request that are this algorithm's and differ from the task's, or from the defaults."""
    own = {
        name: settings.check(algorithm, name, value)
        for name, value in task.settings
        if settings.belongs(algorithm, name)
    }
    changes = {}
    for name, value in request.settings:
        if settings.belongs(algorithm, name):
            read = settings.parse if isinstance(value, str) else settings.check
            changes[name] = read(algorithm, name, value)
    usual = {**settings.describe(algorithm), **own} if changes else {}
    return {name: value for name, value in changes.items() if value != usual[name]}


def plan_all(
    tasks: Sequence[Task], request: Request, part: tuple[int, int] | None, notice: Notice = lambda text: None
) -> dict[Job, Status]:
    """Return the jobs of several tasks in their order, or of one part of them, with how far each is.

    Raises:
        GailbenchError: As `plan`; or there is something to do, and the results folder cannot be written.
    """

    def look(asked: Request, heard: Notice) -> dict[Job, Status]:
        jobs = [job for task in tasks for job in plan(task, asked, heard)]
        jobs = ordered(jobs) if part is None else shard(jobs, *part)
        return {job: status(job.spec, asked.results, heard) for job in jobs}

    # First without sampling anything: what is complete needs no demonstrations any more.
    remarks: list[str] = []
    states = look(replace(request, write=False), remarks.append)
    if request.write and any(state != "complete" for state in states.values()):
        states = look(request, notice)
        check_writable(request.results / "runs")
        return states
    for remark in remarks:
        notice(remark)
    return states
