"""The .npz files of old versions of HumanCompatibleAI's imitation. Their infos are pickles and are never read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.ends import flags
from gailbench.formats.facts import Facts
from gailbench.formats.raw import Raw, checked_lengths, count, shape_error
from gailbench.plumbing.npz import open_archive

NAMES = {"observations": "obs", "actions": "acts", "rewards": "rews", "done": "terminal"}


def read(path: Path, facts: Facts) -> Raw:
    """Read a file. obs has one more row per trajectory than acts. Trajectories are split at indices.

    Raises:
        GailbenchError: The file cannot be read, or its arrays do not fit.
    """
    with open_archive(path) as archive:
        observations, actions, rewards = archive.read("obs"), archive.read("acts"), archive.get("rews")
        indices, done = archive.read("indices"), flags(path, "terminal", archive.read("terminal"))
    if indices.shape != (len(done) - 1,) or (len(indices) and indices.dtype.kind not in "iu"):
        raise shape_error(
            path,
            "indices",
            indices,
            f"({len(done) - 1},) of integers, one less than terminal",
            "save it as imitation does",
        )
    bounds = [0, *(int(index) for index in indices), count(actions)]
    # Lengths beyond 64 bits become objects, which `checked_lengths` refuses.
    lengths = checked_lengths(path, "lengths by indices", np.diff(np.array(bounds)), bounds[-1])
    return split(path, observations, actions, lengths, done, rewards)


def split(
    path: Path,
    observations: NDArray[Any],
    actions: NDArray[Any],
    lengths: NDArray[np.int64],
    done: NDArray[np.bool_],
    rewards: NDArray[Any] | None,
) -> Raw:
    """Separate the final observations (K, O) from observations (M + K, O)."""
    expected = int(lengths.sum()) + len(lengths)
    if observations.ndim != 2 or len(observations) != expected:
        raise shape_error(
            path,
            "obs",
            observations,
            f"({expected}, numbers): one per action, and one more for each of {len(lengths)} trajectories",
            "save it as imitation does",
        )
    final = np.zeros(expected, dtype=bool)
    final[np.cumsum(lengths + 1) - 1] = True
    return Raw(
        path=path,
        observations=observations[~final],
        actions=actions,
        lengths=lengths,
        rewards=rewards,
        done=done,
        final_observations=observations[final],
        names=NAMES,
    )
