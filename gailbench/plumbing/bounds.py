"""Checks for everything that reads files: damaged files and wrong array sizes."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import Unreadable, read_regular

LIMIT = 16 * 2**30  # bytes of all arrays of an import; the paper's largest set of demonstrations has 0.4 GB
_DENSEST = 1032  # the largest number of bytes that one deflated byte can stand for
_SLACK = 2**20  # bytes by which an array may exceed this ratio

# Exceptions that the libraries raise when they read a damaged or foreign file.
UNREADABLE = (
    OSError,
    SyntaxError,
    tokenize.TokenError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextlib.contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn exceptions from reading a damaged file within the block into one line.

    Raises:
        Unreadable: There is no permission to read the file.
        GailbenchError: Reading failed. The message says what kind of file was expected.
    """
    try:
        yield
    except PermissionError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    except UNREADABLE as error:
        raise GailbenchError(
            f"{path} cannot be read as {kind} ({first_line(error)}); it is damaged or incomplete, fetch it again"
        ) from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        GailbenchError: The file is missing, not a regular file, too large or not JSON.
    """
    content = read_regular(path, "JSON file")
    with readable(path, "a JSON file"):
        return json.loads(content)


class Budget:
    """Counts the bytes of all arrays of one import, and limits them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = 0

    def take(self, name: str, shape: tuple[int, ...], itemsize: int, stored: int) -> int:
        """Return the size of an array in bytes, before it is allocated. The file stores `stored` bytes of it.

        Raises:
            GailbenchError: The shape is impossible, the array is larger than the file can hold, or all arrays together
                exceed the limit.
        """
        if any(size < 0 for size in shape):
            raise GailbenchError(f"{self._path}: {name} has the impossible shape {shape}; the file is damaged")
        size = math.prod(int(size) for size in shape) * itemsize
        self._taken += size
        if self._taken > LIMIT:
            raise GailbenchError(
                f"{self._path}: {name} of shape {shape} brings the arrays to {self._taken / 2**30:,.1f} GiB, "
                f"more than the {LIMIT / 2**30:g} GiB that an import may take; split the file"
            )
        if size > _DENSEST * stored + _SLACK:
            raise GailbenchError(
                f"{self._path}: {name} of shape {shape} is {size:,} bytes by its header, but the file stores "
                f"{stored:,} bytes of it, which cannot hold so many; it is damaged or made to exhaust memory"
            )
        return size
