"""The text formats: what a person reads in Markdown and LaTeX, what a program reads in JSON and CSV."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gailbench.plumbing.errors import GailbenchError
from gailbench.report import FORMATS, fill_readme, findings_of, write_report, write_results_readme
from gailbench.report.latex import escape as latex_escape
from gailbench.report.latex import table_latex
from gailbench.report.markdown import BEGIN, END, escape, fill_block, summary, table_markdown
from gailbench.report.text import symbol

WriteRun = Callable[..., Path]


def test_every_format_can_be_had_alone(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run()
    expected = {
        "md": {"table.md"},
        "csv": {"table.csv", "verdicts.csv", "controls.csv"},
        "json": {"table.json"},
        "tex": {"table.tex"},
        "html": {"report.html"},
    }
    for name in FORMATS:
        report = write_report(results, tmp_path / name, baselines, formats=[name])
        written = {path.name for path in (tmp_path / name).iterdir()}
        assert written == {path.name for path in report.files}
        if name in expected:
            assert written == expected[name]
        else:
            assert {path.suffix for path in report.files} == {f".{name}"}


def test_markdown_puts_ours_above_the_papers_and_says_how_many_seeds(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for seed in range(3):
        write_run(task="cartpole", trajectories=4, seed=seed, returns=[200.0] * 50)
    write_run(task="walker", returns=[4000.0, 5000.0] * 25)
    text = table_markdown(findings_of(results, baselines=baselines))
    (row,) = [line for line in text.splitlines() if "3/7 seeds x 50" in line]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1:3] == ["4", "–<br>paper 169.2 ± 59.8<br>failed: the paper's 1/7"]  # noqa: RUF001
    assert cells[-1] == "200.0 ± 0.0 (3/7 seeds x 50) ?<br>paper 200.0 ± 0.0"
    assert "| 4500.0 ± 500.0 (1 seed x 50) △<br>paper 6850.3 ± 39.2 |" in text
    assert "| 45.00 / 1.02 △ |" in text
    assert "No runs yet: acrobot, mountaincar, reacher, halfcheetah, hopper, ant, humanoid." in text
    assert text.startswith("Of the paper's 136 cells 2 have runs: 1 is better and 1 is open. ")
    assert "does not show how much runs differ: 1 of the 1 verdicts that are not open." in text


def test_verdicts_by_one_run_of_each_side_are_counted_and_have_signs_of_their_own(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="walker", returns=[4000.0, 5000.0] * 25)
    for seed in range(3):
        write_run(task="walker", trajectories=4, seed=seed, returns=[10.0 + seed] * 50)
    findings = findings_of(results, baselines=baselines)
    assert findings.caveat.endswith(": 1 of the 2 verdicts that are not open.")
    shown = findings.table[findings.table["seeds"] > 0]
    assert [symbol(row) for _, row in shown.iterrows()] == ["▼", "△"]
    assert r"$\uparrow^{1}$" in table_latex(findings)
    for seed in (1, 2):
        write_run(task="walker", seed=seed, returns=[4000.0, 5000.0] * 25)
    assert findings_of(results, baselines=baselines).caveat == ""


def test_reachers_entropy_weights_have_a_table_of_their_own(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="walker", returns=[1.0])
    for number, settings in enumerate(("paper", "entropy_weight-0.001", "entropy_weight-0.01"), start=1):
        write_run(task="reacher", trajectories=4, settings=settings, returns=[-float(number)])
    lines = table_markdown(findings_of(results, baselines=baselines)).splitlines()
    start = lines.index("| Task | Trajectories | BC | GAIL λ = 0 | GAIL λ = 0.001 | GAIL λ = 0.01 |")
    cells = lines[start + 2].split(" | ")
    assert cells[0] == "| reacher"
    assert [cell.split(" ")[0] for cell in cells[3:]] == ["-1.00", "-2.00", "-3.00"]
    assert "paper -67.23 ± 88.99" in cells[3]


def test_json_is_the_whole_report_with_null_for_what_is_unknown(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run(returns=[40.0, 60.0])
    write_report(results, tmp_path, baselines, formats=["json"])
    content = json.loads((tmp_path / "table.json").read_text())
    assert len(content["cells"]) == 136
    (walker,) = [cell for cell in content["cells"] if cell["seeds"]]
    assert (walker["mean"], walker["normalized_mean"], walker["verdict"]) == (50.0, 0.5, "open")
    absent = content["cells"][0]
    assert (absent["seeds"], absent["mean"], absent["verdict"]) == (0, None, "")
    assert [claim["paper"] for claim in content["claims"]] == ["holds"] * 4
    assert content["verdicts"] == {"matches": 0, "better": 0, "worse": 0, "open": 1, "no runs": 135}


def test_seeds_are_integers_in_csv_and_words_where_a_person_reads(
    results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame
) -> None:
    write_run(task="reacher", algorithm="bc", trajectories=4)
    write_report(results, tmp_path, baselines, formats=["csv", "tex", "html"])
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["seeds"].dtype == "int64"
    assert "1/7 seeds x 2" in (tmp_path / "table.tex").read_text()
    assert "1/7 seeds x 2" in (tmp_path / "report.html").read_text()
    verdicts = pd.read_csv(tmp_path / "verdicts.csv")
    assert list(verdicts["verdict"]) == ["open"]
    assert list(verdicts["reason"]) == ["1 of the paper's 7 training runs"]


def test_labels_of_a_user_are_text_in_every_format() -> None:
    assert escape("a|b <i>*c*") == "a\\|b &lt;i&gt;\\*c\\*"
    assert latex_escape("50% & $x_1$ {y} \\z") == r"50\% \& \$x\_1\$ \{y\} \textbackslash{}z"


def test_latex_has_a_booktabs_table_per_layout(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    write_run(returns=[101.98])
    text = table_latex(findings_of(results, baselines=baselines))
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\end{table}") == 2
    assert r"GAIL $\lambda$ = 0.001" in text
    for line in text.splitlines():
        if " & " in line:
            assert line.count(" & ") == 5
            assert line.endswith(r"\\")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(results: Path, write_run: WriteRun, tmp_path: Path, baselines: pd.DataFrame) -> None:
    write_run(returns=[1.0, 2.0])
    write_run(algorithm="a_method & 50% <of> ours", returns=[1.0, 2.0])
    (tmp_path / "table.tex").write_text(table_latex(findings_of(results, baselines=baselines)))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage{booktabs}\n"
        "\\begin{document}\\input{table}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


# READMEs


def test_the_results_readme_shows_the_report_and_its_pictures(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run()
    write_run(seed=1, returns=None)
    report = write_report(results, results / "report", baselines)
    assert write_results_readme(report, results) == results / "README.md"
    text = (results / "README.md").read_text()
    assert report.findings.headline in text
    assert "](report/report.html)" in text
    assert "![figure1a](report/figure1a.png)" in text
    assert "- 1 incomplete run" in text
    for link in [part.split(")")[0] for part in text.split("](")[1:]]:
        assert (results / link).exists()


def test_somebody_elses_readme_is_left_alone(results: Path, baselines: pd.DataFrame) -> None:
    (results / "README.md").write_text("mine")
    report = write_report(results, results / "report", baselines, formats=["md"])
    assert write_results_readme(report, results) is None
    assert (results / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        f"# Mine\n\nbefore\n\n{BEGIN}\n{END}\n\nafter\n",
        f"# Results\n\n{BEGIN}\n{END}\n\nafter\n",
        f"# Results\n\nbefore\n\n{BEGIN}\n{END}\n",
    ],
)
def test_a_readme_with_the_marks_and_text_around_them_is_filled_and_not_replaced(
    text: str, results: Path, baselines: pd.DataFrame
) -> None:
    path = results / "README.md"
    path.write_text(text)
    report = write_report(results, results / "report", baselines, formats=["md"])
    assert write_results_readme(report, results) is None
    assert path.read_text() == text
    fill_readme(path, report.findings, results)
    filled = path.read_text()
    assert report.findings.headline in filled
    assert (filled.split(BEGIN)[0], filled.split(END)[1]) == (text.split(BEGIN)[0], text.split(END)[1])


def test_our_own_readme_is_written_again(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    path = results / "README.md"
    texts = []
    for seed in range(2):
        write_run(seed=seed)
        report = write_report(results, results / "report", baselines, formats=["md"])
        assert write_results_readme(report, results) == path
        texts.append(path.read_text())
    assert texts[0] != texts[1]


def test_a_marked_block_is_filled_and_the_rest_stays(results: Path, tmp_path: Path, baselines: pd.DataFrame) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Before\n\n{BEGIN}\nformer numbers\n{END}\n\nafter\n")
    content = summary(findings_of(results, baselines=baselines), "results")
    for _ in range(2):  # filling it again changes nothing
        fill_block(path, content)
        text = path.read_text()
        assert text.startswith(f"# Before\n\n{BEGIN}\n\nNone of the paper's 136 cells has runs yet.")
        assert text.endswith(f"\n\n{END}\n\nafter\n")
        assert "former numbers" not in text


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_readme_without_the_marks_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(GailbenchError, match="lacks the lines"):
        fill_block(tmp_path / "README.md", "new")
    assert (tmp_path / "README.md").read_text() == text
