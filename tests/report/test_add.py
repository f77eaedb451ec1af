"""Someone else's method from a CSV file: into tables, statistics and figures, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gailbench.plumbing.errors import GailbenchError
from gailbench.report import findings_of, write_report
from gailbench.report.add import add_results
from gailbench.report.load import load_results

WriteRun = Callable[..., Path]
HEADER = "task,algorithm,trajectories,seed,episode,return\n"


def _file(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "other.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows))
    return path


def test_an_added_method_is_in_the_table_and_the_statistics(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run(trajectories=11, returns=[60.0])
    file = _file(
        tmp_path, "walker,mine,11,0,0,70", "walker,mine,11,0,1,90", "walker,mine,11,1,0,100", "walker,mine,11,1,1,100"
    )
    findings = findings_of(results, [file], baselines)
    (cell,) = [row for _, row in findings.table.iterrows() if row["method"] == "mine"]
    assert (cell["seeds"], cell["episodes"], cell["mean"], cell["normalized_mean"]) == (2, 4, 90.0, 0.9)
    assert cell["verdict"] == ""
    iqm = findings.across.iqm.set_index("method")["value"]
    assert dict(iqm) == {"GAIL": pytest.approx(0.6), "mine": pytest.approx(0.9)}
    improvement = findings.across.improvement.set_index(["rank", "method"])["value"]
    assert improvement["all sizes", "mine"] == 0
    report = write_report(results, tmp_path / "out", baselines, added=[file])
    assert "| Task | Trajectories | BC | FEM | GTAL | GAIL | mine |" in report.markdown
    assert "walker,mine,,11,2,4,90," in (tmp_path / "out" / "table.csv").read_text()
    assert "mine" in (tmp_path / "out" / "curves_walker.svg").read_text()


def test_an_added_method_alone_makes_a_report(results: Path, tmp_path: Path, baselines: pd.DataFrame) -> None:
    file = _file(tmp_path, "walker,mine,11,0,0,70")
    report = write_report(results, tmp_path / "out", baselines, added=[file])
    assert (tmp_path / "out" / "strips_walker.png").exists()
    assert "mine" in report.markdown


def test_a_task_that_is_not_the_papers_is_shown_without_score(
    results: Path, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    report = write_report(results, tmp_path / "out", baselines, added=[_file(tmp_path, "swimmer,mine,3,0,0,70")])
    assert "| swimmer | 3 |" in report.markdown
    assert "other.csv has tasks that are not the paper's: swimmer" in report.remarks


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not a CSV file"),
        (f"{HEADER}walker,{'m' * 200_000},1,0,0,1\n", "is not a CSV file"),
        ("task,algorithm,trajectories,seed,return\nwalker,m,1,0,1\n", "no column 'episode'"),
        (HEADER, "has no rows"),
        (f"{HEADER}walker,m,1,0,0,high\n", "line 2: return 'high' is not a finite number below 1e+100"),
        (f"{HEADER}walker,m,1,0,0,1\nwalker,m,1,0,1,inf\n", "line 3: return 'inf' is not a finite number"),
        (f"{HEADER}walker,m,1,0,0,\n", "line 2: return 'nan' is not a finite number"),
        (f"{HEADER}walker,m,1.5,0,0,1\n", "line 2: trajectories '1.5' is not a whole number"),
        (f"{HEADER}walker,m,1,-1,0,1\n", "line 2: seed '-1' is not a whole number"),
        (f"{HEADER}walker,,1,0,0,1\n", "line 2: algorithm is empty"),
        (f"{HEADER}walker,m,1,0,0,1\nwalker,m,1,0,0,2\n", "line 3: this episode is there twice"),
        (f"{HEADER}\nwalker,m,1,0,0,1\n\n \nwalker,m,1,0,0,high\n", "line 6: return 'high' is not a finite number"),
        (f"\n{HEADER}\nwalker,m,1,0,0,1\n\nwalker,m,1,0,0,2\n", "line 6: this episode is there twice"),
        (f"{HEADER}\n\nwalker,,1,0,0,1\n", "line 4: algorithm is empty"),
        (f"{HEADER}\nwalker,m,1,0,0\n", "line 3 has 5 columns, the header 6"),
        (f"{HEADER}walker,m,1,0,0,1,5\n", "line 2 has 7 columns, the header 6"),
        (f"{HEADER}walker,m ,1,0,0,1\nwalker,m,1,0,0,2\n", "line 3: this episode is there twice"),
        (f"{HEADER}walker,m,1,0,0,True\nwalker,m,1,0,1,False\n", "line 2: return 'True' is not a finite number"),
        (f"{HEADER}walker,m,1,true,0,1\n", "line 2: seed 'True' is not a whole number"),
        (f"{HEADER.strip()},return\nwalker,m,1,0,0,1,2\n", "the header has the column 'return' twice"),
        (f"{HEADER}walker,GAIL,1,0,0,1\n", "uses the name 'GAIL', which is in the table already"),
        (f"{HEADER}walker,constant,1,0,0,1\n", "uses the name 'constant'"),
        (f"{HEADER}reacher,GAIL λ = 0,4,0,0,-30\n", "uses the name 'GAIL λ = 0', which is in the table already"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_file_that_cannot_be_used_is_refused(results: Path, tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(GailbenchError) as refusal:
        add_results(load_results(results), path)
    assert reason in str(refusal.value)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(GailbenchError, match="no file at"):
        add_results(load_results(results), tmp_path / "nowhere.csv")


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\uff1d1+1"])
def test_a_name_is_no_formula_in_a_spreadsheet_and_numbers_stay_numbers(
    name: str, results: Path, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    file = _file(tmp_path, f"walker,{name},11,0,0,-70")
    report = write_report(results, tmp_path / "out", baselines, formats=["csv", "json"], added=[file])
    frame = pd.read_csv(tmp_path / "out" / "table.csv", dtype={"algorithm": "str"})
    (row,) = [row for _, row in frame.iterrows() if row["seeds"]]
    assert row["algorithm"] == f"'{name}"
    assert (row["mean"], row["normalized_mean"]) == (-70, -0.7)
    assert not [text for text in frame["algorithm"] if text.startswith(tuple("=+-@\uff1d"))]
    # Formats that no spreadsheet computes have the name itself.
    assert name in {cell["algorithm"] for cell in json.loads((tmp_path / "out" / "table.json").read_text())["cells"]}
    assert name in report.markdown.replace("\\", "")


def test_an_added_method_on_a_task_of_ones_own_is_drawn_with_the_other_runs(
    results: Path, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    baselines.loc["pendulum"] = [0.0, 200.0]
    file = _file(tmp_path, "pendulum,mine,3,0,0,100", "pendulum,mine,3,1,0,150")
    report = write_report(results, tmp_path / "out", baselines, formats=["svg"], added=[file])
    assert {path.name for path in report.files} == {"other_scores.svg", "other_strips_pendulum.svg"}
