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

from gailbench.policy import Actor, Policy
from gailbench.simulation import Simulator, make
from gailbench.state import State, join, part
from gailbench.tasks import Task


@dataclass(frozen=True)
class Batch:
    """T consecutive steps of N environments, axis 0 the step. Rewards are the environment's.

    Attributes:
        observations: (T, N, O) float32, what the actions were taken on.
        actions: (T, N, A) float32, raw samples; discrete: (T, N) int64.
        outputs: (T, N, A) float32, the policy's means or logits that the actions were drawn from.
        log_probabilities: (T, N) float32, of the actions under the sampling policy.
        rewards: (T, N) float64.
        terminated: (T, N) bool.
        truncated: (T, N) bool, at the time limit.
        times: (T, N) int64, steps taken in the episode before this one.
        end_observations: (K, O) float32, last observations of the K episodes that ended, in the order of
            `done`'s true entries.
        open_observations: (N, O) float32, what follows the last step (the next episode's first, where one ended).
        open_times: (N,) int64, their times.
        returns: (K,) float64, returns of the ended episodes, steps in earlier batches included.
        lengths: (K,) int64, their lengths.
    """

    observations: NDArray[np.float32]
    actions: NDArray[Any]
    outputs: NDArray[np.float32]
    log_probabilities: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    times: NDArray[np.int64]
    end_observations: NDArray[np.float32]
    open_observations: NDArray[np.float32]
    open_times: NDArray[np.int64]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.rewards.size)

    @cached_property
    def done(self) -> NDArray[np.bool_]:
        """(T, N) bool: the episode ended with this step."""
        return self.terminated | self.truncated

    @property
    def next_observations(self) -> NDArray[np.float32]:
        """(T, N, O): what each action led to; at an episode's end its last observation."""
        following = np.concatenate((self.observations[1:], self.open_observations[None]))
        following[self.done] = self.end_observations
        return following

    def episode_figures(self) -> dict[str, float]:
        """Number, returns and lengths of the episodes that ended; nan where none did."""
        some = len(self.returns) > 0
        return {
            "episodes": len(self.returns),
            "return_mean": float(self.returns.mean()) if some else float("nan"),
            "return_std": float(self.returns.std()) if some else float("nan"),
            "length_mean": float(self.lengths.mean()) if some else float("nan"),
            "length_std": float(self.lengths.std()) if some else float("nan"),
        }

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """(T, N, ...) -> (B, ...)."""
        return values.reshape(len(self), *values.shape[2:])


class Sampler:
    """Samples batches with a simulator and a stream of action noise of its own; one per thread.

    Args:
        task: Environment and horizon.
        num_envs: N.
        generator: Draws initial states and action noise.
    """

    def __init__(self, task: Task, num_envs: int, generator: np.random.Generator) -> None:
        self.generator = generator
        self.simulator: Simulator = make(task.environment, task.horizon, num_envs, generator)
        self._open_returns = np.zeros(num_envs)

    def sample(self, policy: Policy, steps: int, deterministic: bool = False) -> Batch:
        """Step every environment `steps` times with the policy's samples (or modes)."""
        simulator = self.simulator
        shape = (steps, simulator.num_envs)
        noise = None
        if not deterministic:
            noise = policy.distribution.noise(self.generator, shape, simulator.action_dim)
        record = self._record(policy.actor(), steps, noise)
        with torch.inference_mode():
            log_probabilities = (
                policy.distribution.log_probability(
                    torch.from_numpy(record["outputs"]).flatten(0, 1),
                    policy.log_std,
                    torch.from_numpy(record["actions"]).flatten(0, 1),
                )
                .numpy()
                .reshape(shape)
            )
        returns, lengths = self._episodes(record)
        return Batch(
            **record,
            log_probabilities=log_probabilities,
            open_observations=simulator.observations.astype(np.float32),
            open_times=simulator.times.copy(),
            returns=returns,
            lengths=lengths,
        )

    def _record(self, actor: Actor, steps: int, noise: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
        simulator = self.simulator
        shape = (steps, simulator.num_envs)
        discrete = simulator.discrete
        observations = np.empty((*shape, simulator.observation_dim), dtype=np.float32)
        outputs = np.empty((*shape, simulator.action_dim), dtype=np.float32)
        actions = np.empty(shape, np.int64) if discrete else np.empty((*shape, simulator.action_dim), np.float32)
        rewards = np.empty(shape)
        terminated = np.empty(shape, dtype=bool)
        truncated = np.empty(shape, dtype=bool)
        times = np.empty(shape, dtype=np.int64)
        ends = []
        for t in range(steps):
            observations[t] = simulator.observations
            times[t] = simulator.times
            actions[t], outputs[t] = actor(observations[t], None if noise is None else noise[t])
            step = simulator.step(actions[t] if discrete else actions[t].astype(np.float64))
            rewards[t], terminated[t], truncated[t] = step.rewards, step.terminated, step.truncated
            if (done := step.done).any():
                ends.append(step.observations[done].astype(np.float32))
        return {
            "observations": observations,
            "actions": actions,
            "outputs": outputs,
            "rewards": rewards,
            "terminated": terminated,
            "truncated": truncated,
            "times": times,
            "end_observations": np.concatenate(ends) if ends else np.empty((0, simulator.observation_dim), np.float32),
        }

    def _episodes(self, record: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Returns and lengths of the episodes that ended, environment by environment; open returns are kept."""
        rewards, done = record["rewards"].T, (record["terminated"] | record["truncated"]).T
        starts = np.zeros(done.shape, dtype=bool)
        starts[:, 0] = True
        starts[:, 1:] = done[:, :-1]
        first = np.flatnonzero(starts.reshape(-1))
        sums = np.add.reduceat(rewards.reshape(-1), first)
        steps = done.shape[1]
        sums[first % steps == 0] += self._open_returns
        last = np.append(first[1:], done.size) - 1
        ended = done.reshape(-1)[last]
        self._open_returns = np.zeros(len(done))
        self._open_returns[last[~ended] // steps] = sums[~ended]
        return sums[ended], record["times"].T.reshape(-1)[last[ended]] + 1

    def state(self) -> State:
        """Return everything the next batch depends on but the generator's state."""
        return {"open_returns": self._open_returns, **self.simulator.state()}

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        self.simulator.load_state(state)
        self._open_returns = np.array(state["open_returns"], dtype=np.float64)


class SamplerPool:
    """Samplers side by side, one thread each, that meet only when the batch is full.

    Args:
        task: Environment and horizon.
        batch: Pairs per batch, rounded up so that every environment makes a whole horizon of steps.
        generators: One per thread.
    """

    def __init__(self, task: Task, batch: int, generators: list[np.random.Generator]) -> None:
        self.steps = task.horizon
        num_envs = -(-batch // task.horizon)
        threads = min(len(generators), num_envs)
        counts = [num_envs // threads + (index < num_envs % threads) for index in range(threads)]
        self.samplers = [Sampler(task, count, generator) for count, generator in zip(counts, generators, strict=False)]
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def sample(self, policy: Policy) -> Batch:
        """Return the next batch; open episodes go on in the one after it."""
        if self._executor is None:
            return self.samplers[0].sample(policy, self.steps)
        parts = self._executor.map(lambda sampler: sampler.sample(policy, self.steps), self.samplers)
        return concatenate(list(parts))

    def state(self) -> State:
        """Return everything the next batch depends on but the generators' states."""
        return join({str(index): sampler.state() for index, sampler in enumerate(self.samplers)})

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        for index, sampler in enumerate(self.samplers):
            sampler.load_state(part(state, str(index)))


STEPWISE = (
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
    """Join batches of equal T along the environments."""
    if len(batches) == 1:
        return batches[0]
    joined = {name: np.concatenate([getattr(b, name) for b in batches], axis=1) for name in STEPWISE}
    done = joined["terminated"] | joined["truncated"]
    # Ended episodes are stored in the order of done's true entries, so joining environments interleaves them.
    ends = np.empty((*done.shape, batches[0].end_observations.shape[1]), dtype=np.float32)
    offset = 0
    for batch in batches:
        width = batch.done.shape[1]
        ends[:, offset : offset + width][batch.done] = batch.end_observations
        offset += width
    return Batch(
        **joined,
        end_observations=ends[done],
        **{
            name: np.concatenate([getattr(b, name) for b in batches])
            for name in ("open_observations", "open_times", "returns", "lengths")
        },
    )


def evaluate(
    task: Task, policy: Policy, episodes: int, generator: np.random.Generator, deterministic: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return returns and lengths (episodes,) of whole episodes with the policy's modes (or samples).

    Each episode has an environment of its own, so that long ones count as often as short ones.
    """
    batch = Sampler(task, episodes, generator).sample(policy, task.horizon, deterministic)
    lengths = batch.done.argmax(axis=0) + 1
    within = np.arange(task.horizon)[:, None] < lengths
    return (batch.rewards * within).sum(axis=0), lengths
