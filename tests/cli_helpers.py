"""Running gailbench from tests: as a process of its own, or its `main` in this one, which is quicker."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from unittest import mock

import pytest
import torch

from gailbench.cli import main

PROGRAM = [sys.executable, "-m", "gailbench"]


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


def launch(*arguments: object, folder: Path, shell: str = "", environment: dict[str, str] | None = None) -> Finished:
    """Run a command in its own process, in that folder; `shell` is what a shell does around it, such as 'ulimit -n 12;
    exec "$@" >&-'."""
    command = [*PROGRAM, *map(str, arguments)]
    if shell:
        command = ["sh", "-c", shell, "sh", *command]
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
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


def call(*arguments: object, out: TextIO | None = None) -> Finished:
    """Run the console script's `main` in this process; `out` takes the place of standard output."""
    out, err = out or io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    try:
        with (
            mock.patch.object(sys, "argv", ["gailbench", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
    except SystemExit as end:
        return Finished(int(end.code or 0), out.getvalue() if isinstance(out, io.StringIO) else "", err.getvalue())
    finally:
        torch.set_num_threads(threads)
    raise AssertionError("main returned without an exit code")


# From linux/capability.h: the version of the call, and who may read and write whatever the modes say.
_VERSION, _DAC_OVERRIDE, _DAC_READ_SEARCH = 0x20080522, 1, 2


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Let modes of files count in this thread, also for root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    if not hasattr(libc, "capset") or libc.capget(header, before) != 0:
        pytest.skip("privileges cannot be dropped here")
    without = (ctypes.c_uint32 * 6)(*before)
    without[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)  # of the effective ones; the permitted ones stay
    if libc.capset(header, without) != 0:
        pytest.skip("privileges cannot be dropped here")
    try:
        yield
    finally:
        libc.capset(header, before)


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Give a path other permissions for a while, and take privileges that would pass them over."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        with unprivileged():
            yield
    finally:
        path.chmod(before)


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
