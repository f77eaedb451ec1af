"""Figures: the paper's Figure 1 with our scores in it, and the learning curves of each task.

Every function returns a `Figure` of matplotlib's object interface; nothing here touches pyplot's state.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's palette, told apart by people with any common color vision; markers help in print.
STYLES: dict[str, tuple[str, str]] = {
    "BC": ("#E69F00", "s"),
    "FEM": ("#CC79A7", "^"),
    "GTAL": ("#009E73", "v"),
    "GAIL": ("#0072B2", "o"),
    "GAIL λ = 0": ("#0072B2", "o"),
    "GAIL λ = 0.001": ("#56B4E9", "D"),
    "GAIL λ = 0.01": ("#000000", "P"),
}
OTHER_STYLES = (("#D55E00", "X"), ("#F0E442", "*"), ("#999999", "p"))
BAND = 0.15  # opacity
VIEW = (-0.5, 1.2)  # of normalized scores; ant's FEM and GTAL would flatten everything else
DIAGNOSTIC_ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Discriminator\nloss", ("discriminator_loss",)),
    ("Accuracy", ("expert_accuracy", "policy_accuracy")),
    ("Jensen-\nShannon", ("jensen_shannon",)),
    ("KL", ("kl",)),
    ("Entropy", ("entropy",)),
)
POINTS = 100  # of a curve; a panel is fewer pixels wide than a run has iterations
_SCORE_CAPTION = "Demonstration size in trajectories. Bands: lowest to highest seed. Gray: random (0) and expert (1)."
_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "gailbench",  # else the ids in an SVG are random
}


@contextmanager
def _style() -> Iterator[None]:
    """Draw with our settings alone, whatever the user's matplotlibrc says, and leave theirs as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


@_style()
def render(figure: Figure) -> dict[str, bytes]:
    """Return the figure as {"png": ..., "svg": ...}; the same figure gives the same bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not once per file
    files = {}
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix, metadata=metadata)
        files[suffix] = stream.getvalue()
    return files


@_style()
def figure1a(table: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw the paper's Figure 1(a): normalized score against demonstration size, one panel per task.

    Args:
        table: `paper_table`.
        scores: `run_scores` of the runs in it.
    """
    tasks = [task for task in table["task"].unique() if task != "reacher"]
    rows = math.ceil((len(tasks) + 1) / 3)  # one place for the legend
    figure = Figure(figsize=(6.4, 2.2 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, 3, sharey=True, squeeze=False).flatten()
    for axes, task in zip(panels, tasks, strict=False):
        _score_panel(axes, table[table["task"] == task], scores[scores["task"] == task])
        axes.set_title(task)
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    shown = table[table["task"].isin(tasks)]
    panels[len(tasks)].legend(handles=_handles(shown["method"].unique()), loc="center", fontsize=9)
    figure.supylabel("Normalized score")
    _caption(figure, f"{_SCORE_CAPTION}{_outside_view(shown)}")
    return figure


@_style()
def figure1b(table: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw the paper's Figure 1(b): reacher's normalized score by GAIL's entropy weight; see `figure1a`."""
    shown = table[table["task"] == "reacher"]
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes = figure.subplots()
    _score_panel(axes, shown, scores[scores["task"] == "reacher"])
    axes.set(title="reacher", ylabel="Normalized score")
    figure.legend(handles=_handles(shown["method"].unique()), loc="outside right center", fontsize=9)
    _caption(figure, f"{_SCORE_CAPTION}{_outside_view(shown)}")
    return figure


@_style()
def curves_figure(
    task: str, table: pd.DataFrame, scores: pd.DataFrame, curves: pd.DataFrame, baselines: pd.DataFrame
) -> Figure:
    """Draw a task's learning curves: a column per demonstration size, the true return and GAIL's diagnostics.

    Args:
        table, scores: As for `figure1a`.
        curves: `load_curves` with the run's method and trajectories.
        baselines: Our random and expert returns, for the thin lines.
    """
    table, scores = table[table["task"] == task], scores[scores["task"] == task]
    sizes = sorted(scores["trajectories"].unique())
    colors = {name: color for name, (color, _) in _styles(scores["method"].unique()).items()}
    diagnosed = [name for name in colors if name.startswith("GAIL") and name in set(curves["method"])]
    panel_rows = DIAGNOSTIC_ROWS if diagnosed else ()
    figure = Figure(figsize=(1.2 + 1.7 * max(len(sizes), 2), 2.6 + 1.25 * len(panel_rows)), layout="constrained")
    panels = figure.subplots(
        1 + len(panel_rows),
        len(sizes),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2] + [1] * len(panel_rows),
    )
    for column, size in enumerate(sizes):
        at_size = curves[curves["trajectories"] == size]
        axes = panels[0, column]
        axes.set_title(f"{size} trajector{'y' if size == 1 else 'ies'}")
        for level in ("random_mean", "expert_mean"):
            if math.isfinite(value := baselines[level].get(task, math.nan)):
                axes.axhline(value, color="0.6", linewidth=0.8, zorder=0)
        for name, color in colors.items():
            _curve(axes, at_size[at_size["method"] == name], "return_mean", color, "-", name)
        _horizontal(axes, table[table["trajectories"] == size], scores[scores["trajectories"] == size])
        for row, (_, quantities) in enumerate(panel_rows, start=1):
            for name in diagnosed:
                curve = at_size[at_size["method"] == name]
                for quantity, dash in zip(quantities, ("-", "--"), strict=False):
                    label = f"{name}, {quantity.replace('_', ' ')}"
                    _curve(panels[row, column], curve, quantity, colors[name], dash, label)
    panels[0, 0].set_ylabel("True return")
    for row, (label, _) in enumerate(panel_rows, start=1):
        panels[row, 0].set_ylabel(label)
    for axes in panels.flatten():
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(3 if panel_rows else 5))
    figure.align_ylabels(panels[:, 0])
    handles = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4), title=task)
    caption = "Environment steps in millions. Bands: lowest to highest seed. Gray: random and expert."
    if panel_rows:
        caption += " Below: GAIL; accuracy on the expert's pairs solid, on the policy's dashed."
    _caption(figure, caption)
    return figure


def _score_panel(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Draw one task: ours solid with a band over seeds, the paper's dashed."""
    for level in (0.0, 1.0):  # random and expert
        axes.axhline(level, color="0.6", linewidth=0.8, zorder=0)
    for name, (color, marker) in _styles(cells["method"].unique()).items():
        of_method = cells[cells["method"] == name].sort_values("trajectories")
        sizes = of_method["trajectories"]
        paper = of_method["paper_normalized_mean"]
        if paper.notna().any():
            axes.plot(sizes, paper, color=color, linestyle="--", linewidth=1.1, label=f"{name}, paper")
        if of_method["normalized_mean"].notna().any():
            axes.plot(sizes, of_method["normalized_mean"], color=color, marker=marker, label=name)
            seeds = scores[scores["method"] == name].groupby("trajectories")["normalized_mean"]
            several = seeds.count() > 1
            low, high = (seeds.agg(side).where(several).reindex(sizes).to_numpy() for side in ("min", "max"))
            axes.fill_between(sizes, low, high, color=color, alpha=BAND, linewidth=0)
            axes.vlines(sizes, low, high, color=color, alpha=0.5, linewidth=1)  # a lone size has no band
    axes.set_xticks(sorted(cells["trajectories"].unique()))
    axes.set_ylim(*VIEW)


def _curve(axes: Axes, curve: pd.DataFrame, quantity: str, color: str, dash: str, label: str) -> None:
    """Draw a quantity's mean over seeds against environment steps, with a band over seeds."""
    curve = curve.dropna(subset=quantity)
    if curve.empty:
        return
    groups = curve.groupby("iteration")
    steps = groups["steps"].mean() / 1e6
    mean, low, high = (groups[quantity].agg(side) for side in ("mean", "min", "max"))
    # Averages of consecutive iterations: what a panel can show, in a tenth of the file.
    bins = np.arange(len(steps)) // max(1, math.ceil(len(steps) / POINTS))
    steps, mean, low, high = (series.groupby(bins).mean() for series in (steps, mean, low, high))
    axes.plot(steps, mean, color=color, linestyle=dash, linewidth=1.2, label=label)
    if curve["run"].nunique() > 1:
        axes.fill_between(steps, low, high, color=color, alpha=BAND, linewidth=0)


def _horizontal(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Draw behavioral cloning, which takes no environment steps, at its evaluated return."""
    evaluated = cells[(cells["algorithm"] == "bc") & (cells["seeds"] > 0)]
    seeds = scores.loc[scores["algorithm"] == "bc", "mean"]
    for _, cell in evaluated.iterrows():
        color, _ = STYLES[cell["method"]]
        axes.axhline(cell["mean"], color=color, linewidth=1.2, label=cell["method"])
        if len(seeds) > 1:
            axes.axhspan(seeds.min(), seeds.max(), color=color, alpha=BAND, linewidth=0)


def _styles(methods: Any) -> dict[str, tuple[str, str]]:
    """Return color and marker of each of these methods, in the order of the legend."""
    known = {name: style for name, style in STYLES.items() if name in methods}
    others = sorted(set(methods) - set(STYLES))
    return known | {name: OTHER_STYLES[i % len(OTHER_STYLES)] for i, name in enumerate(others)}


def _handles(methods: Any) -> list[Line2D]:
    ours = [
        Line2D([], [], color=color, marker=marker, label=name) for name, (color, marker) in _styles(methods).items()
    ]
    return [*ours, Line2D([], [], color="0.3", linestyle="--", linewidth=1.1, label="paper")]


def _outside_view(table: pd.DataFrame) -> str:
    """Return in words what the limits of the vertical axis cut off."""
    outside = []
    for column, owner in (("normalized_mean", "ours"), ("paper_normalized_mean", "paper")):
        beyond = table[(table[column] < VIEW[0]) | (table[column] > VIEW[1])]
        for (task, name), cells in beyond.groupby(["task", "method"], sort=False):
            values = sorted({f"{value:.2f}" for value in cells[column]}, key=float)
            span = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
            outside.append(f"{task} {name}, {owner} ({span})")
    return f" Outside the view: {'; '.join(outside)}." if outside else ""


def _caption(figure: Figure, text: str) -> None:
    letters_per_inch = 13.5
    figure.supxlabel(textwrap.fill(text, int(letters_per_inch * figure.get_figwidth())), fontsize=9)
