"""The .npz files of OpenAI's baselines: obs, acs, rews and ep_rets, one row per trajectory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.facts import Facts
from gailbench.formats.padded import unpadded
from gailbench.formats.raw import Numbers, Raw, shape_error
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.npz import open_archive

_NAMES = {"observations": "obs", "actions": "acs", "rewards": "rews"}


def read(path: Path, facts: Facts) -> Raw:
    """Read a file with arrays (trajectories, steps, ...). Object arrays are refused, since they are pickles.

    Raises:
        GailbenchError: The file cannot be read, or does not say where trajectories end.
    """
    with open_archive(path) as archive:
        observations, actions, rewards = archive.read("obs"), archive.read("acs"), archive.get("rews")
        returns = archive.get("ep_rets")
    if observations.ndim == 2 and returns is not None and returns.size == 1:  # one trajectory, without its axis
        observations, actions = observations[None], actions[None]
        rewards = None if rewards is None else rewards[None]
    if observations.ndim != 3:
        remedy = "the ends of trajectories are unknown, save observations, actions and lengths instead"
        raise shape_error(path, "obs", observations, "(trajectories, steps, numbers)", remedy)
    trajectories, steps = observations.shape[:2]
    if not trajectories or not steps:
        raise GailbenchError(f"{path}: obs of shape {observations.shape} holds no pair; save some trajectories")
    whole = np.full(trajectories, steps)
    for name, values in (("acs", actions), ("rews", rewards)):
        if values is not None:
            unpadded(path, name, values, whole, steps)  # checks the first two axes
    lengths, remarks = _lengths(observations, actions, rewards)
    if rewards is not None and returns is not None:
        sums = rewards.reshape(trajectories, -1).sum(axis=1, dtype=np.float64)
        if returns.shape != sums.shape or not np.allclose(returns, sums, rtol=1e-3, atol=1e-3):
            remarks.append("ep_rets are not the sums of rews; returns are computed from rews")
    return Raw(
        path=path,
        observations=unpadded(path, "obs", observations, lengths, steps),
        actions=unpadded(path, "acs", actions, lengths, steps),
        lengths=lengths,
        rewards=None if rewards is None else unpadded(path, "rews", rewards, lengths, steps),
        names=_NAMES,
        remarks=tuple(remarks),
    )


def _lengths(observations: Numbers, actions: Numbers, rewards: Numbers | None) -> tuple[NDArray[np.int64], list[str]]:
    """Return lengths without padding, and remarks. Padding is the pairs at the end of a trajectory that are all 0."""
    trajectories, steps = observations.shape[:2]
    used = np.zeros((trajectories, steps), dtype=bool)
    for values in (observations, actions, rewards):
        if values is not None:
            used |= (values != 0).reshape(trajectories, steps, -1).any(axis=2)
    lengths = steps - np.argmax(used[:, ::-1], axis=1)  # all steps if all pairs are 0: then nothing counts as padding
    if not (padding := int(trajectories * steps - lengths.sum())):
        return lengths, []
    cut = int((lengths < steps).sum())
    return lengths, [
        f"the last pairs of {cut} trajectories, {padding} in all, are all zeros; they count as padding and are left out"
    ]
