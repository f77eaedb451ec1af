"""What the readers of all formats make of a file, before it is checked against the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.errors import GailbenchError

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Raw:
    """K trajectories of M pairs in all, one after the other, in the file's dtypes and not yet checked.

    Attributes:
        path: The file or folder, for messages.
        observations: (M, O).
        actions: (M, A), (M, 1) or (M,).
        lengths: (K,).
        rewards: (M,) or (M, 1).
        done: (K,) bool, the episode ended, by the task's own rule or the time limit.
        terminated: (K,) bool, it ended by the task's own rule.
        truncated: (K,) bool, it reached a time limit.
        final_observations: (K, O).
        offsets: (K,), the first pair that a subsample keeps.
        expert_sha256: Hash of the expert's file, empty where unknown.
        seed: Of the sampling, -1 where unknown.
        names: The file's names of the arrays whose names here are other ones.
        remarks: What the user should know.
    """

    path: Path
    observations: Numbers
    actions: Numbers
    lengths: Numbers
    rewards: Numbers | None = None
    done: NDArray[np.bool_] | None = None
    terminated: NDArray[np.bool_] | None = None
    truncated: NDArray[np.bool_] | None = None
    final_observations: Numbers | None = None
    offsets: Numbers | None = None
    expert_sha256: str = ""
    seed: int = -1
    names: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def count(values: Numbers) -> int:
    """Return the number of rows, 0 of a single number."""
    return len(values) if values.ndim else 0


def shape_error(path: Path, name: str, values: Numbers, expected: str, remedy: str) -> GailbenchError:
    """Return the error of an array of another shape."""
    return GailbenchError(f"{path}: {name} has shape {values.shape}, expected {expected}; {remedy}")


def checked_lengths(path: Path, name: str, lengths: Numbers, pairs: int | None = None) -> NDArray[np.int64]:
    """Return lengths as (K,) int64.

    Args:
        path: The file.
        name: The array's name.
        lengths: What the file has.
        pairs: What they must sum to, if known.

    Raises:
        GailbenchError: They are no whole numbers of at least 1, or sum to something else.
    """
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise shape_error(
            path, f"{name} ({lengths.dtype})", lengths, "(trajectories,) of integers", "save one length per trajectory"
        )
    # Python's integers: sums of huge lengths must not wrap around to something that fits.
    if (shortest := int(lengths.min())) < 1:
        raise GailbenchError(f"{path}: {name} holds the length {shortest}, expected at least 1; leave out empty ones")
    total = sum(int(length) for length in lengths)
    if pairs is not None and total != pairs:
        raise GailbenchError(f"{path}: {name} sum to {total}, but there are {pairs} pairs; save one row per pair")
    if total >= 2**63:
        raise GailbenchError(f"{path}: {name} sum to {total}, more than any file holds; it is damaged")
    return lengths.astype(np.int64)
