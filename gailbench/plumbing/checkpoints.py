"""Arrays and JSON in one safetensors file, without pickle, written whole or not at all: policies and checkpoints.

Format: tensors by name; the header's metadata holds, under "gailbench", JSON with `format` (an integer), `kind` and
`content`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import write_atomic

# Changes when what a file's content means, or the computation that it continues, changes.
FORMAT = 1
KEY = "gailbench"


def to_bytes(kind: str, arrays: dict[str, NDArray[Any]], content: dict[str, Any]) -> bytes:
    """Return the file's bytes; equal input gives equal bytes."""
    # One key only: safetensors writes several in random order.
    header = json.dumps({"format": FORMAT, "kind": kind, "content": content}, sort_keys=True)
    return save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}, {KEY: header})


def write(path: Path, kind: str, arrays: dict[str, NDArray[Any]], content: dict[str, Any]) -> None:
    """Write the file, atomically.

    Raises:
        OSError: It cannot be written; what was there is unchanged.
    """
    write_atomic(path, to_bytes(kind, arrays, content))


def read(path: Path, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return arrays and content of a file of that kind ("policy", "checkpoint").

    Raises:
        GailbenchError: The file is missing, truncated, foreign, or of another format.
    """
    with _opened(path, kind) as (stream, content):
        return {name: stream.get_tensor(name) for name in stream.keys()}, content  # noqa: SIM118


def damage(path: Path, kind: str) -> str | None:
    """Say why a file is not a whole one of that kind and format, without reading its arrays; None if it is."""
    try:
        with _opened(path, kind):
            return None
    except GailbenchError as error:
        return str(error)


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a file; every error becomes a GailbenchError that names it."""
    try:
        with safetensors.safe_open(path, framework="numpy") as stream:
            header = json.loads((stream.metadata() or {}).get(KEY, "{}"))
            if header.get("kind") != kind:
                raise GailbenchError(f"{path} is a safetensors file, but not a {kind} of gailbench")
            if header.get("format") != FORMAT:
                raise GailbenchError(
                    f"{path} has format {header.get('format')}; this version of gailbench reads format {FORMAT}"
                )
            yield stream, header["content"]
    except FileNotFoundError:
        raise GailbenchError(f"no {kind} file at {path}") from None
    except (OSError, safetensors.SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise GailbenchError(f"{path} is not a readable {kind} file ({first_line(error)})") from None
