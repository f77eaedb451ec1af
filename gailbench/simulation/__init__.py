"""Many copies of one environment, stepped at the speed of the physics.

`make` returns a `Simulator`; the physics behind it is MuJoCo on the official bindings, NumPy arithmetic, or any
Gymnasium environment. Legend: N environments, O observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MUJOCO = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Reacher-v5")
CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")


class Physics(Protocol):
    """N environments that know no time limit: what a kind of simulation must offer."""

    num_envs: int
    observation_dim: int
    action_dim: int  # for discrete actions: their number
    discrete: bool

    def reset(self, rows: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in `rows`; return their observations (len(rows), O)."""

    def step(
        self, actions: NDArray[Any], active: NDArray[np.bool_]
    ) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply actions; return observations (N, O), rewards, terminated and truncated (N,).

        Environments outside `active` (N,) need not be stepped; what is returned of them means nothing.
        """


@dataclass(frozen=True)
class Step:
    """What one step of all environments gave.

    Attributes:
        observations: (N, O), those that the actions led to: at an episode's end its last one.
        rewards: (N,)
        terminated: (N,) bool, the episode ended by the task's own rule.
        truncated: (N,) bool, the episode reached the time limit; both may be true.
    """

    observations: NDArray[np.floating]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    @property
    def done(self) -> NDArray[np.bool_]:
        return self.terminated | self.truncated


class Simulator:
    """N copies of an environment under a time limit, each starting its next episode where one has ended.

    Attributes:
        observations: (N, O), what the next actions are taken on: at an episode's end the next one's first.
        times: (N,) int, steps taken in the open episodes.
    """

    def __init__(self, physics: Physics, horizon: int, generator: np.random.Generator) -> None:
        self.physics = physics
        self.horizon = horizon
        self.num_envs = physics.num_envs
        self.observation_dim = physics.observation_dim
        self.action_dim = physics.action_dim
        self.discrete = physics.discrete
        self._generator = generator
        self.restart()

    def restart(self) -> None:
        """Start a new episode in every environment."""
        self.times = np.zeros(self.num_envs, dtype=np.int64)
        self.observations = self.physics.reset(np.arange(self.num_envs), self._generator)

    def step(self, actions: NDArray[Any], active: NDArray[np.bool_] | None = None) -> Step:
        """Apply raw actions, (N, A) float64 or (N,) int, never clipped; start new episodes where one ended.

        What is returned of environments outside `active` (N,) means nothing; without it all are stepped.
        """
        if active is None:
            active = np.ones(self.num_envs, dtype=bool)
        observations, rewards, terminated, truncated = self.physics.step(actions, active)
        self.times += 1
        result = Step(observations, rewards, terminated, truncated | (self.times >= self.horizon))
        self.observations = observations
        rows = np.flatnonzero(result.done & active)
        if len(rows):
            self.observations = observations.copy()
            self.observations[rows] = self.physics.reset(rows, self._generator)
            self.times[rows] = 0
        return result


def make(environment: str, horizon: int, num_envs: int, generator: np.random.Generator) -> Simulator:
    """Return a simulator of `num_envs` copies of that Gymnasium id, with initial states drawn by `generator`.

    Raises:
        GailbenchError: Gymnasium knows no such environment, or its spaces are not vectors.
    """
    return Simulator(make_physics(environment, horizon, num_envs), horizon, generator)


@cache
def dimensions(environment: str, horizon: int) -> tuple[int, int, bool]:
    """Return O, A (discrete: the number of actions) and whether actions are discrete."""
    physics = make_physics(environment, horizon, 1)
    return physics.observation_dim, physics.action_dim, physics.discrete


def make_physics(environment: str, horizon: int, num_envs: int) -> Physics:
    """Return the fastest physics for that Gymnasium id."""
    if environment in MUJOCO:
        from gailbench.simulation.mujoco import MujocoPhysics

        return MujocoPhysics(environment, num_envs)
    if environment in CLASSIC:
        from gailbench.simulation.classic import ClassicPhysics

        return ClassicPhysics(environment, num_envs)
    from gailbench.simulation.gymnasium import GymnasiumPhysics

    return GymnasiumPhysics(environment, num_envs, horizon)
