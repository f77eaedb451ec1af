"""Rows for the random policy, the expert and the constant reward, marked as what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gailbench import experts
from gailbench.report import findings_of
from gailbench.report.markdown import table_markdown
from gailbench.report.table import measured_baselines
from gailbench.tasks import TASKS

WriteRun = Callable[..., Path]


def test_random_and_expert_are_the_ends_of_the_score(results: Path) -> None:
    controls = findings_of(results).controls
    assert list(controls["task"].drop_duplicates()) == list(TASKS)
    for task in experts.shipped():
        of_task = controls[controls["task"] == task].set_index("control")
        assert of_task.loc["random", "normalized_mean"] == pytest.approx(0)
        assert of_task.loc["expert", "normalized_mean"] == pytest.approx(1)
        assert of_task.loc["expert", "mean"] == measured_baselines().loc[task, "expert_mean"]
    assert controls.loc[controls["control"] == "constant", "paper_mean"].isna().all()


def test_a_constant_reward_is_a_control_and_in_no_cell(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for seed, value in enumerate((10.0, 30.0)):
        write_run(algorithm="constant", trajectories=0, seed=seed, returns=[value] * 50, entropy_weight=None)
    findings = findings_of(results, baselines=baselines)
    assert len(findings.table) == 136
    assert findings.table["seeds"].sum() == 0
    row = findings.controls.set_index(["task", "control"]).loc[("walker", "constant")]
    assert (row["seeds"], row["episodes"], row["mean"], row["std"]) == (2, 100, 20.0, 10.0)
    assert row["normalized_mean"] == pytest.approx(0.2)
    assert findings.across.iqm.empty
    text = table_markdown(findings)
    assert "| walker | constant reward (ours) | 20.00 ± 10.00 | 100 | 0.20 |" in text
    assert findings.remarks == []
