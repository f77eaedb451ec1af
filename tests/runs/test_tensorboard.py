"""Learning curves as TensorBoard itself reads them back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_helpers import call

from gailbench import demonstrations, experts
from gailbench.engines import ray as engine
from gailbench.plumbing.interrupts import Interrupted
from gailbench.runs import execute as runs
from gailbench.runs.folder import folder_of
from gailbench.runs.spec import RunSpec, make_spec
from gailbench.tasks import get_task

reader = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="TensorBoard is not installed: pip install -e '.[tensorboard]'",
)
pytestmark = pytest.mark.usefixtures("one_thread")

CARTPOLE = get_task("cartpole")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the expert's demonstrations."""
    path = tmp_path_factory.mktemp("demos") / "cartpole.npz"
    policy, digest = experts.load(CARTPOLE)
    demonstrations.sample(CARTPOLE, policy, digest, 4, 0).write(path)
    return path


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard reads in a run's folder: values by step by tag; none has a step twice."""
    events = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        values = events.Scalars(tag)
        found[tag] = {event.step: event.value for event in values}
        assert len(found[tag]) == len(values)
    return found


def assert_is_the_curve(folder: Path) -> None:
    curve = pd.read_csv(folder / "curve.csv", index_col="iteration")
    found = scalars(folder)
    assert set(found) == {f"curve/{name}" for name in curve.columns[curve.notna().any()]}
    for name, values in found.items():
        expected = curve[name.removeprefix("curve/")].dropna()
        assert list(values) == expected.index.tolist()
        np.testing.assert_allclose(list(values.values()), expected, rtol=6e-7)  # seven digits here, a float32 there


def spec_of(demos: Path) -> RunSpec:
    return make_spec(CARTPOLE, "gail", 4, 0, demonstrations.read(demos), batch=400, iterations=10)


def carry_on(demos: Path, results: Path, killed_at: int) -> None:
    """Go on with the run, without a checkpoint on the way, until it kills itself."""

    def on_row(row: dict[str, float]) -> None:
        if row["iteration"] == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    runs._GrowingCurve.EVERY = 0.0
    runs.execute(spec_of(demos), demonstrations.read(demos), results, on_row, tensorboard=True)


def test_a_killed_and_resumed_run_has_every_iteration_once(demos: Path, tmp_path: Path) -> None:
    spec, found = spec_of(demos), demonstrations.read(demos)
    folder = spec.folder(tmp_path)
    seen: list[dict[str, float]] = []
    with pytest.raises(Interrupted):
        runs.execute(spec, found, tmp_path, seen.append, lambda: len(seen) == 4, tensorboard=True)
    assert list(scalars(folder)["curve/return_mean"]) == [1, 2, 3, 4]

    process = multiprocessing.get_context("spawn").Process(target=carry_on, args=(demos, tmp_path, 8))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(scalars(folder)["curve/return_mean"]) == [1, 2, 3, 4, 5, 6, 7]  # as it grew

    runs.execute(spec, found, tmp_path, seen.append, tensorboard=True)
    assert [int(row["iteration"]) for row in seen] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]  # from the checkpoint of 4
    assert_is_the_curve(folder)


def test_a_run_has_the_same_bytes_and_is_as_complete(demos: Path, tmp_path: Path) -> None:
    spec, found = spec_of(demos), demonstrations.read(demos)
    remarks: list[str] = []
    for name, tensorboard in (("with", True), ("without", False)):
        runs.execute(spec, found, tmp_path / name, notice=remarks.append, tensorboard=tensorboard)
        assert folder_of(spec, tmp_path / name).returns(spec, remarks.append) is not None
    assert remarks == []
    one, other = (spec.folder(tmp_path / name) for name in ("with", "without"))
    added = {path.name for path in one.iterdir()} - {path.name for path in other.iterdir()}
    assert [name.startswith("events.out.tfevents.") for name in added] == [True]
    for name in ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv", "checksums.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_runs_of_several_workers_have_an_event_file_each(tmp_path: Path) -> None:
    command = (
        *("run", "--task", "cartpole", "--sizes", 1, "--algorithms", "bc,gail", "--iterations", 5, "--batch", 400),
        *("--jobs", 2, "--results", tmp_path),
    )
    finished = call(*command, "--tensorboard")
    assert finished.code == 0, finished.err
    folders = [path.parent for path in tmp_path.rglob("evaluation.csv")]
    assert len(folders) == 2
    for folder in folders:
        assert_is_the_curve(folder)
    assert call(*command).err.startswith("2 runs: 2 complete, ")


def test_files_that_come_from_another_machine_replace_earlier_event_files(demos: Path, tmp_path: Path) -> None:
    folder = folder_of(spec_of(demos), tmp_path)
    engine._write_files(folder, {"curve.csv": b"1\n", "events.out.tfevents.1.one.1.0": b"1"})
    engine._write_files(folder, {"curve.csv": b"2\n", "events.out.tfevents.2.two.1.0": b"2"})
    assert [path.read_bytes() for path in folder.events] == [b"2"]


def test_without_tensorboard_nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # import raises ImportError
    finished = call("run", "--task", "cartpole", "--tensorboard", "--results", tmp_path / "results")
    assert (finished.code, finished.err.count("\n")) == (1, 1)
    assert "--tensorboard needs the package tensorboard" in finished.err
    assert "pip install -e '.[tensorboard]' in a checkout" in finished.err
    assert not (tmp_path / "results").exists()
