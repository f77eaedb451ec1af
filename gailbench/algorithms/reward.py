"""The interface of a reward, and the environment's true reward."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gailbench.algorithms import LOOP_COLUMNS
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.state import State
from gailbench.sampling import Batch


class Reward(Protocol):
    """The reward that the loop trains the policy on."""

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rewards (T, N) of a batch's pairs."""

    def fit(self, batch: Batch) -> dict[str, float]:
        """Fit the reward to a batch of the policy's pairs. Return numbers for the learning curve, by column."""

    def state(self) -> State:
        """Return everything that the next fit depends on."""

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`."""


def rewards_of(reward: Reward, batch: Batch) -> NDArray[np.float64]:
    """Return the rewards (T, N) of a batch's pairs as floating-point numbers, since a reward of another package may
    return truth values, integers or half precision.

    Raises:
        GailbenchError: The rewards are no real numbers.
    """
    rewards = np.asarray(reward.reward(batch))
    if rewards.dtype.kind not in "biuf":
        raise GailbenchError(f"the reward is an array of type {rewards.dtype}; it must hold real numbers")
    return rewards if rewards.dtype in (np.float32, np.float64) else rewards.astype(np.float64)


def figures_of(reward: Reward, batch: Batch) -> dict[str, float]:
    """Fit a reward to a batch and return its numbers for the learning curve, by column.

    Raises:
        GailbenchError: A column is one of the loop's own.
    """
    figures = reward.fit(batch)
    if taken := sorted(set(figures) & set(LOOP_COLUMNS)):
        raise GailbenchError(f"fit() of the reward returns '{taken[0]}', a column of every curve; rename it")
    return figures


class FixedReward:
    """A reward that is never fitted and has no state."""

    def fit(self, batch: Batch) -> dict[str, float]:
        return {}

    def state(self) -> State:
        return {}

    def load_state(self, state: State) -> None:
        pass


class TrueReward(FixedReward):
    """The environment's true reward. Experts are trained on it."""

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        return batch.rewards
