"""The report: our results beside the paper's, as a pure function of the stored evaluation returns.

load.py reads run folders into tidy frames; table.py, verdicts.py, claims.py, across_seeds.py and controls.py compute
what findings.py gathers; markdown.py, latex.py, data.py, figures.py and page.py write it down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gailbench.errors import GailbenchError
from gailbench.files import write_atomic
from gailbench.report.data import VERDICT_COLUMNS, table_json
from gailbench.report.findings import Findings, find
from gailbench.report.latex import table_latex
from gailbench.report.load import CELL, add_results, load_results
from gailbench.report.markdown import BEGIN, fill_block, readme, summary, table_markdown
from gailbench.report.table import OTHER_COLUMNS, measured_baselines, table_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("md", "csv", "json", "tex", "html", "png", "svg")
FIGURES = ("figure1?", "curves_*", "strips_*", "experts", "across_seeds")
_OPTIONAL_FILES = (
    "other_settings.csv",
    *("table.json", "table.tex", "report.html", "verdicts.csv", "controls.csv"),
    *(f"{figure}.{suffix}" for figure in FIGURES for suffix in ("png", "svg")),
)


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        files: The written files, tables first.
        markdown: The text of table.md.
        remarks: What a reader has to know about the results: one line each.
        findings: What it says.
    """

    files: list[Path]
    markdown: str
    remarks: list[str]
    findings: Findings


def findings_of(results: Path, added: Sequence[Path] = (), baselines: pd.DataFrame | None = None) -> Findings:
    """Return what there is to say about the runs under `results`/runs.

    Args:
        added: CSV files with someone else's methods.
        baselines: Indexed by task: random_mean, expert_mean. By default our own measured ones.

    Raises:
        GailbenchError: An added file cannot be used.
    """
    loaded = load_results(results)
    for file in added:
        loaded = add_results(loaded, file)
    return find(loaded, results, measured_baselines() if baselines is None else baselines)


def write_report(
    results: Path,
    out: Path,
    baselines: pd.DataFrame | None = None,
    formats: Sequence[str] = FORMATS,
    added: Sequence[Path] = (),
) -> Report:
    """Write tables, page and figures of the runs under `results`/runs to `out`.

    Args:
        formats: Which of FORMATS; png and svg are the figures.
        baselines, added: As for `findings_of`.

    Raises:
        GailbenchError: `out` cannot be written, or an added file cannot be used.
    """
    findings = findings_of(results, added, baselines)
    markdown = table_markdown(findings)
    contents: dict[str, str | bytes] = {}
    if "csv" in formats:
        contents["table.csv"] = table_csv(findings.table)
        contents["verdicts.csv"] = table_csv(findings.table[findings.table["verdict"] != ""], [*CELL, *VERDICT_COLUMNS])
        contents["controls.csv"] = findings.controls.to_csv(index=False, float_format="%.10g", lineterminator="\n")
        if len(findings.others):
            contents["other_settings.csv"] = table_csv(findings.others, OTHER_COLUMNS)
    if "md" in formats:
        contents["table.md"] = markdown
    if "json" in formats:
        contents["table.json"] = table_json(findings)
    if "tex" in formats:
        contents["table.tex"] = table_latex(findings)
    if "html" in formats:
        from gailbench.report.page import page

        contents["report.html"] = page(findings)
    if figures := [suffix for suffix in ("png", "svg") if suffix in formats]:
        contents |= _figures(findings, figures)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise GailbenchError(
            f"the report cannot be written to {out} ({error.strerror}); choose another folder with --out"
        ) from error
    remarks = list(findings.remarks)
    stale = sorted(path.name for pattern in _OPTIONAL_FILES for path in out.glob(pattern) if path.name not in contents)
    if stale:
        remarks.append(f"left in {out} from an earlier report, not part of this one: {', '.join(stale)}")
    return Report([out / name for name in contents], markdown, remarks, findings)


def write_results_readme(report: Report, results: Path) -> Path | None:
    """Write `results`/README.md, which shows the report; None if somebody else's README is there.

    Raises:
        GailbenchError: It cannot be written.
    """
    path = results / "README.md"
    try:
        if path.exists() and BEGIN not in path.read_text():
            return None
        folder = Path(os.path.relpath(report.files[0].parent, results)).as_posix()
        write_atomic(path, readme(report.findings, folder, [file.name for file in report.files]))
    except (OSError, UnicodeDecodeError) as error:
        raise GailbenchError(f"{path} cannot be written ({error})") from error
    return path


def fill_readme(path: Path, findings: Findings, results: Path) -> None:
    """Write the answer, the claims and the normalized scores into the marked block of another README.

    Raises:
        GailbenchError: The file cannot be read or written, or lacks the marks.
    """
    fill_block(path, summary(findings, Path(os.path.relpath(results, path.parent)).as_posix()))


def _figures(findings: Findings, suffixes: Sequence[str]) -> dict[str, str | bytes]:
    """Return the figures' files by name."""
    from gailbench.report import figures  # matplotlib takes a second to import

    return {
        f"{name}.{suffix}": content
        for name, figure in _drawn(findings)
        for suffix, content in figures.render(figure, suffixes).items()
    }


def _drawn(findings: Findings) -> Iterator[tuple[str, Figure]]:
    from gailbench.report import figures

    table, scores, baselines = findings.table, findings.scores, findings.baselines
    if findings.shown_tasks():
        yield "figure1a", figures.figure1a(table, scores)
        yield "figure1b", figures.figure1b(table, scores)
    if not findings.across.iqm.empty:
        yield "across_seeds", figures.across_seeds_figure(findings.across)
    returns = findings.results.returns.merge(scores.drop(columns="mean"), on="run")
    for task in findings.shown_tasks():
        curves = findings.curves[findings.curves["task"] == task]
        yield f"curves_{task}", figures.curves_figure(task, table, scores, curves, baselines)
        yield f"strips_{task}", figures.strips_figure(task, table, returns, baselines)
    if findings.expert_curves:
        yield "experts", figures.experts_figure(findings.expert_curves, baselines)
