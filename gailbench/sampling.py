"""Sampling with a policy: batches for learning, whole episodes for demonstrations and evaluation.

`Sampler` steps many copies of an environment side by side. `gymnasium_episodes` steps Gymnasium's own environment, to
measure experts and the random policy.

Legend: T steps, N environments, B pairs of the batch, K episodes, O and A the dimensions of observations and actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Policy
from gailbench.simulation import are_first, simulator_of
from gailbench.tasks import Task


@dataclass(frozen=True)
class Batch:
    """Whole episodes of N environments that are stepped in parallel for T steps. Axis 0 is the step.

    When an environment has finished its last episode of the batch, it waits for the others. Its entries are then not
    `valid`, and have no meaning.

    Attributes:
        valid: (T, N) bool, which entries are pairs of the batch. B entries are true.
        observations: (T, N, O) float32, the observations before the actions.
        actions: (T, N, A) float32, unclipped samples; discrete: (T, N) int64.
        outputs: (T, N, A) float32, the policy's means or logits from which the actions were drawn.
        log_probabilities: (T, N) float32, log-probabilities of the actions under the sampling policy.
        rewards: (T, N) float64, the environment's rewards.
        terminated: (T, N) bool, whether the environment ended the episode.
        truncated: (T, N) bool, whether the time limit ended the episode.
        times: (T, N) int64, number of earlier steps in the episode.
        end_observations: (K, O) float32, last observations of the episodes, in the order of the true entries of `done`.
        returns: (K,) float64, returns of the episodes, one environment after the other.
        lengths: (K,) int64, lengths of the episodes, in the same order.
    """

    valid: NDArray[np.bool_]
    observations: NDArray[np.float32]
    actions: NDArray[Any]
    outputs: NDArray[np.float32]
    log_probabilities: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    times: NDArray[np.int64]
    end_observations: NDArray[np.float32]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        """Return B, the number of pairs."""
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(self.valid.sum())

    @cached_property
    def observation_rows(self) -> NDArray[np.float32]:
        """The observations (B, O) of the valid entries."""
        rows: NDArray[np.float32] = self.rows(self.observations)
        return rows

    @cached_property
    def action_rows(self) -> NDArray[Any]:
        """The actions (B, A) or (B,) of the valid entries."""
        return self.rows(self.actions)

    @cached_property
    def done(self) -> NDArray[np.bool_]:
        """(T, N) bool, whether an episode ended with this pair."""
        return (self.terminated | self.truncated) & self.valid

    @property
    def next_observations(self) -> NDArray[np.float32]:
        """The observations (T, N, O) after the actions; at the end of an episode its last observation."""
        following = np.concatenate((self.observations[1:], self.observations[:1]))
        following[self.done] = self.end_observations
        return following

    def episode_figures(self) -> dict[str, float]:
        """Return the number of episodes, and the mean and standard deviation of their returns and lengths."""
        return {
            "episodes": len(self.returns),
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "length_mean": float(self.lengths.mean()),
            "length_std": float(self.lengths.std()),
        }

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the valid entries (B, ...) of values (T, N, ...), one step after the other."""
        if len(self) == self.valid.size:
            return values.reshape(len(self), *values.shape[2:])
        return values[self.valid]

    def grid(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return values (T, N, ...) from rows (B, ...): the inverse of `rows`, with zeros where `valid` is false."""
        if len(self) == self.valid.size:
            return rows.reshape(*self.valid.shape, *rows.shape[1:])
        values = np.zeros((*self.valid.shape, *rows.shape[1:]), dtype=rows.dtype)
        values[self.valid] = rows
        return values


class Sampler:
    """Samples whole episodes with its own simulator and random generator. There is one sampler per thread.

    Args:
        task: Environment and horizon.
        num_envs: N.
        generator: Draws initial states and action noise.
    """

    def __init__(self, task: Task, num_envs: int, generator: np.random.Generator) -> None:
        self.generator = generator
        self.simulator = simulator_of(task, num_envs, generator)

    def sample(self, policy: Policy, pairs: int, deterministic: bool = False) -> Batch:
        """Sample whole episodes in parallel, with sampled actions (or with the most probable ones).

        The batch consists of the first episodes to begin, as few as hold at least `pairs` together. So it has the same
        distribution as the batch of one process that samples one episode after the other until it has these pairs.
        """
        return self._sample(policy, pairs, False, deterministic)

    def sample_each(self, policy: Policy, deterministic: bool = False) -> Batch:
        """Sample exactly one whole episode per environment, so that long and short episodes are equally likely."""
        return self._sample(policy, 1, True, deterministic)

    def _sample(self, policy: Policy, pairs: int, each: bool, deterministic: bool) -> Batch:
        record = self._record(policy, pairs, each, deterministic)
        shape = record["valid"].shape
        with torch.inference_mode():
            log_probabilities = policy.distribution.log_probability(
                torch.from_numpy(record["outputs"]).flatten(0, 1),
                policy.log_std,
                torch.from_numpy(record["actions"]).flatten(0, 1),
            ).numpy()
        # With the environment as the first axis, the valid entries are whole episodes, one after the other.
        valid = record["valid"].T
        rewards = record["rewards"].T[valid]
        last = np.flatnonzero((record["terminated"] | record["truncated"]).T[valid])
        lengths = np.diff(last, prepend=-1)
        return Batch(
            **record,
            log_probabilities=log_probabilities.reshape(shape),
            returns=np.add.reduceat(rewards, last - lengths + 1),
            lengths=lengths,
        )

    def _record(self, policy: Policy, pairs: int, each: bool, deterministic: bool) -> dict[str, NDArray[Any]]:
        simulator, actor = self.simulator, policy.actor()
        num_envs, discrete, action_dim = simulator.num_envs, simulator.discrete, simulator.action_dim
        # All environments go on until they have the pairs together. Open episodes then end within one horizon.
        most = -(-pairs // num_envs) + simulator.horizon
        shape = (most, num_envs)
        numbers = np.full(shape, -1)  # the number of the episode; -1 while the environment waits
        observations = np.zeros((*shape, simulator.observation_dim), dtype=np.float32)
        outputs = np.zeros((*shape, action_dim), dtype=np.float32)
        actions = np.zeros(shape, np.int64) if discrete else np.zeros((*shape, action_dim), np.float32)
        rewards = np.zeros(shape)
        terminated = np.zeros(shape, dtype=bool)
        truncated = np.zeros(shape, dtype=bool)
        times = np.zeros(shape, dtype=np.int64)
        ends = []
        simulator.restart(pairs, finish_all=each)
        t = 0
        while running := len(simulator.rows):
            # Writing to a slice is much faster than writing to a list of all rows.
            at = (t, slice(None) if running == num_envs else simulator.rows)
            noise = None if deterministic else policy.distribution.noise(self.generator, (running,), action_dim)
            observations[at], times[at], numbers[at] = simulator.observations, simulator.times, simulator.numbers
            actions[at], outputs[at] = action, _ = actor(observations[at], noise)
            step = simulator.step(action if discrete else action.astype(np.float64))
            rewards[at], terminated[at], truncated[at] = step.rewards, step.terminated, step.truncated
            if step.done.any():
                ends.append(step.observations[step.done].astype(np.float32))
            t += 1
        done, valid = terminated | truncated, numbers >= 0
        if not each:
            valid &= are_first(np.bincount(numbers[valid]), pairs)[numbers]
            t = int(np.flatnonzero(valid.any(axis=1))[-1]) + 1
        return {
            "valid": valid[:t],
            "observations": observations[:t],
            "actions": actions[:t],
            "outputs": outputs[:t],
            "rewards": rewards[:t],
            "terminated": terminated[:t],
            "truncated": truncated[:t],
            "times": times[:t],
            "end_observations": np.concatenate(ends)[valid[done]],
        }


def environments_for(batch: int, horizon: int) -> int:
    """Return the number of environments that sample a batch.

    Episodes after the end of the batch are dropped, and with fewer environments fewer are dropped. So there is one
    environment for every two horizons of pairs. But there are at least 25 if the batch has 25 horizons, because the
    fixed cost of a step is shared by all environments.
    """
    horizons = -(-batch // horizon)
    return min(horizons, max(25, -(-horizons // 2)))


class SamplerPool:
    """Samplers that work in parallel, in one thread each, and are independent within a batch.

    Args:
        task: Environment and horizon.
        batch: Minimum number of pairs per batch.
        generators: Random generators, one per thread.

    Attributes:
        samplers: The samplers, one per thread that has environments.
        shares: Minimum number of pairs that each sampler samples.
    """

    def __init__(self, task: Task, batch: int, generators: list[np.random.Generator]) -> None:
        num_envs = environments_for(batch, task.horizon)
        threads = min(len(generators), num_envs)
        counts = [num_envs // threads + (index < num_envs % threads) for index in range(threads)]
        self.shares = [-(-batch * count // num_envs) for count in counts]
        self.samplers = [Sampler(task, count, generator) for count, generator in zip(counts, generators, strict=False)]
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None
        self._libraries = ThreadpoolController()

    def sample(self, policy: Policy) -> Batch:
        """Return the next batch."""
        if self._executor is None:
            return self.samplers[0].sample(policy, self.shares[0])
        # A matrix product with several threads would have to wait for the products of the other samplers.
        with self._libraries.limit(limits=1, user_api="blas"):
            parts = list(self._executor.map(lambda s, pairs: s.sample(policy, pairs), self.samplers, self.shares))
        return concatenate(parts)


STEPWISE = (
    "valid",
    "observations",
    "actions",
    "outputs",
    "log_probabilities",
    "rewards",
    "terminated",
    "truncated",
    "times",
)


def concatenate(batches: list[Batch]) -> Batch:
    """Join batches along the axis of environments. Shorter batches are padded with entries that are not valid."""
    steps = max(len(batch.valid) for batch in batches)

    def joined(name: str) -> NDArray[Any]:
        parts = [getattr(batch, name) for batch in batches]
        return np.concatenate(
            [np.pad(part, [(0, steps - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts], axis=1
        )

    fields = {name: joined(name) for name in STEPWISE}
    # Last observations are in the order of the true entries of done, so joining environments interleaves them.
    ends = np.empty((*fields["valid"].shape, batches[0].end_observations.shape[1]), dtype=np.float32)
    offset = 0
    for batch in batches:
        length, width = batch.done.shape
        ends[:length, offset : offset + width][batch.done] = batch.end_observations
        offset += width
    done = (fields["terminated"] | fields["truncated"]) & fields["valid"]
    return Batch(
        **fields,
        end_observations=ends[done],
        returns=np.concatenate([batch.returns for batch in batches]),
        lengths=np.concatenate([batch.lengths for batch in batches]),
    )


def evaluate(
    task: Task, policy: Policy, episodes: int, generator: np.random.Generator, deterministic: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the returns and lengths (episodes,) of whole episodes with the most probable (or sampled) actions.

    Each episode has its own environment, so that long and short episodes are equally likely.

    Raises:
        GailbenchError: A return is not finite.
    """
    batch = Sampler(task, episodes, generator).sample_each(policy, deterministic)
    _check_finite(task, batch.returns)
    return batch.returns, batch.lengths


def gymnasium_episodes(
    task: Task, policy: Policy | None, episodes: int, generator: np.random.Generator, deterministic: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the returns and lengths (episodes,) of whole episodes in `gymnasium.make(task.environment)`. Actions are
    not clipped.

    Without a policy actions are uniform in the action space: the paper's random policy. In a space without bounds they
    are drawn as by Gymnasium's `sample`: normally where an action has no bound.

    Raises:
        GailbenchError: The environment fails, an observation does not fit the policy, or a return is not finite.
    """
    from gailbench.simulation.gymnasium import close, make_single
    from gailbench.simulation.mujoco import log_warnings

    log_warnings()
    env = make_single(task)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    for episode in range(episodes):
        for reward in steps_of_episode(env, task, policy, generator, deterministic):
            returns[episode] += reward
            lengths[episode] += 1
    close(env)
    _check_finite(task, returns)
    return returns, lengths


def _check_finite(task: Task, returns: NDArray[np.float64]) -> None:
    if wrong := returns[~np.isfinite(returns)].tolist():
        raise GailbenchError(
            f"an episode of '{task.environment}' has the return {wrong[0]}; its rewards must be finite numbers"
        )


def steps_of_episode(
    env: Any, task: Task, policy: Policy | None, generator: np.random.Generator, deterministic: bool
) -> Iterator[float]:
    """Do one whole episode in a single environment (see `gymnasium_episodes`), and yield the reward of each step.

    Raises:
        GailbenchError: The environment fails, or an observation does not fit the policy.
    """
    from gymnasium.spaces import Discrete

    from gailbench.simulation.gymnasium import running

    space = env.action_space
    discrete = isinstance(space, Discrete)
    actor = None if policy is None else policy.actor()
    seed = int(generator.integers(2**31))
    with running(task.environment, "reset"):
        observation, _ = env.reset(seed=seed)
    for _ in range(task.horizon):
        if policy is None or actor is None:
            action = _random_action(space, generator)
        else:
            noise = None
            if not deterministic:
                noise = policy.distribution.noise(generator, (1,), policy.action_dim)
            with running(task.environment, "its observations"):
                row = np.asarray(observation, dtype=np.float32).reshape(1, policy.observation_dim)
            action = actor(row, noise)[0][0]
        action = int(action + space.start) if discrete else action.astype(np.float64)
        with running(task.environment, "step"):
            observation, reward, terminated, truncated, _ = env.step(action)
            reward = float(reward)
        yield reward
        if terminated or truncated:
            return


def _random_action(space: Any, generator: np.random.Generator) -> Any:
    """Return a random action. Discrete ones count from 0."""
    from gymnasium.spaces import Discrete

    if isinstance(space, Discrete):
        return generator.integers(space.n)
    if space.is_bounded():
        return generator.uniform(space.low, space.high)
    space.seed(int(generator.integers(2**31)))
    return space.sample()
