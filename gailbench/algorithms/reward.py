"""The interface of a reward, and the environment's true reward."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
