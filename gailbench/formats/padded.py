"""Arrays (K, T, ...) of K trajectories that are padded to T steps, in the formats of the paper and of OpenAI's
baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.raw import shape_error


def unpadded(path: Path, name: str, values: NDArray[Any], lengths: NDArray[np.int64], steps: int) -> NDArray[Any]:
    """Return the pairs (M, ...) of padded arrays (K, T, ...).

    Args:
        path: The file.
        name: Name of the array in the file.
        values: The padded array.
        lengths: (K,) lengths of the trajectories without padding.
        steps: T.

    Raises:
        GailbenchError: The array has other axes.
    """
    if values.ndim < 2 or values.shape[:2] != (len(lengths), steps):
        raise shape_error(path, name, values, f"({len(lengths)}, {steps}, ...)", "save all arrays of the same padding")
    return values[np.arange(steps) < lengths[:, None]]


def padded(values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return pairs (M, ...) as an array (K, T, ...) that is padded with zeros. T is the longest length."""
    result = np.zeros((len(lengths), int(lengths.max()), *values.shape[1:]), dtype=values.dtype)
    result[np.arange(result.shape[1]) < lengths[:, None]] = values
    return result
