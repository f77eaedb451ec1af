"""Game-theoretic apprenticeship learning (Syed & Schapire 2007; Ho & Ermon 2016, Section 4.1: convex combinations).

Rewards are convex combinations of the 2 D rewards phi and -phi. The combination in which the policy is furthest below
the expert is always a single one of the 2 D rewards.

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


class Gtal:
    """The one of the rewards phi and -phi in which the policy is furthest below the expert, divided by 2 D.

    Args:
        expert: The demonstrated pairs.
        reward_sign: Sign of the rewards after shifting.
        generator: Draws the first choice.
        settings: Whether rewards are shifted.

    Attributes:
        choice: Index in (phi, -phi), below 2 D.
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
        self.choice = int(generator.integers(2 * self.features.dim))

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rewards (T, N): the chosen feature or its negative, divided by 2 D and shifted."""
        dim = self.features.dim
        sign = 1.0 if self.choice < dim else -1.0
        rewards = self.features.of_batch(batch)[:, self.choice % dim].astype(np.float64) * sign / (2 * dim)
        return batch.grid(self._shift(rewards))

    def fit(self, batch: Batch) -> dict[str, float]:
        """Choose the reward in which this batch is furthest below the expert."""
        policy_mean = self.features.of_batch(batch).mean(axis=0, dtype=np.float64)
        self.choice = worst(self.features.expert_mean - policy_mean)
        return {}

    def state(self) -> State:
        return {"choice": np.array([self.choice]), "extreme": np.array([self._shift.extreme])}

    def load_state(self, state: State) -> None:
        self.choice = int(state["choice"][0])
        self._shift.extreme = float(state["extreme"][0])


def worst(shortfall: NDArray[np.float64]) -> int:
    """Return the index of the largest entry of (shortfall, -shortfall); shortfall (D,) is expert's mean - policy's."""
    return int(np.concatenate((shortfall, -shortfall)).argmax())


def make(assignment: Assignment) -> RewardLearner:
    """Return the learner of GTAL."""
    reward = Gtal(assignment.expert, assignment.task.reward_sign, assignment.stream("reward"), assignment.settings)
    return imitate(assignment, reward)
