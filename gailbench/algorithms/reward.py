"""What the loop learns from: the interface of a reward, and the environment's own."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.state import State
from gailbench.sampling import Batch


class Reward(Protocol):
    """What the loop learns from."""

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Rewards (T, N) of a batch's pairs."""

    def fit(self, batch: Batch) -> dict[str, float]:
        """Adapt to a batch of the policy's pairs; return figures for the learning curve."""

    def state(self) -> State:
        """Return everything the next fit depends on."""

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""


class FixedReward:
    """A reward that is never fitted and has no state."""

    def fit(self, batch: Batch) -> dict[str, float]:
        return {}

    def state(self) -> State:
        return {}

    def load_state(self, state: State) -> None:
        pass


class TrueReward(FixedReward):
    """The environment's own reward: it trains experts."""

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        return batch.rewards
