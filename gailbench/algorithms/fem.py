"""Feature expectation matching (Abbeel & Ng 2004; Ho & Ermon 2016, Section 4.1: linear costs in the unit ball).

Costs are linear in phi, with weights in the unit L2 ball. The cost that separates policy and expert most has its
weights along the difference of their feature expectations. As a reward: w = (E_expert phi - E_policy phi) / norm,
r = w . phi / D.

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


class Fem(LinearReward):
    """The linear reward with weights in the unit ball, at first a random direction. See `LinearReward`.

    Attributes:
        weight: w, (D,), of norm at most 1.
    """

    weight: NDArray[np.float64]

    def _draw(self, generator: np.random.Generator) -> None:
        self.weight = unit_ball(generator.standard_normal((self.features.dim,)))

    def _choose(self, shortfall: NDArray[np.float64]) -> None:
        self.weight = unit_ball(shortfall)

    def _linear(self, batch: Batch) -> NDArray[np.float64]:
        """Return w . phi / D."""
        return self.features.of_batch(batch) @ self.weight / self.features.dim

    def state(self) -> State:
        return {"weight": self.weight, **super().state()}

    def load_state(self, state: State) -> None:
        super().load_state(state)
        self.weight = np.array(state["weight"], dtype=np.float64)


def unit_ball(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the w (D,) in the unit ball with the largest w . difference."""
    norm = np.linalg.norm(difference)
    return difference / norm if norm > 0 else difference


def make(assignment: Assignment) -> RewardLearner:
    """Return the learner of FEM."""
    reward = Fem(assignment.expert, assignment.task.reward_sign, assignment.stream("reward"), assignment.settings)
    return imitate(assignment, reward)
