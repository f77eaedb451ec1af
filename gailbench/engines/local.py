"""The local engine: single-threaded worker processes on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gailbench import demonstrations
from gailbench.demonstrations import Demonstrations
from gailbench.engines import GRACE, LOCKED_PAUSE, Endings
from gailbench.plumbing.interrupts import STOP, StopSignals
from gailbench.runs.grid import Event, Job, OnEvent, Outcome, attempt, ordered

# A terminal or a batch system also sends these signals to the workers. Workers ignore them: the parent stops workers.
_PARENTS = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def execute(
    jobs: list[Job],
    results: Path,
    workers: int,
    on_event: OnEvent = lambda event: None,
    checkpoint_every: float = 300.0,
    deadline: float = float("inf"),
) -> Outcome:
    """Do jobs in worker processes. On a signal or at the deadline, checkpoints are saved and the function returns.

    A run that fails does not stop the others. If the system kills a worker, its run is continued from its checkpoint,
    but only once. A run locked by another process is retried until it is complete or free.

    Args:
        jobs: The jobs.
        results: The results folder.
        workers: Number of runs in parallel.
        on_event: Gets every event.
        checkpoint_every: Seconds between two checkpoints of a run.
        deadline: Time to stop, on the clock of `time.monotonic`.
    """
    queue = _Queue(ordered(jobs))
    outcome = Outcome()
    context = multiprocessing.get_context("spawn")
    pool: list[_Worker] = []
    endings = Endings(results, outcome, on_event, again=queue.put_first, later=queue.put_off)
    kill_at = float("inf")
    with StopSignals() as signals:
        while queue.waiting or pool:
            if not outcome.interrupted and (signals.set or time.monotonic() >= deadline):
                outcome.interrupted = True
                kill_at = time.monotonic() + GRACE
                queue.waiting.clear()
                for worker in pool:
                    worker.process.terminate()
                    if worker.process.pid is not None:  # a suspended worker must continue in order to save
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(worker.process.pid, signal.SIGCONT)
            if time.monotonic() > kill_at:
                for worker in pool:
                    worker.process.kill()
            while len(pool) < min(workers, len(queue.waiting) + sum(worker.job is not None for worker in pool)):
                pool.append(_Worker(context, results, checkpoint_every))
            for worker in pool:
                if worker.job is None and (job := queue.take()) is not None:
                    worker.give(job)
                    on_event(Event(job, "started"))
            for worker in [w for w in pool if w.job is None and not queue.waiting]:
                worker.close()
                pool.remove(worker)

            ready = wait([worker.connection for worker in pool], timeout=0.2)
            if signals.set and not outcome.interrupted:
                continue  # workers may have got the same signal: what they say is an interruption
            for connection in ready:
                worker = next(w for w in pool if w.connection is connection)
                event = worker.receive()
                if not worker.alive:
                    pool.remove(worker)
                if event is not None:
                    endings.receive(event)
    return outcome


class _Queue:
    """Waiting jobs. Locked jobs wait at least until a given time."""

    def __init__(self, jobs: list[Job]) -> None:
        self.waiting = jobs
        self._not_before: dict[Job, float] = {}

    def take(self) -> Job | None:
        now = time.monotonic()
        for index, job in enumerate(self.waiting):
            if self._not_before.get(job, now) <= now:
                return self.waiting.pop(index)
        return None

    def put_first(self, job: Job) -> None:
        self.waiting.insert(0, job)

    def put_off(self, job: Job) -> None:
        self._not_before[job] = time.monotonic() + LOCKED_PAUSE
        self.waiting.append(job)


class _Worker:
    """A process that does one job after another, and the pipe to it.

    Attributes:
        job: The current job; None if it has none.
        alive: Whether it can get another job.
    """

    def __init__(self, context: Any, results: Path, checkpoint_every: float) -> None:
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, results, checkpoint_every), daemon=True)
        with _inherited():
            self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.alive = True

    def give(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # `receive` notices a dead worker
            self.connection.send(job)

    def receive(self) -> Event | None:
        """Return the next event of the worker. If the worker has ended, this is an interruption of its job."""
        try:
            event: Event = self.connection.recv()
        except (EOFError, OSError):
            self.close()
            code = self.process.exitcode or 0  # 0: it was asked to end before it began
            cause = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            message = f"its process ended {cause}" if code else ""
            return None if self.job is None else Event(self.job, "interrupted", message=message)
        if event.kind not in ("row", "notice"):
            self.job = None
        if event.kind == "interrupted":
            self.close()
        return event

    def close(self) -> None:
        self.alive = False
        self.connection.close()
        self.process.join()


@contextlib.contextmanager
def _inherited() -> Iterator[None]:
    """Set what a worker inherits when it starts: one thread, and signals that are blocked until it handles them."""
    # Libraries read the number of threads when they are imported. Modules are not imported from the current folder,
    # where a user's signal.py would replace the library's.
    wanted = {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    resource_tracker.ensure_running()  # it unblocks these signals when it starts, so it must run before
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection, results: Path, checkpoint_every: float) -> None:
    """The worker's loop. It ends when the pipe is closed or its job was interrupted."""
    with StopSignals() as signals:
        for number in _PARENTS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        from gailbench.plumbing.computing import prepare_process

        prepare_process(1)
        loaded: dict[Path, Demonstrations] = {}

        def tell(event: Event) -> None:
            try:
                connection.send(event)
            except OSError:  # the parent has ended
                signals.set = True

        while not signals.set:
            try:
                job: Job = connection.recv()
            except (EOFError, OSError):
                return

            def load(path: Path | None = job.demonstrations) -> Demonstrations | None:
                if path is None:
                    return None
                if path not in loaded:
                    loaded.clear()
                    loaded[path] = demonstrations.read(path)
                return loaded[path]

            tell(attempt(job, load, results, tell, lambda: signals.set, checkpoint_every))
