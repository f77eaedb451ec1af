"""Checks of single arrays of a file: shapes, finite numbers, whole numbers. Arrays are returned in our dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.facts import Facts
from gailbench.formats.raw import Raw, shape_error
from gailbench.plumbing.errors import GailbenchError


def finite(raw: Raw, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return numbers as float32, after checking that they are finite."""
    if values.dtype.kind not in "fiu":
        raise GailbenchError(f"{raw.path}: {name} is an array of {values.dtype}, expected numbers; save floats")
    with np.errstate(over="ignore"):  # an overflow gives infinity, which is an error below
        converted = np.ascontiguousarray(values, dtype=np.float32)
    good = np.isfinite(converted)
    if not good.all():
        place = tuple(int(index) for index in np.argwhere(~good)[0])
        raise GailbenchError(
            f"{raw.path}: {name} holds {values[place]} in row {place[0]}, which is not a finite float32; "
            "remove that trajectory or correct it"
        )
    return converted


def rows_of(raw: Raw, which: str, values: NDArray[Any], rows: int, width: int, facts: Facts) -> NDArray[np.float32]:
    """Return an array as (rows, width) float32. An axis of length 1 may be missing in the file."""
    name = raw.names.get(which, which)
    if values.ndim == 1 and width == 1:
        values = values[:, None]
    if values.shape != (rows, width):
        raise shape_error(
            raw.path,
            name,
            values,
            f"({rows}, {width}) for task '{facts.task}'",
            "check that the file is of this task and of this version of its environment",
        )
    return finite(raw, name, values)


def discrete(raw: Raw, pairs: int, facts: Facts) -> NDArray[np.int64]:
    name, values = raw.names.get("actions", "actions"), raw.actions
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (pairs,):
        remedy = "save indices of actions"
        if values.shape == (pairs, facts.action_dim):
            remedy = "one-hot actions are not accepted, save their indices (argmax over the last axis)"
        raise shape_error(raw.path, name, values, f"({pairs},) of whole numbers", remedy)
    if values.dtype.kind not in "fiu":
        raise GailbenchError(f"{raw.path}: {name} is an array of {values.dtype}, expected whole numbers; save int64")
    # Checked in the file's dtype, since a cast would wrap huge numbers around and truncate fractions.
    allowed = (values >= 0) & (values < facts.action_dim)
    allowed &= np.floor(values) == values
    if not allowed.all():
        row = int(np.flatnonzero(~allowed)[0])
        raise GailbenchError(
            f"{raw.path}: {name} holds {values[row]} in row {row}, expected whole numbers from 0 to "
            f"{facts.action_dim - 1} for task '{facts.task}'; check that the file is of this task"
        )
    return values.astype(np.int64)


def rewards(raw: Raw, values: NDArray[Any], pairs: int) -> NDArray[np.float64]:
    name = raw.names.get("rewards", "rewards")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (pairs,):
        raise shape_error(raw.path, name, values, f"({pairs},)", "save one reward per pair")
    finite(raw, name, values)
    return values.astype(np.float64)


def offsets(raw: Raw, values: NDArray[Any], trajectories: int) -> NDArray[np.int64]:
    name = raw.names.get("offsets", "offsets")
    if values.shape != (trajectories,) or values.dtype.kind not in "iu":
        raise shape_error(
            raw.path, name, values, f"({trajectories},) of integers", "save one per trajectory, or leave them out"
        )
    if not ((values >= 0) & (values < 2**62)).all():
        raise GailbenchError(f"{raw.path}: {name} must not be negative or huge; leave them out to draw new ones")
    return values.astype(np.int64)
