"""The yardstick of the speed figures: it replays the policy's own states, and the policy is the expert's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gailbench import bench, experts
from gailbench.bench import Replay, embed
from gailbench.networks import Activation
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy
from gailbench.sampling import Sampler, SamplerPool
from gailbench.tasks import get_task

PAPER = (100, 100)


def _policy(task_name: str, hidden: tuple[int, ...], activation: Activation, seed: int = 0) -> Policy:
    """A policy for a task with weights, deviations and standardizer away from where training starts."""
    generator = np.random.default_rng(seed)
    simulator = Sampler(get_task(task_name), 1, generator).simulator
    policy = Policy(
        simulator.observation_dim, simulator.action_dim, simulator.discrete, hidden, activation, generator=generator
    )
    with torch.no_grad():
        for parameter in (*policy.network.weights[-1:], *policy.network.biases, policy.log_std):
            parameter.copy_(torch.from_numpy(generator.normal(0.0, 0.3, parameter.shape)))
    policy.standardizer.update(generator.normal(0.5, 2.0, (200, simulator.observation_dim)))
    return policy


@pytest.mark.parametrize("task_name", ["cartpole", "hopper"])
@pytest.mark.parametrize(("hidden", "activation"), [((64, 64), "tanh"), ((50,), "leaky_relu")])
def test_an_embedded_policy_has_the_papers_size_and_acts_as_the_original(
    task_name: str, hidden: tuple[int, ...], activation: Activation
) -> None:
    policy = _policy(task_name, hidden, activation)
    larger = embed(policy, PAPER)
    assert larger.hidden == PAPER
    generator = np.random.default_rng(1)
    observations = generator.normal(0.0, 3.0, (500, policy.observation_dim)).astype(np.float32)
    expected = policy.output(observations)
    assert np.abs(expected).max() > 0.5  # no trivial agreement
    np.testing.assert_allclose(larger.output(observations), expected, rtol=1e-4, atol=2e-5)

    noise = policy.distribution.noise(generator, (500,), policy.action_dim)
    actions, expected_actions = larger.actor()(observations, noise)[0], policy.actor()(observations, noise)[0]
    if policy.discrete:
        # A draw on the very border between two actions may fall either way.
        assert (actions == expected_actions).mean() > 0.99
    else:
        np.testing.assert_allclose(actions, expected_actions, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("task_name", experts.shipped())
def test_shipped_experts_are_embedded_unchanged(task_name: str) -> None:
    policy, _ = experts.load(get_task(task_name))
    observations = np.random.default_rng(2).normal(0.0, 1.0, (100, policy.observation_dim)).astype(np.float32)
    expected = policy.output(observations)
    np.testing.assert_allclose(embed(policy, PAPER).output(observations), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("task_name", "batch"), [("cartpole", 1000), ("acrobot", 500), ("reacher", 120)])
def test_the_replay_makes_as_many_steps_as_a_sampled_batch(task_name: str, batch: int, threads: int) -> None:
    task = get_task(task_name)
    policy = _policy(task_name, (8, 8), "tanh")
    steps = 0
    # The replay's own streams: the batches that it recorded, sampled once more.
    pool = SamplerPool(task, batch, [stream(0, "bench", k) for k in range(threads)])
    for sampler, pairs in zip(pool.samplers, pool.shares, strict=True):
        sampled = sampler.sample(policy, pairs)
        # The arithmetic of the classic tasks steps all environments, those that wait included.
        steps += len(sampled) if task_name == "reacher" else sampled.valid.size
    assert steps >= batch
    replay = Replay(task, policy, batch, threads)
    assert [replay.run() for _ in range(2)] == [steps, steps]


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> Callable[[], NDArray[np.float64]]:
    """Record the positions after every step of MuJoCo; the function returns and forgets them, sorted."""
    positions: list[NDArray[np.float64]] = []
    step = mujoco.mj_step

    def recording(model: Any, data: Any, nstep: int = 1) -> None:
        step(model, data, nstep=nstep)
        positions.append(data.qpos.copy())

    monkeypatch.setattr(mujoco, "mj_step", recording)

    def take() -> NDArray[np.float64]:
        rows = np.array(positions)
        positions.clear()
        return rows[np.lexsort(rows.T)]

    return take


@pytest.mark.parametrize(("task_name", "terminates"), [("hopper", True), ("reacher", False), ("ant", True)])
def test_the_replay_visits_the_very_states_that_the_policy_visits(
    task_name: str, terminates: bool, visited: Callable[[], NDArray[np.float64]]
) -> None:
    task = get_task(task_name)
    policy = _policy(task_name, (8, 8), "tanh")
    # The replay's own stream: the batch that it recorded, sampled once more.
    batch = Sampler(task, 2, stream(0, "bench", 0)).sample(policy, 2 * task.horizon)
    sampled = visited()
    assert len(sampled) >= len(batch) >= 2 * task.horizon
    assert (len(batch.lengths) > 2) == terminates  # episodes that start over in the middle are where it may go wrong

    replay = Replay(task, policy, 2 * task.horizon, 1)
    visited()
    runs = []
    for _ in range(2):  # and again from the start
        assert replay.run() == len(batch)
        runs.append(visited())
    np.testing.assert_array_equal(*runs)
    # All but the states of episodes that were dropped behind the batch's end.
    missing = {state.tobytes() for state in runs[0]} - {state.tobytes() for state in sampled}
    assert not missing
    if len(sampled) == len(batch):
        np.testing.assert_array_equal(runs[0], sampled)


def test_without_an_expert_the_states_are_those_of_a_random_policy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_thread: None
) -> None:
    task = get_task("reacher")
    monkeypatch.setattr(experts, "FOLDER", tmp_path)
    speed = bench.measure(task, threads=1, rounds=1, batch=200)
    assert (speed.task, speed.states, speed.threads) == ("reacher", "random", 1)
    for name in ("sampling", "training"):
        quotient = getattr(speed, f"{name}_steps_per_second") / speed.physics_steps_per_second
        assert getattr(speed, f"{name}_ratio") == pytest.approx(quotient, rel=1e-3, abs=1e-4)
