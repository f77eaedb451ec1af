"""The statistics across seeds, against numbers worked out by hand and against scipy's own."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gailbench.paper import ALGORITHMS, PROPOSED
from gailbench.report.across_seeds import (
    ONE_SEED,
    SOME_SEEDS,
    THRESHOLDS,
    AcrossSeeds,
    across_seeds,
    balanced,
    estimate,
    interquartile_mean,
    probability_of_improvement,
    rank,
    share_above,
)
from gailbench.tasks import TASKS


def _scores(runs: dict[tuple[str, str, int], list[float]]) -> pd.DataFrame:
    rows = [
        {"task": task, "algorithm": algorithm, "trajectories": size, "entropy_weight": math.nan, "normalized_mean": s}
        for (task, algorithm, size), values in runs.items()
        for s in values
    ]
    return pd.DataFrame(rows, columns=["task", "algorithm", "trajectories", "entropy_weight", "normalized_mean"])


def test_the_interquartile_mean_drops_a_quarter_on_either_side() -> None:
    assert interquartile_mean([np.array([9.0, 1.0, 2.0, 4.0])]) == pytest.approx(3.0)
    assert interquartile_mean([np.array([0.0, 1.0]), np.array([2.0, 100.0])]) == pytest.approx(1.5)


@pytest.mark.parametrize("copies", [1, 2, 3, 4])
def test_the_interquartile_mean_is_the_same_if_every_run_is_there_several_times(copies: int) -> None:
    # A quarter of three scores is 3/4 of the lowest and of the highest: (0 / 4 + 1 + 5 / 4) / 1.5.
    samples = [np.full(copies, score) for score in (0.0, 1.0, 5.0)]
    assert interquartile_mean(samples) == pytest.approx(1.5)


def test_tasks_weigh_the_same_however_many_runs_they_have() -> None:
    # 1 run of 0 against 3 runs of 1, 2, 3: balanced 0 0 0 1 2 3; the middle three of six: half a 0, 0, 1, half a 2
    samples = [np.array([0.0]), np.array([1.0, 2.0, 3.0])]
    assert sorted(balanced(samples)) == [0, 0, 0, 1, 2, 3]
    assert interquartile_mean(samples) == pytest.approx(2 / 3)
    assert share_above(samples, np.array([-1.0, 0.5, 2.0])) == pytest.approx([1, 1 / 2, 1 / 6])


def test_the_probability_of_improvement_counts_pairs_and_half_of_the_ties() -> None:
    first, second = [np.array([1.0, 2.0, 3.0])], [np.array([2.0, 0.0])]
    # 1 > 0; 2 = 2, 2 > 0; 3 > 2, 3 > 0: 4.5 of 6
    assert probability_of_improvement(first, second) == pytest.approx(0.75)
    assert probability_of_improvement([*first, np.array([0.0])], [*second, np.array([1.0])]) == pytest.approx(0.375)


def test_the_probability_of_improvement_is_mann_and_whitneys_statistic() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 5, 7).astype(float), generator.integers(0, 5, 9).astype(float)
    expected = stats.mannwhitneyu(x, y).statistic / (7 * 9)
    assert probability_of_improvement([x], [y]) == pytest.approx(expected)


def test_the_bootstrap_draws_within_each_task() -> None:
    # Each task's runs are alike: no resample differs, however far apart the tasks are.
    found = estimate(interquartile_mean, [np.full(5, 0.0), np.full(5, 1.0)])
    assert (found.value, found.low, found.high, found.note) == (0.5, 0.5, 0.5, "")


def test_the_bootstrap_interval_is_near_the_normal_one_for_a_mean() -> None:
    sample = np.random.default_rng(0).normal(0, 1, 400)
    found = estimate(lambda samples: samples[0].mean(axis=-1), [sample])
    half = 1.96 * sample.std() / 20
    assert (found.low, found.high) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.01)


def test_the_bootstrap_is_seeded() -> None:
    samples = [np.array([0.0, 0.3, 1.0]), np.array([0.5])]
    first, second = (estimate(interquartile_mean, samples) for _ in range(2))
    assert first == second
    assert first.low < first.value < first.high
    assert first.note == SOME_SEEDS


def test_one_seed_has_no_interval_and_says_why() -> None:
    found = estimate(interquartile_mean, [np.array([0.2]), np.array([0.8])])
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.note == ONE_SEED


def test_sizes_are_ranked_from_smallest_to_largest() -> None:
    assert [rank(TASKS["hopper"].sizes, size) for size in (4, 11, 18, 25)] == ["smallest", "second", "third", "largest"]
    assert [rank(TASKS["humanoid"].sizes, size) for size in (80, 160, 240)] == ["smallest", "second", "largest"]
    assert rank(TASKS["hopper"].sizes, 5) is None
    assert rank((), 5) is None


def _across_seeds(scores: pd.DataFrame) -> AcrossSeeds:
    return across_seeds(scores, TASKS, ALGORITHMS, PROPOSED)


def test_algorithms_are_compared_over_the_tasks_that_all_have() -> None:
    found = _across_seeds(
        _scores(
            {
                ("hopper", "gail", 4): [1.0, 1.0],
                ("hopper", "bc", 4): [0.0, 0.2],
                ("walker", "gail", 4): [0.0],  # no cloning there
                ("hopper", "mine", 4): [0.6],
                ("ant", "mine", 4): [0.6],
            }
        )
    )
    iqm = found.iqm.set_index("method")
    assert dict(iqm["tasks"]) == dict.fromkeys(("BC", "GAIL", "mine"), "hopper")
    assert list(iqm["value"]) == pytest.approx([0.1, 1.0, 0.6])
    improvement = found.improvement[found.improvement["rank"] == "smallest"].set_index("method")
    assert dict(improvement["value"]) == {"BC": 1.0, "mine": 1.0}
    assert improvement.loc["BC", "low"] == 1.0
    profile = found.profiles[found.profiles["method"] == "BC"]
    assert list(profile["threshold"]) == list(THRESHOLDS)
    assert dict(zip(profile["threshold"], profile["value"], strict=True))[0.1] == 0.5


def test_without_a_common_task_the_report_says_so() -> None:
    found = _across_seeds(_scores({("hopper", "gail", 4): [1.0], ("walker", "bc", 4): [0.5]}))
    assert found.iqm.empty
    assert found.remarks == ["no statistics across tasks: no task has runs of all the algorithms at a size"]
    assert _across_seeds(_scores({})).remarks == []
