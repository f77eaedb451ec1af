"""Reading and writing files: atomic writes, checked reads, and hashes of content."""

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

# Largest sizes in bytes of files that are read at once: of cards, specs and settings, and of tables such as curves.
LARGEST, LARGEST_TABLE = 2**24, 2**30


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Give a stream. When the block ends, its content replaces the file at `path`. A reader sees the old file or the
    complete new one, never a part of it.

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
            error.filename = str(path)  # instead of the temporary file's name, or of none
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` by `open_atomic`. It raises the same errors."""
    with open_atomic(path) as stream:
        stream.write(encoded(content))


def encoded(content: str | bytes) -> bytes:
    """Return text as UTF-8. Characters that cannot be encoded (they come from paths that are not UTF-8) are escaped."""
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


class Unreadable(GailbenchError):
    """A file exists but cannot be read, because of its permissions or a disk error. It may be undamaged, so it is never
    replaced."""


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of the operating system in the block into one line."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise GailbenchError(f"no {kind} at {path}") from None
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise GailbenchError(f"no {kind} at {path}: {first_line(error)}") from None


def check_regular(path: Path, kind: str = "file") -> None:
    """Check that `path` is a regular file, before it is opened. Opening a pipe or a device may block forever.

    Raises:
        Unreadable: The file's status cannot be read.
        GailbenchError: The file is missing, a folder, a pipe or a device. `kind` is the expected kind, for the message.
    """
    with _reading(path, kind):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise GailbenchError(f"{path} is {found}, not a regular file")


def read_regular(path: Path, kind: str = "file", largest: int = LARGEST) -> bytes:
    """Return the content of a file of at most `largest` bytes.

    Raises:
        Unreadable: The file cannot be read.
        GailbenchError: The file is missing, not a regular file, or larger.
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
        Unreadable: The file cannot be read.
        GailbenchError: The file is missing or not a regular file.
    """
    check_regular(path)
    with _reading(path, "file"), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Return the content of a user's TOML file. `kind` is what it holds, for messages.

    Raises:
        GailbenchError: The file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_regular(path, f"{kind} file").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GailbenchError(f"{path} is not a TOML file: {first_line(error)}") from None


def check_writable(folder: Path) -> None:
    """Make the folder and check that files can be written in it, so that the error comes before hours of work.

    Raises:
        GailbenchError: The folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise GailbenchError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def remove_temporary(path: Path) -> None:
    """Remove temporary files that killed processes left when writing `path`. The name "*" means any file in its
    folder."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
