"""Ends of trajectories: flags of pairs, lengths from flags, and flags of trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.raw import Numbers, shape_error
from gailbench.plumbing.errors import GailbenchError


def flags(path: Path, name: str, values: Numbers) -> NDArray[np.bool_]:
    """Return an array of 0 and 1 as (rows,) bool. It may have any dtype, and further axes of length 1.

    Raises:
        GailbenchError: The array has other values or axes.
    """
    flat = values.reshape(len(values)) if values.ndim and values.size == len(values) else values
    if flat.ndim != 1:
        raise shape_error(path, name, values, "one number each", "save one flag per pair or trajectory")
    if flat.dtype.kind not in "biuf":
        raise GailbenchError(f"{path}: {name} is an array of {flat.dtype}, expected 0 and 1; save it as booleans")
    if not ((flat == 0) | (flat == 1)).all():
        other = flat[(flat != 0) & (flat != 1)][0]
        raise GailbenchError(f"{path}: {name} holds {other}, expected only 0 and 1; save it as booleans")
    return flat.astype(bool)


def check_flags(path: Path, name: str, values: NDArray[np.bool_], lengths: NDArray[np.int64]) -> None:
    """Check that there is one flag for each trajectory.

    Raises:
        GailbenchError: There are more or fewer.
    """
    if values.shape != lengths.shape:
        raise shape_error(path, name, values, f"{lengths.shape}", "save one flag per trajectory")


def split_at_ends(ends: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lengths (K,) of trajectories whose last pairs are marked in `ends` (M,). Pairs after the last mark
    are one more trajectory."""
    last = np.flatnonzero(ends)
    if len(ends) and (not len(last) or last[-1] != len(ends) - 1):
        last = np.append(last, len(ends) - 1)
    return np.diff(last, prepend=-1).astype(np.int64)


def last_flags(path: Path, name: str, values: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the flags (K,) of the last pairs of trajectories, from flags (M,) of all pairs.

    Raises:
        GailbenchError: A pair within a trajectory is marked.
    """
    last = np.cumsum(lengths) - 1
    within = values.copy()
    within[last] = False
    if within.any():
        row = int(np.flatnonzero(within)[0])
        raise GailbenchError(
            f"{path}: {name} marks pair {row} as an end, but by the lengths it is within a trajectory; correct one of "
            "them"
        )
    return values[last]
