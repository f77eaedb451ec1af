"""The table of tasks holds the paper's numbers."""

from __future__ import annotations

import pytest

from gailbench.paper.tables import published_baselines, published_results
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.simulation import CLASSIC, MUJOCO
from gailbench.tasks import TASKS, get_task

# Ho & Ermon (2016), Appendix B and Tables 1 to 3: environment, horizon, sizes, trajectories of the full set, k of
# every k-th pair, pairs per iteration, iterations, steps of BC and between its validations, sign, training runs.
PAPER = {
    "cartpole": ("CartPole-v1", 200, (1, 4, 7, 10), 10, 10, 5000, 300, 1000, 100, "positive", 7),
    "acrobot": ("Acrobot-v1", 200, (1, 4, 7, 10), 10, 5, 5000, 300, 1000, 100, "negative", 7),
    "mountaincar": ("MountainCar-v0", 200, (1, 4, 7, 10), 10, 5, 5000, 300, 1000, 100, "negative", 7),
    "reacher": ("Reacher-v5", 50, (4, 11, 18), 18, 1, 50000, 200, 10000, 500, "positive", 7),
    "halfcheetah": ("HalfCheetah-v5", 1000, (4, 11, 18, 25), 50, 20, 50000, 500, 20000, 1000, "positive", 1),
    "hopper": ("Hopper-v5", 1000, (4, 11, 18, 25), 50, 20, 50000, 500, 20000, 1000, "positive", 1),
    "walker": ("Walker2d-v5", 1000, (4, 11, 18, 25), 50, 20, 50000, 500, 20000, 1000, "positive", 1),
    "ant": ("Ant-v5", 1000, (4, 11, 18, 25), 50, 20, 50000, 500, 20000, 1000, "positive", 1),
    "humanoid": ("Humanoid-v5", 1000, (80, 160, 240), 240, 20, 50000, 1500, 20000, 1000, "positive", 1),
}


def cells():
    """Every cell of the grid: (task, trajectories, algorithm, entropy weight), with its training runs."""
    return {
        (task.name, size, algorithm, weight): task.training_runs
        for task in TASKS.values()
        for size in task.sizes
        for algorithm in task.algorithms
        for weight in (task.entropy_weights if algorithm == "gail" else (0.0,))
    }


@pytest.mark.parametrize("name", PAPER)
def test_settings_are_the_papers(name):
    task = TASKS[name]
    assert task.name == name
    assert (
        task.environment,
        task.horizon,
        task.sizes,
        task.demonstrations,
        task.keep_every,
        task.batch,
        task.iterations,
        task.bc_steps,
        task.bc_validate_every,
        task.reward_sign,
        task.training_runs,
    ) == PAPER[name]


def test_the_table_holds_the_papers_tasks_and_no_others():
    assert list(TASKS) == list(PAPER)
    assert {task.environment for task in TASKS.values()} == {*MUJOCO, *CLASSIC}
    assert set(published_baselines().index) == set(TASKS)


def test_the_grid_is_the_published_table():
    published = published_results().fillna({"entropy_weight": 0.0})
    keys = published[["task", "trajectories", "algorithm", "entropy_weight"]].itertuples(index=False, name=None)
    assert len(published) == len(cells()) == 136
    assert dict(zip(keys, published["training_runs"], strict=True)) == cells()


def test_the_grid_adds_up_to_the_papers_training_runs_and_steps():
    assert sum(cells().values()) == 496
    steps = sum(
        runs * TASKS[task].iterations * TASKS[task].batch
        for (task, _, algorithm, _), runs in cells().items()
        if algorithm != "bc"
    )
    assert round(steps / 1e9, 1) == 2.9


def test_only_reacher_has_other_columns_than_the_four_algorithms():
    for name, task in TASKS.items():
        if name == "reacher":
            assert (task.algorithms, task.entropy_weights) == (("bc", "gail"), (0.0, 0.001, 0.01))
        else:
            assert (task.algorithms, task.entropy_weights) == (("bc", "fem", "gtal", "gail"), (0.0,))


def test_every_size_is_a_prefix_of_the_full_set():
    for task in TASKS.values():
        assert list(task.sizes) == sorted(set(task.sizes))
        assert task.sizes[-1] <= task.demonstrations


def test_batches_divide_into_whole_episodes():
    assert all(task.batch % task.horizon == 0 for task in TASKS.values())


def test_tasks_are_found_by_name():
    for name in PAPER:
        assert get_task(name) is TASKS[name]


@pytest.mark.parametrize(
    ("name", "task"), [("walker2d", "walker"), ("cheetah", "halfcheetah"), ("Humanoid", "humanoid")]
)
def test_unknown_tasks_name_the_nearest(name, task):
    with pytest.raises(GailbenchError) as caught:
        get_task(name)
    assert str(caught.value) == f"unknown task '{name}'; did you mean '{task}'?"


def test_far_off_tasks_list_all():
    with pytest.raises(GailbenchError) as caught:
        get_task("zzz")
    assert str(caught.value) == f"unknown task 'zzz'; known: {', '.join(PAPER)}"


def test_the_nearest_of_several_is_named():
    assert nearest("hoper", ["hop", "hopper", "humanoid"]) == "; did you mean 'hopper'?"
    assert nearest("qqq", ["a", "b"]) == "; known: a, b"
