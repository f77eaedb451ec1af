"""The numbers of the tables, by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from gailbench.report.load import load_results
from gailbench.report.table import (
    OTHER_COLUMNS,
    TABLE_COLUMNS,
    other_settings_table,
    paper_table,
    run_scores,
    table_csv,
    table_remarks,
)
from gailbench.tasks import own_task

WriteRun = Callable[..., Path]


def _lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_mean_and_std_pool_the_trajectories_of_all_seeds(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(seed=0, returns=[10.0, 20.0, 30.0])
    write_run(seed=1, returns=[100.0])
    table = paper_table(load_results(results), baselines)
    cell = table[table["seeds"] > 0].iloc[0]
    assert (cell["task"], cell["algorithm"], cell["trajectories"]) == ("walker", "gail", 11)
    assert (cell["seeds"], cell["episodes"]) == (2, 4)
    assert cell["mean"] == pytest.approx(40)  # not 60, the mean of the seeds' means
    assert cell["std"] == pytest.approx(1250**0.5)  # (30² + 20² + 10² + 60²) / 4
    assert cell["normalized_mean"] == pytest.approx(0.4)
    assert cell["paper_mean"] == 6850.27
    assert cell["paper_normalized_mean"] == pytest.approx((6850.27 - 0.57) / (6717.08 - 0.57))


def test_normalized_scores_start_at_random_and_end_at_the_expert(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="reacher", algorithm="bc", returns=[-60.0])  # random -50, expert 0
    write_run(task="reacher", algorithm="bc", seed=1, returns=[0.0, 0.0])
    loaded = load_results(results)
    assert list(run_scores(loaded, baselines)["normalized_mean"]) == pytest.approx([-0.2, 1.0])
    table = paper_table(loaded, baselines)
    assert table.loc[table["seeds"] > 0, "normalized_mean"].item() == pytest.approx(0.6)


def test_without_runs_our_columns_are_empty(results: Path, baselines: pd.DataFrame) -> None:
    text = table_csv(paper_table(load_results(results), baselines))
    assert text.splitlines()[0] == ",".join(TABLE_COLUMNS)
    assert len(text.splitlines()) == 137
    assert text.splitlines()[1] == "cartpole,bc,,1,0,0,,,,72.02,35.82,0.2943317159,,1,,True"
    frame = pd.read_csv(io.StringIO(text))
    assert list(frame["task"].unique()) == [
        *("cartpole", "acrobot", "mountaincar", "reacher", "halfcheetah"),
        *("hopper", "walker", "ant", "humanoid"),
    ]
    assert frame[["mean", "std", "normalized_mean"]].isna().all(axis=None)


def test_csv_counts_are_whole_and_weights_short(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    write_run(task="reacher", settings="entropy_weight-0.001", returns=[-25.0, -25.0])
    text = table_csv(paper_table(load_results(results), baselines))
    assert _lines(text, "reacher,gail,0.001,11,") == [
        "reacher,gail,0.001,11,1,2,-25,0,0.5," + _lines(text, "reacher,gail,0.001,11,")[0].split(",", 9)[9]
    ]
    assert _lines(text, "reacher,gail,0,11,")[0].startswith("reacher,gail,0,11,0,0,,,,")


def test_a_missing_baseline_leaves_the_score_empty_and_is_said(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="ant", returns=[1.0])
    loaded = load_results(results)
    table = paper_table(loaded, baselines)
    assert "ant,gail,0,11,1,1,1,0,,3306" in table_csv(table)
    assert table_remarks(loaded, table) == ["no normalized scores without our own random and expert returns: ant"]


def test_sizes_and_algorithms_that_only_we_have_follow_the_tasks_own(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(trajectories=50, returns=[5.0])
    write_run(algorithm="mine", trajectories=4, returns=[6.0])
    table = paper_table(load_results(results), baselines)
    walker = table[table["task"] == "walker"].reset_index()
    assert len(table) == 138
    assert list(walker["algorithm"][-2:]) == ["mine", "gail"]
    assert _lines(table_csv(table), "walker,gail,0,50") == ["walker,gail,0,50,1,1,5,0,0.05,,,,,,,False"]


def test_other_settings_never_share_a_cell_with_the_papers(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(returns=[10.0])
    write_run(settings="iterations-100", iterations=100, returns=[90.0])
    write_run(settings="entropy_weight-0.001", returns=[70.0, 80.0])
    loaded = load_results(results)
    table = paper_table(loaded, baselines)
    assert len(table) == 136
    assert list(table.loc[table["seeds"] > 0, "mean"]) == [10.0]
    others = table_csv(other_settings_table(loaded, baselines), OTHER_COLUMNS).splitlines()
    assert others[0].startswith("task,settings,algorithm,entropy_weight,trajectories,seeds,episodes,mean")
    assert others[1].startswith("walker,entropy_weight-0.001,gail,0.001,11,1,2,75,5,0.75,")
    assert others[2].startswith("walker,iterations-100,gail,0,11,1,1,90,0,0.9,6850.27,")
    assert table_remarks(loaded, table) == [
        "2 runs with other settings than the paper's (settings=entropy_weight-0.001: 1, "
        "settings=iterations-100: 1) are not in the table; see other_settings.csv"
    ]


def test_runs_of_a_task_that_was_changed_are_not_pooled(results: Path, write_run: WriteRun) -> None:
    for seed, horizon in enumerate((200, 200, 20)):
        definition = asdict(own_task("CartPole-v1", {"name": "pole", "horizon": horizon}))
        write_run(task="pole", settings="defaults", seed=seed, definition=definition)
    loaded = load_results(results)
    pooled = loaded.runs.groupby("settings")["seed"].apply(list).to_dict()
    assert pooled.pop("defaults") == [0, 1]
    ((settings, seeds),) = pooled.items()
    assert settings.startswith("definition-")
    assert seeds == [2]
    assert "1 run of pole were made with another definition of the task than most" in loaded.remarks[0]


@pytest.mark.parametrize("source", ["expert", "demonstrations"])
def test_runs_that_learned_from_something_else_than_most_stand_apart(
    source: str, results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for seed in (0, 1):
        write_run(seed=seed, **{f"{source}_sha256": "a" * 64})
    write_run(seed=2, **{f"{source}_sha256": "b" * 64})
    loaded = load_results(results)
    table = paper_table(loaded, baselines)
    assert table["seeds"].max() == 2
    others = other_settings_table(loaded, baselines)
    assert others["settings"].tolist() == [f"{source}-bbbbbbbb"]
    assert others["seeds"].tolist() == [1]
    assert loaded.remarks == [
        "1 run of walker learned from other demonstrations or another expert than most, cannot be compared with them, "
        "and stand apart"
    ]
    assert any(f"settings={source}-bbbbbbbb: 1" in remark for remark in table_remarks(loaded, table))


@pytest.mark.parametrize(("algorithm", "apart"), [("gail", ["format-1"]), ("bc", [])])
def test_runs_with_another_rule_of_batches_than_most_stand_apart(
    algorithm: str, apart: list[str], results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for seed, version in enumerate((2, 2, 1)):
        write_run(algorithm=algorithm, seed=seed, format=version)
    loaded = load_results(results)
    assert other_settings_table(loaded, baselines)["settings"].tolist() == apart
    remark = "1 run of walker were made by a version with another rule of batches than most"
    assert [text.startswith(remark) for text in loaded.remarks] == [True] * len(apart)
