"""Locks: of the processes that share a folder, on one machine or several, one at a time works on a run.

A lock is a file that its holder keeps under `flock`, which the system undoes when the holder dies, and touches every
`BEAT` seconds. On one machine `flock` decides. A shared folder may not carry it to other machines, so the lock of
another machine counts as held until it has not been touched for `STALE` seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

from gailbench.plumbing.errors import GailbenchError

BEAT = 15.0
STALE = 120.0


class Locked(GailbenchError):
    """Another process holds the lock."""


class Lock:
    """While entered, this process holds the lock; the file is gone afterwards.

    Args:
        path: The lock's file, in an existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            Locked: Another process that is alive, as far as one can tell, holds it.
            OSError: The file cannot be written.
        """
        self._descriptor = self._open()
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(_identity()).encode(), 0)
        except OSError:
            self._release()
            raise
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._beating is not None:
            self._beating.join()
        self._release()

    def _open(self) -> int:
        while True:
            # A link that somebody laid there is not followed: what it points to would be overwritten.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            holder = _holder(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another machine's lock may not reach here.
                free = not holder or holder.get("machine") == _machine() or not self._touched_lately(descriptor)
            except BlockingIOError:
                free = False
            except OSError:  # a file system without locks
                free = not holder or not self._touched_lately(descriptor)
            current = self._is(descriptor)
            if free and current:
                return descriptor
            os.close(descriptor)
            if current:
                raise Locked(
                    f"another gailbench works on {self.path.parent} (process {holder.get('pid', '?')} on "
                    f"{holder.get('host', 'another machine')})"
                )

    def _is(self, descriptor: int) -> bool:
        """Whether the path still names the opened file."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _touched_lately(self, descriptor: int) -> bool:
        # Both times are the file system's own: clocks of two machines differ.
        with tempfile.TemporaryFile(dir=self.path.parent) as now:
            age = os.fstat(now.fileno()).st_mtime - os.fstat(descriptor).st_mtime
        # From the future by more than that, its time says nothing of whether its holder lives.
        return -STALE < age < STALE

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._descriptor)

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            if self._is(self._descriptor):
                self.path.unlink()
        os.close(self._descriptor)


def _identity() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine()}


def _holder(descriptor: int) -> dict[str, Any]:
    """What the lock's holder wrote; empty where it has not, or was cut short."""
    try:
        found = json.loads(os.pread(descriptor, 1000, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _machine() -> str:
    """What tells this machine, since it started, from all others: containers and names may be shared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
