"""What an import must know of the task, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gailbench.demonstrations import Demonstrations
from gailbench.tasks import Task


@dataclass(frozen=True)
class Facts:
    """What foreign demonstrations are checked against.

    Attributes:
        task: The task's short name.
        observation_dim: O, numbers of an observation.
        action_dim: A, numbers of an action; for discrete actions their number.
        discrete: Whether actions are discrete.
        action_low: (A,) smallest actions, None if discrete.
        action_high: (A,) largest actions, None if discrete.
        horizon: The task's time limit in steps.
        keep_every: Every k-th pair is kept in subsamples.
        seed: Of the offsets of subsamples, where the file has none.
    """

    task: str
    observation_dim: int
    action_dim: int
    discrete: bool
    action_low: NDArray[Any] | None
    action_high: NDArray[Any] | None
    horizon: int
    keep_every: int
    seed: int = 0


@dataclass(frozen=True)
class Imported:
    """Demonstrations that were read from someone's file.

    Attributes:
        demonstrations: What was read, checked and in our dtypes.
        format: The name of the file's format, a key of `gailbench.formats.FORMATS`.
        has_rewards: Whether the rewards are the file's; if not, they are 0.
        remarks: What the user should know, one sentence each.
    """

    demonstrations: Demonstrations
    format: str
    has_rewards: bool
    remarks: tuple[str, ...]


def facts_of(task: Task, seed: int = 0) -> Facts:
    """Return a task's facts, asking its environment for the dimensions and bounds."""
    import gymnasium

    from gailbench.simulation import dimensions

    observation_dim, action_dim, discrete = dimensions(task)
    environment = gymnasium.make(task.environment, **dict(task.kwargs))
    actions: Any = environment.action_space
    environment.close()
    return Facts(
        task=task.name,
        observation_dim=observation_dim,
        action_dim=action_dim,
        discrete=discrete,
        action_low=None if discrete else actions.low,
        action_high=None if discrete else actions.high,
        horizon=task.horizon,
        keep_every=task.keep_every,
        seed=seed,
    )
