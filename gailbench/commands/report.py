"""Writing the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gailbench.commands.options import FILE, FOLDER, CommaList, one_of
from gailbench.commands.printing import print_table, say
from gailbench.plumbing.errors import GailbenchError
from gailbench.report_formats import FORMATS

if TYPE_CHECKING:
    import pandas as pd

    from gailbench.report.findings import Findings


@click.command("report", short_help="Write tables, figures and a page of results.")
@click.option("--results", type=FOLDER, default=Path("results"), help="Results folder.")
@click.option("--out", type=FOLDER, help="Folder of the report.  [default: RESULTS/report]", show_default=False)
@click.option(
    "--format",
    "formats",
    type=CommaList(one_of("format", FORMATS), "F,..."),
    default=",".join(FORMATS),
    help="Formats to write; png, svg and pdf hold the figures.",
)
@click.option(
    "--add",
    "added",
    type=FILE,
    multiple=True,
    help="Also add a method's returns: CSV with task, algorithm, trajectories, seed, episode, return. Repeatable.",
)
@click.option("--readme", type=FILE, help="Also write the main numbers into the marked block of this Markdown file.")
def report(results: Path, out: Path | None, formats: list[str], added: tuple[Path, ...], readme: Path | None) -> None:
    """Compare results with the paper's: write tables, figures and a page, and print the table.

    Every cell gets a verdict: matches, better, worse or open. Without --out the report is also written to
    RESULTS/README.md, unless that file has text of yours.

    \b
    Example:
      gailbench report --results results --out report --format md,html --add mine.csv
    """
    from gailbench.report import fill_readme, write_report, write_results_readme

    if not results.is_dir():
        raise GailbenchError(f"no results folder at {results}; 'gailbench run' makes one")
    folder = out or results / "report"
    report = write_report(results, folder, formats=formats, added=added)
    for remark in report.remarks:
        say(f"remark: {remark}")
    say(f"{len(report.files)} files written to {folder}")
    overview = results / "README.md"
    filled = readme is not None and readme.resolve() == overview.resolve()  # its block is written below
    if out is None and "md" in formats and not filled:
        written = write_results_readme(report, results)
        say(f"{overview} written" if written else f"{overview} has text that gailbench did not write and is kept")
    if readme is not None:
        fill_readme(readme, report.findings, results)
        say(f"numbers written into {readme}")
    _print_findings(report.findings)
    page = folder / "report.html"
    click.echo(f"{report.findings.headline}" + (f" More: {page}" if page in report.files else ""))


def _print_findings(findings: Findings) -> None:
    """Print the cells that have runs, beside the paper's, and then the runs that are not in the paper's grid."""
    from gailbench.report.text import LEGEND, blocks, mean_and_std, score

    table = findings.table[findings.table["seeds"] > 0]
    for block in blocks(table, list(table["task"].drop_duplicates())) if len(table) else []:
        print_table(
            ("task", "trajectories", *block.methods),
            [(row.task, row.trajectories, *map(_cell, row.cells)) for row in block.rows],
        )
        click.echo()
    if len(table):
        click.echo(f"Normalized scores, ours / the paper's; {LEGEND}.")
    others = findings.others
    if len(others):
        click.echo(f"{'Other' if len(table) else 'Your'} runs, not in the paper's grid:")
        print_table(
            ("task", "algorithm", "settings", "trajectories", "seeds", "return", "score"),
            [
                (
                    row["task"],
                    row["algorithm"],
                    row["settings"],
                    row["trajectories"],
                    row["seeds"],
                    mean_and_std(row["mean"], row["std"]),
                    score(row["normalized_mean"]),
                )
                for _, row in others.iterrows()
            ],
        )


def _cell(row: pd.Series | None) -> str | None:
    """Return a cell's text: our normalized mean, the paper's and the verdict. Without an expert it is the return."""
    from gailbench.report.text import mean_and_std, score, symbol

    if row is None:
        return None
    ours, paper = row["normalized_mean"], row["paper_normalized_mean"]
    if math.isnan(ours):
        return mean_and_std(row["mean"], row["std"])
    beside = "" if math.isnan(paper) else f" / {score(paper)}"
    return f"{score(ours)}{beside} {symbol(row)}".rstrip()
