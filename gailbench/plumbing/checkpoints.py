"""Policies and checkpoints: arrays and JSON in one safetensors file, without pickle, written completely or not at all.

Format: tensors by name. The metadata in the header has the key "gailbench". Its value is JSON with `format` (an
integer), `kind`, `content`, and `sha256`, the hash of the tensors' names, types, shapes and bytes and of the content.
Policies of earlier versions have no `sha256`. A checkpoint without `sha256` is not continued.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import Unreadable, check_regular, write_atomic

# Raised when the meaning of a file's content changes.
FORMAT = 1
KEY = "gailbench"


def to_bytes(kind: str, arrays: dict[str, NDArray[Any]], content: dict[str, Any]) -> bytes:
    """Return the bytes of the file. Equal input gives equal bytes."""
    tensors = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    # Only one key, because safetensors writes several keys in random order.
    digest = _digest(tensors, content)
    header = json.dumps({"format": FORMAT, "kind": kind, "content": content, "sha256": digest}, sort_keys=True)
    return save(tensors, {KEY: header})


def _digest(tensors: dict[str, NDArray[Any]], content: Any) -> str:
    """Return the SHA-256 of the tensors and the content."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write(path: Path, kind: str, arrays: dict[str, NDArray[Any]], content: dict[str, Any]) -> None:
    """Write the file atomically.

    Raises:
        OSError: The file cannot be written. An existing file is unchanged.
    """
    write_atomic(path, to_bytes(kind, arrays, content))


def read(path: Path, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the content of a file. `kind` is "policy" or "checkpoint".

    Raises:
        GailbenchError: The file is missing, truncated, changed, of another program, or of another format.
    """
    with _opened(path, kind) as (stream, header):
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        content, expected = header["content"], header.get("sha256")
        if expected is None and kind == "checkpoint":
            raise GailbenchError(f"{path} is a checkpoint without a checksum")
        if expected is not None and expected != _digest(tensors, content):
            raise GailbenchError(f"{path} is damaged: its content does not have the checksum that it was written with")
        return tensors, content


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a file. Every error becomes a GailbenchError that names the file."""
    try:
        check_regular(path, f"{kind} file")
        with safetensors.safe_open(path, framework="numpy") as stream:
            header = json.loads((stream.metadata() or {}).get(KEY, "{}"))
            if header.get("kind") != kind:
                raise GailbenchError(f"{path} is a safetensors file, but not a {kind} of gailbench")
            if header.get("format") != FORMAT:
                raise GailbenchError(
                    f"{path} has format {header.get('format')}; this version of gailbench reads format {FORMAT}"
                )
            yield stream, header
    except PermissionError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    except (
        OSError,
        safetensors.SafetensorError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:
        raise GailbenchError(f"{path} is not a readable {kind} file ({first_line(error)})") from None
