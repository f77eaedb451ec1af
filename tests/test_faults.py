"""Faults: what the user sees, that other runs finish, that nothing is lost, and that the same command mends it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_helpers import Finished, call, files_under, launch, start, wait_until
from rich.console import Console

from gailbench.commands.progress import GridProgress
from gailbench.plumbing import checkpoints
from gailbench.runs import grid
from gailbench.tasks import get_task

CARTPOLE = get_task("cartpole")
SETTINGS = "batch-400,iterations-3"
RESULT_FILES = ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv")


def _command(results: Path, *more: object, seeds: str = "0,1,2") -> tuple[object, ...]:
    """Three FEM runs of a moment each."""
    return (
        *("run", "--task", "cartpole", "--sizes", 1, "--algorithms", "fem", "--seeds", seeds),
        *("--iterations", 3, "--batch", 400, "--jobs", 1, "--results", results, *more),
    )


def _folder(results: Path, seed: int) -> Path:
    parts = f"task=cartpole/algorithm=fem/settings={SETTINGS}/trajectories=1/seed={seed}"
    return results / "runs" / parts


def _results(results: Path, seed: int) -> dict[str, bytes]:
    return {name: (_folder(results, seed) / name).read_bytes() for name in RESULT_FILES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder whose three runs nothing has disturbed."""
    results = tmp_path_factory.mktemp("undisturbed")
    finished = call(*_command(results))
    assert finished.code == 0, finished.err
    return results


@pytest.fixture
def results(undisturbed: Path, tmp_path: Path) -> Path:
    """A results folder with the demonstrations only."""
    shutil.copytree(undisturbed / "demos", tmp_path / "results" / "demos")
    return tmp_path / "results"


def _assert_redone(finished: Finished, results: Path, undisturbed: Path, *named: str) -> None:
    """All runs are complete and as if undisturbed, and what was wrong is named in one line."""
    assert finished.code == 0, finished.err
    assert "Traceback" not in finished.err
    assert any(all(name in line for name in named) for line in finished.err.splitlines()), finished.err
    for seed in range(3):
        assert _results(results, seed) == _results(undisturbed, seed)
        assert not (_folder(results, seed) / "checkpoint.safetensors").exists()


# Checkpoints that cannot be continued


def _checkpoint(results: Path, tmp_path: Path) -> Path:
    """Interrupt run 1 as soon as it has begun; return its checkpoint."""
    process = start(*_command(results, seeds="1"), folder=tmp_path)
    wait_until((_folder(results, 1) / "spec.json").exists, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    path = _folder(results, 1) / "checkpoint.safetensors"
    if not path.exists():
        pytest.skip("the run was complete before it could be interrupted")
    return path


def _of_another_format(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b'\\"format\\": 1') == 1  # the file's; the computation's is 2
    path.write_bytes(content.replace(b'\\"format\\": 1', b'\\"format\\": 9'))


def _of_another_spec(path: Path) -> None:
    arrays, content = checkpoints.read(path, "checkpoint")
    content["spec"]["demonstrations_sha256"] = "0" * 64
    checkpoints.write(path, "checkpoint", arrays, content)


def _of_another_computation(path: Path) -> None:
    arrays, content = checkpoints.read(path, "checkpoint")
    content["spec"]["format"] += 1
    checkpoints.write(path, "checkpoint", arrays, content)


def _of_another_arithmetic(path: Path) -> None:
    arrays, content = checkpoints.read(path, "checkpoint")
    content["arithmetic"] += 1
    checkpoints.write(path, "checkpoint", arrays, content)


def _without_a_tensor(path: Path) -> None:
    arrays, content = checkpoints.read(path, "checkpoint")
    del arrays["learner.value.network.parameters"]
    checkpoints.write(path, "checkpoint", arrays, content)


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "another format": _of_another_format,
    "another spec": _of_another_spec,
    "another computation": _of_another_computation,
    "another arithmetic": _of_another_arithmetic,
    "without a tensor": _without_a_tensor,
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_checkpoint_is_named_kept_and_the_run_done_anew(
    kind: str, results: Path, undisturbed: Path, tmp_path: Path
) -> None:
    path = _checkpoint(results, tmp_path)
    UNUSABLE[kind](path)
    content = path.read_bytes()
    finished = call(*_command(results))
    _assert_redone(finished, results, undisturbed, "seed 1", str(path), "unusable-checkpoint.safetensors", "anew")
    assert (path.parent / "unusable-checkpoint.safetensors").read_bytes() == content


# Complete runs that are damaged


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("evaluation.csv", lambda content: content[:200]),
        ("evaluation.csv", lambda content: b""),
        ("evaluation.csv", lambda content: content.replace(b"\n3,", b"\n3,nan")),
        ("evaluation.csv", lambda content: b"\xff" + content),
        ("curve.csv", lambda content: content[: len(content) // 2]),
        ("curve.csv", lambda content: b""),
        ("policy.safetensors", lambda content: content[:-10]),
        ("policy.safetensors", None),
        ("spec.json", lambda content: content[:50]),
        ("spec.json", lambda content: b"[]"),
    ],
)
def test_a_damaged_complete_run_is_named_by_run_and_report_and_done_again(
    name: str, damage: Callable[[bytes], bytes] | None, results: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed / "runs", results / "runs")
    path = _folder(results, 1) / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    if name in ("evaluation.csv", "spec.json"):  # what the table is made of
        report = call("report", "--results", results)
        assert report.code == 0
        assert "seed=1 is skipped" in report.err
    finished = call(*_command(results))
    assert finished.err.startswith("3 runs: 2 complete, 0 to resume, 1 new")
    _assert_redone(finished, results, undisturbed, "remark: ", str(path), "is damaged", "done again")


def test_what_a_killed_run_left_beside_its_results_is_tidied_up(results: Path, undisturbed: Path) -> None:
    """A kill between the last file's writing and the checkpoint's removal; or folders of two machines, merged."""
    shutil.copytree(undisturbed / "runs", results / "runs")
    folder = _folder(results, 1)
    before = files_under(results)
    for name in ("checkpoint.safetensors", "error.txt", ".curve.csv.abc.tmp"):
        (folder / name).write_text("left")
    finished = call(*_command(results))
    assert finished.code == 0, finished.err
    assert files_under(results) == before


def test_folders_of_several_machines_merge_by_copying(results: Path, undisturbed: Path, tmp_path: Path) -> None:
    for seed in (0, 2):
        finished = call(*_command(tmp_path / str(seed), seeds=str(seed)))
        assert finished.code == 0, finished.err
        subprocess.run(["cp", "-r", f"{tmp_path / str(seed)}/.", results], check=True)
    finished = call(*_command(results))
    assert finished.err.startswith("3 runs: 2 complete, 0 to resume, 1 new")
    assert finished.code == 0
    assert all(_results(results, seed) == _results(undisturbed, seed) for seed in range(3))


# Demonstrations


@pytest.mark.parametrize("share", [0, 0.5])
def test_damaged_standard_demonstrations_are_sampled_again(share: float, results: Path, undisturbed: Path) -> None:
    path = results / "demos" / "cartpole.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    _assert_redone(call(*_command(results)), results, undisturbed, str(path), "sampled again")
    assert path.read_bytes() == content
    assert path.with_name("unusable-cartpole.npz").read_bytes() == content[: int(share * len(content))]


def test_demonstrations_that_become_unreadable_fail_their_runs_only(results: Path) -> None:
    jobs = grid.plan(
        CARTPOLE, grid.Request(results, sizes=[1], algorithms=["fem"], seeds=[0, 1], batch=400, iterations=2)
    )
    gone = grid.Job(jobs[0].spec, results / "gone.npz")
    from gailbench.engines import local

    outcome = local.execute([gone, jobs[1]], results, 1)
    assert set(outcome.complete) == {jobs[1].spec}
    assert str(gone.demonstrations) in outcome.failed[gone.spec]
    assert "gone.npz" in (gone.spec.folder(results) / "error.txt").read_text()


# Disks and folders


def _mounted(folder: Path, options: str) -> None:
    """Mount a small file system in memory, where that is permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 900 KiB."""
    folder = tmp_path / "disk"
    _mounted(folder, "size=900k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_runs_in_one_line_and_loses_nothing(small_disk: Path, undisturbed: Path) -> None:
    results = small_disk / "results"
    assert call(*_command(results, seeds="0")).code == 0
    before = files_under(results)
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - 50_000))  # a policy takes more
    finished = launch(*_command(results), folder=small_disk)
    assert finished.code == 3, finished.err
    failed = [line for line in finished.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert all("No space left on device" in line and str(results) in line for line in failed)
    assert "Traceback" not in finished.err
    after = files_under(results)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name.endswith(".tmp")]

    filler.unlink()
    finished = call(*_command(results))
    assert finished.code == 0, finished.err
    assert all(_results(results, seed) == _results(undisturbed, seed) for seed in range(3))


def test_a_read_only_folder_is_refused_in_one_line_and_its_complete_runs_still_count(
    undisturbed: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    _mounted(results, "size=5m")
    try:
        shutil.copytree(undisturbed, results, dirs_exist_ok=True)
        shutil.rmtree(_folder(results, 2))
        subprocess.run(["mount", "-o", "remount,ro", str(results)], check=True)
        finished = call(*_command(results))
        assert finished.code == 1
        assert (
            finished.err.splitlines()[-1]
            == f"gailbench: cannot write to {results / 'runs'}: Read-only file system; choose another folder"
        )
        complete = call(*_command(results, seeds="0,1"))
        assert complete.code == 0, complete.err
    finally:
        subprocess.run(["umount", str(results)], check=True)


# Several commands, and their workers


LONG = (
    *("run", "--task", "cartpole", "--sizes", 1, "--algorithms", "fem", "--iterations", 60, "--batch", 1000),
    *("--checkpoint-every", 0),
)


def _workers(process: subprocess.Popen[str]) -> list[int]:
    """Process ids that hold a lock of a run."""
    found = []
    for lock in Path(process.args[-1]).rglob("lock"):  # type: ignore[index]
        text = lock.read_text() if lock.exists() else ""
        if match := re.search(r'"pid": (\d+)', text):
            found.append(int(match[1]))
    return found


def test_a_killed_worker_is_named_and_its_run_taken_up_again(results: Path, tmp_path: Path) -> None:
    command = (*LONG, "--jobs", 1, "--results", results)
    process = start(*command, folder=tmp_path)
    wait_until(lambda: any(results.rglob("checkpoint.safetensors")), process)
    (worker,) = _workers(process)
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "its process ended by signal 9; the run is continued" in err
    assert not list(results.rglob("error.txt"))
    undisturbed = launch(*LONG, "--results", tmp_path / "other", folder=tmp_path)
    assert undisturbed.code == 0
    for path in (tmp_path / "other").rglob("*.safetensors"):
        assert path.read_bytes() == (results / path.relative_to(tmp_path / "other")).read_bytes()


def test_a_worker_that_was_stopped_saves_when_its_grid_is_interrupted(results: Path, tmp_path: Path) -> None:
    command = (*LONG[:-1], 1000, "--jobs", 1, "--results", results)  # no checkpoint, but at the end
    process = start(*command, folder=tmp_path)
    wait_until(lambda: bool(_workers(process)) and any(results.rglob("spec.json")), process)
    (worker,) = _workers(process)
    os.kill(worker, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted; checkpoints are saved and the same command continues"
    assert len(list(results.rglob("checkpoint.safetensors"))) == 1
    assert not list(results.rglob("error.txt"))


def test_a_worker_that_had_to_be_killed_is_not_called_saved(results: Path) -> None:
    (job,) = grid.plan(CARTPOLE, grid.Request(results, sizes=[1], algorithms=["fem"]))
    out = io.StringIO()
    progress = GridProgress(2, Console(file=out))
    progress.show(grid.Event(job, "interrupted"))
    progress.show(grid.Event(job, "interrupted", message="its process ended by signal 9"))
    saved, killed = out.getvalue().splitlines()
    assert saved.endswith("cartpole fem 1 seed 0: saved")
    assert killed.endswith("not saved since its last checkpoint: its process ended by signal 9")


def test_a_grid_whose_runs_had_all_failed_when_its_time_was_over_says_so(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(jobs: list[grid.Job], *_: object) -> grid.Outcome:
        return grid.Outcome(failed={job.spec: "it failed" for job in jobs}, interrupted=True)

    monkeypatch.setattr("gailbench.engines.local.execute", execute)
    finished = call(*_command(results, "--time-limit", "1h"))
    assert (finished.code, finished.err.count("failed: ")) == (3, 3)


def test_workers_outlive_a_killed_command_no_longer_than_it_takes_to_save(results: Path, tmp_path: Path) -> None:
    command = (*LONG, "--jobs", 1, "--results", results)
    process = start(*command, folder=tmp_path)
    wait_until(lambda: any(results.rglob("checkpoint.safetensors")), process)
    process.kill()
    process.communicate(timeout=60)
    finished = launch(*command, folder=tmp_path)  # waits for the worker if it is still there
    assert finished.code == 0, finished.err
    assert not list(results.rglob("lock"))
    assert not list(results.rglob("error.txt"))


def test_two_commands_on_one_folder_never_do_the_same_run(results: Path, tmp_path: Path) -> None:
    command = (
        *("run", "--task", "cartpole", "--sizes", "1,4", "--algorithms", "fem,gtal", "--seeds", "0,1"),
        *("--iterations", 25, "--batch", 1000, "--jobs", 2, "--checkpoint-every", 1000, "--results", results),
    )
    first = start(*command, folder=tmp_path)
    second = start(*command, folder=tmp_path)
    outputs = [process.communicate(timeout=240)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    # Whoever did a run wrote its folder once: the command that found it complete left it alone.
    folders = [path.parent for path in results.rglob("evaluation.csv")]
    assert len(folders) == 8
    for folder in folders:
        iterations = json.loads((folder / "spec.json").read_text())["iterations"]
        assert len((folder / "curve.csv").read_text().splitlines()) == iterations + 1
        times = [(folder / name).stat().st_mtime for name in ("spec.json", "curve.csv", "evaluation.csv")]
        assert times == sorted(times)  # the spec is written when a run begins
    assert not list(results.rglob("lock"))


# Stopping


GRID = (
    *("run", "--task", "cartpole", "--sizes", "1,4", "--algorithms", "fem,gail", "--seeds", "0,1,2"),
    *("--iterations", 20, "--batch", 1000, "--jobs", 2),
)


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of twelve runs that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("twelve")
    finished = launch(*GRID, folder=folder)
    assert finished.code == 0, finished.err
    return folder


def _assert_equal_grids(one: Path, two: Path) -> None:
    for folder in (one, two):
        assert call("report", "--results", folder / "results").code == 0
    names = {path.relative_to(one) for path in (one / "results" / "runs").rglob("*") if path.name in RESULT_FILES}
    assert len(names) == 48
    for name in [*names, Path("results/report/table.csv"), Path("results/report/other_settings.csv")]:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_grid_that_is_stopped_in_the_middle_is_finished_by_the_same_command(
    number: signal.Signals, twelve: Path, tmp_path: Path
) -> None:
    process = start(*GRID, folder=tmp_path)
    wait_until(lambda: len(list(tmp_path.rglob("evaluation.csv"))) >= 4, process)
    os.killpg(process.pid, number)  # as Ctrl-C does: the workers get it too
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "told to end" not in err  # that is for a worker that the system stops alone
    assert err.splitlines()[-1] == "interrupted; checkpoints are saved and the same command continues"
    assert not list(tmp_path.rglob("error.txt"))
    done = len(list(tmp_path.rglob("evaluation.csv")))
    finished = launch(*GRID, folder=tmp_path)
    assert finished.code == 0, finished.err
    assert finished.err.startswith(f"12 runs: {done} complete, ")
    _assert_equal_grids(twelve, tmp_path)


def test_a_time_limit_stops_with_checkpoints_and_the_same_command_goes_on(twelve: Path, tmp_path: Path) -> None:
    codes = [launch(*GRID, "--time-limit", "4s", folder=tmp_path)]
    assert codes[0].code == 130, codes[0].err
    assert codes[0].err.splitlines()[-1].startswith("the time limit is reached; checkpoints are saved")
    finished = launch(*GRID, "--time-limit", "1h", folder=tmp_path)
    assert finished.code == 0, finished.err
    _assert_equal_grids(twelve, tmp_path)


def test_shards_are_disjoint_and_together_the_grid(tmp_path: Path) -> None:
    whole = _listed(tmp_path)
    shards = [_listed(tmp_path, "--shard", f"{number}/5") for number in range(1, 6)]
    assert len(whole) == 12
    assert sorted(line for lines in shards for line in lines) == sorted(whole)
    assert {len(lines) for lines in shards} == {2, 3}


def test_a_dry_run_lists_and_writes_nothing(twelve: Path, tmp_path: Path) -> None:
    assert len(_listed(tmp_path)) == 12
    assert list(tmp_path.iterdir()) == []
    assert {line.split()[0] for line in _listed(twelve)} == {"complete"}
    assert {line.split()[0] for line in _listed(tmp_path)} == {"new"}


def _listed(folder: Path, *more: str) -> list[str]:
    finished = call(*GRID, "--dry-run", "--results", folder / "results", *more)
    assert finished.code == 0, finished.err
    return finished.out.splitlines()[1:]
