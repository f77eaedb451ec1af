"""Feature expectation matching (Abbeel & Ng 2004; Ho & Ermon 2016, Section 4.1: linear costs in the unit ball).

Costs are linear in phi, with weights in the unit L2 ball. The cost that separates policy and expert most has its
weights along the difference of their feature expectations. As a reward: w = (E_expert phi - E_policy phi) / norm,
r = w . phi / D.

Legend: T steps, N environments, D features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gailbench.algorithms import Assignment
from gailbench.algorithms.features import LinearFeatures, LinearSettings, RunningShift
from gailbench.algorithms.loop import RewardLearner, imitate
from gailbench.demonstrations import Pairs
from gailbench.plumbing.state import State
from gailbench.sampling import Batch
from gailbench.tasks import RewardSign


class Fem:
    """The linear reward with weights in the unit ball.

    Args:
        expert: The demonstrated pairs.
        reward_sign: Sign of the rewards after shifting.
        generator: Draws the first weights, a random direction.
        settings: Whether rewards are shifted.

    Attributes:
        weight: w, (D,), of norm at most 1.
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
        direction = generator.standard_normal((self.features.dim,))
        self.weight = unit_ball(direction)

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rewards (T, N): w . phi / D, shifted."""
        rewards = self.features.of_batch(batch) @ self.weight / self.features.dim
        return batch.grid(self._shift(rewards))

    def fit(self, batch: Batch) -> dict[str, float]:
        """Set w along the difference of the expert's and this batch's mean features (undiscounted, over pairs)."""
        policy_mean = self.features.of_batch(batch).mean(axis=0, dtype=np.float64)
        self.weight = unit_ball(self.features.expert_mean - policy_mean)
        return {}

    def state(self) -> State:
        return {"weight": self.weight, "extreme": np.array([self._shift.extreme])}

    def load_state(self, state: State) -> None:
        self.weight = np.array(state["weight"], dtype=np.float64)
        self._shift.extreme = float(state["extreme"][0])


def unit_ball(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the w (D,) in the unit ball with the largest w . difference."""
    norm = np.linalg.norm(difference)
    return difference / norm if norm > 0 else difference


def make(assignment: Assignment) -> RewardLearner:
    """Return the learner of FEM."""
    reward = Fem(assignment.expert, assignment.task.reward_sign, assignment.stream("reward"), assignment.settings)
    return imitate(assignment, reward)
