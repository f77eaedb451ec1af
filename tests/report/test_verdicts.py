"""The verdict rule, on numbers worked out by hand and on made-up data where the answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gailbench.report.load import load_results
from gailbench.report.permutation import two_sided_p
from gailbench.report.table import paper_table
from gailbench.report.verdicts import (
    MARGIN,
    SINGLE_RUN,
    SPREAD_OF_OURS,
    Uncertainty,
    cell_verdicts,
    compare,
    compare_runs,
    judge,
    of_runs,
    of_trajectories,
    verdict_of,
)

WriteRun = Callable[..., Path]
PAPER = 100 * (6850.27 - 0.57) / (6717.08 - 0.57)  # the paper's GAIL on walker with 11, on our scale of 0 to 100


def _verdicts(results: Path, baselines: pd.DataFrame) -> pd.DataFrame:
    loaded = load_results(results)
    table = cell_verdicts(loaded, paper_table(loaded, baselines), baselines)
    return table[table["seeds"] > 0]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.05, 0.05, "matches"),
        (0.0, 0.0, "matches"),
        (0.051, 0.2, "better"),
        (-0.2, -0.051, "worse"),
        (0.05, 0.2, "open"),
        (-0.2, 0.01, "open"),
        (-0.3, 0.3, "open"),
    ],
)
def test_an_interval_is_judged_by_the_margin(low: float, high: float, verdict: str) -> None:
    assert MARGIN == 0.05
    assert judge(low, high) == verdict


def test_the_interval_of_one_uncertainty_is_students() -> None:
    # t of 6 degrees of freedom at 97.5 %: 2.4469; standard error 0.1
    found = compare(0.3, [Uncertainty(0.01, 6)])
    assert (found.low, found.high) == pytest.approx((0.3 - 0.24469, 0.3 + 0.24469), abs=1e-5)


def test_degrees_of_freedom_are_welch_and_satterthwaites() -> None:
    # Equal variances with 4 degrees of freedom each: (2v)² / (2 v² / 4) = 8; t = 2.3060, standard error 0.2
    found = compare(0.0, [Uncertainty(0.02, 4), Uncertainty(0.02, 4)])
    assert (found.low, found.high) == pytest.approx((-0.46120, 0.46120), abs=1e-5)


def test_between_seven_runs_and_seven_the_test_is_scipys_welch() -> None:
    generator = np.random.default_rng(0)
    ours, paper = generator.normal(1, 0.1, 7), generator.normal(0.9, 0.3, 7)
    found, expected = compare_runs(ours, paper), stats.ttest_ind(ours, paper, equal_var=False)
    interval = expected.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, expected.pvalue))


def test_a_single_run_of_the_papers_is_given_the_spread_of_ours() -> None:
    # The variance of ours is 4, of three; as a new run's prediction: 4 * (1 + 1 / 3), 2 degrees of freedom
    found = compare_runs(np.array([2.0, 4.0, 6.0]), np.array([5.0]))
    half = 4.302653 * math.sqrt(4 * 4 / 3)
    assert (found.difference, found.low, found.high) == pytest.approx((-1, -1 - half, -1 + half), abs=1e-5)


def test_without_variance_the_interval_is_a_point() -> None:
    for parts in ([Uncertainty(0.0, 6)], []):
        found = compare(0.25, parts)
        assert (found.low, found.high, found.p) == (0.25, 0.25, 0)
    score = (200 - 18.64) / (199.9 - 18.64)
    assert compare_runs(np.full(7, score), np.full(7, score)) == compare(0.0, [])
    assert of_runs(np.full(7, score)).variance == 0  # not what is left of rounding


def test_a_single_run_is_uncertain_by_its_trajectories() -> None:
    assert of_trajectories(0.04, 53) == [Uncertainty(pytest.approx(0.04 / 53), 52)]
    assert of_trajectories(0.04, 1) == []


@pytest.mark.parametrize(
    ("offset", "noise", "verdict"),
    [(0.0, 1.0, "matches"), (3.0, 1.0, "matches"), (9.0, 1.0, "better"), (-9.0, 1.0, "worse"), (0.0, 60.0, "open")],
)
def test_a_known_difference_gets_its_verdict(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame, offset: float, noise: float, verdict: str
) -> None:
    returns = PAPER + offset + noise * np.resize([1.0, -1.0], 50)
    write_run(returns=list(returns))
    cell = _verdicts(results, baselines).iloc[0]
    assert cell["verdict"] == verdict
    assert cell["difference"] == pytest.approx(offset / 100, abs=1e-6)
    assert cell["low"] < cell["difference"] < cell["high"]
    assert cell["reason"].endswith(SINGLE_RUN)


def test_several_runs_of_ours_lend_their_spread_to_the_papers_single_one(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for seed, offset in enumerate((-1.0, 0.0, 1.0)):
        write_run(seed=seed, returns=[PAPER + offset] * 50)
    cell = _verdicts(results, baselines).iloc[0]
    half = 4.302653 * math.sqrt(0.01**2 * 4 / 3)
    assert (cell["low"], cell["high"]) == pytest.approx((-half, half), abs=1e-5)
    assert (cell["verdict"], cell["reason"]) == ("matches", f"the interval lies within ±0.05; {SPREAD_OF_OURS}")


def test_fewer_runs_than_the_papers_are_open_however_narrow_the_interval(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    baselines.loc["cartpole"] = [0.0, 200.0]
    for seed in range(6):
        write_run(task="cartpole", trajectories=4, seed=seed, returns=[200.0, 200.0])
    cell = _verdicts(results, baselines).iloc[0]
    assert (cell["verdict"], cell["reason"]) == ("open", "6 of the paper's 7 training runs")
    assert (cell["low"], cell["high"]) == (0.0, 0.0)
    write_run(task="cartpole", trajectories=4, seed=6, returns=[200.0, 200.0])
    cell = _verdicts(results, baselines).iloc[0]
    assert (cell["verdict"], cell["reason"]) == ("matches", "the interval lies within ±0.05")


def test_an_open_cell_says_whether_there_is_a_difference_and_what_failed(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    # FEM on acrobot with 4 trajectories: one of the paper's seven runs never learned, the others are at the expert.
    baselines.loc["acrobot"] = [-200.0, -75.25]
    for seed in range(7):
        write_run(task="acrobot", algorithm="fem", trajectories=4, seed=seed, returns=[-76.5 - 0.1 * seed] * 50)
    cell = _verdicts(results, baselines).iloc[0]
    assert cell["verdict"] == "open"
    assert cell["reason"] == (
        "the interval reaches over a margin of ±0.05: too wide to say; no difference is found (p = 0.36); "
        "the runs that did not fail match"
    )
    assert (cell["failed_runs"], cell["paper_failed_runs"], cell["failures_p"]) == (0, 1, 1)


def test_an_interval_has_no_rounding_errors_left(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    baselines.loc["cartpole"] = [18.7, 200.0]
    for seed in range(7):
        write_run(task="cartpole", trajectories=4, seed=seed, returns=[200.0] * 50)
    cell = _verdicts(results, baselines).iloc[0]
    assert (cell["difference"], cell["low"], cell["high"], cell["p"]) == (0, 0, 0, 1)


def test_cells_without_score_or_counterpart_have_no_verdict(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="ant", returns=[1.0, 2.0])  # no baselines
    write_run(trajectories=50, returns=[1.0, 2.0])  # not in the paper
    ant, walker = (_verdicts(results, baselines).set_index("task").loc[task] for task in ("ant", "walker"))
    assert (ant["verdict"], walker["verdict"], walker["reason"]) == ("open", "", "not in the paper")
    assert "no random and expert returns" in ant["reason"]
    assert math.isnan(walker["difference"])


def test_what_welchs_test_alone_calls_worse_is_open() -> None:
    # Four of seven runs failed on one side, none on the other: Welch's p is 0.03, but 2 of 1,001 splits as uneven.
    ours, paper = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]), np.ones(7)
    found = compare_runs(ours, paper)
    assert judge(found.low, found.high) == "worse"
    assert two_sided_p(ours, paper) == pytest.approx(2 * 35 / 1001)
    assert verdict_of(ours, paper) == "open"
    assert verdict_of(ours - 0.5 * (ours == 1), paper) == "worse"
