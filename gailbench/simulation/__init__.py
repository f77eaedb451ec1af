"""Many copies of one environment, stepped in parallel.

`simulator_of` returns the `Simulator` of a task. Its physics is MuJoCo through the official Python bindings, NumPy
arithmetic, or any Gymnasium environment.

Legend: N environments, n active environments, K episodes, O and A the dimensions of observations and actions. An
environment is active until it has finished its last episode of a batch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import Named, Task

MUJOCO = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Reacher-v5")
CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")


class Physics(Protocol):
    """The interface of a kind of simulation: N environments without a time limit."""

    num_envs: int
    observation_dim: int
    action_dim: int  # for discrete actions the number of actions
    discrete: bool

    def start(self, generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in all N environments; return their observations (N, O)."""

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Keep only those active environments active that `kept` marks, until the next start."""

    def reset(self, rows: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in `rows` of the active environments; return their observations (len(rows), O)."""

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply actions to the active environments; return observations (n, O), rewards, terminated, truncated (n,)."""


@dataclass(frozen=True)
class Step:
    """The result of one step of the active environments.

    Attributes:
        observations: (n, O), the observations after the actions; at an episode's end its last one.
        rewards: (n,), the rewards.
        terminated: (n,) bool, whether the environment ended the episode.
        truncated: (n,) bool, whether the episode reached the time limit. Both may be true.
    """

    observations: NDArray[np.floating]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    @cached_property
    def done(self) -> NDArray[np.bool_]:
        return self.terminated | self.truncated


class Simulator:
    """N copies of an environment with a time limit. `restart` must be called first.

    Episodes are numbered in the order in which they begin. Episodes that begin in the same step have the order of their
    environments. An episode's number is fixed before its first step. So the first k episodes have the same distribution
    as k episodes that are sampled one after the other, however they end.

    Attributes:
        rows: (n,) int, the active environments; all N after a restart.
        observations: (n, O), the observations before the next actions. After an episode's end it is the first
            observation of the next episode.
        times: (n,) int, number of steps so far in the current episodes.
        numbers: (n,) int, numbers of the current episodes, from 0 since the last restart.
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

        Further episodes begin while all episodes so far hold fewer than `pairs` pairs. After that, an unfinished
        episode is dropped as soon as the episodes before it hold the pairs, unless `finish_all`.
        """
        self._pairs, self._finish_all, self._sampled = pairs, finish_all, 0
        self.rows = np.arange(self.num_envs)
        self.numbers = np.arange(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)  # lengths of ended episodes, by their numbers
        self.times = np.zeros(self.num_envs, dtype=np.int64)
        self.observations = self.physics.start(self._generator)

    def step(self, actions: NDArray[Any]) -> Step:
        """Apply actions, (n, A) float64 or (n,) int, without clipping.

        An environment whose episode has ended starts the next one or becomes inactive, see `restart`.
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
        """Start no further episodes, and drop those that cannot be among the first episodes that hold the pairs."""
        kept = ~done
        if not self._finish_all:
            self._lengths[self.numbers] = self.times  # of unfinished episodes, the steps so far
            kept &= are_first(self._lengths, self._pairs)[self.numbers]
        if not kept.all():
            self.rows, self.numbers, self.times = self.rows[kept], self.numbers[kept], self.times[kept]
            self.observations = self.observations[kept]
            self.physics.keep(kept)


def are_first(lengths: NDArray[np.int64], pairs: float) -> NDArray[np.bool_]:
    """Return which episodes (K,) belong to a batch: the first ones, as few as hold at least `pairs` pairs. `lengths`
    (K,) are in the order of episodes."""
    return np.cumsum(lengths) - lengths < pairs


def simulator_of(task: Task, num_envs: int, generator: np.random.Generator) -> Simulator:
    """Return a simulator of copies of a task's environment. `generator` draws initial states.

    Raises:
        GailbenchError: Gymnasium knows no such environment, or its spaces are not vectors.
    """
    return Simulator(make_physics(task.environment, task.horizon, num_envs, task.kwargs), task.horizon, generator)


def estimate_steps_per_second(task: Task, seconds: float = 0.1) -> float:
    """Return a quick estimate of the simulation speed on this machine, with random actions and one thread."""
    generator = np.random.default_rng(0)
    simulator = simulator_of(task, 25, generator)
    simulator.restart()
    steps, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        simulator.step(_random_actions(simulator, generator))
        steps += simulator.num_envs
    return steps / elapsed


def check_steps(task: Task, steps: int = 100) -> None:
    """Step two copies of a task with random actions.

    Raises:
        GailbenchError: The environment fails, or gives an observation or a reward that is not a finite number.
    """
    generator = np.random.default_rng(0)
    simulator = simulator_of(task, 2, generator)
    simulator.restart()
    _check_finite(task, "observation", simulator.observations)
    for _ in range(steps):
        step = simulator.step(_random_actions(simulator, generator))
        _check_finite(task, "observation", step.observations)
        _check_finite(task, "reward", step.rewards)


def _check_finite(task: Task, name: str, values: NDArray[np.floating]) -> None:
    with np.errstate(over="ignore"):  # observations are used in float32
        finite = np.isfinite(values.astype(np.float32) if name == "observation" else values)
    if not finite.all():
        raise GailbenchError(
            f"'{task.environment}' gives the {name} {values[~finite][0]}; {name}s must be finite numbers"
        )


def _random_actions(simulator: Simulator, generator: np.random.Generator) -> NDArray[Any]:
    shape = (simulator.num_envs, simulator.action_dim)
    return generator.integers(shape[1], size=shape[0]) if simulator.discrete else generator.normal(size=shape)


@cache
def dimensions(task: Task) -> tuple[int, int, bool]:
    """Return O, A (discrete: the number of actions) and whether actions are discrete."""
    physics = make_physics(task.environment, task.horizon, 1, task.kwargs)
    return physics.observation_dim, physics.action_dim, physics.discrete


def make_physics(environment: str, horizon: int, num_envs: int, kwargs: Named = ()) -> Physics:
    """Return the fastest physics for a Gymnasium environment. With keyword arguments it is always Gymnasium's own.

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
