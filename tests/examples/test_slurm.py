"""The array job's script: bash and gailbench accept it, and its shards are the whole grid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import wait_until

from gailbench.commands.options import EXIT_INTERRUPTED, Duration

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "array.sh"
TEXT = SCRIPT.read_text()
OPTIONS = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", TEXT, re.MULTILINE))


@pytest.fixture
def programs(tmp_path: Path) -> str:
    """A PATH on which `gailbench` is the one that is tested."""
    program = tmp_path / "bin" / "gailbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gailbench "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def runs_of(shard: str | None, programs: str, folder: Path) -> set[tuple[str, ...]]:
    """The runs that the script would do as one task of an array: their rows in the list of a dry run."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")} | {"PATH": programs}
    if shard is not None:
        number, _, count = shard.partition("/")
        environment |= {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": count}
    command = ["bash", str(SCRIPT), "--dry-run"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {tuple(line.split()) for line in done.stdout.splitlines()[1:]}


def test_bash_accepts_the_script() -> None:
    done = subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.access(SCRIPT, os.X_OK)


def test_its_shards_are_the_whole_grid_without_overlap(programs: str, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    whole = runs_of(None, programs, folder)
    shards = [runs_of(f"{number}/2", programs, folder) for number in (1, 2)]
    assert len(whole) > 60
    assert set.union(*shards) == whole
    assert sum(map(len, shards)) == len(whole)
    assert list(folder.iterdir()) == []


def test_gailbench_stops_before_slurm_would_end_it() -> None:
    def seconds(text: str) -> float:
        return Duration().convert(text, None, None)

    limits = re.findall(r'--time-limit "([^"]+)"', TEXT)
    assert len(limits) == 1
    margin = seconds(OPTIONS["time"]) - seconds(limits[0])
    receiver, _, warning = OPTIONS["signal"].partition("@")
    assert receiver == "B:USR1"  # the script itself, whose place gailbench takes
    # Slurm may warn up to a minute early; gailbench's own limit still comes first.
    assert 60 + int(warning) < margin < 0.1 * seconds(OPTIONS["time"])


def test_slurms_signal_ends_it_with_everything_saved(programs: str, tmp_path: Path) -> None:
    """The signal goes to the script's process alone, as B: has it."""
    budget = "--task cartpole --algorithms fem --sizes 1 --jobs 1 --checkpoint-every 0"
    process = subprocess.Popen(
        ["bash", str(SCRIPT), *budget.split()],
        env={**os.environ, "PATH": programs, "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(tmp_path.rglob("checkpoint.safetensors")), process)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED, err
    assert "checkpoints are saved" in err
    assert len(list(tmp_path.rglob("checkpoint.safetensors"))) == 1
