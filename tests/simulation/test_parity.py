"""The nine tasks' steps are Gymnasium's own, from the same state and the same action.

Gymnasium's environment is put into the simulator's state at each episode's start. In the classic tasks it is put
there before every step: they promise float tolerance only, and differences would grow along a chaotic trajectory.
"""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest
from simulators import make

from gailbench.simulation import CLASSIC, MUJOCO
from gailbench.tasks import TASKS

HORIZONS = {task.environment: task.horizon for task in TASKS.values()}
N = 3
# Tasks whose episodes end by themselves under actions of twice the bounds.
FALLING = ("Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5")


def reference(environment, horizon):
    """Gymnasium's own environment under that time limit, ready to be put into a state."""
    env = gymnasium.make(environment, max_episode_steps=horizon, disable_env_checker=True)
    env.reset(seed=0)
    return env


def start_mujoco(env, physics, row):
    """Start an episode of Gymnasium's from the simulator's state; return Gymnasium's first observation."""
    env.reset()  # the time limit's count
    inner = env.unwrapped
    data = physics.datas[row]
    mujoco.mj_resetData(inner.model, inner.data)
    inner.set_state(data.qpos.copy(), data.qvel.copy())
    return inner._get_obs()


@pytest.mark.parametrize("horizon", ["paper", 7])
@pytest.mark.parametrize("environment", MUJOCO)
def test_mujoco_steps_equal_gymnasium_in_every_bit(environment, horizon):
    limit = HORIZONS[environment] if horizon == "paper" else horizon
    steps = 1_100 if horizon == "paper" else 50  # of each of the environments
    rng = np.random.default_rng(0)
    simulator = make(environment, limit, N, np.random.default_rng(1))
    references = [reference(environment, limit) for _ in range(N)]
    for row, env in enumerate(references):
        assert np.array_equal(start_mujoco(env, simulator.physics, row), simulator.observations[row])
    terminations = truncations = 0
    for _ in range(steps):
        actions = rng.standard_normal((N, simulator.action_dim)) * 2 * references[0].action_space.high
        step = simulator.step(actions)
        for row, env in enumerate(references):
            observation, reward, terminated, truncated, _ = env.step(actions[row])
            assert np.array_equal(observation, step.observations[row])
            assert reward == step.rewards[row]
            assert (terminated, truncated) == (step.terminated[row], step.truncated[row])
            if terminated or truncated:
                first = start_mujoco(env, simulator.physics, row)
                assert np.array_equal(first, simulator.observations[row])
        terminations += int(step.terminated.sum())
        truncations += int(step.truncated.sum())
    # The comparison reached both kinds of ends.
    if environment in FALLING and horizon == "paper":
        assert terminations > N
    if environment not in FALLING or horizon == 7:
        assert truncations >= N


def compare_classic_steps(environment, horizon, steps, choose):
    """Step simulator and Gymnasium from equal states; return the numbers of terminations and truncations."""
    simulator = make(environment, horizon, N, np.random.default_rng(1))
    references = [reference(environment, horizon) for _ in range(N)]
    terminations = truncations = 0
    for _ in range(steps):
        before = simulator.physics._state.copy()
        actions = choose(simulator)
        step = simulator.step(actions)
        after = simulator.physics._state.copy()
        for row, env in enumerate(references):
            env.unwrapped.state = before[:, row].copy()
            observation, reward, terminated, truncated, _ = env.step(int(actions[row]))
            np.testing.assert_allclose(step.observations[row], observation, rtol=1e-6, atol=1e-7)
            assert observation.dtype == step.observations.dtype
            assert reward == step.rewards[row]
            assert (terminated, truncated) == (step.terminated[row], step.truncated[row])
            if terminated or truncated:
                env.reset()  # the time limit's count
            else:
                np.testing.assert_allclose(after[:, row], env.unwrapped.state, rtol=1e-12, atol=1e-13)
        terminations += int(step.terminated.sum())
        truncations += int(step.truncated.sum())
    return terminations, truncations


@pytest.mark.parametrize("horizon", [200, 7])
@pytest.mark.parametrize("environment", CLASSIC)
def test_classic_steps_equal_gymnasium_to_float_tolerance(environment, horizon):
    rng = np.random.default_rng(0)
    terminations, truncations = compare_classic_steps(
        environment, horizon, 1_000, lambda simulator: rng.integers(simulator.action_dim, size=N)
    )
    if environment == "CartPole-v1" and horizon == 200:
        assert terminations > N
    else:
        assert truncations > N


@pytest.mark.parametrize(("environment", "velocity"), [("MountainCar-v0", 1), ("Acrobot-v1", 5)])
def test_classic_steps_equal_gymnasium_past_the_goal(environment, velocity):
    """Pushing along the velocity raises the energy until the goal is reached; also at the left wall."""

    def along(simulator):
        return 1 + np.sign(simulator.observations[:, velocity]).astype(np.intp)

    terminations, _ = compare_classic_steps(environment, 1_000, 1_000, along)
    assert terminations > N


@pytest.mark.parametrize(
    ("environment", "states"),
    [
        # rows: position and velocity; at the wall, near the top speed both ways, just before and on the flag
        (
            "MountainCar-v0",
            [[-1.2, 0.0], [-1.19, -0.06], [-0.5, 0.0699], [-0.5, -0.0699], [0.499, 0.01], [0.5, 0]],
        ),
        # rows: two angles, two velocities; beyond a half turn, at the top speeds
        (
            "Acrobot-v1",
            [[3.1, 0.0, 12.5, 0.0], [-3.1, 3.1, -12.5, 28.2], [0.1, -3.1, 0.0, -28.2], [3.1, 0.1, 9, 9]],
        ),
    ],
)
def test_classic_steps_equal_gymnasium_at_the_bounds_of_their_states(environment, states):
    simulator = make(environment, 200, len(states), np.random.default_rng(0))
    env = reference(environment, 200)
    for action in range(simulator.action_dim):
        simulator.physics._state = np.array(states).T
        step = simulator.step(np.full(len(states), action))
        for row, state in enumerate(states):
            env.reset()
            env.unwrapped.state = np.array(state)
            observation, reward, terminated, _, _ = env.step(action)
            np.testing.assert_allclose(step.observations[row], observation, rtol=1e-6, atol=1e-6)
            assert (reward, terminated) == (step.rewards[row], step.terminated[row])


@pytest.mark.parametrize("environment", MUJOCO + CLASSIC)
def test_spaces_are_gymnasiums(environment):
    simulator = make(environment, 5, 1, np.random.default_rng(0))
    env = reference(environment, 5)
    assert simulator.observations.shape == (1, *env.observation_space.shape)
    assert simulator.observation_dim == env.observation_space.shape[0]
    if simulator.discrete:
        assert simulator.action_dim == env.action_space.n
    else:
        low, high = simulator.physics.model.actuator_ctrlrange.T
        assert simulator.action_dim == env.action_space.shape[0]
        np.testing.assert_array_equal(low.astype(np.float32), env.action_space.low)
        np.testing.assert_array_equal(high.astype(np.float32), env.action_space.high)


def test_the_control_cost_counts_the_raw_action_while_the_actuators_saturate():
    """Beyond the bounds the cheetah moves alike, and pays 0.1 per unit of the action's square."""
    steps = []
    for size in (1.0, 100.0):
        simulator = make("HalfCheetah-v5", 10, 1, np.random.default_rng(0))
        steps.append(simulator.step(np.full((1, 6), size)))
    assert np.array_equal(steps[0].observations, steps[1].observations)
    assert steps[0].rewards[0] - steps[1].rewards[0] == pytest.approx(0.1 * 6 * (100**2 - 1))
