"""Batches made by hand or sampled small, and one thread where bytes are compared."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gailbench.policy import Policy
from gailbench.sampling import STEPWISE, Batch, Sampler
from gailbench.tasks import get_task

MakeBatch = Callable[..., Batch]
SampleBatch = Callable[..., tuple[Policy, Batch]]
Poison = Callable[[Batch, float], Batch]


def pytest_configure() -> None:
    """Programs that the tests start must not ignore Ctrl-C, as they do if a shell runs the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch and NumPy on one thread: sums over threads may differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def make_batch() -> MakeBatch:
    """Return a function that makes a batch of observations (T, N, O) and actions (T, N, A) or (T, N).

    Everything else is 0 or follows from what is given: all entries are valid, times count from each environment's
    first step, returns are those of the episodes that end, a discrete policy is uniform over `num_actions`. Keywords
    override.
    """

    def make(observations: Any, actions: Any, num_actions: int = 2, **overrides: Any) -> Batch:
        observations = np.asarray(observations, dtype=np.float32)
        actions = np.asarray(actions)
        discrete = actions.ndim == 2
        actions = actions.astype(np.int64 if discrete else np.float32)
        steps, envs, width = observations.shape
        terminated = np.asarray(overrides.pop("terminated", np.zeros((steps, envs))), dtype=bool)
        truncated = np.asarray(overrides.pop("truncated", np.zeros((steps, envs))), dtype=bool)
        rewards = np.asarray(overrides.pop("rewards", np.zeros((steps, envs))), dtype=np.float64)
        valid = np.asarray(overrides.pop("valid", np.ones((steps, envs))), dtype=bool)
        done = (terminated | truncated) & valid
        times, returns, lengths = np.zeros((steps, envs), dtype=np.int64), [], []
        for n in range(envs):
            start = 0
            for t in range(steps):
                times[t, n] = t - start
                if done[t, n]:
                    returns.append(rewards[start : t + 1, n].sum())
                    lengths.append(t + 1 - start)
                    start = t + 1
        log_probability = -np.log(num_actions) if discrete else -1.0
        fields: dict[str, Any] = {
            "outputs": np.zeros((steps, envs, num_actions if discrete else actions.shape[2]), np.float32),
            "log_probabilities": np.full((steps, envs), log_probability, np.float32),
            "times": times,
            "end_observations": np.zeros((int(done.sum()), width), np.float32),
            "returns": np.array(returns, dtype=np.float64),
            "lengths": np.array(lengths, dtype=np.int64),
        }
        return Batch(
            valid=valid,
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            **{**fields, **overrides},
        )

    return make


@pytest.fixture
def sample_batch() -> SampleBatch:
    """Return a function that makes a policy for a task, away from its zero output layer, and samples a batch.

    The batch holds whole episodes of at most `steps` steps (or `horizon`), envs x steps pairs at least.
    """

    def sample(task_name: str, envs: int, steps: int, seed: int = 0, **options: Any) -> tuple[Policy, Batch]:
        generator = np.random.default_rng(seed)
        task = replace(get_task(task_name), horizon=options.pop("horizon", steps))
        sampler = Sampler(task, envs, generator)
        simulator = sampler.simulator
        policy = Policy(
            simulator.observation_dim,
            simulator.action_dim,
            simulator.discrete,
            options.pop("hidden", (16, 16)),
            generator=generator,
            **options,
        )
        with torch.no_grad():
            output = policy.network.weights[-1]
            output.copy_(torch.from_numpy(generator.normal(0.0, 0.2, output.shape)))
            policy.log_std.copy_(torch.from_numpy(generator.normal(-0.5, 0.2, policy.log_std.shape)))
        policy.standardizer.update(generator.normal(0.0, 1.0, (100, simulator.observation_dim)))
        return policy, sampler.sample(policy, envs * steps)

    return sample


@pytest.fixture
def poison() -> Poison:
    """Return a function that copies a batch with a value in place of everything that is not valid.

    Whole numbers become huge ones, which are no action, and ends appear where nothing ended.
    """

    def poisoned(batch: Batch, value: float) -> Batch:
        assert not batch.valid.all()  # else there is nothing to poison
        fields = {name: getattr(batch, name).copy() for name in STEPWISE if name != "valid"}
        for values in fields.values():
            values[~batch.valid] = {"f": value, "i": 10**9, "b": True}[values.dtype.kind]
        return replace(batch, **fields)

    return poisoned


@pytest.fixture
def ragged_valid() -> NDArray[np.bool_]:
    """(20, 10) entries, of which those of the first 11 to 20 steps are valid."""
    return np.arange(20)[:, None] < 11 + np.arange(10)
