"""What is read from run folders, and what is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from gailbench.report.load import load_results

WriteRun = Callable[..., Path]


def test_a_run_is_its_spec_and_its_returns(results: Path, write_run: WriteRun) -> None:
    write_run(seed=3, returns=[1.0, 2.5])
    loaded = load_results(results)
    run = loaded.runs.iloc[0]
    assert (run["task"], run["algorithm"], run["trajectories"], run["seed"]) == ("walker", "gail", 11, 3)
    assert run["of_paper"]
    assert list(loaded.returns["return"]) == [1.0, 2.5]
    assert loaded.remarks == []


def test_runs_are_read_in_the_order_of_their_numbers(results: Path, write_run: WriteRun) -> None:
    for seed in (10, 2, 1):
        write_run(seed=seed)
    assert list(load_results(results).runs["seed"]) == [1, 2, 10]


def test_an_algorithm_without_entropy_weight_has_none(results: Path, write_run: WriteRun) -> None:
    write_run(algorithm="fem")
    assert math.isnan(load_results(results).runs.iloc[0]["entropy_weight"])


@pytest.mark.parametrize("make", [False, True])
def test_no_runs_is_a_remark(results: Path, make: bool) -> None:
    if make:
        (results / "runs").mkdir()
    loaded = load_results(results)
    assert loaded.runs.empty
    assert loaded.returns.empty
    assert [remark.startswith("no complete runs in") for remark in loaded.remarks] == [True]


def test_a_run_without_evaluation_is_not_counted(results: Path, write_run: WriteRun) -> None:
    write_run(seed=0)
    write_run(seed=1, returns=None)
    loaded = load_results(results)
    assert list(loaded.runs["seed"]) == [0]
    assert "1 incomplete run (no evaluation.csv) not counted" in loaded.remarks[0]
    assert "seed=1" in loaded.remarks[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "its columns are not episode,return,length"),
        ("episode,return,length\n", "has no rows"),
        ("episode,return,length\n0,1.0,10\n1,,10\n", "episode 1 is not a return and a length"),
        ("episode,return,length\n0,inf,10\n", "episode 0 is not a return and a length"),
        ("episode,return,length\n0,abc,10\n", "episode 0 is not a return and a length"),
        ("episode,length\n0,10\n", "its columns are not"),
        ("\x00\x01\x02", "evaluation.csv"),
    ],
)
def test_damaged_evaluations_are_named_and_skipped(
    results: Path, write_run: WriteRun, content: str, reason: str
) -> None:
    (write_run(seed=4) / "evaluation.csv").write_text(content)
    write_run(seed=5)
    loaded = load_results(results)
    assert list(loaded.runs["seed"]) == [5]
    assert len(loaded.remarks) == 1
    assert "seed=4 is skipped" in loaded.remarks[0]
    assert reason in loaded.remarks[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "spec.json is not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "format None"),
        (b"\xff\xfe{}", "spec.json is not JSON"),
        (None, "spec.json cannot be read"),
    ],
)
def test_unreadable_specs_are_named_and_skipped(
    results: Path, write_run: WriteRun, content: str | bytes | None, reason: str
) -> None:
    spec = write_run() / "spec.json"
    if content is None:
        spec.unlink()
    else:
        spec.write_bytes(content.encode() if isinstance(content, str) else content)
    loaded = load_results(results)
    assert loaded.runs.empty
    assert reason in loaded.remarks[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 7}, "seed 7, not 0"),
        ({"task": "hopper"}, "task hopper, not walker"),
        ({"trajectories": 11.0}, "spec.json has no trajectories"),
        ({"iterations": 100}, "iterations 100, but settings=paper means 500"),
        ({"entropy_weight": 0.01}, "entropy_weight 0.01, but settings=paper means 0.0"),
        ({"format": 3}, "format 3"),
    ],
)
def test_a_spec_that_disagrees_with_its_folder_is_skipped(
    results: Path, write_run: WriteRun, change: dict[str, object], reason: str
) -> None:
    path = write_run() / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    loaded = load_results(results)
    assert loaded.runs.empty
    assert reason in loaded.remarks[1]


def test_only_reacher_has_several_entropy_weights_of_the_authors(results: Path, write_run: WriteRun) -> None:
    for task in ("reacher", "walker"):
        for settings in ("paper", "entropy_weight-0.001", "entropy_weight-0.01", "entropy_weight-0.1"):
            write_run(task=task, settings=settings)
    runs = load_results(results).runs
    of_paper = runs[runs["of_paper"]]
    assert sorted(of_paper.loc[of_paper["task"] == "reacher", "entropy_weight"]) == [0, 0.001, 0.01, 0.1]
    assert sorted(of_paper.loc[of_paper["task"] == "walker", "entropy_weight"]) == [0]
