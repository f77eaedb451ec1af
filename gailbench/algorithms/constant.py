"""A constant reward with the task's sign: a control of ours, not the paper's.

Nothing is learned from an expert. With a positive reward for every step the policy learns to stay alive. With a
negative one it learns to end the episode. Its true return shows how much can be scored without imitation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gailbench.algorithms import Assignment
from gailbench.algorithms.loop import RewardLearner, imitate
from gailbench.algorithms.reward import FixedReward
from gailbench.sampling import Batch
from gailbench.tasks import RewardSign


class Constant(FixedReward):
    """The reward 1 for every pair, or -1 if the task's reward sign is negative."""

    def __init__(self, reward_sign: RewardSign) -> None:
        self._value = 1.0 if reward_sign == "positive" else -1.0

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Rewards (T, N)."""
        return np.full(batch.rewards.shape, self._value)


def make(assignment: Assignment) -> RewardLearner:
    """Return the learner of the control."""
    return imitate(assignment, Constant(assignment.task.reward_sign))
