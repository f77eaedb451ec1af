"""Lines that describe imported demonstrations, so that the user can check whether the file was understood."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.facts import Facts, Imported


def describe(imported: Imported, facts: Facts) -> list[str]:
    """Return lines on the trajectories, returns, arrays and subsamples, and the remarks."""
    d = imported.demonstrations
    kept = sum(
        len(range(int(offset) % facts.keep_every, int(length), facts.keep_every))
        for offset, length in zip(d.offsets, d.lengths, strict=True)
    )
    if imported.has_rewards:
        low, high = d.returns.min(), d.returns.max()
        returns = f"{d.returns.mean():.2f} ± {d.returns.std():.2f}, from {low:.2f} to {high:.2f}"
    else:
        returns = "the file has no rewards"
    width = d.observations.shape[1]
    return [
        f"format: {imported.format}",
        f"trajectories: {d.trajectories} of {d.lengths.min()} to {d.lengths.max()} steps, {d.lengths.mean():.1f} on "
        f"average; {int(d.terminated.sum())} terminated, {int(d.truncated.sum())} truncated",
        f"returns: {returns}",
        f"observations: {len(d.observations)} of {width} numbers, from {d.observations.min():.4g} to "
        f"{d.observations.max():.4g}",
        f"actions: {_discrete(d.actions, facts) if d.discrete else _continuous(d.actions, facts)}",
        f"pairs: {kept} of {len(d.observations)} remain if every {facts.keep_every}-th pair is kept",
        *(f"remark: {remark}" for remark in imported.remarks),
    ]


def _discrete(actions: NDArray[np.int64], facts: Facts) -> str:
    counts = np.bincount(actions, minlength=facts.action_dim)
    return f"{len(actions)} of 0 to {facts.action_dim - 1}, taken {', '.join(map(str, counts))} times"


def _continuous(actions: NDArray[np.float32], facts: Facts) -> str:
    text = f"{len(actions)} of {actions.shape[1]} numbers, from {actions.min():.4g} to {actions.max():.4g}"
    if facts.action_low is None or facts.action_high is None:
        return text
    outside = ((actions < facts.action_low) | (actions > facts.action_high)).mean()
    return (
        f"{text}; the task's bounds are {np.min(facts.action_low):.4g} to {np.max(facts.action_high):.4g}, "
        f"{100 * outside:.1f} % of the numbers are outside"
    )
