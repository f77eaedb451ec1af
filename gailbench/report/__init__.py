"""The report: our results beside the paper's, as a pure function of the stored evaluation returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gailbench.errors import GailbenchError
from gailbench.files import write_atomic
from gailbench.report.load import Results, load_curves, load_results
from gailbench.report.table import (
    OTHER_COLUMNS,
    measured_baselines,
    other_settings_table,
    paper_table,
    run_scores,
    table_csv,
    table_markdown,
    table_remarks,
)

_OPTIONAL_FILES = ("other_settings.csv", "figure1?.png", "figure1?.svg", "curves_*.png", "curves_*.svg")


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        files: The written files, tables first.
        markdown: The text of table.md.
        remarks: What a reader has to know about the results: one line each.
    """

    files: list[Path]
    markdown: str
    remarks: list[str]


def write_report(results: Path, out: Path, baselines: pd.DataFrame | None = None) -> Report:
    """Write tables and figures of the runs under `results`/runs to `out`.

    Args:
        baselines: Indexed by task: random_mean, expert_mean. By default our own measured ones.

    Raises:
        GailbenchError: `out` cannot be written.
    """
    baselines = measured_baselines() if baselines is None else baselines
    loaded = load_results(results)
    table = paper_table(loaded, baselines)
    markdown = table_markdown(table, baselines)
    remarks = [*loaded.remarks, *table_remarks(loaded, table)]
    contents: dict[str, str | bytes] = {"table.csv": table_csv(table), "table.md": markdown}
    if not loaded.runs["of_paper"].all():
        contents["other_settings.csv"] = table_csv(other_settings_table(loaded, baselines), OTHER_COLUMNS)
    if loaded.runs["of_paper"].any():
        figures, curve_remarks = _figures(loaded, table, baselines)
        contents |= figures
        remarks += curve_remarks
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise GailbenchError(
            f"the report cannot be written to {out} ({error.strerror}); choose another folder with --out"
        ) from error
    stale = sorted(path.name for pattern in _OPTIONAL_FILES for path in out.glob(pattern) if path.name not in contents)
    if stale:
        remarks.append(f"left in {out} from an earlier report, not part of this one: {', '.join(stale)}")
    return Report([out / name for name in contents], markdown, remarks)


def _figures(
    results: Results, table: pd.DataFrame, baselines: pd.DataFrame
) -> tuple[dict[str, str | bytes], list[str]]:
    """Return the figures' files by name, and remarks on curves that could not be drawn."""
    from gailbench.report import figures  # matplotlib takes a second to import

    runs = results.runs[results.runs["of_paper"]]
    curves, remarks = load_curves(runs[runs["algorithm"] != "bc"])
    scores = run_scores(results, baselines)
    scores = scores[scores["run"].isin(runs["run"])]
    curves = curves.merge(scores[["run", "task", "method", "trajectories"]], on="run")
    drawn = {"figure1a": figures.figure1a(table, scores), "figure1b": figures.figure1b(table, scores)}
    for task in table.loc[table["seeds"] > 0, "task"].drop_duplicates():
        of_task = curves[curves["task"] == task]
        drawn[f"curves_{task}"] = figures.curves_figure(task, table, scores, of_task, baselines)
    return {
        f"{name}.{suffix}": content
        for name, figure in drawn.items()
        for suffix, content in figures.render(figure).items()
    }, remarks
