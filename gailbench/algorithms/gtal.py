"""Game-theoretic apprenticeship learning (Syed & Schapire 2007; Ho & Ermon 2016, Section 4.1: convex combinations).

Rewards are convex combinations of the 2 D rewards phi and -phi. The combination in which the policy is furthest below
the expert is always a single one of the 2 D rewards.

Legend: D features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gailbench.algorithms import Assignment
from gailbench.algorithms.features import LinearReward
from gailbench.algorithms.loop import RewardLearner, imitate
from gailbench.plumbing.state import State
from gailbench.sampling import Batch


class Gtal(LinearReward):
    """The one of the rewards phi and -phi in which the policy is furthest below the expert, divided by 2 D. At first it
    is any of them. See `LinearReward`.

    Attributes:
        choice: Index in (phi, -phi), below 2 D.
    """

    choice: int

    def _draw(self, generator: np.random.Generator) -> None:
        self.choice = int(generator.integers(2 * self.features.dim))

    def _choose(self, shortfall: NDArray[np.float64]) -> None:
        self.choice = worst(shortfall)

    def _linear(self, batch: Batch) -> NDArray[np.float64]:
        """Return the chosen feature or its negative, divided by 2 D."""
        dim = self.features.dim
        sign = 1.0 if self.choice < dim else -1.0
        return self.features.of_batch(batch)[:, self.choice % dim].astype(np.float64) * sign / (2 * dim)

    def state(self) -> State:
        return {"choice": np.array([self.choice]), **super().state()}

    def load_state(self, state: State) -> None:
        super().load_state(state)
        self.choice = int(state["choice"][0])


def worst(shortfall: NDArray[np.float64]) -> int:
    """Return the index of the largest entry of (shortfall, -shortfall); shortfall (D,) is expert's mean - policy's."""
    return int(np.concatenate((shortfall, -shortfall)).argmax())


def make(assignment: Assignment) -> RewardLearner:
    """Return the learner of GTAL."""
    reward = Gtal(assignment.expert, assignment.task.reward_sign, assignment.stream("reward"), assignment.settings)
    return imitate(assignment, reward)
