"""Sampling with a policy: batches for learning, whole episodes for demonstrations and evaluation.

Legend: T steps, N environments, B = T N pairs, O observation, A action.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from gailbench.policy import Policy
from gailbench.simulation import Simulator, are_first, make_physics
from gailbench.tasks import Task


@dataclass(frozen=True)
class Batch:
    """Whole episodes of N environments, side by side for T steps; axis 0 is the step. Rewards are the environment's.

    An environment that has ended its last episode of the batch waits for the others: its entries are not `valid`,
    and mean nothing.

    Attributes:
        valid: (T, N) bool, which entries are pairs of the batch; B in all.
        observations: (T, N, O) float32, what the actions were taken on.
        actions: (T, N, A) float32, raw samples; discrete: (T, N) int64.
        outputs: (T, N, A) float32, the policy's means or logits that the actions were drawn from.
        log_probabilities: (T, N) float32, of the actions under the sampling policy.
        rewards: (T, N) float64.
        terminated: (T, N) bool.
        truncated: (T, N) bool, at the time limit.
        times: (T, N) int64, steps taken in the episode before this one.
        end_observations: (K, O) float32, last observations of the K episodes, in the order of `done`'s true entries.
        returns: (K,) float64, returns of the episodes, environment by environment.
        lengths: (K,) int64, their lengths.
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
        """B."""
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(self.valid.sum())

    @cached_property
    def observation_rows(self) -> NDArray[np.float32]:
        """(B, O): the observations of the valid entries."""
        rows: NDArray[np.float32] = self.rows(self.observations)
        return rows

    @cached_property
    def action_rows(self) -> NDArray[Any]:
        """(B, A) or (B,): the actions of the valid entries."""
        return self.rows(self.actions)

    @cached_property
    def done(self) -> NDArray[np.bool_]:
        """(T, N) bool: an episode ended with this pair."""
        return (self.terminated | self.truncated) & self.valid

    @property
    def next_observations(self) -> NDArray[np.float32]:
        """(T, N, O): what each action led to; at an episode's end its last observation."""
        following = np.concatenate((self.observations[1:], self.observations[:1]))
        following[self.done] = self.end_observations
        return following

    def episode_figures(self) -> dict[str, float]:
        """Number, returns and lengths of the episodes."""
        return {
            "episodes": len(self.returns),
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "length_mean": float(self.lengths.mean()),
            "length_std": float(self.lengths.std()),
        }

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """(T, N, ...) -> (B, ...): the valid entries, step by step."""
        if len(self) == self.valid.size:
            return values.reshape(len(self), *values.shape[2:])
        return values[self.valid]

    def grid(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(B, ...) -> (T, N, ...): `rows` undone, with zeros where an entry is not valid."""
        if len(self) == self.valid.size:
            return rows.reshape(*self.valid.shape, *rows.shape[1:])
        values = np.zeros((*self.valid.shape, *rows.shape[1:]), dtype=rows.dtype)
        values[self.valid] = rows
        return values


class Sampler:
    """Samples whole episodes with a simulator and a stream of randomness of its own; one per thread.

    Args:
        task: Environment and horizon.
        num_envs: N.
        generator: Draws initial states and action noise.
    """

    def __init__(self, task: Task, num_envs: int, generator: np.random.Generator) -> None:
        self.generator = generator
        physics = make_physics(task.environment, task.horizon, num_envs, task.kwargs)
        self.simulator = Simulator(physics, task.horizon, generator)

    def sample(self, policy: Policy, pairs: int, deterministic: bool = False) -> Batch:
        """Sample whole episodes with the policy's samples (or modes), side by side from a common start.

        The batch is the shortest run of episodes, from the first to begin, that holds at least `pairs`. So it is
        distributed as that of one process that samples one episode after the other until it has them.
        """
        return self._sample(policy, pairs, False, deterministic)

    def sample_each(self, policy: Policy, deterministic: bool = False) -> Batch:
        """Sample exactly one whole episode in each environment, so that long ones count as often as short ones."""
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
        # Environment by environment the valid entries are whole episodes, one after the other.
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
        # All environments go on until they have made the pairs; what is open then ends within a horizon.
        most = -(-pairs // num_envs) + simulator.horizon
        shape = (most, num_envs)
        numbers = np.full(shape, -1)  # of the episodes; -1: none, the environment waits
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
            # A slice is much faster to write to than a list of all rows.
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

    What lies behind the batch's end is dropped, so fewer environments lose less: one for every second horizon of
    pairs. Not fewer than 25 where the batch holds so many horizons: what a step costs whatever their number is shared
    by them.
    """
    horizons = -(-batch // horizon)
    return min(horizons, max(25, -(-horizons // 2)))


class SamplerPool:
    """Samplers side by side, one thread each, that meet only when the batch is full.

    Args:
        task: Environment and horizon.
        batch: Pairs per batch at least.
        generators: One per thread.

    Attributes:
        samplers: One per thread that has environments.
        shares: Pairs that each of them samples at least.
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
        # A matrix product on several threads would wait for the other samplers' products.
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
    """Join batches along the environments; the shorter ones wait for the longest."""
    steps = max(len(batch.valid) for batch in batches)

    def joined(name: str) -> NDArray[Any]:
        parts = [getattr(batch, name) for batch in batches]
        return np.concatenate(
            [np.pad(part, [(0, steps - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts], axis=1
        )

    fields = {name: joined(name) for name in STEPWISE}
    # Last observations are stored in the order of done's true entries, so joining environments interleaves them.
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
    """Return returns and lengths (episodes,) of whole episodes with the policy's modes (or samples).

    Each episode has an environment of its own, so that long ones count as often as short ones.
    """
    batch = Sampler(task, episodes, generator).sample_each(policy, deterministic)
    return batch.returns, batch.lengths
