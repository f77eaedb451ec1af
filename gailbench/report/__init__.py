"""The report: our results beside the paper's, as a pure function of the stored evaluation returns.

load.py reads run folders into tidy data frames. table.py, verdicts.py, claims.py, across_seeds.py and controls.py
compute results, and findings.py collects them. markdown.py, latex.py, data.py, figures.py and page.py write them.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import pandas as pd

from gailbench.paper import FIGURE_1A, FIGURE_1B
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import read_regular, sha256, write_atomic
from gailbench.report.add import add_results
from gailbench.report.data import table_json
from gailbench.report.findings import Findings, find
from gailbench.report.latex import table_latex
from gailbench.report.load import CELL, load_results
from gailbench.report.markdown import BEGIN, fill_block, readme, summary, table_markdown
from gailbench.report.table import OTHER_COLUMNS, measured_baselines, own_baselines, table_csv
from gailbench.report.verdicts import VERDICT_COLUMNS
from gailbench.report_formats import FIGURE_FORMATS, FORMATS
from gailbench.tasks import TASKS

Drawing = tuple[Any, ...]
MANY_FIGURES, MOST_WORKERS = 8, 4  # for fewer figures, starting processes costs more than it saves
FIGURES = ("figure1?", "curves_*", "strips_*", "experts", "across_seeds", "other_*")
OTHER_NOTE = "What has no settings in its name is the table's, shown as far as the other runs go."
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
    found = {path.name: path.suffix.removeprefix(".") for pattern in _OPTIONAL_FILES for path in out.glob(pattern)}
    stale = sorted(name for name, suffix in found.items() if suffix in formats and name not in contents)
    if stale:
        remarks.append(f"left in {out} from an earlier report, not part of this one: {', '.join(stale)}")
    return Report([out / name for name in contents], markdown, remarks, findings)


def write_results_readme(report: Report, results: Path) -> Path | None:
    """Write `results`/README.md, which shows the report, and return its path. Return None if there is a README that
    gailbench did not write.

    Raises:
        GailbenchError: The README cannot be written.
    """
    path = results / "README.md"
    try:
        if path.exists() and BEGIN not in read_regular(path).decode():
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


def _figures(findings: Findings, suffixes: Sequence[str]) -> dict[str, str | bytes]:
    """Return the files of the figures, by name. Many figures are drawn in parallel if processes can be forked."""
    drawings = list(_drawings(findings))
    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    if sys.platform == "linux" and workers > 1 and len(drawings) >= MANY_FIGURES:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            rendered = list(pool.map(_render, drawings, repeat(suffixes)))
    else:
        rendered = [_render(drawing, suffixes) for drawing in drawings]
    return {
        f"{name}.{suffix}": content
        for (name, *_), files in zip(drawings, rendered, strict=True)
        for suffix, content in files.items()
    }


def _render(drawing: Drawing, suffixes: Sequence[str]) -> dict[str, bytes]:
    from gailbench.report import figures

    _, draw, *arguments = drawing
    return figures.render(getattr(figures, draw)(*arguments), suffixes)


def _drawings(findings: Findings) -> Iterator[Drawing]:
    """Return every figure as its name, the function that draws it, and the function's arguments."""
    table, scores = findings.table, findings.scores
    shown = [task for task in findings.shown_tasks() if task in TASKS]
    for task in shown:  # the slow ones first
        yield from _of_task(task, table, scores, findings.curves, findings)
    if shown:
        yield "figure1a", "scores_figure", table, scores, FIGURE_1A, findings.styles
        yield "figure1b", "weights_figure", table, scores, FIGURE_1B, findings.styles
    table, scores = findings.others_beside()
    others = list(table["task"].drop_duplicates())
    for task in others:
        yield from _of_others(task, table, scores, findings)
    if scored := [task for task in others if table.loc[table["task"] == task, "normalized_mean"].notna().any()]:
        yield "other_scores", "scores_figure", table, scores, scored, findings.styles
    if not findings.across.iqm.empty:
        yield "across_seeds", "across_seeds_figure", findings.across, findings.styles
    if findings.expert_curves:
        yield "experts", "experts_figure", findings.expert_curves, findings.baselines


def _of_task(
    task: str, table: pd.DataFrame, scores: pd.DataFrame, curves: pd.DataFrame, findings: Findings
) -> Iterator[Drawing]:
    """Return the drawings of one task: learning curves and single trajectories."""
    name, baselines, styles = file_name(task), findings.baselines, findings.styles
    curves = curves[curves["task"] == task]
    yield f"curves_{name}", "curves_figure", task, table, scores, curves, baselines, styles
    of_task = scores[scores["task"] == task].drop(columns="mean")
    returns = findings.results.returns.merge(of_task, on="run")
    yield f"strips_{name}", "strips_figure", task, table, returns, baselines, styles


def _of_others(task: str, table: pd.DataFrame, scores: pd.DataFrame, findings: Findings) -> Iterator[Drawing]:
    """Return the drawings of the other runs of a task: at their sizes, and up to their last iterations."""
    own = findings.other_scores[findings.other_scores["task"] == task]
    curves = findings.curves[findings.curves["run"].isin(scores["run"])]
    if len(own):
        sizes = {0, *own["trajectories"]}
        table, scores = (frame[frame["trajectories"].isin(sizes)] for frame in (table, scores))
        longest = curves.loc[curves["run"].isin(own["run"]), "steps"].max()
        curves = curves if math.isnan(longest) else curves[curves["steps"] <= longest]
    of_task = curves[curves["task"] == task]
    note = "" if of_task["run"].isin(own["run"]).all() else OTHER_NOTE
    for name, draw, *arguments in _of_task(task, table, scores, curves, findings):
        if draw == "strips_figure":
            yield f"other_{name}", draw, *arguments
        elif len(of_task):
            yield f"other_{name}", draw, *arguments, note


def file_name(task: str) -> str:
    """Return a task's name for use in a file name: slashes are replaced. The start of a hash then keeps names apart."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", task)
    return plain if plain == task else f"{plain}-{sha256(task.encode())[:8]}"
