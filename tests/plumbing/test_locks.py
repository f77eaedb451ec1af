"""Locks: one holder at a time, none left by the dead, none believed for ever."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from gailbench.plumbing import locks
from gailbench.plumbing.locks import Lock, Locked


def _hold(path: Path, connection: Any) -> None:
    with Lock(path):
        connection.send(os.getpid())
        connection.recv()


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """Another process that holds the lock, and the pipe that ends it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(tmp_path / "lock", theirs))
    process.start()
    ours.recv()
    yield process, ours
    process.kill()
    process.join()


def _of_another_machine(path: Path, age: float) -> None:
    path.write_text(json.dumps({"host": "elsewhere", "pid": 7, "machine": "another"}))
    touched = time.time() - age
    os.utime(path, (touched, touched))


def test_a_lock_leaves_no_file(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_held_lock_names_its_holder(holder: Any, tmp_path: Path) -> None:
    process, connection = holder
    with pytest.raises(Locked, match=f"process {process.pid} on "), Lock(tmp_path / "lock"):
        pass
    connection.send("enough")
    process.join()
    with Lock(tmp_path / "lock"):
        pass


def test_one_process_cannot_take_a_lock_twice(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"), pytest.raises(Locked), Lock(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free_at_once(holder: Any, tmp_path: Path) -> None:
    process, _ = holder
    process.kill()
    process.join()
    assert (tmp_path / "lock").exists()
    with Lock(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_machines_lock_counts_until_it_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    _of_another_machine(path, locks.STALE / 2)
    with pytest.raises(Locked, match="process 7 on elsewhere"), Lock(path):
        pass
    assert path.exists()
    _of_another_machine(path, locks.STALE + 5)
    with Lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_a_lock_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.01)
    path = tmp_path / "lock"
    with Lock(path):
        os.utime(path, (0, 0))
        for _ in range(1000):
            if path.stat().st_mtime > 1:
                break
            time.sleep(0.01)
        else:
            raise AssertionError("nobody touched it")


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_lock_file_cut_short_is_no_lock(content: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(content)
    with Lock(tmp_path / "lock"):
        pass


def test_a_file_system_without_locks_goes_by_the_touches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with Lock(tmp_path / "lock"), pytest.raises(Locked), Lock(tmp_path / "lock"):
        pass
