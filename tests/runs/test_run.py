"""A run's folder, its name, its files, and resuming it."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Finished, call, files_under, launch, start, wait_until
from threadpoolctl import threadpool_info

from gailbench import demonstrations, experts
from gailbench.algorithms import LOOP_COLUMNS, Algorithm, get_algorithm, registry
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing import checkpoints
from gailbench.plumbing import versions as provenance
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.interrupts import Interrupted
from gailbench.plumbing.streams import stream
from gailbench.policy import read_policy
from gailbench.runs import execute as runs
from gailbench.runs import folder as folders
from gailbench.runs import grid
from gailbench.runs.folder import status
from gailbench.runs.spec import RunSpec, make_spec
from gailbench.sampling import evaluate
from gailbench.tasks import ALGORITHMS, TASKS, get_task

CARTPOLE = get_task("cartpole")
pytestmark = pytest.mark.usefixtures("one_thread")

RESULT_FILES = ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv")
# Columns of the learning curve that an algorithm fills; the others stay empty.
LOOP = set(LOOP_COLUMNS)
DISCRIMINATOR = {"discriminator_loss", "expert_accuracy", "policy_accuracy", "jensen_shannon"}
FILLED = {
    "bc": {"iteration", "entropy", "training_loss", "validation_loss"},
    "fem": LOOP,
    "gtal": LOOP,
    "gail": LOOP | DISCRIMINATOR,
}


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    """The standard demonstrations of cart-pole."""
    policy, digest = experts.load(CARTPOLE)
    return demonstrations.sample(CARTPOLE, policy, digest, CARTPOLE.demonstrations, 0)


Tiny = Callable[..., RunSpec]


@pytest.fixture
def tiny(demos: Demonstrations) -> Tiny:
    """Return a function that makes the spec of a short run."""

    def make(algorithm: str, seed: int = 0, iterations: int = 3) -> RunSpec:
        return make_spec(CARTPOLE, algorithm, 4, seed, demos, batch=400, iterations=iterations)

    return make


# The folder's name


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_papers_settings_are_called_paper(task_name: str, algorithm: str, demos: Demonstrations) -> None:
    task = TASKS[task_name]
    spec = make_spec(task, algorithm, 4, 2, demos)
    assert spec.settings == "paper"
    assert spec.folder(Path("r")) == Path(
        f"r/runs/task={task_name}/algorithm={algorithm}/settings=paper/trajectories=4/seed=2"
    )
    # Naming the paper's values is no difference from them.
    explicit = make_spec(
        task,
        algorithm,
        4,
        2,
        demos,
        batch=task.batch,
        iterations=task.bc_steps if algorithm == "bc" else task.iterations,
        entropy_weight=0.0,
    )
    assert explicit == spec


def test_settings_name_how_they_differ_from_the_papers(demos: Demonstrations) -> None:
    def settings(algorithm: str = "gail", **options: object) -> str:
        return make_spec(CARTPOLE, algorithm, 1, 0, demos, **options).settings  # type: ignore[arg-type]

    prefix = demos.sha256()[:8]
    assert re.fullmatch("[0-9a-f]{8}", prefix)
    assert settings(entropy_weight=0.001) == "entropy_weight-0.001"
    assert settings(batch=1000) == "batch-1000"
    assert settings(iterations=20) == "iterations-20"
    assert settings(own_demonstrations=True) == f"demonstrations-{prefix}"
    assert settings(iterations=20, entropy_weight=0.01, batch=1000, own_demonstrations=True) == (
        f"batch-1000,demonstrations-{prefix},entropy_weight-0.01,iterations-20"
    )
    # What an algorithm does not use does not rename its runs.
    assert settings("bc", batch=1000, entropy_weight=0.001) == "paper"
    assert settings("fem", entropy_weight=0.001) == "paper"


def test_no_two_specs_share_a_folder(demos: Demonstrations) -> None:
    other = replace(demos, rewards=demos.rewards * 2)
    specs = {
        make_spec(
            CARTPOLE,
            algorithm,
            size,
            seed,
            found,
            entropy_weight=weight,
            batch=batch,
            iterations=iterations,
            own_demonstrations=own,
        )
        for algorithm, size, seed, weight, batch, iterations, (found, own) in itertools.product(
            ALGORITHMS,
            (1, 10),
            (0, 1),
            (0.0, 0.001, 0.01),
            (None, 50, 500),
            (None, 10, 100),
            ((demos, False), (demos, True), (other, True)),
        )
    }
    assert len({spec.folder(Path("results")) for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"iterations": 1_234_567}, {"iterations": 1_234_568}),
        ({"batch": 1_000_000}, {"batch": 1_000_001}),
        ({"entropy_weight": 0.00123456}, {"entropy_weight": 0.001234561}),
    ],
)
def test_settings_that_differ_in_a_late_digit_do_not_share_a_folder(
    one: dict[str, float], two: dict[str, float], demos: Demonstrations
) -> None:
    first, second = (make_spec(CARTPOLE, "gail", 1, 0, demos, **values) for values in (one, two))  # type: ignore[arg-type]
    assert first != second
    assert first.folder(Path("r")) != second.folder(Path("r"))


# What a run leaves


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_leaves_all_its_files(algorithm: str, tiny: Tiny, demos: Demonstrations, tmp_path: Path) -> None:
    spec, shown = tiny(algorithm), []
    assert status(spec, tmp_path) == "new"
    mean = runs.execute(spec, demos, tmp_path, on_row=shown.append)
    assert status(spec, tmp_path) == "complete"
    folder = spec.folder(tmp_path)
    assert {path.name for path in folder.iterdir()} == {*RESULT_FILES, "versions.json", "timing.json", "checksums.json"}

    card = experts.card("cartpole")
    assert card is not None
    written = json.loads((folder / "spec.json").read_text())
    assert written == spec.as_json()
    assert written["demonstrations_sha256"] == demos.sha256()
    assert written["expert_sha256"] == card["sha256"]
    assert (written["task"], written["algorithm"], written["iterations"]) == ("cartpole", algorithm, 3)
    assert written["batch"] == (None if algorithm == "bc" else 400)
    assert written["entropy_weight"] == (0.0 if algorithm == "gail" else None)

    versions = json.loads((folder / "versions.json").read_text())
    assert {"gailbench", "python", "torch", "mujoco", "gymnasium", "numpy", "command"} <= set(versions)
    assert any(library["version"] in versions["blas"] for library in threadpool_info() if library["user_api"] == "blas")
    timing = json.loads((folder / "timing.json").read_text())
    assert set(timing) == {"training_seconds", "evaluation_seconds"}
    assert all(seconds >= 0 for seconds in timing.values())

    evaluation = _rows(folder / "evaluation.csv")
    assert [row["episode"] for row in evaluation] == [str(k) for k in range(50)]
    returns = [float(row["return"]) for row in evaluation]
    assert mean == pytest.approx(np.mean(returns))
    assert returns == [float(row["length"]) for row in evaluation]  # cart-pole pays 1 per step
    assert len(shown) == len(_rows(folder / "curve.csv"))


def test_a_run_names_the_source_that_trained_it(
    tiny: Tiny, demos: Demonstrations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the source at the end, which may have changed in the meantime."""
    monkeypatch.setattr(provenance, "_commit", lambda: "before")
    provenance.versions.cache_clear()
    try:
        runs.execute(
            tiny("fem"), demos, tmp_path, on_row=lambda _: monkeypatch.setattr(provenance, "_commit", lambda: "after")
        )
    finally:
        provenance.versions.cache_clear()
    versions = json.loads((tiny("fem").folder(tmp_path) / "versions.json").read_text())
    assert versions["commit"] == "before"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_learning_curve_fills_the_algorithms_columns_and_no_others(
    algorithm: str, tiny: Tiny, demos: Demonstrations, tmp_path: Path
) -> None:
    spec = tiny(algorithm)
    runs.execute(spec, demos, tmp_path)
    curve = _rows(spec.folder(tmp_path) / "curve.csv")
    assert tuple(curve[0]) == get_algorithm(algorithm).columns
    for row in curve:
        assert {name for name, cell in row.items() if cell} == FILLED[algorithm]
        assert np.isfinite([float(cell) for cell in row.values() if cell]).all()


@pytest.mark.parametrize("algorithm", ["fem", "gtal", "gail"])
def test_the_learning_curve_has_a_row_per_iteration_and_growing_steps(
    algorithm: str, tiny: Tiny, demos: Demonstrations, tmp_path: Path
) -> None:
    spec = tiny(algorithm)
    runs.execute(spec, demos, tmp_path)
    curve = _rows(spec.folder(tmp_path) / "curve.csv")
    assert [int(row["iteration"]) for row in curve] == [1, 2, 3]
    pairs = np.diff([int(row["steps"]) for row in curve], prepend=0)
    assert all(400 <= count < 400 + 2 * 200 for count in pairs)  # whole episodes in two environments
    assert all(0 < int(row["episodes"]) <= 400 for row in curve)


def test_behavioral_clonings_curve_has_a_row_per_validation(tiny: Tiny, demos: Demonstrations, tmp_path: Path) -> None:
    spec = tiny("bc", iterations=250)
    runs.execute(spec, demos, tmp_path)
    curve = _rows(spec.folder(tmp_path) / "curve.csv")
    assert [int(row["iteration"]) for row in curve] == [1, 100, 200, 250]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_stored_policy_scores_what_the_evaluation_says(
    algorithm: str, tiny: Tiny, demos: Demonstrations, tmp_path: Path
) -> None:
    spec = tiny(algorithm, seed=3)
    runs.execute(spec, demos, tmp_path)
    folder = spec.folder(tmp_path)
    policy = read_policy(folder / "policy.safetensors")
    returns, lengths = evaluate(CARTPOLE, policy, folders.EPISODES, stream(spec.seed, "evaluation"))
    evaluation = _rows(folder / "evaluation.csv")
    assert returns.tolist() == [float(row["return"]) for row in evaluation]
    assert lengths.tolist() == [int(row["length"]) for row in evaluation]
    assert len(set(returns)) > 1 or set(returns) == {200.0}  # else any policy would do


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_spec_gives_the_same_bytes(algorithm: str, tiny: Tiny, demos: Demonstrations, tmp_path: Path) -> None:
    for name in ("one", "two"):
        runs.execute(tiny(algorithm), demos, tmp_path / name)
    runs.execute(tiny(algorithm, seed=1), demos, tmp_path / "one")
    one, two = (_result_bytes(tiny(algorithm).folder(tmp_path / name)) for name in ("one", "two"))
    other_seed = _result_bytes(tiny(algorithm, seed=1).folder(tmp_path / "one"))
    assert one == two
    assert all(one[name] != other_seed[name] for name in ("policy.safetensors", "curve.csv"))


# What is complete, and what is not


def test_a_folder_without_an_evaluation_is_not_complete(tiny: Tiny, demos: Demonstrations, tmp_path: Path) -> None:
    spec = tiny("gail")
    runs.execute(spec, demos, tmp_path)
    (spec.folder(tmp_path) / "evaluation.csv").unlink()
    assert status(spec, tmp_path) == "new"


def test_a_complete_run_on_other_demonstrations_is_an_error_that_says_so(demos: Demonstrations, tmp_path: Path) -> None:
    command = (
        "run",
        "--task",
        "cartpole",
        "--sizes",
        1,
        "--algorithms",
        "bc",
        "--iterations",
        9,
        "--results",
        tmp_path,
    )
    spec = make_spec(CARTPOLE, "bc", 1, 0, demos, iterations=9)
    grid.demonstrations_for(CARTPOLE, tmp_path, None)
    runs.execute(spec, demos, tmp_path)
    assert call(*command).code == 0  # the right demonstrations: skipped
    # As if an earlier version, with another expert, had made it.
    path = spec.folder(tmp_path) / "spec.json"
    path.write_text(json.dumps({**spec.as_json(), "demonstrations_sha256": "0" * 64}))
    before = files_under(tmp_path)
    finished = call(*command)
    assert finished.code == 1
    assert len(finished.err.splitlines()) == 1
    assert str(spec.folder(tmp_path)) in finished.err
    assert "demonstrations_sha256" in finished.err
    assert files_under(tmp_path) == before


@dataclass(frozen=True)
class Own:
    """Settings of a package's algorithm, with a default that equals nothing and one that is not JSON."""

    scale: float = 0.1
    limit: float = float("nan")
    of_own_type: object = object()


@dataclass(frozen=True)
class Later(Own):
    """The same in a later version."""

    scale: float = 0.2


def package_spec(settings: type, seed: int = 0, **options: object) -> RunSpec:
    algorithm = Algorithm("own", "OWN", "gailbench.algorithms.constant:make", f"{__name__}:{settings.__name__}")
    algorithm = replace(algorithm, needs_demonstrations=False)
    registry()["own"] = algorithm
    return make_spec(CARTPOLE, algorithm, 0, seed, None, batch=400, iterations=2, **options)  # type: ignore[arg-type]


@pytest.fixture
def _registered() -> Iterator[None]:
    yield
    registry.cache_clear()


@pytest.mark.usefixtures("_registered")
def test_a_run_with_another_default_of_a_package_is_refused(tmp_path: Path) -> None:
    spec = package_spec(Own)
    runs.execute(spec, None, tmp_path)
    assert status(package_spec(Own), tmp_path) == "complete"
    content = json.loads((spec.folder(tmp_path) / "spec.json").read_text())
    assert content["own_settings"] == {"own.scale": 0.1, "own.limit": "NaN", "own.of_own_type": "object"}
    later = package_spec(Later)
    assert later.folder(tmp_path) == spec.folder(tmp_path)
    with pytest.raises(GailbenchError, match="holds a run with another own_settings; remove it or choose another"):
        status(later, tmp_path)
    # A run of an earlier version of gailbench does not say which values it had.
    del content["own_settings"]
    (spec.folder(tmp_path) / "spec.json").write_text(json.dumps(content))
    (spec.folder(tmp_path) / "checksums.json").unlink()
    assert status(later, tmp_path) == "complete"


@pytest.mark.usefixtures("_registered")
def test_a_run_does_not_go_on_with_another_default_of_a_package(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        runs.execute(package_spec(Own), None, tmp_path, stop=lambda: True)
    rows: list[dict[str, float]] = []
    notices: list[str] = []
    runs.execute(package_spec(Later), None, tmp_path, rows.append, notice=notices.append)
    assert [row["iteration"] for row in rows] == [1, 2]
    assert "is the checkpoint of another training" in notices[0]


@pytest.mark.usefixtures("_registered")
def test_the_settings_of_a_package_are_with_its_changes_and_the_tasks(demos: Demonstrations) -> None:
    spec = package_spec(Own, changes={"own.scale": 0.3})
    assert json.loads(spec.own_settings)["own.scale"] == 0.3
    task = replace(CARTPOLE, name="mine", settings=(("own.scale", 0.4),))
    assert json.loads(make_spec(task, "own", 0, 0, None).own_settings)["own.scale"] == 0.4
    assert "own_settings" not in make_spec(CARTPOLE, "gail", 1, 0, demos, changes={"gail.hidden": (8,)}).as_json()


# Stopping and resuming


def test_demonstrations_that_were_changed_after_planning_are_not_used(
    tiny: Tiny, demos: Demonstrations, tmp_path: Path
) -> None:
    spec = tiny("bc")
    with pytest.raises(GailbenchError, match="were changed after the runs were planned"):
        runs.execute(spec, replace(demos, rewards=demos.rewards + 1), tmp_path)
    assert files_under(tmp_path) == {}


def test_a_stopped_run_saves_and_goes_on_to_the_same_bytes(tiny: Tiny, demos: Demonstrations, tmp_path: Path) -> None:
    spec = tiny("gail", iterations=4)
    runs.execute(spec, demos, tmp_path / "undisturbed")
    rows: list[dict[str, float]] = []
    for stop_after in (1, 3):
        with pytest.raises(Interrupted):
            runs.execute(spec, demos, tmp_path / "stopped", rows.append, lambda s=stop_after: len(rows) >= s)
        assert status(spec, tmp_path / "stopped") == "resumable"
    runs.execute(spec, demos, tmp_path / "stopped", rows.append)
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]  # nothing was done twice
    assert status(spec, tmp_path / "stopped") == "complete"
    assert not (spec.folder(tmp_path / "stopped") / "checkpoint.safetensors").exists()
    assert _result_bytes(spec.folder(tmp_path / "stopped")) == _result_bytes(spec.folder(tmp_path / "undisturbed"))


ITERATIONS = 100
RUN = (
    "run",
    *("--task", "cartpole", "--sizes", 1, "--algorithms", "gail", "--iterations", ITERATIONS, "--batch", 1000),
)
FOLDER = Path(f"task=cartpole/algorithm=gail/settings=batch-1000,iterations-{ITERATIONS}/trajectories=1/seed=0")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Result files of the run that the next tests interrupt."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finished = launch(*RUN, folder=folder)
    assert finished.code == 0, finished.err
    return _result_bytes(folder / "results" / "runs" / FOLDER)


def test_an_interrupted_run_exits_130_and_the_same_command_completes_it(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "results" / "runs" / FOLDER
    process = start(*RUN, folder=tmp_path)
    wait_until((folder / "spec.json").exists, process)  # it is written when the training starts
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert (out, "Traceback" in err) == ("", False)
    assert "interrupted" in err.splitlines()[-1]
    assert {path.name for path in folder.iterdir()} == {"spec.json", "checkpoint.safetensors", "curve.csv"}
    _, content = checkpoints.read(folder / "checkpoint.safetensors", "checkpoint")
    assert len(content["rows"]) < ITERATIONS  # the open one was dropped

    finished = launch(*RUN, folder=tmp_path)
    assert finished.code == 0, finished.err
    assert finished.err.startswith("1 runs: 0 complete, 1 to resume, 0 new")
    assert _result_bytes(folder) == undisturbed
    assert not (folder / "checkpoint.safetensors").exists()


def test_a_killed_run_goes_on_from_its_last_checkpoint(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "results" / "runs" / FOLDER
    process = start(*RUN, "--checkpoint-every", 1, folder=tmp_path)
    wait_until((folder / "checkpoint.safetensors").exists, process)
    _kill(process)
    assert not (folder / "evaluation.csv").exists()

    finished = launch(*RUN, folder=tmp_path)
    assert finished.code == 0, finished.err
    assert "1 to resume" in finished.err.splitlines()[0]
    assert _result_bytes(folder) == undisturbed
    timing = json.loads((folder / "timing.json").read_text())
    assert timing["training_seconds"] >= 1  # the sitting that was killed counts


TRAIN = ("expert", "train", "--task", "cartpole", "--iterations", 30, "--out")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, dict[str, bytes]]:
    """An expert's training that nothing disturbed, and its files but the card."""
    folder = tmp_path_factory.mktemp("trained")
    finished = launch(*TRAIN, "expert.safetensors", folder=folder)
    assert finished.code == 0, finished.err
    return finished, _expert_bytes(folder)


def test_interrupted_expert_training_exits_130_and_the_same_command_completes_it(
    trained: tuple[Finished, dict[str, bytes]], tmp_path: Path
) -> None:
    process = start(*TRAIN, "expert.safetensors", folder=tmp_path)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("iteration 1:"):
        assert line, "it ended before the first iteration"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert (out, "Traceback" in err) == ("", False)
    assert "interrupted" in err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["expert.checkpoint.safetensors"]

    finished = launch(*TRAIN, "expert.safetensors", folder=tmp_path)
    assert finished.code == 0, finished.err
    assert "iteration 1:" not in finished.err  # it went on
    assert finished.out == trained[0].out
    assert _expert_bytes(tmp_path) == trained[1]


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "expert.safetensors"
    checkpoint = tmp_path / "expert.checkpoint.safetensors"
    checkpoints.write(checkpoint, "checkpoint", {}, {"spec": {"task": "hopper"}})
    before = files_under(tmp_path)
    finished = call(*TRAIN, out)
    assert finished.code == 1
    assert str(checkpoint) in finished.err.splitlines()[-1]
    assert files_under(tmp_path) == before


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and its workers as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def _result_bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULT_FILES}


def _expert_bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("expert.safetensors", "expert.csv")}
