"""Episode ends: last observation and next first one, termination and time limit, are kept apart."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from simulators import make

# An environment and an action that ends its episodes early.
EARLY = [("CartPole-v1", 1), ("Hopper-v5", 1.0), ("CartPole-v0", 1)]


def step_until_done(environment, action, horizon):
    """Repeat the action until the first episode ends; return the simulator, the last step and their number."""
    simulator = make(environment, horizon, 1, np.random.default_rng(5))
    actions = np.array([action]) if simulator.discrete else np.full((1, simulator.action_dim), action)
    for count in range(1, horizon + 1):
        step = simulator.step(actions)
        if step.done[0]:
            return simulator, step, count
    raise AssertionError("no end within the horizon")


@pytest.mark.filterwarnings("ignore:.*out of date")  # CartPole-v0, which goes through Gymnasium's vector API
@pytest.mark.parametrize(("environment", "action"), EARLY)
def test_terminated_and_truncated_are_told_apart_around_the_time_limit(environment, action):
    _, step, length = step_until_done(environment, action, 200)
    assert 2 < length < 200
    assert (step.terminated[0], step.truncated[0]) == (True, False)
    # The same episode under other time limits: one step too short, exactly as long, one step longer.
    for horizon, facts in ((length - 1, (False, True)), (length, (True, True)), (length + 1, (True, False))):
        _, step, count = step_until_done(environment, action, horizon)
        assert count == min(length, horizon)
        assert (step.terminated[0], step.truncated[0]) == facts


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize(("environment", "action"), EARLY)
def test_the_last_observation_is_not_the_next_episodes_first(environment, action):
    simulator, step, _ = step_until_done(environment, action, 200)
    # A pole or a hopper that has just fallen leans further than any initial state.
    angle = {"Hopper-v5": 1}.get(environment, 2)
    assert abs(step.observations[0, angle]) > 0.19
    assert abs(simulator.observations[0, angle]) < 0.051
    assert simulator.times[0] == 0


def test_between_ends_the_open_observations_are_what_the_step_led_to():
    simulator = make("CartPole-v1", 200, 20, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    ended = 0
    for _ in range(60):
        times = simulator.times.copy()
        step = simulator.step(rng.integers(2, size=20))
        done = step.done
        assert np.array_equal(simulator.observations[~done], step.observations[~done])
        assert not (simulator.observations[done] == step.observations[done]).all(axis=1).any()
        assert np.array_equal(simulator.times, np.where(done, 0, times + 1))
        ended += done.sum()
    assert ended > 20


def test_a_steps_result_stays_as_it_was():
    simulator = make("Hopper-v5", 4, 2, np.random.default_rng(0))
    steps, copies = [], []
    for _ in range(6):
        step = simulator.step(np.zeros((2, 3)))
        steps.append(step)
        copies.append((step.observations.copy(), step.rewards.copy(), step.done.copy()))
    for step, (observations, rewards, done) in zip(steps, copies, strict=True):
        assert np.array_equal(step.observations, observations)
        assert np.array_equal(step.rewards, rewards)
        assert np.array_equal(step.done, done)


@pytest.mark.parametrize("environment", ["MountainCar-v0", "HalfCheetah-v5", "Pendulum-v1"])
def test_episodes_without_termination_last_the_whole_horizon(environment):
    simulator = make(environment, 9, 2, np.random.default_rng(0))
    actions = np.zeros(2, dtype=np.intp) if simulator.discrete else np.zeros((2, simulator.action_dim))
    truncated = [simulator.step(actions).truncated for _ in range(27)]
    assert np.flatnonzero([t.all() for t in truncated]).tolist() == [8, 17, 26]
    assert np.flatnonzero([t.any() for t in truncated]).tolist() == [8, 17, 26]


@pytest.mark.parametrize("environment", ["CartPole-v1", "Hopper-v5", "Pendulum-v1"])
def test_a_restart_begins_every_episode_anew_from_the_generator(environment):
    def starts(seed):
        simulator = make(environment, 50, 3, np.random.default_rng(seed))
        first = simulator.observations.copy()
        actions = np.ones(3, dtype=np.intp) if simulator.discrete else np.ones((3, simulator.action_dim))
        for _ in range(4):
            simulator.step(actions)
        assert simulator.times.tolist() == [4, 4, 4]
        simulator.restart()
        assert simulator.times.tolist() == [0, 0, 0]
        return np.concatenate((first, simulator.observations))

    assert np.array_equal(starts(0), starts(0))
    assert len(np.unique(np.concatenate((starts(0), starts(1))), axis=0)) == 12


def test_once_episodes_hold_the_pairs_an_ended_environment_goes_on_no_more():
    simulator = make("CartPole-v1", 200, 20, np.random.default_rng(0))
    simulator.restart(pairs=1, finish_all=True)
    lengths = np.zeros(20, dtype=int)
    while len(rows := simulator.rows):
        before = simulator.observations.copy()
        step = simulator.step(np.ones(len(rows), dtype=np.intp))
        lengths[rows] += 1
        assert len(step.observations) == len(before) == len(rows)
        assert np.array_equal(simulator.rows, rows[~step.done])
        assert np.array_equal(simulator.observations, step.observations[~step.done])
        assert np.array_equal(simulator.times, lengths[simulator.rows])
    assert len(np.unique(lengths)) > 1
    assert 5 < lengths.min()
    simulator.restart()
    assert simulator.rows.tolist() == list(range(20))
    assert np.abs(simulator.observations).max() < 0.051


@pytest.mark.parametrize("environment", ["Hopper-v5", "HalfCheetah-v5", "Humanoid-v5", "Reacher-v5"])
def test_mujoco_environments_that_go_on_no_more_are_not_stepped(environment, monkeypatch):
    whole, part = (make(environment, 50, 4, np.random.default_rng(0)) for _ in range(2))
    stepped = []
    mj_step = mujoco.mj_step

    def noting(model, data, *arguments):
        stepped.append(data)
        return mj_step(model, data, *arguments)

    monkeypatch.setattr(mujoco, "mj_step", noting)
    datas = part.physics.datas
    before = [(data.time, data.qpos.copy(), data.qvel.copy(), data.ctrl.copy()) for data in datas]
    active = np.array([True, False, True, False])
    part.physics.keep(active)
    part.times = part.times[active]
    rng = np.random.default_rng(1)
    for _ in range(8):
        actions = rng.standard_normal((4, whole.action_dim))
        everything = whole.step(actions)
        stepped.clear()
        some = part.step(actions[active])
        assert [id(data) for data in stepped] == [id(datas[0]), id(datas[2])]
        for name in ("observations", "rewards", "terminated", "truncated"):
            assert np.array_equal(getattr(everything, name)[active], getattr(some, name)), name
    for row in (1, 3):
        data = datas[row]
        for now, then in zip((data.time, data.qpos, data.qvel, data.ctrl), before[row], strict=True):
            assert np.array_equal(now, then)
    assert datas[0].time > 0
