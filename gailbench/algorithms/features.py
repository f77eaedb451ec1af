"""Linear features of state-action pairs, and the reward that is linear in them: what FEM and GTAL share.

phi(s, a) = (x, (0.01 x)^2, 1) with x the standardized pair. For discrete actions x is the standardized observation, and
there is one block (x, (0.01 x)^2) per action: all blocks are zero but the block of the action taken. The mean and the
standard deviation for standardizing are those of the expert's pairs, and do not change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gailbench.demonstrations import Pairs
from gailbench.networks import Standardizer
from gailbench.plumbing.state import State
from gailbench.sampling import Batch
from gailbench.tasks import RewardSign

SQUARE_SCALE = 0.01


@dataclass(frozen=True)
class LinearSettings:
    """Settings of FEM and of GTAL; the defaults are the paper's.

    Attributes:
        shifted: Whether rewards are shifted to the task's sign (see `RunningShift`).
    """

    shifted: bool = True


class LinearFeatures:
    """The features phi, standardized by the expert's pairs.

    Attributes:
        dim: D, number of features.
        expert_mean: (D,), mean of phi over the expert's pairs.
    """

    def __init__(self, expert: Pairs) -> None:
        self._expert = expert
        inputs = expert.inputs(expert.observations, expert.actions)
        self._standardizer = Standardizer(inputs.shape[1])
        self._standardizer.update(inputs)
        phi = self(expert.observations, expert.actions)
        self.dim = phi.shape[1]
        self.expert_mean = phi.mean(axis=0, dtype=np.float64)

    def __call__(self, observations: NDArray[np.float32], actions: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the features (B, D) of observations (B, O) and actions (B, A) or (B,)."""
        x = self._standardizer(self._expert.inputs(observations, actions))
        block = np.concatenate((x, np.square(np.float32(SQUARE_SCALE) * x)), axis=1)
        if self._expert.discrete:
            rows, width = block.shape
            blocks = np.zeros((rows, self._expert.num_actions, width), dtype=np.float32)
            blocks[np.arange(rows), actions.astype(np.intp)] = block
            block = blocks.reshape(rows, -1)
        return np.concatenate((block, np.ones((len(x), 1), dtype=np.float32)), axis=1)

    def of_batch(self, batch: Batch) -> NDArray[np.float32]:
        """Return the features (B, D) of a batch's pairs."""
        return self(batch.observation_rows, batch.action_rows)


class RunningShift:
    """Shifts rewards so that none is negative (for the positive sign) or none is positive (for the negative sign).

    Args:
        reward_sign: Sign of the rewards after shifting.
        shifted: False leaves rewards as they are.

    Attributes:
        extreme: The lowest (or highest) reward so far, starting at 0. It is subtracted from rewards.
    """

    def __init__(self, reward_sign: RewardSign, shifted: bool = True) -> None:
        self._positive, self._shifted = reward_sign == "positive", shifted
        self.extreme = 0.0

    def __call__(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Update the extreme with these rewards, then shift them."""
        if not self._shifted:
            return rewards
        if self._positive:
            self.extreme = min(self.extreme, float(rewards.min()))
        else:
            self.extreme = max(self.extreme, float(rewards.max()))
        return rewards - self.extreme


class LinearReward(ABC):
    """A reward that is linear in phi. FEM and GTAL choose it from different classes.

    Args:
        expert: The demonstrated pairs.
        reward_sign: Sign of the rewards after shifting.
        generator: Draws the first reward.
        settings: Whether rewards are shifted.
    """

    def __init__(
        self,
        expert: Pairs,
        reward_sign: RewardSign,
        generator: np.random.Generator,
        settings: LinearSettings | None = None,
    ) -> None:
        self.features = LinearFeatures(expert)
        self._shift = RunningShift(reward_sign, (settings or LinearSettings()).shifted)
        self._draw(generator)

    @abstractmethod
    def _draw(self, generator: np.random.Generator) -> None:
        """Draw the first reward."""

    @abstractmethod
    def _choose(self, shortfall: NDArray[np.float64]) -> None:
        """Choose the reward in which the policy is furthest below the expert, from the expert's mean phi - the policy's
        (D,)."""

    @abstractmethod
    def _linear(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rewards (B,) of a batch's pairs, not shifted."""

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rewards (T, N), shifted."""
        return batch.grid(self._shift(self._linear(batch)))

    def fit(self, batch: Batch) -> dict[str, float]:
        """Choose the reward for this batch's mean features (undiscounted, over pairs)."""
        policy_mean = self.features.of_batch(batch).mean(axis=0, dtype=np.float64)
        self._choose(self.features.expert_mean - policy_mean)
        return {}

    def state(self) -> State:
        return {"extreme": np.array([self._shift.extreme])}

    def load_state(self, state: State) -> None:
        self._shift.extreme = float(state["extreme"][0])
