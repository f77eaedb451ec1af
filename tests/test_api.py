"""Gailbench from Python."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import gailbench
from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Policy
from gailbench.tasks import TASKS

# A task that is made in Python, with lists where a task has tuples.
OWN = replace(TASKS["cartpole"], name="own", sizes=[1], kwargs={"sutton_barto_reward": True})


def test_importing_is_instant_and_the_names_are_there() -> None:
    code = (
        "import sys, gailbench; loaded = {'torch', 'numpy', 'mujoco', 'pandas'} & set(sys.modules); "
        "assert not loaded, loaded; assert set(gailbench.__all__) <= set(dir(gailbench))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no_such_name"):
        gailbench.no_such_name  # noqa: B018


def test_a_shipped_expert_acts_in_gymnasiums_environment() -> None:
    policy = gailbench.load_policy("cartpole")
    env = gymnasium.make("CartPole-v1", max_episode_steps=200)
    observation, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        action, state = policy.predict(observation, deterministic=True)
        assert state is None
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    assert total == 200.0


def test_predictions_are_for_one_or_many_and_drawn_where_asked() -> None:
    policy = Policy(3, 2, False, hidden=(4,), generator=np.random.default_rng(0))
    one, many = np.ones(3), np.ones((5, 3))
    assert policy.predict(one)[0].shape == (2,)
    assert np.array_equal(policy.predict(many)[0], np.tile(policy.predict(one)[0], (5, 1)))
    drawn = [policy.predict(one, deterministic=False, generator=np.random.default_rng(k))[0] for k in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        policy.predict(np.ones(4))


def test_runs_and_results(tmp_path: Path) -> None:
    frame = gailbench.run("cartpole", ["bc", "gail"], [1], iterations=2, batch=200, results=tmp_path)
    assert list(frame.columns[:2]) == ["task", "algorithm"]
    assert frame.groupby("algorithm").size().to_dict() == {"bc": 50, "gail": 50}
    assert frame["episode"].max() == 49
    gailbench.run("cartpole", ["gail"], [1], iterations=2, batch=200, results=tmp_path, settings={"loop.gamma": 0.9})
    everything = gailbench.load_results(tmp_path)
    assert len(everything) == 150
    again = gailbench.run("cartpole", ["bc", "gail"], [1], iterations=2, batch=200, results=tmp_path)
    assert again.equals(frame)
    with pytest.raises(GailbenchError, match="no results folder"):
        gailbench.load_results(tmp_path / "none")


def test_demonstrations_are_sampled(tmp_path: Path) -> None:
    found = gailbench.sample_demonstrations("cartpole", 2, seed=3)
    assert (found.trajectories, found.genuine) == (2, True)
    assert set(gailbench.tasks.TASKS) >= {"cartpole", "humanoid"}
    assert gailbench.tasks.find_task("Pendulum-v1").horizon == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"iterations": 0}, "iterations is 0; it must be at least 1"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"sizes": [-1]}, "sizes is -1; it must be at least 1"),
        ({"sizes": []}, "sizes is empty"),
        ({"algorithms": []}, "algorithms is empty"),
        ({"seeds": [0.5]}, "seeds is 0.5; it must be an integer"),
        ({"entropy_weights": [-1]}, "entropy_weights is -1.0; it must be at least 0"),
        ({"seeds": [2**63]}, "seeds is 9223372036854775808; it must be at least 0 and at most 9.2"),
        ({"task": replace(TASKS["cartpole"], horizon=20)}, "'cartpole' is the name of one of the paper's tasks"),
        ({"task": replace(OWN, name="../evil x")}, "'../evil x' cannot be the name of a task"),
        ({"task": replace(OWN, horizon=0)}, "task 'own': horizon is 0; it must be a positive integer"),
        ({"task": replace(OWN, kwargs=5)}, "task 'own': kwargs is 5; it must be a table"),
    ],
)
def test_what_no_run_can_have_is_named_and_nothing_is_written(
    arguments: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(GailbenchError) as caught:
        gailbench.run(**{"task": "cartpole", "algorithms": ["bc"], "results": tmp_path, **arguments})
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_task_made_in_python_becomes_what_its_file_would_give(tmp_path: Path) -> None:
    frame = gailbench.run(OWN, "constant", iterations=1, batch=200, results=tmp_path)
    assert set(frame["task"]) == {"own"}
    plain = replace(OWN, sizes=(1,), kwargs=(("sutton_barto_reward", True),))
    again = gailbench.run(plain, "constant", iterations=1, batch=200, results=tmp_path)
    assert again.equals(frame)


def test_runs_leave_the_callers_numbers_of_threads_as_they_were(tmp_path: Path) -> None:
    def threads() -> list[int]:
        return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]

    with threadpool_limits(2):
        torch.set_num_threads(2)
        before = threads()
        gailbench.run("cartpole", "bc", [1], iterations=1, results=tmp_path)
        after = threads()
    torch.set_num_threads(1)
    assert after == before


def test_numbers_may_be_numpys_and_single(tmp_path: Path) -> None:
    settings = {"loop.gamma": np.float64(0.9)}
    arguments = {"iterations": np.int64(2), "batch": np.array(200), "settings": settings, "results": tmp_path}
    frame = gailbench.run("cartpole", "gail", np.array([1]), np.arange(2), **arguments)
    assert set(frame["settings"]) == {"batch-200,iterations-2,loop.gamma-0.9"}
    assert set(frame["seed"]) == {0, 1}


def test_demonstrations_need_a_trajectory() -> None:
    with pytest.raises(GailbenchError, match="trajectories is 0; it must be at least 1"):
        gailbench.sample_demonstrations("cartpole", 0)


def test_a_policy_of_another_task_samples_no_demonstrations() -> None:
    with pytest.raises(gailbench.GailbenchError, match="the policy does not fit 'cartpole': it has observations of 6 "):
        gailbench.sample_demonstrations("cartpole", 1, policy=gailbench.load_policy("acrobot"))
