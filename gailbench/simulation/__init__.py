"""Many copies of one environment, stepped at the speed of the physics.

`make` returns a `Simulator`; the physics behind it is MuJoCo on the official bindings, NumPy arithmetic, or any
Gymnasium environment. Legend: N environments, n of them that go on, O observation, A action.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gailbench.tasks import Named, Task

MUJOCO = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Reacher-v5")
CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")


class Physics(Protocol):
    """N environments that know no time limit: what a kind of simulation must offer."""

    num_envs: int
    observation_dim: int
    action_dim: int  # for discrete actions: their number
    discrete: bool

    def start(self, generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in all N environments; return their observations (N, O)."""

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Go on with these (n,) of the environments only, until the next start."""

    def reset(self, rows: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in `rows` of those that go on; return their observations (len(rows), O)."""

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply actions to the n that go on; return observations (n, O), rewards, terminated and truncated (n,)."""


@dataclass(frozen=True)
class Step:
    """What one step of the environments that go on gave.

    Attributes:
        observations: (n, O), those that the actions led to: at an episode's end its last one.
        rewards: (n,)
        terminated: (n,) bool, the episode ended by the task's own rule.
        truncated: (n,) bool, the episode reached the time limit; both may be true.
    """

    observations: NDArray[np.floating]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    @cached_property
    def done(self) -> NDArray[np.bool_]:
        return self.terminated | self.truncated


class Simulator:
    """N copies of an environment under a time limit; `restart` comes first.

    Episodes are numbered in the order they begin, those that begin in the same step by their environments' order.
    The order is settled before an episode's first step, so the first k episodes are distributed as k episodes sampled
    one after the other, however they end.

    Attributes:
        rows: (n,) int, the environments that go on; all N after a restart.
        observations: (n, O), what the next actions are taken on: at an episode's end the next one's first.
        times: (n,) int, steps taken in the open episodes.
        numbers: (n,) int, numbers of the open episodes, from 0 since the last restart.
    """

    def __init__(self, physics: Physics, horizon: int, generator: np.random.Generator) -> None:
        self.physics = physics
        self.horizon = horizon
        self.num_envs = physics.num_envs
        self.observation_dim = physics.observation_dim
        self.action_dim = physics.action_dim
        self.discrete = physics.discrete
        self._generator = generator

    def restart(self, pairs: float = math.inf, finish_all: bool = False) -> None:
        """Start a new episode in every environment.

        A further one begins while all that have begun hold fewer than `pairs` pairs so far. After that an open episode
        ends at once, unfinished, where those before it hold the pairs by themselves, unless `finish_all`.
        """
        self._pairs, self._finish_all, self._sampled = pairs, finish_all, 0
        self.rows = np.arange(self.num_envs)
        self.numbers = np.arange(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)  # of every episode, by number, once it has ended
        self.times = np.zeros(self.num_envs, dtype=np.int64)
        self.observations = self.physics.start(self._generator)

    def step(self, actions: NDArray[Any]) -> Step:
        """Apply raw actions, (n, A) float64 or (n,) int, never clipped.

        Environments whose episode ended start the next one or go on no more, see `restart`.
        """
        observations, rewards, terminated, truncated = self.physics.step(actions)
        self.times += 1
        self._sampled += len(self.rows)
        result = Step(observations, rewards, terminated, truncated | (self.times >= self.horizon))
        self.observations = observations
        ended = np.flatnonzero(result.done)
        if ended.size:
            self._lengths[self.numbers[ended]] = self.times[ended]
        if self._sampled >= self._pairs:
            self._finish(result.done)
        elif ended.size:
            self.observations = observations.copy()
            self.observations[ended] = self.physics.reset(ended, self._generator)
            self.times[ended] = 0
            self.numbers = self.numbers.copy()
            self.numbers[ended] = np.arange(len(self._lengths), len(self._lengths) + len(ended))
            self._lengths = np.append(self._lengths, np.zeros(len(ended), dtype=np.int64))
        return result

    def _finish(self, done: NDArray[np.bool_]) -> None:
        """Let no episode begin any more, and end those that cannot be among the first that hold the pairs."""
        kept = ~done
        if not self._finish_all:
            self._lengths[self.numbers] = self.times  # open ones: so far
            kept &= are_first(self._lengths, self._pairs)[self.numbers]
        if not kept.all():
            self.rows, self.numbers, self.times = self.rows[kept], self.numbers[kept], self.times[kept]
            self.observations = self.observations[kept]
            self.physics.keep(kept)


def are_first(lengths: NDArray[np.int64], pairs: float) -> NDArray[np.bool_]:
    """(K,) lengths of episodes in their order -> (K,), which belong to the shortest run of them, from the first, that
    holds the pairs."""
    return np.cumsum(lengths) - lengths < pairs


def make(environment: str, horizon: int, num_envs: int, generator: np.random.Generator) -> Simulator:
    """Return a started simulator of `num_envs` copies of that Gymnasium id, with initial states drawn by `generator`.

    Raises:
        GailbenchError: Gymnasium knows no such environment, or its spaces are not vectors.
    """
    simulator = Simulator(make_physics(environment, horizon, num_envs), horizon, generator)
    simulator.restart()
    return simulator


def estimate_steps_per_second(task: Task, seconds: float = 0.1) -> float:
    """Return a quick estimate of how fast this machine simulates, for plans: random actions, one thread."""
    generator = np.random.default_rng(0)
    simulator = Simulator(make_physics(task.environment, task.horizon, 25, task.kwargs), task.horizon, generator)
    simulator.restart()
    shape = (simulator.num_envs, simulator.action_dim)
    steps, started = 0, time.process_time()
    while (elapsed := time.process_time() - started) < seconds:
        actions = generator.integers(shape[1], size=shape[0]) if simulator.discrete else generator.normal(size=shape)
        simulator.step(actions)
        steps += simulator.num_envs
    return steps / elapsed


@cache
def dimensions(task: Task) -> tuple[int, int, bool]:
    """Return O, A (discrete: the number of actions) and whether actions are discrete."""
    physics = make_physics(task.environment, task.horizon, 1, task.kwargs)
    return physics.observation_dim, physics.action_dim, physics.discrete


def make_physics(environment: str, horizon: int, num_envs: int, kwargs: Named = ()) -> Physics:
    """Return the fastest physics for that Gymnasium id; one with keyword arguments of its own goes through Gymnasium.

    Raises:
        GailbenchError: Gymnasium knows no such environment, or its spaces are not vectors.
    """
    if environment in MUJOCO and not kwargs:
        from gailbench.simulation.mujoco import MujocoPhysics

        return MujocoPhysics(environment, num_envs)
    if environment in CLASSIC and not kwargs:
        from gailbench.simulation.classic import ClassicPhysics

        return ClassicPhysics(environment, num_envs)
    from gailbench.simulation.gymnasium import GymnasiumPhysics

    return GymnasiumPhysics(environment, num_envs, horizon, kwargs)
