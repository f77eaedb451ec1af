"""The report."""

from __future__ import annotations

from pathlib import Path

import click

from gailbench.commands.options import FILE, FOLDER, CommaList, one_of, say
from gailbench.plumbing.errors import GailbenchError
from gailbench.report_formats import FORMATS


@click.command("report")
@click.option("--results", type=FOLDER, default=Path("results"), help="Results folder.")
@click.option("--out", type=FOLDER, help="Folder of the report.  [default: RESULTS/report]", show_default=False)
@click.option(
    "--format",
    "formats",
    type=CommaList(one_of("format", FORMATS), "F,..."),
    default=",".join(FORMATS),
    help="What to write; png, svg and pdf are the figures.",
)
@click.option(
    "--add",
    "added",
    type=FILE,
    multiple=True,
    help="CSV of someone else's returns: task, algorithm, trajectories, seed, episode, return. Also several times.",
)
@click.option("--readme", type=FILE, help="Also fill the marked block of this Markdown file with the main numbers.")
def report(results: Path, out: Path | None, formats: list[str], added: tuple[Path, ...], readme: Path | None) -> None:
    """Write tables, page and figures beside the paper's numbers, and print the table.

    Every cell gets a verdict: matches, better, worse or open. Without --out, RESULTS/README.md shows the report.

    \b
    Example:
      gailbench report --results results --out report --format md,html --add mine.csv
    """
    from gailbench.report import fill_readme, write_report, write_results_readme

    if not results.is_dir():
        raise GailbenchError(f"no results folder at {results}; 'gailbench run' makes one")
    folder = out or results / "report"
    report = write_report(results, folder, formats=formats, added=added)
    click.echo(report.markdown)
    for remark in report.remarks:
        say(f"remark: {remark}")
    say(f"{len(report.files)} files written to {folder}")
    if out is None and "md" in formats:
        shown = write_results_readme(report, results)
        say(f"{shown} written" if shown else f"{results / 'README.md'} is not the report's and stays as it is")
    if readme is not None:
        fill_readme(readme, report.findings, results)
        say(f"numbers filled into {readme}")
