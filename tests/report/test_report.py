"""The report as a whole: which files, and that they depend on the results alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gailbench.plumbing.errors import GailbenchError
from gailbench.report import write_report
from gailbench.report_formats import FIGURE_FORMATS

WriteRun = Callable[..., Path]


def test_an_empty_folder_gives_the_papers_numbers_and_a_remark(
    results: Path, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    report = write_report(results, tmp_path / "deep" / "out", baselines)
    assert [file.name for file in report.files] == [
        *("table.csv", "verdicts.csv", "controls.csv", "table.md", "table.json", "table.tex", "report.html")
    ]
    assert report.findings.headline == "None of the paper's 136 cells has runs yet."
    assert report.remarks[0].startswith("no complete runs in the results folder (it has no folder 'runs')")
    assert (tmp_path / "deep" / "out" / "table.md").read_text() == report.markdown
    assert pd.read_csv(report.files[1]).empty
    assert pd.read_csv(report.files[0])["paper_mean"].notna().sum() == 136


def test_the_same_results_give_the_same_bytes(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run(seed=0)
    write_run(seed=1, returns=[30.0, 40.0])
    write_run(algorithm="bc")
    write_run(settings="iterations-100", iterations=100)
    contents = []
    for out in (tmp_path / "one", tmp_path / "two"):
        report = write_report(results, out, baselines)
        assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in report.files)
        contents.append({path.name: path.read_bytes() for path in report.files})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        *("table.csv", "table.md", "other_settings.csv", "verdicts.csv", "controls.csv"),
        *("table.json", "table.tex", "report.html"),
        *(
            f"{name}.{suffix}"
            for name in (
                *("figure1a", "figure1b", "across_seeds", "curves_walker", "strips_walker"),
                *("other_scores", "other_curves_walker", "other_strips_walker"),
            )
            for suffix in FIGURE_FORMATS
        ),
    }
    assert min(len(content) for name, content in contents[0].items() if ".csv" not in name) > 1000


def test_partial_damaged_and_mixed_folders_are_reported_with_a_remark_each(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run(task="reacher", algorithm="bc", trajectories=4, seed=0, returns=[-10.0] * 50)  # 1 of 7
    write_run(task="reacher", algorithm="bc", trajectories=4, seed=1, returns=None)
    (write_run(task="reacher", algorithm="bc", trajectories=4, seed=2) / "evaluation.csv").write_text("damaged")
    write_run(task="reacher", algorithm="bc", trajectories=4, seed=3, settings="iterations-5", iterations=5)
    write_run(trajectories=4, returns=[50.0] * 50)
    (write_run(trajectories=11, returns=[50.0] * 50) / "curve.csv").write_text("damaged")
    (results / "experts").mkdir()
    (results / "experts" / "walker.csv").write_text("damaged")
    report = write_report(results, tmp_path, baselines)
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["seeds"].sum() == 3
    assert table.loc[(table["task"] == "reacher") & (table["seeds"] > 0), "mean"].tolist() == [-10.0]
    expected = (
        "is skipped: evaluation.csv",
        "1 incomplete run (no evaluation.csv) not counted: task=reacher",
        "1 run with other settings than the paper's (settings=iterations-5: 1) is not in the table",
        "is in the table, but not in the learning curves: curve.csv",
        "the walker expert's learning curve is not shown",
        "no statistics across tasks",
    )
    assert len(report.remarks) == len(expected)
    for remark, part in zip(report.remarks, expected, strict=True):
        assert part in remark
    page = (tmp_path / "report.html").read_text()
    assert page.count("is skipped: evaluation.csv") == 1
    assert "1/7 seeds x 50" in page


def test_the_experts_of_own_tasks_with_runs_have_their_curves_in_it(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run(task="pole", settings="defaults")
    (results / "experts").mkdir()
    # The episodes of pole's training are longer than the task's. Beam has no runs, and old no horizon.
    write_run(task="old", settings="defaults")
    for name, card in (("pole", {"horizon": 50}), ("beam", {"horizon": 50}), ("old", {})):
        (results / "experts" / f"{name}.json").write_text(json.dumps({"task": name, "sha256": "", **card}))
        curve = "iteration,steps,return_mean,length_mean\n1,100,30,25\n2,200,80,100\n"
        (results / "experts" / f"{name}.csv").write_text(curve)
    report = write_report(results, tmp_path, baselines)
    assert list(report.findings.expert_curves) == ["pole"]
    assert list(report.findings.expert_curves["pole"]["return_mean"]) == [30, 40]
    assert "experts.png" in [file.name for file in report.files]


def test_files_of_an_earlier_report_are_named(results: Path, tmp_path: Path, baselines: pd.DataFrame) -> None:
    (tmp_path / "curves_ant.png").touch()
    report = write_report(results, tmp_path, baselines)
    assert report.remarks[-1].endswith("from an earlier report, not part of this one: curves_ant.png")


def test_an_output_that_is_a_file_is_an_error_in_one_line(
    results: Path, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(GailbenchError, match=r"cannot be written to .*out \(File exists\); choose another"):
        write_report(results, tmp_path / "out", baselines)


def test_importing_the_report_does_not_import_matplotlib() -> None:
    command = "import sys, gailbench.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
