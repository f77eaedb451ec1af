"""Which figures a report has: one for each task, or for all of them. They are drawn in parallel."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gailbench.paper import FIGURE_1A, FIGURE_1B
from gailbench.plumbing.files import sha256
from gailbench.report import figures
from gailbench.report.findings import Findings
from gailbench.tasks import TASKS

MANY_FIGURES, MOST_WORKERS = 8, 4  # for fewer figures, starting processes costs more than it saves
OTHER_NOTE = "What has no settings in its name is the table's, shown as far as the other runs go."


@dataclass(frozen=True)
class Drawing:
    """A figure to draw.

    Attributes:
        name: Name of its files, without the suffix.
        draw: The function of figures.py that draws it.
        arguments: The arguments of the function.
    """

    name: str
    draw: Callable[..., Figure]
    arguments: tuple[Any, ...]

    def render(self, suffixes: Sequence[str]) -> dict[str, bytes]:
        """Return the figure's files, by format."""
        return figures.render(self.draw(*self.arguments), suffixes)


def figure_files(findings: Findings, suffixes: Sequence[str]) -> dict[str, bytes]:
    """Return the files of the figures, by name. Many figures are drawn in parallel if processes can be forked."""
    drawings = list(_drawings(findings))
    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    if sys.platform == "linux" and workers > 1 and len(drawings) >= MANY_FIGURES:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            rendered = list(pool.map(Drawing.render, drawings, repeat(suffixes)))
    else:
        rendered = [drawing.render(suffixes) for drawing in drawings]
    return {
        f"{drawing.name}.{suffix}": content
        for drawing, files in zip(drawings, rendered, strict=True)
        for suffix, content in files.items()
    }


def _drawings(findings: Findings) -> Iterator[Drawing]:
    """Return every figure of a report."""
    table, scores, styles = findings.table, findings.scores, findings.styles
    shown = [task for task in findings.shown_tasks() if task in TASKS]
    for task in shown:  # the slow ones first
        yield _curves(task, table, scores, findings.curves, findings)
        yield _strips(task, table, scores, findings)
    if shown:
        yield Drawing("figure1a", figures.scores_figure, (table, scores, FIGURE_1A, styles))
        yield Drawing("figure1b", figures.weights_figure, (table, scores, FIGURE_1B, styles))
    table, scores = findings.others_beside()
    others = list(table["task"].drop_duplicates())
    for task in others:
        yield from _of_others(task, table, scores, findings)
    if scored := [task for task in others if table.loc[table["task"] == task, "normalized_mean"].notna().any()]:
        yield Drawing("other_scores", figures.scores_figure, (table, scores, scored, styles))
    if not findings.across.iqm.empty:
        yield Drawing("across_seeds", figures.across_seeds_figure, (findings.across, styles))
    if findings.expert_curves:
        yield Drawing("experts", figures.experts_figure, (findings.expert_curves, findings.baselines))


def _curves(
    task: str,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    curves: pd.DataFrame,
    findings: Findings,
    prefix: str = "",
    note: str = "",
) -> Drawing:
    """Return the drawing of a task's learning curves."""
    of_task = curves[curves["task"] == task]
    arguments = (task, table, scores, of_task, findings.baselines, findings.styles, note)
    return Drawing(f"{prefix}curves_{file_name(task)}", figures.curves_figure, arguments)


def _strips(task: str, table: pd.DataFrame, scores: pd.DataFrame, findings: Findings, prefix: str = "") -> Drawing:
    """Return the drawing of a task's single trajectories."""
    of_task = scores[scores["task"] == task].drop(columns="mean")
    returns = findings.results.returns.merge(of_task, on="run")
    arguments = (task, table, returns, findings.baselines, findings.styles)
    return Drawing(f"{prefix}strips_{file_name(task)}", figures.strips_figure, arguments)


def _of_others(task: str, table: pd.DataFrame, scores: pd.DataFrame, findings: Findings) -> Iterator[Drawing]:
    """Return the drawings of the other runs of a task: at their sizes, and up to their last iterations."""
    own = findings.other_scores[findings.other_scores["task"] == task]
    curves = findings.curves[findings.curves["run"].isin(scores["run"])]
    if len(own):
        sizes = {0, *own["trajectories"]}
        table, scores = (frame[frame["trajectories"].isin(sizes)] for frame in (table, scores))
        longest = curves.loc[curves["run"].isin(own["run"]), "steps"].max()
        curves = curves if math.isnan(longest) else curves[curves["steps"] <= longest]
    runs = curves.loc[curves["task"] == task, "run"]
    if len(runs):
        note = "" if runs.isin(own["run"]).all() else OTHER_NOTE
        yield _curves(task, table, scores, curves, findings, "other_", note)
    yield _strips(task, table, scores, findings, "other_")


def file_name(task: str) -> str:
    """Return a task's name for use in a file name: slashes are replaced. The start of a hash then keeps names apart."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", task)
    return plain if plain == task else f"{plain}-{sha256(task.encode())[:8]}"
