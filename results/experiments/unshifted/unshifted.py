"""FEM and GTAL without the running shift of their rewards.

The shift adds the same number to all rewards of a batch. Where all episodes are equally long, it changes no policy's
rank. But the value function has to predict the sum of these numbers too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gailbench.algorithms import Algorithm, Assignment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gailbench.algorithms.loop import RewardLearner

FEM = Algorithm("fem-unshifted", "FEM, not shifted", "unshifted:make_fem")
GTAL = Algorithm("gtal-unshifted", "GTAL, not shifted", "unshifted:make_gtal")


class NoShift:
    extreme = 0.0

    def __call__(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        return rewards


def make_fem(assignment: Assignment) -> RewardLearner:
    from gailbench.algorithms.fem import Fem

    return unshifted(assignment, Fem)


def make_gtal(assignment: Assignment) -> RewardLearner:
    from gailbench.algorithms.gtal import Gtal

    return unshifted(assignment, Gtal)


def unshifted(assignment: Assignment, kind: type) -> RewardLearner:
    from gailbench.algorithms.loop import imitate

    reward = kind(assignment.expert, assignment.task.reward_sign, assignment.stream("reward"))
    reward._shift = NoShift()
    return imitate(assignment, reward)
