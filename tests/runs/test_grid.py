"""Many runs: their plan, their order, and failures that stop nothing else."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import call, files_under, launch, start

from gailbench import demonstrations, experts
from gailbench.engines import local
from gailbench.plumbing.errors import GailbenchError
from gailbench.runs import grid
from gailbench.runs.folder import folder_of
from gailbench.runs.grid import Event, Job, Request
from gailbench.tasks import get_task

CARTPOLE = get_task("cartpole")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with cart-pole's demonstrations."""
    folder = tmp_path_factory.mktemp("planned")
    grid.demonstrations_for(CARTPOLE, folder, None)
    return folder


def _plan(results: Path, **options: Any) -> list[Job]:
    return grid.plan(CARTPOLE, Request(results, **options))


def _link_demonstrations(source: Path, target: Path) -> Path:
    """Give another results folder the same demonstrations."""
    (target / "demos").mkdir(parents=True)
    (target / "demos" / "cartpole.npz").write_bytes((source / "demos" / "cartpole.npz").read_bytes())
    return target


# Planning


def test_the_default_plan_is_the_papers_grid(results: Path) -> None:
    specs = [job.spec for job in _plan(results)]
    assert {(spec.algorithm, spec.trajectories) for spec in specs} == {
        (algorithm, size) for algorithm in ("bc", "fem", "gtal", "gail") for size in (1, 4, 7, 10)
    }
    assert len(specs) == 16
    assert {spec.settings for spec in specs} == {"paper"}
    assert {spec.batch for spec in specs} == {None, 5000}


def test_several_entropy_weights_multiply_gail_only(results: Path) -> None:
    specs = [job.spec for job in _plan(results, sizes=[1], entropy_weights=[0.0, 0.001, 0.01], seeds=[0, 1])]
    assert sorted((spec.algorithm, spec.settings) for spec in specs if spec.seed == 0) == [
        ("bc", "paper"),
        ("fem", "paper"),
        ("gail", "entropy_weight-0.001"),
        ("gail", "entropy_weight-0.01"),
        ("gail", "paper"),
        ("gtal", "paper"),
    ]
    assert len(specs) == 12


def test_planned_runs_never_share_a_folder(results: Path) -> None:
    jobs = _plan(results, seeds=[0, 1, 2], entropy_weights=[0.0, 0.1], batch=100)
    assert len({job.spec.folder(results) for job in jobs}) == len(jobs)


def test_missing_demonstrations_are_sampled_once_from_the_shipped_expert(tmp_path: Path) -> None:
    found, path, own = grid.demonstrations_for(CARTPOLE, tmp_path, None)
    card = experts.card("cartpole")
    assert card is not None
    assert (found.expert_sha256, found.trajectories, own) == (card["sha256"], CARTPOLE.demonstrations, False)
    assert path == tmp_path / "demos" / "cartpole.npz"
    before = path.stat().st_mtime_ns
    again, _, _ = grid.demonstrations_for(CARTPOLE, tmp_path, None)
    assert again.sha256() == found.sha256()
    assert path.stat().st_mtime_ns == before


def test_naming_the_standard_demonstrations_is_no_difference(results: Path) -> None:
    named = _plan(results, demonstrations=results / "demos" / "cartpole.npz")
    assert [job.spec for job in named] == [job.spec for job in _plan(results)]


def test_own_demonstrations_are_part_of_the_settings_name(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    policy, digest = experts.load(CARTPOLE)
    own = demonstrations.sample(CARTPOLE, policy, digest, 2, seed=7)
    own.write(path)
    (job,) = _plan(results, demonstrations=path, sizes=[2], algorithms=["gail"])
    assert job.spec.settings == f"demonstrations-{own.sha256()[:8]}"
    assert job.demonstrations == path


def test_demonstrations_of_another_expert_do_not_pass_for_the_standard_ones(tmp_path: Path) -> None:
    policy, _ = experts.load(CARTPOLE)
    path = tmp_path / "demos" / "cartpole.npz"
    demonstrations.sample(CARTPOLE, policy, "0" * 64, CARTPOLE.demonstrations, 0).write(path)
    with pytest.raises(GailbenchError, match="not sampled from the task's expert"):
        grid.demonstrations_for(CARTPOLE, tmp_path, None)
    assert grid.demonstrations_for(CARTPOLE, tmp_path, path)[2] is True


def test_a_task_whose_runs_are_complete_needs_no_demonstrations_though_another_task_does(tmp_path: Path) -> None:
    mountaincar = get_task("mountaincar")
    few = grid.Request(tmp_path, sizes=[1], algorithms=["bc"], iterations=1)
    assert local.execute(list(grid.plan_all([CARTPOLE], few, None)), tmp_path, 1).complete
    standard = grid.standard_path(CARTPOLE, tmp_path)
    standard.unlink()
    states = grid.plan_all([CARTPOLE, mountaincar], few, None)
    assert {job.spec.task: state for job, state in states.items()} == {"cartpole": "complete", "mountaincar": "new"}
    assert not standard.exists()
    assert grid.standard_path(mountaincar, tmp_path).exists()


@pytest.mark.parametrize("options", [{"batch": 200}, {"entropy_weights": [0.1]}])
def test_a_batch_or_an_entropy_weight_that_no_algorithm_has_is_refused(results: Path, options: dict[str, Any]) -> None:
    with pytest.raises(GailbenchError, match="none of the algorithms has a setting"):
        _plan(results, algorithms=["bc"], **options)
    assert _plan(results, algorithms=["bc", "gail"], **options)


def test_a_complete_run_of_another_spec_gets_no_error_file(results: Path, tmp_path: Path) -> None:
    _link_demonstrations(results, tmp_path / "r")
    (job,) = _plan(tmp_path / "r", sizes=[1], algorithms=["bc"], iterations=1)
    local.execute([job], tmp_path / "r", 1)
    other = replace(job, spec=replace(job.spec, format=1))
    outcome = local.execute([other], tmp_path / "r", 1)
    assert "holds a run with another format" in outcome.failed[other.spec]
    assert not folder_of(job.spec, tmp_path / "r").error.exists()


# Carrying it out


def test_runs_start_with_the_fewest_steps(results: Path, tmp_path: Path) -> None:
    _link_demonstrations(results, tmp_path / "r")
    jobs = [
        job
        for algorithm, batch, iterations in (("gail", 600, 2), ("gail", 400, 2), ("fem", 400, 1), ("bc", None, 5))
        for job in _plan(
            tmp_path / "r", sizes=[1], algorithms=[algorithm], batch=batch, iterations=iterations, seeds=[1, 0]
        )
    ]
    started: list[tuple[int, int]] = []

    def note(event: Event) -> None:
        if event.kind == "started":
            started.append((event.job.spec.steps, event.job.spec.seed))

    outcome = local.execute(jobs, tmp_path / "r", 1, note)
    assert started == [(steps, seed) for steps in (0, 400, 800, 1200) for seed in (0, 1)]
    assert set(outcome.complete) == {job.spec for job in jobs}
    assert (outcome.failed, outcome.interrupted) == ({}, False)


def test_a_run_whose_worker_is_killed_does_not_stop_the_others(results: Path, tmp_path: Path) -> None:
    _link_demonstrations(results, tmp_path / "r")
    jobs = _plan(tmp_path / "r", sizes=[1], algorithms=["gail"], batch=400, iterations=20, seeds=[0, 1, 2])
    before = set(multiprocessing.active_children())

    def kill(event: Event) -> None:
        if event.kind == "row" and event.job.spec.seed == 1 and event.row["iteration"] == 1:
            for process in set(multiprocessing.active_children()) - before:
                process.kill()

    outcome = local.execute(jobs, tmp_path / "r", 1, kill)
    assert {spec.seed for spec in outcome.complete} == {0, 2}
    assert {spec.seed: message for spec, message in outcome.failed.items()} == {
        1: "its process ended by signal 9, twice"
    }
    (failed,) = outcome.failed
    assert (failed.folder(tmp_path / "r") / "error.txt").read_text() == "its process ended by signal 9, twice\n"
    assert not outcome.interrupted


def test_a_failed_run_is_named_and_does_not_stop_the_others(results: Path, tmp_path: Path) -> None:
    _link_demonstrations(results, tmp_path / "r")
    options = {"sizes": [1], "algorithms": ["fem"], "batch": 400, "iterations": 2, "seeds": [0, 1, 2]}
    folders = {job.spec.seed: job.spec.folder(tmp_path / "r") for job in _plan(tmp_path / "r", **options)}
    (folders[1] / "spec.json").mkdir(parents=True)  # where a file has to be written
    command = (
        "run",
        *("--task", "cartpole", "--sizes", 1, "--algorithms", "fem", "--seeds", "0,1,2"),
        *("--iterations", 2, "--batch", 400, "--jobs", 1, "--results", "r"),
    )
    finished = launch(*command, folder=tmp_path)
    assert finished.code == 3
    assert "Traceback" not in finished.err
    (line,) = [line for line in finished.err.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: cartpole fem 1 seed 1 batch-400,iterations-2: ")
    assert f"{folders[1].relative_to(tmp_path)}/spec.json" in line
    assert {seed: (folder / "evaluation.csv").exists() for seed, folder in folders.items()} == {
        0: True,
        1: False,
        2: True,
    }
    assert (folders[1] / "error.txt").exists()

    (folders[1] / "spec.json").rmdir()
    before = files_under(folders[0])
    again = call(*command[:-1], tmp_path / "r")
    assert again.code == 0, again.err
    assert again.err.startswith("3 runs: 2 complete, 0 to resume, 1 new")
    assert not (folders[1] / "error.txt").exists()
    assert json.loads((folders[1] / "spec.json").read_text())["seed"] == 1
    assert files_under(folders[0]) == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_even_the_first_worker_starts_with_signals_that_wait() -> None:
    code = (
        "import multiprocessing, pathlib, time\n"
        "from gailbench.engines.local import _inherited\n"
        "process = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(60,), daemon=True)\n"
        "with _inherited():\n"
        "    process.start()\n"
        "print(pathlib.Path(f'/proc/{process.pid}/status').read_text())\n"
        "process.kill()\n"
    )
    status = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    (blocked,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")]
    for number in (signal.SIGINT, signal.SIGTERM):
        assert blocked >> (number - 1) & 1


def test_control_c_while_workers_start_is_quiet(results: Path, tmp_path: Path) -> None:
    """A terminal sends SIGINT to the workers too, which may not have come to ignoring it."""
    _link_demonstrations(results, tmp_path / "r")
    command = ("run", "--task", "cartpole", "--sizes", 1, "--algorithms", "gail,bc", "--jobs", 2, "--results", "r")
    process = start(*command, folder=tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("2 runs: ")
    time.sleep(0.5)  # the workers are importing by now
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "failed" not in err
    assert "interrupted" in err.splitlines()[-1]
