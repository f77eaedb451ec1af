"""What an import must know about the task, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gailbench.demonstrations import Demonstrations
from gailbench.tasks import Task


@dataclass(frozen=True)
class Facts:
    """Facts about a task, against which imported demonstrations are checked.

    Attributes:
        task: Name of the task.
        observation_dim: O, dimension of an observation.
        action_dim: A, dimension of an action; for discrete actions the number of actions.
        discrete: Whether actions are discrete.
        action_low: (A,) lower bounds of actions; None if discrete.
        action_high: (A,) upper bounds of actions; None if discrete.
        horizon: The task's time limit in steps.
        keep_every: k; subsampling keeps every k-th pair.
        first_action: The number of the environment's first discrete action; ours count from 0.
        seed: Seed from which the offsets of subsampling are drawn if the file has none.
    """

    task: str
    observation_dim: int
    action_dim: int
    discrete: bool
    action_low: NDArray[Any] | None
    action_high: NDArray[Any] | None
    horizon: int
    keep_every: int
    first_action: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Imported:
    """Demonstrations that were imported from a file.

    Attributes:
        demonstrations: The demonstrations, checked and in our dtypes.
        format: Name of the file's format, a key of `gailbench.formats.FORMATS`.
        has_rewards: Whether the file has rewards. If not, rewards are 0.
        remarks: Remarks for the user, one sentence each.
    """

    demonstrations: Demonstrations
    format: str
    has_rewards: bool
    remarks: tuple[str, ...]


def facts_of(task: Task, seed: int = 0) -> Facts:
    """Return the facts about a task. Dimensions and bounds come from its environment.

    Raises:
        GailbenchError: Gymnasium knows no such environment or cannot make it, or its spaces are not vectors.
    """
    from gailbench.simulation import dimensions
    from gailbench.simulation.gymnasium import close, make_single

    observation_dim, action_dim, discrete = dimensions(task)
    environment = make_single(task)
    actions: Any = environment.action_space
    close(environment)
    return Facts(
        task=task.name,
        observation_dim=observation_dim,
        action_dim=action_dim,
        discrete=discrete,
        action_low=None if discrete else actions.low,
        action_high=None if discrete else actions.high,
        horizon=task.horizon,
        keep_every=task.keep_every,
        first_action=int(actions.start) if discrete else 0,
        seed=seed,
    )
