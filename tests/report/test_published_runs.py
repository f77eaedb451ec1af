"""The authors' runs add up to the published table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gailbench.paper.tables import CELL, pooled_runs, published_results, published_runs, unpublished_results
from gailbench.report import findings_of
from gailbench.report.failures import failed, failure_counts, failures_text
from gailbench.report.markdown import table_markdown

WriteRun = Callable[..., Path]


def test_pooled_runs_are_the_published_cells_to_rounding() -> None:
    both = published_results().merge(pooled_runs(), on=CELL, how="left", suffixes=("", "_pooled"))
    assert len(both) == 136
    assert (both["training_runs"] == both["training_runs_pooled"]).all()
    assert both["mean_pooled"].to_numpy() == pytest.approx(both["mean"].to_numpy(), abs=0.0051)  # two decimals
    assert both["std_pooled"].to_numpy() == pytest.approx(both["std"].to_numpy(), abs=0.0051)


def test_517_runs_of_which_21_are_not_published() -> None:
    runs = published_runs()
    assert len(runs) == 517
    assert runs["episodes"].between(50, 54).all()
    unpublished = unpublished_results()
    assert list(unpublished["trajectories"]) == [4, 11, 18]
    assert set(unpublished["task"]) == {"reacher"}
    assert set(unpublished["entropy_weight"]) == {0.1}
    assert unpublished["training_runs"].sum() == 21


def test_the_unpublished_row_is_shown_where_there_are_runs_of_it(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="reacher", settings="entropy_weight-0.01", trajectories=4, returns=[-10.0] * 50)
    findings = findings_of(results, baselines=baselines)
    assert len(findings.table) == 136
    assert "unpublished" not in table_markdown(findings)
    for seed in range(7):
        returns = [-300.0 - seed] * 50
        write_run(task="reacher", settings="entropy_weight-0.1", trajectories=4, seed=seed, returns=returns)
    findings = findings_of(results, baselines=baselines)
    assert len(findings.table) == 137
    (cell,) = [row for _, row in findings.table.iterrows() if not row["published"]]
    assert (cell["method"], cell["seeds"], cell["training_runs"]) == ("GAIL λ = 0.1 (unpublished)", 7, 7)
    assert cell["paper_mean"] == pytest.approx(
        published_runs().query("entropy_weight == 0.1 and trajectories == 4")["mean"].mean()
    )
    assert cell["verdict"] in ("open", "better", "worse")
    assert sum(findings.counts.values()) == 136
    assert "| BC | GAIL λ = 0 | GAIL λ = 0.001 | GAIL λ = 0.01 | GAIL λ = 0.1 (unpublished) |" in table_markdown(
        findings
    )
    assert not findings.others["settings"].str.contains("0.1").any()


def test_a_run_fails_under_half_of_the_median_runs_score() -> None:
    found = failed(np.array([0.0, 0.49, 0.51, 1.0, 1.0, 1.0, 1.1]))
    assert found is not None
    assert list(found) == [True, True, False, False, False, False, False]
    assert failed(np.array([1.0])) is None
    assert failed(np.array([-1.0, -0.5, 0.2])) is None  # a median run that is no better than random


def test_failures_are_compared_by_fishers_exact_test() -> None:
    fine, mixed = np.ones(7), np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    ours, paper, p = failure_counts(fine, mixed)
    assert (ours, paper) == (0, 3)
    assert p == pytest.approx(2 * 35 / 364)  # of the 364 ways to place three failures among 14 runs
    row = pd.Series({"failed_runs": ours, "paper_failed_runs": paper, "failures_p": p, "seeds": 7, "training_runs": 7})
    assert failures_text(row) == "failed 0/7, the paper's 3/7, p = 0.19"
    assert failures_text(row.replace(3.0, 0.0)) == ""
    _, _, unknown = failure_counts(np.ones(1), mixed)
    assert np.isnan(unknown)
