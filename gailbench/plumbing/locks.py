"""Locks, so that only one process at a time works on a run. Processes may be on several machines that share a folder.

A lock is a file. Its holder keeps it locked by `flock` and touches it every `BEAT` seconds. The system releases `flock`
when the holder dies. On one machine `flock` decides. `flock` may not work between machines, so a lock of another
machine counts as held until it has not been touched for `STALE` seconds.
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
    """A context manager. Within it this process holds the lock. Afterwards the lock file is removed.

    Args:
        path: The lock file, in an existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            Locked: Another process holds the lock and seems to be alive.
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
            # A symbolic link is not followed, since its target would be overwritten.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            holder = _holder(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # flock may succeed although another machine holds the lock.
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
        """Return whether the path still names the opened file."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _touched_lately(self, descriptor: int) -> bool:
        # Both times come from the file system, since the clocks of two machines differ.
        with tempfile.TemporaryFile(dir=self.path.parent) as now:
            age = os.fstat(now.fileno()).st_mtime - os.fstat(descriptor).st_mtime
        # A time far in the future does not show that the holder is alive.
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
    """Return what the holder wrote into the lock file. It is empty if the holder has not written it completely."""
    try:
        found = json.loads(os.pread(descriptor, 1000, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _machine() -> str:
    """Return an identifier of this machine since its last start. Host names are not unique, for example in
    containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
