"""The numbers in README.md and results/README.md are those of the results in this repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gailbench.report import FORMATS, findings_of
from gailbench.report.findings import Findings
from gailbench.report.markdown import BEGIN, END, readme, summary
from gailbench.report.table import table_csv

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
MEND = "run 'gailbench report --readme README.md' and commit what it writes"


@pytest.fixture(scope="module")
def findings() -> Findings:
    return findings_of(RESULTS)


def test_the_numbers_in_the_readme_are_those_of_the_results(findings: Findings) -> None:
    block = (ROOT / "README.md").read_text().split(BEGIN)[1].split(END)[0]
    assert block.strip() == summary(findings, "results"), MEND


def test_the_readme_of_the_results_is_the_reports(findings: Findings) -> None:
    written = (RESULTS / "README.md").read_text()
    # In the order in which they are written, which the links and pictures follow.
    pictures = [part.split(")")[0].removeprefix("report/") for part in written.split("](")[1:]]
    assert pictures
    assert written == readme(findings, "report", pictures), MEND
    assert all((RESULTS / "report" / name).exists() for name in pictures), MEND


def test_the_committed_table_is_that_of_the_results(findings: Findings) -> None:
    assert (RESULTS / "report" / "table.csv").read_text() == table_csv(findings.table), MEND
    assert (RESULTS / "report" / "report.html").stat().st_size < 15_000_000
    suffixes = {path.suffix.removeprefix(".") for path in (RESULTS / "report").iterdir()}
    assert suffixes <= set(FORMATS)


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "seed" in done.stdout
