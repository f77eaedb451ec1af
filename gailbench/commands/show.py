"""Showing one run."""

from __future__ import annotations

from pathlib import Path

import click

from gailbench.commands.options import FOLDER
from gailbench.commands.printing import print_json


@click.command("show", short_help="Show one run.")
@click.argument("run", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(run: Path, as_json: bool) -> None:
    """Show one run: its settings, its learning curve, its evaluation, and the paper's value.

    \b
    Example:
      gailbench show results/runs/task=hopper/algorithm=gail/settings=paper/trajectories=4/seed=0
    """
    from gailbench.report.show import describe, show_text

    description = describe(run)
    if as_json:
        print_json(description.content)
        return
    click.echo(show_text(description), nl=False)
