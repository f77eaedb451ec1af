"""A simulator restored from its saved state goes on as the undisturbed one, in every bit."""

from __future__ import annotations

import numpy as np
import pytest

from gailbench import checkpoints
from gailbench.simulation import CLASSIC, MUJOCO, make
from gailbench.streams import pack, unpack

N, HORIZON = 3, 15


def trajectory(simulator, rng, steps):
    """Everything that the next steps give, first observations of new episodes included."""
    record = []
    for _ in range(steps):
        if simulator.discrete:
            actions = rng.integers(simulator.action_dim, size=N)
        else:
            actions = rng.standard_normal((N, simulator.action_dim))
        step = simulator.step(actions)
        record += [step.observations, step.rewards, step.terminated, step.truncated]
        record += [simulator.observations.copy(), simulator.times.copy()]
    return record


@pytest.mark.parametrize("environment", MUJOCO + CLASSIC)
def test_restored_simulator_continues_bit_for_bit(environment, tmp_path):
    generator = np.random.default_rng(0)
    simulator = make(environment, HORIZON, N, generator)
    rng = np.random.default_rng(1)
    trajectory(simulator, rng, HORIZON + 6)  # amid the second episodes at the latest
    checkpoints.write(tmp_path / "state", "checkpoint", {**simulator.state(), "generator": pack(generator)}, {})
    actions = pack(rng)
    undisturbed = trajectory(simulator, rng, 3 * HORIZON)

    state, _ = checkpoints.read(tmp_path / "state", "checkpoint")
    other = np.random.default_rng(7)
    fresh = make(environment, HORIZON, N, other)
    fresh.load_state(state)
    unpack(other, state["generator"])
    unpack(rng, actions)
    restored = trajectory(fresh, rng, 3 * HORIZON)
    for a, b in zip(undisturbed, restored, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.parametrize("environment", ["Ant-v5", "Humanoid-v5", "Reacher-v5", "Acrobot-v1"])
def test_saved_state_does_not_change_when_the_simulator_goes_on(environment):
    simulator = make(environment, HORIZON, N, np.random.default_rng(0))
    trajectory(simulator, np.random.default_rng(1), 5)
    state = simulator.state()
    copy = {name: values.copy() for name, values in state.items()}
    trajectory(simulator, np.random.default_rng(2), 2 * HORIZON)
    for name, values in copy.items():
        assert np.array_equal(values, state[name]), name


@pytest.mark.parametrize("environment", ["Ant-v5", "CartPole-v1"])
def test_one_state_can_be_restored_twice(environment):
    """Neither simulator nor state may hold on to the other's arrays."""
    generator = np.random.default_rng(0)
    simulator = make(environment, HORIZON, N, generator)
    state, drawn = simulator.state(), pack(generator)
    records = []
    for _ in range(2):
        simulator.load_state(state)
        unpack(generator, drawn)
        records.append(trajectory(simulator, np.random.default_rng(1), 2 * HORIZON))
    assert all(np.array_equal(a, b) for a, b in zip(*records, strict=True))
