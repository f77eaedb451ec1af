"""The Ray engine: every run is a Ray task, on any node of a cluster with a free core.

If a node or process is lost, Ray retries the task. If a process is told to end, the driver submits its run once more.
The run continues from its last checkpoint if the nodes share the results folder. On a node that does not share it, the
run is done in a temporary folder of the node. When it ends, its files are sent back, including its checkpoint.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gailbench import demonstrations, experts
from gailbench.demonstrations import Demonstrations
from gailbench.engines import GRACE, LOCKED_PAUSE, Endings
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.extras import load_extra
from gailbench.plumbing.files import write_atomic
from gailbench.plumbing.interrupts import StopSignals
from gailbench.plumbing.locks import Lock, Locked
from gailbench.runs.folder import RunFolder, folder_of
from gailbench.runs.grid import Event, Job, OnEvent, Outcome, attempt, keep_error, ordered
from gailbench.tasks import TASKS

CPUS = 1
RETRIES = 5
Files = dict[str, bytes]


def execute(
    jobs: list[Job],
    results: Path,
    address: str | None = None,
    on_event: OnEvent = lambda event: None,
    checkpoint_every: float = 300.0,
    deadline: float = float("inf"),
) -> Outcome:
    """Do jobs as Ray tasks. On a signal or at the deadline, checkpoints are saved and the function returns.

    Args:
        jobs: The jobs.
        results: The results folder. Nodes that share it write there.
        address: The cluster to join. "auto" is the one that this machine belongs to. None starts one on this machine.
        on_event: Gets an event when a run ends, and notices about it.
        checkpoint_every: Seconds between two checkpoints of a run.
        deadline: Time to stop, on the clock of `time.monotonic`.

    Raises:
        GailbenchError: Ray is not installed, or there is no cluster at the address.
    """
    ray = load_extra("ray", "ray", "--engine ray")
    if not jobs:
        return Outcome()
    try:
        _check_address(address)
        ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise GailbenchError(f"no Ray cluster at {address}: {first_line(error)}") from None

    results = results.resolve()
    for left in results.glob(".ray-*.tmp"):  # leftovers of killed drivers
        with contextlib.suppress(OSError, Locked), Lock(left):
            pass
    # A node that sees this file shares the folder.
    token = results / f".ray-{uuid.uuid4().hex}.tmp"
    try:
        with Lock(token):
            return _Driver(ray, results, token, checkpoint_every).work(ordered(jobs), on_event, deadline)
    finally:
        ray.shutdown()


def _check_address(address: str | None) -> None:
    """Check that host:port accepts connections. Ray itself would try for minutes and then end the process.

    Raises:
        OSError: Nothing listens there.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


class _Driver:
    """Submits jobs and receives their results."""

    def __init__(self, ray: Any, results: Path, token: Path, checkpoint_every: float) -> None:
        self._ray, self._results, self._token = ray, results, token
        self._checkpoint_every = checkpoint_every
        self._task = ray.remote(num_cpus=CPUS, max_retries=RETRIES)(_carry_out)
        self._demonstrations: dict[Path | None, Any] = {}
        self._open: dict[Any, Job] = {}

    def work(self, jobs: list[Job], on_event: OnEvent, deadline: float) -> Outcome:
        outcome = Outcome()
        locked: list[tuple[float, Job]] = []

        def put_off(job: Job) -> None:
            locked.append((time.monotonic() + LOCKED_PAUSE, job))

        endings = Endings(self._results, outcome, on_event, again=self._submit, later=put_off)
        give_up = float("inf")
        with StopSignals() as signals:
            for job in jobs:
                self._submit(job)
            while self._open or locked:
                now = time.monotonic()
                if not outcome.interrupted and (signals.set or now >= deadline):
                    outcome.interrupted = True
                    give_up = now + GRACE
                    locked.clear()
                    for reference in self._open:
                        self._ray.cancel(reference)
                if now > give_up:
                    break
                for entry in [entry for entry in locked if entry[0] <= now]:
                    locked.remove(entry)
                    self._submit(entry[1])
                if not self._open:
                    time.sleep(0.2)
                    continue
                ready, _ = self._ray.wait(list(self._open), timeout=0.2)
                if signals.set and not outcome.interrupted:
                    continue  # tasks may have got the same signal: what they return is an interruption
                for reference in ready:
                    event, notices = self._result(reference)
                    for text in notices:
                        on_event(Event(event.job, "notice", message=text))
                    endings.receive(event)
        return outcome

    def _submit(self, job: Job) -> None:
        path = job.demonstrations
        if path not in self._demonstrations:
            self._demonstrations[path] = self._ray.put(None if path is None else demonstrations.read(path))
        reference = self._task.remote(
            job,
            self._demonstrations[path],
            self._results,
            self._token,
            _files(folder_of(job.spec, self._results)),
            _own_expert(job, self._results),
            self._checkpoint_every,
        )
        self._open[reference] = job

    def _result(self, reference: Any) -> tuple[Event, list[str]]:
        """Return how a task ended, and its notices. Write the files that it sent back."""
        job = self._open.pop(reference)
        folder = folder_of(job.spec, self._results)
        try:
            event, notices, files = self._ray.get(reference)
            _write_files(folder, files)
        except self._ray.exceptions.TaskCancelledError:
            return Event(job, "interrupted"), []
        except self._ray.exceptions.RayError as error:
            keep_error(folder, f"{error}\n")
            return Event(job, "failed", message=f"Ray gave up on the run: {first_line(error)}"), []
        except OSError as error:
            return Event(job, "failed", message=f"cannot write {error.filename or folder.path}: {error.strerror}"), []
        # The event's job is a copy; return the driver's own object.
        return Event(job, event.kind, event.row, event.message), notices


def _carry_out(
    job: Job,
    found: Demonstrations | None,
    results: Path,
    token: Path,
    files: Files,
    expert: Files,
    checkpoint_every: float,
) -> tuple[Event, list[str], Files]:
    """The Ray task: do a job in the results folder, or in a temporary folder of this node and return its files.

    It also returns the notices about the job. `files` are those of the run, `expert` those of the task's expert.
    """
    from gailbench.plumbing.computing import prepare_process

    prepare_process(CPUS)
    notices: list[str] = []

    def hear(event: Event) -> None:
        if event.kind == "notice":
            notices.append(event.message)

    with StopSignals() as signals:  # Ray cancels by SIGINT
        if token.exists():
            event = attempt(job, lambda: found, results, hear, lambda: signals.set, checkpoint_every)
            return event, notices, {}
        with tempfile.TemporaryDirectory(prefix="gailbench-") as temporary:
            folder = folder_of(job.spec, Path(temporary))
            folder.path.mkdir(parents=True)
            _write_files(folder, files)
            experts_here = Path(temporary) / "experts"
            experts_here.mkdir()
            for name, content in expert.items():
                write_atomic(experts_here / name, content)
            event = attempt(job, lambda: found, Path(temporary), hear, lambda: signals.set, checkpoint_every)
            return event, notices, _files(folder)


def _files(folder: RunFolder) -> Files:
    """Return the contents of a run's files, by name."""
    if not folder.path.is_dir():
        return {}
    return _contents(path for path in folder.path.iterdir() if path != folder.lock)


def _own_expert(job: Job, results: Path) -> Files:
    """Return the files of the expert of a user's own task. Some algorithms query it."""
    task = job.spec.task_itself()
    path = experts.default_path(task, results)
    return {} if task.name in TASKS else _contents((path, path.with_suffix(".json")))


def _contents(paths: Iterable[Path]) -> Files:
    """Return the contents of those files that are there, by name. Temporary files of other processes are left out."""
    found = {}
    for path in paths:
        if path.is_file() and not path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):  # another process may remove it
                found[path.name] = path.read_bytes()
    return found


def _write_files(folder: RunFolder, files: Files) -> None:
    """Write a run's files. evaluation.csv is written last, since it makes the run complete."""
    if not files:
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: (name == folder.evaluation.name, name)):
        write_atomic(folder.path / name, files[name])
    for earlier in folder.events:
        if earlier.name not in files:
            earlier.unlink()
    if folder.evaluation.name in files:
        for leftover in (folder.checkpoint, folder.error):
            if leftover.name not in files:
                leftover.unlink(missing_ok=True)
