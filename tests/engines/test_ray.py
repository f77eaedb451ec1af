"""Runs on a real Ray cluster of two nodes, started on this machine; skipped where Ray is not installed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import call, launch, start, wait_until

from gailbench.engines import ray as engine
from gailbench.plumbing.locks import Lock
from gailbench.runs import grid
from gailbench.runs.grid import Event, Job, Request
from gailbench.tasks import find_task, get_task

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")

RESULT_FILES = ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv")
GRID = (
    *("run", "--task", "cartpole", "--sizes", 1, "--algorithms", "fem,gail", "--seeds", "0"),
    *("--iterations", 100, "--batch", 1000),
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs by the local engine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finished = launch(*GRID, "--jobs", 2, folder=folder)
    assert finished.code == 0, finished.err
    return folder / "results"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    # Nodes are processes that import gailbench from where this process has it.
    path = str(Path(grid.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([path, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def _assert_as_undisturbed(results: Path, undisturbed: Path) -> None:
    folders = [path.parent.relative_to(undisturbed) for path in undisturbed.rglob("evaluation.csv")]
    assert len(folders) == 2
    for folder in folders:
        for name in RESULT_FILES:
            assert (results / folder / name).read_bytes() == (undisturbed / folder / name).read_bytes()
        left = {path.name for path in (results / folder).iterdir()}
        assert left == {*RESULT_FILES, "versions.json", "timing.json", "checksums.json"}
    assert not list(results.glob(".ray-*"))


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def test_a_run_on_a_lost_node_goes_on_from_its_checkpoint_on_another(
    cluster: Any, undisturbed: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    process = start(*GRID, "--engine", "ray", "--address", cluster.address, "--checkpoint-every", 0, folder=tmp_path)

    def victims() -> list[Path]:
        """Folders of runs on the second node that have a checkpoint."""
        found = []
        for checkpoint in results.rglob("checkpoint.safetensors"):
            try:
                pid = json.loads((checkpoint.parent / "lock").read_text())["pid"]
                if _raylet(cluster.second) in _ancestors(pid):
                    found.append(checkpoint.parent)
            except (OSError, ValueError):
                continue  # the run is just beginning or ending
        return found

    wait_until(lambda: bool(victims()), process)
    (victim,) = victims()
    before = json.loads((victim / "lock").read_text())["pid"]
    cluster.remove_node(cluster.second, allow_graceful=False)
    resumed_by: set[int] = set()

    def taken_up() -> bool:
        with contextlib.suppress(OSError, ValueError):
            resumed_by.add(json.loads((victim / "lock").read_text())["pid"])
        return bool(resumed_by - {before}) or (victim / "evaluation.csv").exists()

    wait_until(taken_up, process)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert resumed_by - {before}, "it was complete before its node was lost"
    _assert_as_undisturbed(results, undisturbed)


def test_a_run_whose_process_is_told_to_end_is_continued_once(cluster: Any, undisturbed: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = start(*GRID, "--engine", "ray", "--address", cluster.address, "--checkpoint-every", 0, folder=tmp_path)
    wait_until(lambda: bool(list(results.rglob("checkpoint.safetensors"))), process)
    lock = next(results.rglob("checkpoint.safetensors")).with_name("lock")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert err.count("its process was told to end; the run is continued") == 1
    _assert_as_undisturbed(results, undisturbed)


def test_an_interrupted_grid_is_saved_by_its_nodes(cluster: Any, undisturbed: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = start(*GRID, "--engine", "ray", "--address", cluster.address, folder=tmp_path)
    wait_until(lambda: len(list(results.rglob("spec.json"))) == 2, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    # None is written before 300 seconds otherwise.
    assert len(list(results.rglob("checkpoint.safetensors"))) == 2
    finished = launch(*GRID, "--results", results, folder=tmp_path)
    assert finished.code == 0, finished.err
    _assert_as_undisturbed(results, undisturbed)


@pytest.fixture
def not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes do not see the file that tells a shared folder."""
    monkeypatch.setattr(engine, "Lock", lambda path: contextlib.nullcontext())


def _jobs(results: Path) -> list[Job]:
    task = get_task("cartpole")
    return grid.plan(task, Request(results, sizes=[1], algorithms=["fem", "gail"], batch=1000, iterations=100))


@contextlib.contextmanager
def _terminated_when_a_node_has_begun() -> Iterator[None]:
    """Send this process SIGTERM as soon as a node that does not share the folder has begun a run in the block."""

    def begun() -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob("gailbench-*/runs/*/*/*/*/*/spec.json"))

    before, ended = begun(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            if begun() - before:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch)
    handler = signal.signal(signal.SIGTERM, lambda *_: None)  # a signal that comes too late does nothing
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("not_shared")
def test_nodes_that_do_not_share_the_folder_return_the_runs(cluster: Any, undisturbed: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(undisturbed / "demos", results / "demos")
    jobs = _jobs(results)
    with _terminated_when_a_node_has_begun():
        first = engine.execute(jobs, results, cluster.address)
    assert first.interrupted
    assert list(results.rglob("checkpoint.safetensors"))  # what was done so far came back
    left = [job for job in jobs if job.spec not in first.complete]
    second = engine.execute(left, results, cluster.address)
    assert {*first.complete, *second.complete} == {job.spec for job in jobs}
    assert second.failed == {}
    _assert_as_undisturbed(results, undisturbed)


def test_a_node_without_the_folder_gets_the_expert_of_an_own_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some algorithms query it."""
    files = {"Pendulum-v1.safetensors": b"a policy", "Pendulum-v1.json": b"its card"}
    (tmp_path / "experts").mkdir()
    for name, content in {**files, ".Pendulum-v1.json.x.tmp": b"", "Other-v1.json": b""}.items():
        (tmp_path / "experts" / name).write_bytes(content)
    found: dict[str, bytes] = {}

    def attempt(job: grid.Job, _: object, results: Path, *__: object) -> Event:
        found.update({path.name: path.read_bytes() for path in (results / "experts").iterdir()})
        return Event(job, "complete")

    monkeypatch.setattr(engine, "attempt", attempt)
    (job,) = grid.plan(find_task("Pendulum-v1"), Request(tmp_path, algorithms=["constant"]))
    expert = engine._own_expert(job, tmp_path)
    engine._carry_out(job, None, tmp_path, tmp_path / "a node has no such file", {}, expert, 1.0)
    assert found == files
    (paper,) = grid.plan(get_task("cartpole"), Request(tmp_path, algorithms=["constant"]))
    assert engine._own_expert(paper, tmp_path) == {}  # shipped with gailbench


def test_a_run_that_fails_on_a_node_is_named_and_does_not_stop_the_others(cluster: Any, tmp_path: Path) -> None:
    results = tmp_path / "results"
    request = Request(results, sizes=[1], algorithms=["fem"], seeds=[0, 1], batch=400, iterations=2)
    first, second = grid.plan(get_task("cartpole"), request)
    (first.spec.folder(results) / "spec.json").mkdir(parents=True)  # where a file has to be written
    events: list[Event] = []
    outcome = engine.execute([first, second], results, cluster.address, events.append)
    assert set(outcome.complete) == {second.spec}
    assert "spec.json" in outcome.failed[first.spec]
    assert sorted(event.kind for event in events) == ["complete", "failed"]


def test_what_a_killed_driver_left_is_removed_and_what_a_living_one_needs_stays(cluster: Any, tmp_path: Path) -> None:
    request = Request(tmp_path, sizes=[1], algorithms=["fem"], batch=400, iterations=2)
    jobs = grid.plan(get_task("cartpole"), request)
    (tmp_path / ".ray-left.tmp").write_text("")
    with Lock(tmp_path / ".ray-held.tmp"):
        assert len(engine.execute(jobs, tmp_path, cluster.address).complete) == 1
        assert [path.name for path in tmp_path.glob(".ray-*")] == [".ray-held.tmp"]


def test_an_address_without_a_cluster_is_named(tmp_path: Path) -> None:
    finished = call(*GRID, "--engine", "ray", "--address", "127.0.0.1:9", "--results", tmp_path)
    assert finished.code == 1
    assert "127.0.0.1:9" in finished.err.splitlines()[-1]
