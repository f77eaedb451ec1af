"""Files that appear whole or not at all, and hashes of their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gailbench.plumbing.errors import GailbenchError, first_line

# Bytes of a file that is read whole: a card, a spec, settings; and a table of numbers, such as a curve.
LARGEST, LARGEST_TABLE = 2**24, 2**30


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
        stream.write(encoded(content))


def encoded(content: str | bytes) -> bytes:
    """Return text in UTF-8; of a path that is none, what cannot be encoded is escaped."""
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


class Unreadable(GailbenchError):
    """A file is there and cannot be read, by its mode or by a fault of the disk: it may be whole, and is left alone."""


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what goes wrong when a file is looked at into one line."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise GailbenchError(f"no {kind} at {path}") from None
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise GailbenchError(f"no {kind} at {path}: {first_line(error)}") from None


def check_regular(path: Path, kind: str = "file") -> None:
    """Check that `path` is a regular file, before anything is opened that may block or never end.

    Raises:
        Unreadable: It cannot be looked at.
        GailbenchError: It is missing, a folder, a pipe or a device; `kind` says what it should be.
    """
    with _reading(path, kind):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise GailbenchError(f"{path} is {found}, not a regular file")


def read_regular(path: Path, kind: str = "file", largest: int = LARGEST) -> bytes:
    """Return the content of a file of at most `largest` bytes.

    Raises:
        Unreadable: It cannot be read.
        GailbenchError: It is missing, no regular file or larger.
    """
    check_regular(path, kind)
    with _reading(path, kind), path.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise GailbenchError(f"{path} is larger than {largest:,} bytes, which no {kind} is")
    return content


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        Unreadable: It cannot be read.
        GailbenchError: It is missing or no regular file.
    """
    check_regular(path)
    with _reading(path, "file"), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Return the content of a user's TOML file; `kind` says what it holds.

    Raises:
        GailbenchError: It cannot be read, or is none.
    """
    try:
        return tomllib.loads(read_regular(path, f"{kind} file").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
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
