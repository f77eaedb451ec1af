"""The paper's nine tasks: every number that belongs to a task stands in this table and nowhere else.

Source: Ho & Ermon (2016), Tables 1 to 3 and Appendix B, with the settings that the authors' runs used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gailbench.plumbing.errors import GailbenchError, nearest

RewardSign = Literal["positive", "negative"]
ALGORITHMS = ("bc", "fem", "gtal", "gail")
CONSTANT = "constant"  # a control of ours: TRPO on a constant reward, without demonstrations


@dataclass(frozen=True)
class Task:
    """One imitation task and the paper's settings for it.

    Attributes:
        name: The paper's short name, as used on the command line, in folders and in tables.
        environment: Gymnasium id.
        horizon: Time limit of an episode, in steps. Part of the finite-horizon problem: value 0 after it.
        sizes: Demonstration sizes of the paper's grid, in trajectories.
        demonstrations: Trajectories in the full set; a size is a prefix of it.
        keep_every: Every k-th pair of a demonstrated trajectory is kept.
        batch: State-action pairs per iteration.
        iterations: Iterations of GAIL, FEM and GTAL.
        bc_steps: Gradient steps of behavioral cloning.
        bc_validate_every: Gradient steps between two validations of behavioral cloning.
        reward_sign: "positive" where episodes end early on failure, "negative" where they end on success.
        training_runs: Training runs behind each of the paper's cells.
        algorithms: Columns of the paper's table.
        entropy_weights: GAIL's policy entropy weights (lambda) in the paper's table.
    """

    name: str
    environment: str
    horizon: int
    sizes: tuple[int, ...]
    demonstrations: int
    keep_every: int
    batch: int
    iterations: int
    bc_steps: int
    bc_validate_every: int
    reward_sign: RewardSign
    training_runs: int
    algorithms: tuple[str, ...] = ALGORITHMS
    entropy_weights: tuple[float, ...] = (0.0,)


def _classic(name: str, environment: str, keep_every: int, reward_sign: RewardSign) -> Task:
    return Task(
        name=name,
        environment=environment,
        horizon=200,
        sizes=(1, 4, 7, 10),
        demonstrations=10,
        keep_every=keep_every,
        batch=5_000,
        iterations=300,
        bc_steps=1_000,
        bc_validate_every=100,
        reward_sign=reward_sign,
        training_runs=7,
    )


def _locomotion(
    name: str,
    environment: str,
    sizes: tuple[int, ...] = (4, 11, 18, 25),
    demonstrations: int = 50,
    iterations: int = 500,
) -> Task:
    return Task(
        name=name,
        environment=environment,
        horizon=1000,
        sizes=sizes,
        demonstrations=demonstrations,
        keep_every=20,
        batch=50_000,
        iterations=iterations,
        bc_steps=20_000,
        bc_validate_every=1_000,
        reward_sign="positive",
        training_runs=1,
    )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _classic("cartpole", "CartPole-v1", keep_every=10, reward_sign="positive"),
        _classic("acrobot", "Acrobot-v1", keep_every=5, reward_sign="negative"),
        _classic("mountaincar", "MountainCar-v0", keep_every=5, reward_sign="negative"),
        Task(
            name="reacher",
            environment="Reacher-v5",
            horizon=50,
            sizes=(4, 11, 18),
            demonstrations=18,
            keep_every=1,
            batch=50_000,
            iterations=200,
            bc_steps=10_000,
            bc_validate_every=500,
            reward_sign="positive",
            training_runs=7,
            algorithms=("bc", "gail"),
            entropy_weights=(0.0, 0.001, 0.01),
        ),
        _locomotion("halfcheetah", "HalfCheetah-v5"),
        _locomotion("hopper", "Hopper-v5"),
        _locomotion("walker", "Walker2d-v5"),
        _locomotion("ant", "Ant-v5"),
        _locomotion("humanoid", "Humanoid-v5", sizes=(80, 160, 240), demonstrations=240, iterations=1_500),
    )
}


def get_task(name: str) -> Task:
    """Return the task of that short name.

    Raises:
        GailbenchError: No such task; the message names the nearest one.
    """
    if name not in TASKS:
        raise GailbenchError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name]
