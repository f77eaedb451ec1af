"""What machines do to it: encodings, closed and full streams, modes of files, limits, pipes in the place of files."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mujoco
import pytest
from cli_helpers import call, files_under, launch, mode

import gailbench.simulation.mujoco

RUN = (
    *("run", "--task", "cartpole", "--sizes", 1, "--algorithms", "bc,fem", "--iterations", 2, "--batch", 300),
    *("--jobs", 1),
)
FEM = Path("runs/task=cartpole/algorithm=fem/settings=batch-300,iterations-2/trajectories=1/seed=0")
BC = Path("runs/task=cartpole/algorithm=bc/settings=iterations-2/trajectories=1/seed=0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two complete runs."""
    results = tmp_path_factory.mktemp("finished") / "results"
    done = call(*RUN, "--results", results)
    assert done.code == 0, done.err
    return results


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(finished, tmp_path / "results")
    return tmp_path / "results"


def _one_line(err: str, *words: str) -> None:
    (line,) = err.splitlines()
    assert line.startswith("gailbench: ")
    for word in words:
        assert word in line


# Encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-16"])
def test_every_command_prints_in_any_encoding(encoding: str, results: Path, tmp_path: Path) -> None:
    demos = tmp_path / "demos.npz"
    for command in (
        ("demos", "sample", "--task", "cartpole", "--trajectories", 1, "--out", demos),
        ("demos", "show", demos),
        ("demos", "import", "--task", "cartpole", demos, "--out", tmp_path / "imported.npz"),
        ("expert", "list"),
        ("expert", "evaluate", "--task", "cartpole", "--episodes", 1),
        (*RUN, "--results", results, "--dry-run"),
        ("report", "--results", results, "--format", "md,html"),
        ("show", results / FEM),
        ("config", "show", "--task", "cartpole", "--algorithm", "gail"),
    ):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        done = call(*command, out=out)
        assert (done.code, "Error" in done.err) == (0, False), (command, done.err)
        # To what takes ASCII only, click writes UTF-8.
        assert out.buffer.getvalue().decode(encoding.replace("ascii", "utf-8")).strip()  # type: ignore[attr-defined]


def test_what_an_encoding_lacks_is_spelled_out(results: Path) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert call("show", results / FEM, out=out).code == 0
    text = out.buffer.getvalue().decode("latin-1")  # type: ignore[attr-defined]
    (curve,) = (line.split()[-1] for line in text.splitlines() if line.startswith("  curve"))
    assert curve in ("18", "81")  # lowest and highest of eight blocks


def test_files_are_utf8_whatever_the_locale(results: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    report = ("report", "--results", results, "--format", "md,csv")
    assert launch(*report, folder=results, environment=plain).code == 0
    ours = files_under(results)
    assert launch(*report, folder=results, environment=plain).code == 0  # reads its own README
    assert call(*report).code == 0
    assert files_under(results) == ours


def test_a_path_that_is_no_text_does_not_matter(results: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"odd-\xff")
    try:
        results.rename(odd)
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    for command in ((*RUN, "--results", odd), ("report", "--results", odd), ("show", odd / FEM)):
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        done = call(*command, out=out)
        assert done.code == 0, done.err
        assert "Traceback" not in done.err
    missing = call("demos", "show", tmp_path / os.fsdecode(b"\xff.npz"))
    assert missing.code == 1
    _one_line(missing.err, "\\udcff.npz")


# Standard output


def test_a_closed_standard_output_is_none(tmp_path: Path) -> None:
    sample = ("demos", "sample", "--task", "cartpole", "--trajectories", 1, "--out", "own.npz")
    for command in (sample, ("demos", "show", "own.npz"), ("tasks",)):
        done = launch(*command, folder=tmp_path, shell='exec "$@" >&-')
        assert (done.code, done.out) == (0, "")
        assert "Error" not in done.err
    assert (tmp_path / "own.npz").exists()
    assert launch("tasks", folder=tmp_path, shell='exec "$@" >&- 2>&-').code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_files_are_written_although_standard_output_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command, files in (
        (("demos", "sample", "--task", "cartpole,acrobot", "--trajectories", 1), ["cartpole.npz", "acrobot.npz"]),
        (("demos", "import", "--task", "cartpole", "demos/cartpole.npz"), ["cartpole_imported.npz"]),
        (("demos", "export", "demos/cartpole.npz", "--format", "npz", "--out", "demos/copy.npz"), ["copy.npz"]),
        (("expert", "random", "--task", "cartpole", "--episodes", 1, "--out", "demos/random.json"), ["random.json"]),
        (
            ("expert", "train", "--task", "cartpole", "--iterations", 1, "--out", "demos/own.safetensors"),
            ["own.safetensors", "own.json"],
        ),
    ):
        done = call(*command, out=Path("/dev/full").open("w"))  # noqa: SIM115
        assert done.code == 1
        assert done.err.splitlines()[-1] == "gailbench: cannot write to standard output: No space left on device"
        assert all((tmp_path / "demos" / name).exists() for name in files), command


# Modes. Root passes them over, so that its privileges are dropped for the while.


@pytest.mark.parametrize("place", ["runs", "runs/task=cartpole", str(FEM.parent), str(FEM), f"{FEM}/evaluation.csv"])
@pytest.mark.parametrize("bits", [0o000, 0o444])
def test_what_may_not_be_read_is_named_and_left_alone(bits: int, place: str, results: Path) -> None:
    before = files_under(results)
    if (results / place).is_file() and bits:
        pytest.skip("such a file can be read")
    with mode(results / place, bits):
        report = call("report", "--results", results, "--format", "csv", "--out", results.parent / "report")
        run = call(*RUN, "--results", results)
        show = call("show", results / FEM)
    assert report.code == 0, report.err
    assert any(place.rpartition("/")[2] in line and "Permission denied" in line for line in report.err.splitlines())
    readable = str(FEM.parent) in place or str(FEM) in place  # the other run
    assert (results.parent / "report" / "other_settings.csv").exists() == readable
    assert run.code == 1
    _one_line(run.err, "Permission denied")
    assert show.code in (1, 2)
    _one_line(show.err)
    assert files_under(results) == before


def test_experts_that_may_not_be_read_or_are_pipes_do_not_stop_the_report(results: Path) -> None:
    (results / "experts").mkdir()
    (results / "experts" / "cartpole.csv").write_text("iteration,steps,return_mean\n1,100,20\n")
    os.mkfifo(results / "experts" / "own.json")
    report = ("report", "--results", results, "--format", "csv")
    assert call(*report).code == 0
    with mode(results / "experts", 0o000):
        done = call(*report)
    assert done.code == 0, done.err
    assert "the cartpole expert's learning curve is not shown" in done.err
    assert "Permission denied" in done.err


@pytest.mark.parametrize("place", ["demos", "demos/cartpole.npz"])
def test_demonstrations_that_may_not_be_read_are_named(place: str, results: Path) -> None:
    before = files_under(results)
    with mode(results / place, 0o000):
        run = call(*RUN, "--seeds", 1, "--results", results)
    assert run.code == 1
    _one_line(run.err, "demos", "Permission denied")
    assert files_under(results) == before


# Limits


def test_too_few_open_files_are_one_line(finished: Path, tmp_path: Path) -> None:
    command = (*RUN[:-1], 2, "--seeds", "1,2", "--results", tmp_path)
    done = launch(*command, folder=tmp_path, shell='ulimit -n 8; exec "$@"')
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "Too many open files" in done.err.splitlines()[-1]
    assert "ulimit -n" in done.err.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space")
@pytest.mark.parametrize("kilobytes", [250_000, 400_000])
def test_too_little_memory_is_one_line(kilobytes: int, tmp_path: Path) -> None:
    """Where memory ends, while a library is loaded or MuJoCo compiles or allocates, depends on the machine."""
    done = launch("tasks", "check", "hopper", folder=tmp_path, shell=f'ulimit -v {kilobytes}; exec "$@"')
    assert done.code == 1
    _one_line(done.err, "memory")


@pytest.mark.parametrize(
    "error",
    [
        mujoco.FatalError("Could not allocate memory"),
        ValueError("Error: engine error: Could not allocate memory"),
        RuntimeError("Caught an unknown exception!"),
        OSError("libsensor.so: failed to map segment from shared object"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_mujoco_without_memory_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(gailbench.simulation.mujoco, "lean_model", fail)
    done = call("tasks", "check", "hopper")
    assert done.code == 1
    _one_line(done.err, "memory", str(error))


def test_a_system_without_locks_of_files_is_one_line(tmp_path: Path) -> None:
    program = "import sys; sys.modules['fcntl'] = None; from gailbench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    _one_line(done.stderr, "Linux and macOS")


# Pipes in the place of files, which nobody writes to


@pytest.mark.parametrize("name", ["spec.json", "curve.csv", "policy.safetensors", "checksums.json", "evaluation.csv"])
def test_a_pipe_in_the_place_of_a_runs_file_is_damage(name: str, results: Path) -> None:
    path = results / FEM / name
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    report = call("report", "--results", results, "--format", "csv")
    assert report.code == 0
    if name != "policy.safetensors":
        assert "not a regular file" in report.err
    assert call("show", results / FEM).code == 1
    run = call(*RUN, "--results", results)
    assert run.code == 0, run.err
    assert f"{path} is damaged" in run.err
    assert path.is_file()
    assert path.read_bytes() == content


def test_a_pipe_in_the_place_of_a_users_file_is_one_line(results: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for code, command in (
        (1, (*RUN, "--results", results, "--config", pipe)),
        (1, (*RUN, "--results", results, "--demos", pipe)),
        (2, ("run", "--task", pipe)),
        (1, ("demos", "show", pipe)),
        (1, ("demos", "import", "--task", "cartpole", pipe)),
        (1, ("expert", "evaluate", "--task", "cartpole", "--expert", pipe)),
        (1, ("report", "--results", results, "--format", "md", "--add", pipe)),
    ):
        done = call(*command)
        assert done.code == code, done.err
        _one_line(done.err, "pipe.toml is a pipe, a socket or a device, not a regular file")
    readme = call("report", "--results", results, "--format", "md", "--readme", pipe)
    assert readme.code == 1
    assert "not a regular file" in readme.err.splitlines()[-1]
