"""Running gailbench from tests: as a process of its own, or its `main` in this one, which is quicker."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from gailbench.cli import main

PROGRAM = [sys.executable, "-m", "gailbench"]


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


def launch(*arguments: object, folder: Path) -> Finished:
    """Run a command in its own process, in that folder."""
    command = [*PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def start(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, so that it can be killed with its workers."""
    command = [*PROGRAM, *map(str, arguments)]
    # Unbuffered output: a test may wait for a line of it.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def call(*arguments: object) -> Finished:
    """Run the console script's `main` in this process."""
    out, err = io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    try:
        with (
            mock.patch.object(sys, "argv", ["gailbench", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
    except SystemExit as end:
        return Finished(int(end.code or 0), out.getvalue(), err.getvalue())
    finally:
        torch.set_num_threads(threads)
    raise AssertionError("main returned without an exit code")


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait for a condition that a process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended first: {process.communicate()}"
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def files_under(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
