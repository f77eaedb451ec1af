"""What a result depends on is checked before it is used: files that were changed, and numbers that are none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_helpers import PROGRAM, call, files_under, launch

from gailbench import demonstrations, experts
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.locks import Lock, Locked
from gailbench.policy import policy_bytes, read_policy
from gailbench.runs.folder import EVALUATION_COLUMNS, RunFolder, read_evaluation
from gailbench.runs.grid import Request, demonstrations_for, plan
from gailbench.tasks import get_task

CARTPOLE = get_task("cartpole")
TINY = (
    "run",
    "--task",
    "cartpole",
    "--sizes",
    1,
    "--algorithms",
    "gail",
    "--iterations",
    3,
    "--batch",
    400,
    "--jobs",
    1,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one complete run."""
    results = tmp_path_factory.mktemp("finished")
    assert call(*TINY, "--results", results).code == 0
    return results


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> tuple[Path, RunFolder]:
    """A copy that a test may damage, and its run."""
    shutil.copytree(finished, tmp_path / "r")
    (evaluation,) = (tmp_path / "r").rglob("evaluation.csv")
    return tmp_path / "r", RunFolder(evaluation.parent)


def flip(path: Path, at: int = -200) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


def _garbage_row(folder: RunFolder) -> None:
    header, *_, last = folder.curve.read_text().splitlines()
    folder.curve.write_text("\n".join((header, "garbage,,,", last)) + "\n")


def _huge_return(folder: RunFolder) -> None:
    header, _, *rest = folder.evaluation.read_text().splitlines()
    folder.evaluation.write_text("\n".join((header, "0,999999.0,200", *rest)) + "\n")


def _other_policy(folder: RunFolder) -> None:
    policy = read_policy(folder.policy)
    with torch.no_grad():
        policy.network.biases[0][:] = 1.0
    folder.policy.write_bytes(policy_bytes(policy))


def _nan_policy(folder: RunFolder) -> None:
    folder.checksums.unlink()  # as of an earlier version
    policy = read_policy(folder.policy)
    with torch.no_grad():
        policy.network.biases[0][:] = float("nan")
    folder.policy.write_bytes(policy_bytes(policy))


DAMAGES: dict[str, Callable[[RunFolder], None]] = {
    "a flipped bit in the policy": lambda folder: flip(folder.policy),
    "a garbage row in the curve": _garbage_row,
    "another return": _huge_return,
    "another run's policy": _other_policy,
    "weights that are no numbers": _nan_policy,
    "a checksum file that is none": lambda folder: folder.checksums.write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_finished_run_is_named_and_done_again(
    damage: str, copy: tuple[Path, RunFolder], finished: Path
) -> None:
    results, folder = copy
    DAMAGES[damage](folder)
    again = call(*TINY, "--results", results)
    assert again.code == 0, again.err
    assert "0 complete" in again.err
    assert "damaged" in again.err
    for name in ("policy.safetensors", "curve.csv", "evaluation.csv", "checksums.json"):
        (original,) = finished.rglob(name)
        assert (folder.path / name).read_bytes() == original.read_bytes(), name
    assert call(*TINY, "--results", results).err.startswith("1 runs: 1 complete")


@pytest.mark.parametrize(
    "line",
    ["7,1_0,5", "7,nan,5", "7,1e999,5", "7,5.0,text", "7,5.0,0", "7,5.0", "7,5.0,5,5", "6,5.0,5", "7,٣,5", "7, 5.0,5"],
)
def test_an_evaluation_is_exactly_what_is_written(line: str, tmp_path: Path) -> None:
    lines = [f"{k},{float(k)!r},5" for k in range(50)]
    path = tmp_path / "evaluation.csv"
    path.write_text("\n".join((EVALUATION_COLUMNS, *lines)) + "\n")
    returns, lengths = read_evaluation(path)
    assert (returns.tolist(), lengths.tolist()) == ([float(k) for k in range(50)], [5] * 50)
    for wrong in ([*lines[:7], line, *lines[8:]], lines[:49], [*lines, "50,5.0,5"]):
        path.write_text("\n".join((EVALUATION_COLUMNS, *wrong)) + "\n")
        with pytest.raises(ValueError, match=r"^it|^episode|codec"):
            read_evaluation(path)


def test_a_flipped_bit_in_a_checkpoint_is_noticed_and_the_run_ends_with_the_undisturbed_bytes(
    finished: Path, tmp_path: Path
) -> None:
    results = tmp_path / "r"
    command = (*TINY, "--checkpoint-every", 0, "--results", results)
    process = subprocess.Popen(
        [*PROGRAM, *map(str, (*command[:8], 300, *command[9:]))], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (found := list(results.rglob("checkpoint.safetensors"))):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    (path,) = found
    content = path.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    flip(path, 8 + header + 5_000)
    policy = demonstrations_for(CARTPOLE, results, None)  # they are there
    assert policy[2] is False
    spec = json.loads((path.parent / "spec.json").read_text())
    assert spec["iterations"] == 300
    from gailbench.plumbing import checkpoints

    with pytest.raises(GailbenchError, match="checksum"):
        checkpoints.read(path, "checkpoint")


def test_edited_demonstrations_are_somebodys_own(tmp_path: Path) -> None:
    policy, digest = experts.load(CARTPOLE)
    sampled = demonstrations.sample(CARTPOLE, policy, digest, CARTPOLE.demonstrations, 0)
    sampled.write(tmp_path / "own.npz")
    assert demonstrations_for(CARTPOLE, tmp_path, tmp_path / "own.npz")[2] is False
    replace(sampled, actions=1 - sampled.actions).write(tmp_path / "own.npz")
    edited = dict(np.load(tmp_path / "own.npz"))
    edited["sha256"] = np.array(sampled.sha256())  # with the label of what it was
    np.savez(tmp_path / "own.npz", **edited)
    found, _, own = demonstrations_for(CARTPOLE, tmp_path, tmp_path / "own.npz")
    assert own
    request = Request(tmp_path, demonstrations=tmp_path / "own.npz", sizes=[1], algorithms=["bc"])
    assert plan(CARTPOLE, request)[0].spec.settings == f"demonstrations-{found.sha256()[:8]}"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [4, 8])
def test_equal_numbers_in_another_type_or_byte_order_have_the_same_hash(order: str, size: int, tmp_path: Path) -> None:
    policy, digest = experts.load(CARTPOLE)
    sampled = demonstrations.sample(CARTPOLE, policy, digest, 2, 0)
    sampled.write(tmp_path / "own.npz")
    content = dict(np.load(tmp_path / "own.npz"))
    for name in ("observations", "final_observations"):
        content[name] = content[name].astype(f"{order}f{size}")
    for name in ("actions", "lengths", "offsets"):
        content[name] = content[name].astype(f"{order}i{size}")
    np.savez(tmp_path / "other.npz", **content)
    read = demonstrations.read(tmp_path / "other.npz")
    assert read.sha256() == sampled.sha256()
    assert read.genuine
    assert read.observations.dtype == np.float32
    assert read.actions.dtype == np.int64


def test_exported_demonstrations_with_changed_content_stay_a_users_own(tmp_path: Path) -> None:
    policy, digest = experts.load(CARTPOLE)
    demonstrations.sample(CARTPOLE, policy, digest, 2, 0).write(tmp_path / "own.npz")
    content = dict(np.load(tmp_path / "own.npz"))
    np.savez(tmp_path / "own.npz", **{**content, "actions": 1 - content["actions"]})
    changed = demonstrations.read(tmp_path / "own.npz")
    changed.write(tmp_path / "exported.npz")
    assert (changed.genuine, demonstrations.read(tmp_path / "exported.npz").genuine) == (False, False)


def test_a_users_demonstrations_in_the_place_of_the_experts_are_kept(tmp_path: Path) -> None:
    policy, _ = experts.load(CARTPOLE)
    path = tmp_path / "demos" / "cartpole.npz"
    imported = demonstrations.sample(CARTPOLE, policy, "", 2, 0)
    replace(imported, seed=-1, stated_sha256="").write(path)
    before = path.read_bytes()
    with pytest.raises(GailbenchError, match=r"was not sampled from the task's expert; move it away"):
        demonstrations_for(CARTPOLE, tmp_path, None)
    assert path.read_bytes() == before


def test_a_file_in_the_place_of_the_experts_demonstrations_is_put_aside_once(tmp_path: Path) -> None:
    path = tmp_path / "demos" / "cartpole.npz"
    path.parent.mkdir()
    path.write_bytes(b"of another program")
    heard: list[str] = []
    demonstrations_for(CARTPOLE, tmp_path, None, heard.append, write=False)
    assert path.read_bytes() == b"of another program"
    demonstrations_for(CARTPOLE, tmp_path, None, heard.append)
    assert "it is now unusable-cartpole.npz; demonstrations are sampled again" in heard[1]
    assert (tmp_path / "demos" / "unusable-cartpole.npz").read_bytes() == b"of another program"
    assert demonstrations.read(path).genuine
    path.write_bytes(b"of a third")
    with pytest.raises(GailbenchError, match="is there already; move one of them away"):
        demonstrations_for(CARTPOLE, tmp_path, None)
    assert path.read_bytes() == b"of a third"


def test_demonstrations_without_a_checksum_are_sampled_again(tmp_path: Path) -> None:
    found, path, _ = demonstrations_for(CARTPOLE, tmp_path, None)
    content = dict(np.load(path))
    del content["sha256"]
    np.savez(path, **{**content, "format": np.array(1)})
    heard: list[str] = []
    again, _, own = demonstrations_for(CARTPOLE, tmp_path, None, heard.append)
    assert (again.sha256(), own) == (found.sha256(), False)
    assert "earlier version" in heard[0]
    assert demonstrations.read(path).genuine


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    policy, digest = experts.load(CARTPOLE)
    demonstrations.sample(CARTPOLE, policy, digest, 2, 0).write(tmp_path / "own.npz")
    content = dict(np.load(tmp_path / "own.npz"))
    content["observations"] = content["observations"].astype(np.float64)
    content["observations"][5] = 1e39
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(GailbenchError, match="row 5"):
        demonstrations.read(tmp_path / "own.npz")


def test_a_training_that_leaves_the_numbers_fails_with_its_iteration(tmp_path: Path) -> None:
    failed = call(*TINY, "--set", "gail.learning_rate=1e38", "--results", tmp_path)
    assert failed.code == 3
    (line,) = [line for line in failed.err.splitlines() if line.startswith("failed: ")]
    assert "iteration " in line
    assert "not a finite number" in line
    assert not list(tmp_path.rglob("evaluation.csv"))


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon"])
def test_checkpoints_are_written_at_times_that_exist(text: str, tmp_path: Path) -> None:
    refused = call(*TINY, "--checkpoint-every", text, "--results", tmp_path)
    assert refused.code == 2
    assert "'--checkpoint-every'" in refused.err
    assert text in refused.err


def test_a_complete_grid_needs_no_demonstrations_and_writes_nothing(copy: tuple[Path, RunFolder]) -> None:
    results, _ = copy
    shutil.rmtree(results / "demos")
    before = files_under(results)
    assert call(*TINY, "--results", results).err.startswith("1 runs: 1 complete")
    assert files_under(results) == before


def test_a_users_own_module_is_not_imported_by_workers(tmp_path: Path) -> None:
    (tmp_path / "signal.py").write_text("def lowpass(x): return x\n")
    program = Path(sys.executable).parent / "gailbench"
    command = [program, *map(str, TINY), "--results", "r"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_value_of_mujoco_gl_does_not_matter_where_nothing_is_rendered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    planned = launch("run", "--task", "hopper", "--sizes", 4, "--algorithms", "bc", "--dry-run", folder=tmp_path)
    assert (planned.code, "Traceback" in planned.err) == (0, False)


def test_runs_go_on_when_nobody_reads_standard_error(tmp_path: Path) -> None:
    command = [*PROGRAM, *map(str, TINY[:8]), "3", "--batch", "400", "--seeds", "0-2", "--results", "r", "--jobs", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        process.wait(timeout=120)
    assert len(list(tmp_path.rglob("evaluation.csv"))) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", [("tasks",), ("expert", "list"), ("tasks", "--json"), ("--help",)])
def test_a_full_standard_output_is_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "gailbench: cannot write to standard output: No space left on device\n",
    )


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"symbolic links"), Lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "precious").read_text() == "content"


def test_a_foreign_lock_from_the_future_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"machine": "another", "host": "there", "pid": 1}))
    with pytest.raises(Locked), Lock(path):
        pass
    ahead = path.stat().st_mtime + 10_000
    os.utime(path, (ahead, ahead))
    with Lock(path):
        pass
