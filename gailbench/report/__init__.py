"""The report: our results beside the paper's, as a pure function of the stored evaluation returns.

load.py reads run folders into tidy data frames. table.py, verdicts.py, claims.py, across_seeds.py and controls.py
compute results, and findings.py collects them. markdown.py, latex.py, data.py and page.py write them. drawings.py plans
the figures, and figures.py draws them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gailbench.paper.tables import CELL
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import read_regular, write_atomic
from gailbench.report.add import add_results
from gailbench.report.data import table_json
from gailbench.report.findings import Findings, find
from gailbench.report.latex import table_latex
from gailbench.report.load import load_results
from gailbench.report.markdown import fill_block, is_results_readme, readme, summary, table_markdown
from gailbench.report.table import OTHER_COLUMNS, measured_baselines, own_baselines, table_csv
from gailbench.report.verdicts import VERDICT_COLUMNS
from gailbench.report_formats import FIGURE_FORMATS, FORMATS

FIGURES = ("figure1?", "curves_*", "strips_*", "experts", "across_seeds", "other_*")
_OPTIONAL_FILES = (
    "other_settings.csv",
    *("table.json", "table.tex", "report.html", "verdicts.csv", "controls.csv"),
    *(f"{figure}.{suffix}" for figure in FIGURES for suffix in FIGURE_FORMATS),
)


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        files: The written files, tables first.
        markdown: The text of table.md.
        remarks: Remarks about the results for the reader, one line each.
        findings: The content of the report.
    """

    files: list[Path]
    markdown: str
    remarks: list[str]
    findings: Findings


def findings_of(
    results: Path,
    added: Sequence[Path] = (),
    baselines: pd.DataFrame | None = None,
) -> Findings:
    """Return the findings about the runs under `results`/runs.

    Args:
        added: CSV files with returns of other methods.
        baselines: Returns random_mean and expert_mean, indexed by task. By default those that we measured.

    Raises:
        GailbenchError: An added file cannot be used.
    """
    loaded = load_results(results)
    for file in added:
        loaded = add_results(loaded, file)
    known = own_baselines(results, measured_baselines()) if baselines is None else baselines
    return find(loaded, results, known)


def write_report(
    results: Path,
    out: Path,
    baselines: pd.DataFrame | None = None,
    formats: Sequence[str] = FORMATS,
    added: Sequence[Path] = (),
) -> Report:
    """Write tables, page and figures of the runs under `results`/runs to `out`.

    Args:
        formats: Formats to write, from FORMATS. FIGURE_FORMATS are the formats of figures.
        baselines: As in `findings_of`.
        added: As in `findings_of`.

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
    if figures := [suffix for suffix in FIGURE_FORMATS if suffix in formats]:
        from gailbench.report.drawings import figure_files

        contents |= figure_files(findings, figures)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise GailbenchError(
            f"the report cannot be written to {out} ({error.strerror}); choose another folder with --out"
        ) from error
    remarks = list(findings.remarks)
    found = {path.name: path.suffix.removeprefix(".") for pattern in _OPTIONAL_FILES for path in out.glob(pattern)}
    stale = sorted(name for name, suffix in found.items() if suffix in formats and name not in contents)
    if stale:
        remarks.append(f"left in {out} from an earlier report, not part of this one: {', '.join(stale)}")
    return Report([out / name for name in contents], markdown, remarks, findings)


def write_results_readme(report: Report, results: Path) -> Path | None:
    """Write `results`/README.md, which shows the report, and return its path. Return None if there is a README that
    gailbench did not write, or that somebody added text to.

    Raises:
        GailbenchError: The README cannot be written.
    """
    path = results / "README.md"
    try:
        if path.exists() and not is_results_readme(read_regular(path).decode()):
            return None
        folder = Path(os.path.relpath(report.files[0].parent, results)).as_posix()
        write_atomic(path, readme(report.findings, folder, [file.name for file in report.files]))
    except (OSError, UnicodeDecodeError) as error:
        raise GailbenchError(f"{path} cannot be written ({error})") from error
    return path


def fill_readme(path: Path, findings: Findings, results: Path) -> None:
    """Write the headline, the claims and the normalized scores into the marked block of another README.

    Raises:
        GailbenchError: The file cannot be read or written, or lacks the marks.
    """
    fill_block(path, summary(findings, Path(os.path.relpath(results, path.parent)).as_posix()))
