"""The arrays that the readers of all formats return, before they are checked against the task."""

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
    """K trajectories with M pairs together, one after the other, in the file's dtypes and not yet checked.

    Attributes:
        path: The file or folder, for messages.
        observations: (M, O).
        actions: (M, A), (M, 1) or (M,).
        lengths: (K,).
        rewards: (M,) or (M, 1).
        done: (K,) bool, whether the episode ended, by termination or by the time limit.
        terminated: (K,) bool, whether the environment ended the episode.
        truncated: (K,) bool, whether the episode reached a time limit.
        final_observations: (K, O).
        offsets: (K,), the first pair that a subsample keeps.
        expert_sha256: Hash of the expert's file, empty if unknown.
        seed: Seed of the sampling, -1 if unknown.
        names: Names in the file of those arrays that have other names here.
        remarks: Remarks for the user.
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
    """Return the number of rows; 0 for a single number."""
    return len(values) if values.ndim else 0


def shape_error(path: Path, name: str, values: Numbers, expected: str, remedy: str) -> GailbenchError:
    """Return the error for an array with a wrong shape."""
    return GailbenchError(f"{path}: {name} has shape {values.shape}, expected {expected}; {remedy}")


def joined(path: Path, wrong: str, parts: list[Numbers]) -> Numbers:
    """Return arrays (rows, ...) one after the other.

    Args:
        path: The file.
        wrong: What is wrong if their rows differ in shape, with {} for the shapes, and what to do.
        parts: The arrays.

    Raises:
        GailbenchError: Their rows differ in shape.
    """
    if len(shapes := {part.shape[1:] for part in parts}) > 1:
        raise GailbenchError(f"{path}: {wrong.format(' and '.join(map(str, sorted(shapes))))}")
    return np.concatenate(parts)


def checked_lengths(path: Path, name: str, lengths: Numbers, pairs: int | None = None) -> NDArray[np.int64]:
    """Return lengths as (K,) int64.

    Args:
        path: The file.
        name: Name of the array.
        lengths: The array in the file.
        pairs: The number of pairs, to which lengths must sum; None if unknown.

    Raises:
        GailbenchError: Lengths are not whole numbers of at least 1, or do not sum to `pairs`.
    """
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise shape_error(
            path, f"{name} ({lengths.dtype})", lengths, "(trajectories,) of integers", "save one length per trajectory"
        )
    # The sum is computed with Python's integers, since huge lengths must not wrap around.
    if (shortest := int(lengths.min())) < 1:
        raise GailbenchError(f"{path}: {name} holds the length {shortest}, expected at least 1; leave out empty ones")
    total = sum(int(length) for length in lengths)
    if pairs is not None and total != pairs:
        raise GailbenchError(f"{path}: {name} sum to {total}, but there are {pairs} pairs; save one row per pair")
    if total >= 2**63:
        raise GailbenchError(f"{path}: {name} sum to {total}, more than any file holds; it is damaged")
    return lengths.astype(np.int64)
