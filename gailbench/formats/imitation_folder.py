"""Folders that HumanCompatibleAI's imitation writes with Hugging Face's datasets. They are read with pyarrow."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.ends import flags
from gailbench.formats.facts import Facts
from gailbench.formats.imitation_npz import split
from gailbench.formats.raw import Raw, checked_lengths, joined, shape_error
from gailbench.plumbing.bounds import Budget, read_json, readable
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.extras import load_extra
from gailbench.plumbing.files import check_regular

STATE = "state.json"
_COLUMNS = ("obs", "acts", "rews", "terminal")  # infos are never read, since they are encoded Python objects


def read(path: Path, facts: Facts) -> Raw:
    """Read a folder with state.json and one row per trajectory in its Arrow files.

    Raises:
        GailbenchError: The folder cannot be read, its columns do not fit, or pyarrow is missing.
    """
    load_extra("pyarrow", "imitation", f"reading the Arrow files of {path}")
    budget = Budget(path)
    parts: dict[str, list[NDArray[Any]]] = {}
    rows: dict[str, list[NDArray[Any]]] = {}
    for file in _files(path):
        with contextlib.ExitStack() as stack, readable(file, "an Arrow file of Hugging Face's datasets"):
            for name, column in _columns(file, stack).items():
                for chunk in column.chunks:
                    if not len(chunk):
                        continue
                    values, widths = _flat(chunk)
                    budget.take(name, values.shape, values.dtype.itemsize, values.nbytes)
                    parts.setdefault(name, []).append(values)
                    rows.setdefault(name, []).append(widths)
    for name in ("obs", "acts", "terminal"):
        if not sum(map(len, rows.get(name, []))):
            raise GailbenchError(f"{path} lacks the column {name} or any row; save trajectories as imitation does")
    columns = {
        name: joined(path, f"{name} holds entries of the shapes {{}}, expected one; save them again", values)
        for name, values in parts.items()
    }
    counts = {name: np.concatenate(values) for name, values in rows.items()}
    if "rews" in counts and not np.array_equal(counts["rews"], counts["acts"]):
        raise shape_error(path, "rews", columns["rews"], "one reward per action of each row", "save them again")
    steps = checked_lengths(path, "lengths of acts", counts["acts"])
    if not np.array_equal(counts["obs"], steps + 1):
        raise shape_error(path, "obs", columns["obs"], "one observation more than actions per row", "save them again")
    return split(
        path, columns["obs"], columns["acts"], steps, flags(path, "terminal", columns["terminal"]), columns.get("rews")
    )


def _files(path: Path) -> list[Path]:
    """Return the Arrow files that state.json names. They must be in its folder."""
    state = read_json(path / STATE)
    with readable(path / STATE, "the state of a Hugging Face dataset"):
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    for name in names:
        if Path(name).name != name:
            raise GailbenchError(f"{path / STATE} names the file {name!r} outside its folder; move it there")
        check_regular(path / name)
    return [path / name for name in names]


def _columns(file: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Return the needed columns as chunked arrays of pyarrow, which refer to the memory-mapped file."""
    import pyarrow as pa
    from pyarrow import ipc

    try:
        source = stack.enter_context(pa.memory_map(str(file)))
        names = ipc.open_stream(source).schema.names
        wanted = [names.index(name) for name in _COLUMNS if name in names]
        source.seek(0)
        table = ipc.open_stream(source, options=ipc.IpcReadOptions(included_fields=wanted)).read_all()
        table.validate(full=True)
    except pa.ArrowException as error:
        raise ValueError(error) from None
    return {name: table.column(name) for name in table.column_names}


def _flat(chunk: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the numbers (rows, ...) of a nested list, and how many of these rows each row of the chunk has."""
    import pyarrow as pa
    from pyarrow import compute

    chunk = getattr(chunk, "storage", chunk)
    counts = np.ones(len(chunk), dtype=np.int64)
    shape: list[int] = []
    depth = 0
    while pa.types.is_nested(chunk.type):
        if chunk.null_count:
            raise ValueError("a value is missing")
        widths = compute.list_value_length(chunk).to_numpy(zero_copy_only=False)
        if depth == 0:
            counts = widths.astype(np.int64)
        elif len(widths) and (widths != widths[0]).any():
            raise ValueError(f"rows hold {widths.min()} to {widths.max()} numbers, expected as many each")
        else:
            shape.append(int(widths[0]) if len(widths) else 0)
        chunk = compute.list_flatten(chunk)
        chunk = getattr(chunk, "storage", chunk)
        depth += 1
    if chunk.null_count:
        raise ValueError("a value is missing")
    values = chunk.to_numpy(zero_copy_only=False)
    return values.reshape(-1, *shape) if shape else values, counts
