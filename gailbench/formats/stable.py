"""The .npz files of Stable-Baselines and IL-Datasets: flat arrays with episode_starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gailbench.formats.ends import flags, split_at_ends
from gailbench.formats.facts import Facts
from gailbench.formats.raw import Raw, count, shape_error
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.npz import open_archive

OBSERVATIONS = ("obs", "observations", "states")


def read(path: Path, facts: Facts) -> Raw:
    """Read a file with (M, O) observations, actions, episode_starts and perhaps rewards and episode_returns.

    Raises:
        GailbenchError: The file cannot be read, or its arrays do not fit.
    """
    with open_archive(path) as archive:
        name = next(name for name in OBSERVATIONS if name in archive.names)
        observations, actions, rewards = archive.read(name), archive.read("actions"), archive.get("rewards")
        starts = flags(path, "episode_starts", archive.read("episode_starts"))
        returns = archive.get("episode_returns")
    if len(starts) != count(actions):
        raise shape_error(path, "episode_starts", starts, f"({count(actions)},) as actions", "save one flag per pair")
    if not len(starts) or not starts[0]:
        raise GailbenchError(f"{path}: episode_starts does not begin with 1, a trajectory's start; save whole ones")
    lengths = split_at_ends(np.append(starts[1:], True))
    remarks = []
    if rewards is not None and returns is not None and rewards.size == len(starts):
        sums = np.add.reduceat(rewards.reshape(-1).astype(np.float64), np.flatnonzero(starts))
        if returns.size != len(sums) or not np.allclose(returns.reshape(-1), sums, rtol=1e-3, atol=1e-3):
            remarks.append(
                f"episode_returns ({returns.size}) are not the returns of the {len(sums)} trajectories that "
                "episode_starts gives; returns are computed from rewards"
            )
    return Raw(
        path=path,
        observations=observations,
        actions=actions,
        lengths=lengths,
        rewards=rewards,
        names={"observations": name},
        remarks=tuple(remarks),
    )
