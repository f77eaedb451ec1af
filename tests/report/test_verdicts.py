"""The verdict rule, on numbers worked out by hand and on made-up data where the answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gailbench.report.load import load_results
from gailbench.report.table import paper_table
from gailbench.report.verdicts import (
    MARGIN,
    Uncertainty,
    cell_verdicts,
    interval,
    judge,
    our_uncertainty,
    paper_uncertainty,
    share_between_runs,
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
    assert interval(0.3, [Uncertainty(0.01, 6)]) == pytest.approx((0.3 - 0.24469, 0.3 + 0.24469), abs=1e-5)


def test_degrees_of_freedom_are_welch_and_satterthwaites() -> None:
    # Equal variances with 4 degrees of freedom each: (2v)² / (2 v² / 4) = 8; t = 2.3060, standard error 0.2
    low, high = interval(0.0, [Uncertainty(0.02, 4), Uncertainty(0.02, 4)])
    assert (low, high) == pytest.approx((-0.46120, 0.46120), abs=1e-5)


def test_without_variance_the_interval_is_a_point() -> None:
    assert interval(0.25, [Uncertainty(0.0, 6)]) == (0.25, 0.25)
    assert interval(0.25, []) == (0.25, 0.25)


def test_several_runs_are_uncertain_by_their_means_a_single_one_by_its_trajectories() -> None:
    several = our_uncertainty([np.array([1.0, 3.0]), np.array([3.0, 5.0]), np.array([6.0, 6.0])])
    assert several == [Uncertainty(pytest.approx(4 / 3), 2)]  # means 2, 4, 6: variance 4, of three
    assert our_uncertainty([np.array([1.0, 3.0, 5.0])]) == [Uncertainty(pytest.approx(4 / 3), 2)]
    assert our_uncertainty([np.array([1.0])]) == []


def test_the_papers_uncertainty_is_by_its_trajectories() -> None:
    assert paper_uncertainty(0.2, 1) == [Uncertainty(pytest.approx(0.04 / 53), 52)]
    assert paper_uncertainty(0.2, 7) == [Uncertainty(pytest.approx(0.04 / 371), 370)]
    between, within = paper_uncertainty(0.2, 7, share=0.5)
    assert between == Uncertainty(pytest.approx(0.02 / 7), 6)
    assert within == Uncertainty(pytest.approx(0.02 / 371), 364)


def test_the_share_between_runs_is_that_of_the_analysis_of_variance() -> None:
    # Means 1 and 5 (variance 8), within 2 each: between = 8 - 2/2 = 7; 7 / (7 + 2)
    assert share_between_runs([[np.array([0.0, 2.0]), np.array([4.0, 6.0])]]) == pytest.approx(7 / 9)
    assert share_between_runs([[np.array([0.0, 2.0]), np.array([0.0, 2.0])]]) == 0
    assert share_between_runs([[np.array([0.0, 2.0])]]) == 0


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
    assert cell["difference"] == pytest.approx(offset / 100)
    assert cell["low"] < cell["difference"] < cell["high"]
    assert "a single training run, whose seed-to-seed spread is unknown" in cell["reason"]


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


def test_a_verdict_that_hangs_on_the_papers_runs_being_alike_says_so(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    # Behavioral cloning on cart-pole with 1 trajectory: the paper's 72.02 ± 35.82. Ours differ from run to run only.
    baselines.loc["cartpole"] = [18.64, 200.0]
    for seed in range(7):
        write_run(task="cartpole", algorithm="bc", trajectories=1, seed=seed, returns=[45.0 + seed, 45.0 + seed])
    cell = _verdicts(results, baselines).iloc[0]
    assert cell["verdict"] == "worse"
    assert cell["reason"] == (
        "the interval lies below -0.05; open, if the paper's runs differ among themselves as much as ours"
    )


def test_cells_without_score_or_counterpart_have_no_verdict(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="ant", returns=[1.0, 2.0])  # no baselines
    write_run(trajectories=50, returns=[1.0, 2.0])  # not in the paper
    ant, walker = (_verdicts(results, baselines).set_index("task").loc[task] for task in ("ant", "walker"))
    assert (ant["verdict"], walker["verdict"], walker["reason"]) == ("open", "", "not in the paper")
    assert "no random and expert returns" in ant["reason"]
    assert math.isnan(walker["difference"])


def test_intervals_cover_the_true_difference_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        ours = [generator.normal(0, 0.05) + generator.normal(0, 0.1, 50) for _ in range(7)]
        paper = generator.normal(0, 0.1, 371)
        difference = float(np.mean(ours) - paper.mean())
        low, high = interval(difference, [*our_uncertainty(ours), *paper_uncertainty(float(paper.std()), 7)])
        covered += low <= 0 <= high
    assert 0.92 <= covered / 400 <= 0.98  # 95 %, three standard errors of 400 trials
