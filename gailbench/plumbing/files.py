"""Files that appear whole or not at all, and hashes of their content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gailbench.plumbing.errors import GailbenchError, first_line


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose content becomes `path` when the block ends, so that a reader sees the old file or the whole
    new one, never half of it.

    Raises:
        OSError: The folder is missing or not writable, or the disk is full; `path` is then unchanged.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)  # not the temporary one, or none
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` as `open_atomic` does, with its errors."""
    with open_atomic(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def check_regular(path: Path) -> None:
    """Check that a path that exists is a file that can be read to its end: a pipe or a device may wait for ever.

    Raises:
        OSError: It is something else, or cannot be looked at.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Return the content of a user's TOML file; `kind` says what it holds.

    Raises:
        GailbenchError: It cannot be read, or is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GailbenchError(f"cannot read the {kind} {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GailbenchError(f"{path} is not a TOML file: {first_line(error)}") from None


def check_writable(folder: Path) -> None:
    """Make the folder and try to write in it, so that hours of work do not end at a file that cannot be written.

    Raises:
        GailbenchError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise GailbenchError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def remove_temporary(path: Path) -> None:
    """Remove what killed processes left of writing `path`, or with the name "*" any file of its folder."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
