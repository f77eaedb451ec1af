"""Many runs: planning and ordering them, the jobs that an engine (`gailbench.engines`) gets and the events it reports.

Runs are ordered by their number of environment steps, then by seed, then as in the paper's table (size, algorithm). So
the quick tasks are complete first, and all runs of a task with one seed are complete before those with the next.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gailbench import demonstrations, experts
from gailbench.algorithms import Algorithm, get_algorithm, registry
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError, first_line, plural
from gailbench.plumbing.files import Unreadable, check_writable, write_atomic
from gailbench.plumbing.interrupts import Interrupted
from gailbench.plumbing.locks import Locked
from gailbench.runs import settings
from gailbench.runs.execute import execute
from gailbench.runs.folder import AnotherRun, Notice, RunFolder, Status, folder_of, status
from gailbench.runs.spec import RunSpec, make_spec
from gailbench.tasks import Task

DEMONSTRATIONS_SEED = 0


@dataclass(frozen=True)
class Job:
    """A run to do.

    Attributes:
        spec: The spec of the run.
        demonstrations: The demonstrations file; None for an algorithm that needs no demonstrations.
        tensorboard: Whether the learning curve is also written for TensorBoard.
    """

    spec: RunSpec
    demonstrations: Path | None
    tensorboard: bool = False


Ending = Literal["complete", "failed", "interrupted", "locked"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    Attributes:
        job: The job.
        kind: "started"; "row": a row of the learning curve; "notice": a message for the user; or how an attempt ended.
            "locked" means that another process works on the run; it is tried again later.
        row: The row of the learning curve; for "complete", the run's `return_mean`.
        message: The text of a notice or a failure; for "locked", who holds the lock; for "interrupted", how the process
            ended if it could not save.
    """

    job: Job
    kind: Literal["started", "row", "notice"] | Ending
    row: dict[str, float] = field(default_factory=dict)
    message: str = ""


OnEvent = Callable[[Event], None]


@dataclass
class Outcome:
    """How many runs ended: mean returns of complete runs, messages of failed runs, and whether all was interrupted."""

    complete: dict[RunSpec, float] = field(default_factory=dict)
    failed: dict[RunSpec, str] = field(default_factory=dict)
    interrupted: bool = False

    def record(self, event: Event) -> None:
        """Record how an attempt ended."""
        if event.kind == "complete":
            self.complete[event.job.spec] = event.row["return_mean"]
        elif event.kind == "failed":
            self.failed[event.job.spec] = event.message


def ordered(jobs: list[Job]) -> list[Job]:
    """Return planned jobs in the order in which they start."""
    return sorted(jobs, key=lambda job: (job.spec.steps, job.spec.seed))


def shard(jobs: list[Job], number: int, of: int) -> list[Job]:
    """Return every `of`-th job in the order, starting with job `number` (from 1)."""
    return ordered(jobs)[number - 1 :: of]


def attempt(
    job: Job,
    load: Callable[[], Demonstrations | None],
    results: Path,
    on_event: OnEvent,
    stop: Callable[[], bool],
    checkpoint_every: float,
) -> Event:
    """Do a job in this process and return how it ended. An error is written into the run folder."""
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
    except AnotherRun as other:  # its complete folder gets no error.txt
        return Event(job, "failed", message=str(other))
    except Exception as error:
        kept = keep_error(folder_of(job.spec, results), traceback.format_exc())
        if isinstance(error, GailbenchError):
            return Event(job, "failed", message=str(error))
        return Event(job, "failed", message=f"{type(error).__name__}: {first_line(error)} (details in {kept})")
    return Event(job, "complete", {"return_mean": mean})


def keep_error(folder: RunFolder, text: str) -> Path:
    """Write why a run failed into its folder, if the folder can be written. Return the path of the file."""
    with contextlib.suppress(OSError):
        folder.path.mkdir(parents=True, exist_ok=True)
        write_atomic(folder.error, text)
    return folder.error


def demonstrations_for(
    task: Task, results: Path, file: Path | None, notice: Notice = lambda text: None, write: bool = True
) -> tuple[Demonstrations, Path, bool]:
    """Return the demonstrations for a task's runs, their file, and whether they are a user's own.

    Without `file` they are those of the task's expert, from the results folder. If they are missing or damaged there,
    they are sampled, and with `write` also written. A damaged file is renamed first.

    Raises:
        GailbenchError: The task has no expert, or a file is damaged or of another task.
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
    if file is None and card is not None:
        experts.check_trained_on(task, experts.default_path(task, results), card)
    sampled = (
        card is not None
        and found.genuine
        and found.expert_sha256 == card["sha256"]
        and found.seed == DEMONSTRATIONS_SEED
    )
    standard = sampled and found.trajectories == task.demonstrations
    if file is None and not standard:
        held = f"holds {plural(found.trajectories, 'trajectory')}, but the task's demonstrations are now"
        wrong = f"{held} {task.demonstrations}" if sampled else "was not sampled from the task's expert"
        raise GailbenchError(f"{path} {wrong}; move it away, or name it with --demos")
    return found, path, not standard


def _standard_demonstrations(task: Task, path: Path, results: Path, notice: Notice, write: bool) -> Demonstrations:
    if path.exists():
        try:
            found = demonstrations.read(path)
            if found.stated_sha256 or not found.expert_sha256:  # an import has neither
                return found
            remark = f"{path} was written by an earlier version, without a checksum"
        except Unreadable:  # the file may be undamaged
            raise
        except GailbenchError as damage:
            remark = str(damage).partition("; ")[0]
        policy, digest = experts.load(task, results=results)
        if write:
            remark = f"{remark}; it is now {_put_aside(path).name}"
        notice(f"{remark}; demonstrations are sampled again from the task's expert")
    else:
        policy, digest = experts.load(task, results=results)
    found = demonstrations.sample(task, policy, digest, task.demonstrations, DEMONSTRATIONS_SEED)
    if write:
        found.write(path)
    return found


def _put_aside(path: Path) -> Path:
    """Rename a file, which may be a user's, and return its new path.

    Raises:
        GailbenchError: There is a file of the new name already, or the file cannot be renamed.
    """
    aside = path.with_name(f"unusable-{path.name}")
    if aside.exists():
        raise GailbenchError(f"{path} cannot be used, and {aside} is there already; move one of them away")
    try:
        return path.rename(aside)
    except OSError as error:
        raise GailbenchError(f"{path} cannot be used, and not be renamed either: {error.strerror}") from None


@dataclass(frozen=True)
class Request:
    """Which runs are requested. None means the task's value, which is the paper's for the paper's tasks.

    Attributes:
        results: The results folder.
        demonstrations: A user's demonstrations file.
        sizes: Demonstration sizes in trajectories.
        algorithms: Names of algorithms.
        seeds: Seeds.
        entropy_weights: GAIL's weights of the policy's entropy (lambda).
        batch: State-action pairs per iteration.
        iterations: Number of iterations or gradient steps.
        settings: Further settings as (name, value). Values are text from the command line, or have the types of a TOML
            file.
        write: Whether missing demonstrations are sampled and written. If they are missing and not written, the specs
            have no hash of them, and a run that is otherwise the same counts as complete.
        tensorboard: Whether learning curves are also written for TensorBoard.
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
    """Return the jobs of one task. If demonstrations are sampled again, `notice` gets a message.

    Raises:
        GailbenchError: A size is larger than the demonstrations, there are no demonstrations and no expert, a setting
            is unknown, or a batch or entropy weight is given and none of the algorithms has one.
    """
    jobs = []
    found, path, own = None, None, False
    algorithms = [get_algorithm(name) for name in request.algorithms or task.algorithms]
    settings.check_owners(request.settings, algorithms)
    settings.check_owners(task.settings, registry().values())  # a task may have settings for any algorithm
    _check_has_effect("batch", request.batch, [algorithm.takes_environment_steps for algorithm in algorithms])
    _check_has_effect("entropy weight", request.entropy_weights, [a.has_entropy_weight for a in algorithms])
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
                    found.subset(size, task.keep_every)  # an error now if the size is too large
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
    # The order of the paper's table: by size, then by algorithm.
    return sorted(jobs, key=lambda job: job.spec.trajectories)


def _check_has_effect(name: str, value: object, used: Sequence[bool]) -> None:
    """Raise a GailbenchError if a setting is given that none of the algorithms uses."""
    if value is not None and not any(used):
        raise GailbenchError(f"none of the algorithms has a setting '{name}'; leave it out, or add one that has it")


def standard_path(task: Task, results: Path) -> Path:
    """Return the path of the demonstrations of a task's expert."""
    return results / "demos" / f"{task.name}.npz"


def _check_can_be_sampled(task: Task, request: Request) -> None:
    """Check that the demonstrations could be sampled.

    Raises:
        GailbenchError: The task has no expert, or a size is larger than the full set of demonstrations.
    """
    experts.check_exists(task, request.results)
    for size in request.sizes or task.sizes:
        if size > task.demonstrations:
            raise demonstrations.too_few(task.name, size, task.demonstrations)


def _changes(algorithm: Algorithm, task: Task, request: Request) -> dict[str, Any]:
    """Return those settings of a request that belong to this algorithm and differ from the task's or the defaults."""
    own = settings.of_task(algorithm, task)
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
    """Return the jobs of several tasks, or of one shard of them, in their order and with the status of each.

    Raises:
        GailbenchError: As in `plan`; or there are incomplete runs and the results folder cannot be written.
    """

    def look(sampled: Collection[str], heard: Notice) -> dict[Job, Status]:
        """Return the jobs. Only tasks whose names are in `sampled` get their demonstrations sampled and written."""
        jobs = [job for task in tasks for job in plan(task, replace(request, write=task.name in sampled), heard)]
        jobs = ordered(jobs) if part is None else shard(jobs, *part)
        return {job: status(job.spec, request.results, heard) for job in jobs}

    # First without sampling: complete runs need no demonstrations.
    remarks: list[str] = []
    states = look((), remarks.append)
    incomplete = {job.spec.task for job, state in states.items() if state != "complete"}
    if request.write and incomplete:
        states = look(incomplete, notice)
        check_writable(request.results / "runs")
        return states
    for remark in remarks:
        notice(remark)
    return states
