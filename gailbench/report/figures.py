"""Figures: the paper's Figure 1 with our scores in it, learning curves, single trajectories, statistics.

Every function returns a `Figure` of matplotlib's object interface; nothing here touches pyplot's state.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gailbench.paper import published_runs
from gailbench.report.across_seeds import AcrossSeeds
from gailbench.report.load import DIAGNOSTICS
from gailbench.report.styles import STYLES, styles_of
from gailbench.report.table import UNPUBLISHED, method

EXPERT_COLOR = "#555555"
PAPER_COLOR = "#555555"  # edges of the paper's hollow markers
LEVEL_COLOR = "0.6"
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
def render(figure: Figure, suffixes: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """Return the figure as {"png": ..., "svg": ...}; the same figure gives the same bytes."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")  # laid out once, not once per file
    files = {}
    for suffix in suffixes:
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix, metadata={"Software": None} if suffix == "png" else {"Date": None})
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
    figure = Figure(figsize=(5.0, 1.7 * rows + 0.9), layout="constrained")
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
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
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
    sizes = _sizes(scores)
    colors = {name: color for name, (color, _) in styles_of(scores["method"].unique()).items()}
    summaries = _over_seeds(curves)
    diagnosed = [name for name in colors if name.startswith("GAIL") and name in set(curves["method"])]
    lowest_first = sorted(colors, key=lambda name: (name, 0) not in summaries)  # a control's line covers no method's
    panel_rows = DIAGNOSTIC_ROWS if diagnosed else ()
    figure = Figure(figsize=(0.9 + 1.15 * max(len(sizes), 3), 2.4 + 1.0 * len(panel_rows)), layout="constrained")
    panels = figure.subplots(
        1 + len(panel_rows),
        len(sizes),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2] + [1] * len(panel_rows),
    )
    for column, size in enumerate(sizes):
        axes = panels[0, column]
        axes.set_title(f"{size} trajector{'y' if size == 1 else 'ies'}")
        _levels(axes, task, baselines)
        for name in lowest_first:
            # What learns without demonstrations is the same beside every size.
            _curve(axes, summaries.get((name, size), summaries.get((name, 0))), "return_mean", colors[name], "-", name)
        _horizontal(axes, table[table["trajectories"] == size], scores[scores["trajectories"] == size])
        for row, (_, quantities) in enumerate(panel_rows, start=1):
            for name in diagnosed:
                for quantity, dash in zip(quantities, ("-", "--"), strict=False):
                    label = f"{name}, {quantity.replace('_', ' ')}"
                    _curve(panels[row, column], summaries.get((name, size)), quantity, colors[name], dash, label)
    panels[0, 0].set_ylabel("True return")
    for row, (label, _) in enumerate(panel_rows, start=1):
        panels[row, 0].set_ylabel(label)
    for axes in panels.flatten():
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(3 if panel_rows else 5))
    figure.align_ylabels(panels[:, 0])
    handles = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    columns = math.ceil(len(handles) / math.ceil(len(handles) / 5))  # rows as long as each other
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, columnspacing=1.2, handlelength=1.5, title=task
    )
    caption = "Environment steps in millions. Bands: lowest to highest seed. Gray: random and expert."
    if panel_rows:
        caption += " Below: GAIL; accuracy on the expert's pairs solid, on the policy's dashed."
    _caption(figure, caption)
    return figure


@_style()
def strips_figure(task: str, table: pd.DataFrame, returns: pd.DataFrame, baselines: pd.DataFrame) -> Figure:
    """Draw every evaluation trajectory and every run of a task: a column per method, a panel per size.

    Args:
        table: `paper_table`.
        returns: One row per trajectory of the runs in it: task, method, algorithm, entropy_weight, trajectories, seed,
            return.
        baselines: Our random and expert returns, for the thin lines.
    """
    table, returns = table[table["task"] == task], returns[returns["task"] == task]
    paper = published_runs()
    paper = paper[paper["task"] == task]
    headings = zip(paper["task"], paper["algorithm"], paper["entropy_weight"], strict=True)
    paper = paper.assign(method=pd.Series([method(*cell) for cell in headings], index=paper.index, dtype="str"))
    sizes = _sizes(returns)
    styles = styles_of(table["method"].unique())
    figure = Figure(figsize=(0.9 + 1.3 * max(len(sizes), 3), 3.2), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        axes.set_title(f"{size} trajector{'y' if size == 1 else 'ies'}")
        _levels(axes, task, baselines)
        for position, (name, (color, marker)) in enumerate(styles.items()):
            of_cell = returns[(returns["trajectories"] == size) & (returns["method"] == name)]
            seeds = of_cell["seed"].to_numpy()
            axes.scatter(
                position - 0.12 + jitter(seeds, len(of_cell)),
                of_cell["return"],
                s=3,
                color=color,
                alpha=0.3,
                linewidths=0,
                rasterized=True,
            )
            means = of_cell.groupby("seed")["return"].mean()
            slots = position - 0.12 + jitter(means.index.to_numpy(), 0)
            axes.scatter(slots, means, s=16, color=color, marker=marker, edgecolors="white", linewidths=0.4, zorder=3)
            theirs = paper[(paper["trajectories"] == size) & (paper["method"] == name)]["mean"].to_numpy()
            spread = np.linspace(-0.06, 0.06, len(theirs)) if len(theirs) > 1 else np.zeros(len(theirs))
            axes.scatter(
                position + 0.36 + spread,
                theirs,
                s=16,
                marker=marker,
                facecolors="none",
                edgecolors=PAPER_COLOR,
                linewidths=0.9,
                zorder=3,
            )
        axes.set_xticks(range(len(styles)), [_short(name) for name in styles], rotation=60, fontsize=9)
        axes.set_xlim(-0.6, len(styles) - 0.4)
    panels[0].set_ylabel("True return of an episode")
    figure.suptitle(task, fontsize=10)
    _caption(
        figure,
        "Dots: our evaluation trajectories, seeds from left to right. Solid: the means of our training runs. Hollow: "
        "those of the paper's. Gray: random and expert.",
    )
    return figure


@_style()
def experts_figure(curves: dict[str, pd.DataFrame], baselines: pd.DataFrame) -> Figure:
    """Draw the experts' learning curves, a panel per task, with their final stochastic return.

    Args:
        curves: By task: steps, return_mean.
        baselines: Our random and expert returns.
    """
    columns = min(len(curves), 3)
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(1.6 * max(columns, 2) + 0.3, 1.5 * rows + 0.9), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (task, curve) in zip(panels, curves.items(), strict=False):
        _levels(axes, task, baselines)
        bins = np.arange(len(curve)) // max(1, math.ceil(len(curve) / POINTS))
        averaged = curve.groupby(bins).mean()
        axes.plot(averaged["steps"] / 1e6, averaged["return_mean"], color=EXPERT_COLOR, linewidth=1.2)
        axes.set_title(task)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    figure.supylabel("True return of the training episodes")
    _caption(
        figure,
        "Environment steps in millions. Gray: random policy and the shipped expert, both over the task's horizon "
        "(some experts' training episodes are longer: see their cards).",
    )
    return figure


@_style()
def across_seeds_figure(across: AcrossSeeds) -> Figure:
    """Draw interquartile means by size rank, GAIL's probabilities of improvement, and performance profiles."""
    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    left, right, wide = (figure.add_subplot(place) for place in (grid[0, 0], grid[0, 1], grid[1, :]))
    methods = list(across.iqm["method"].drop_duplicates())
    styles = styles_of(methods)
    ranks = list(across.iqm["rank"].drop_duplicates())
    for index, (name, (color, marker)) in enumerate(styles.items()):
        found = across.iqm[across.iqm["method"] == name]
        places = np.array([ranks.index(rank) for rank in found["rank"]]) + 0.08 * (index - (len(styles) - 1) / 2)
        left.plot(places, found["value"], color=color, marker=marker, linestyle="-", linewidth=0.8)
        left.vlines(places, found["low"], found["high"], color=color, linewidth=1.6)
        profile = across.profiles[across.profiles["method"] == name]
        wide.plot(profile["threshold"], profile["value"], color=color, drawstyle="steps-post")
    left.set_xticks(range(len(ranks)), ranks, fontsize=8)
    left.set(xlabel="Demonstration size", ylabel="IQM of normalized score")
    compared = across.improvement[across.improvement["rank"] == "all sizes"]
    for place, (_, row) in enumerate(compared.iloc[::-1].iterrows()):
        color, marker = styles[row["method"]]
        right.plot(row["value"], place, color=color, marker=marker)
        right.hlines(place, row["low"], row["high"], color=color, linewidth=1.6)
    right.axvline(0.5, color="0.6", linewidth=0.8, zorder=0)
    right.set_yticks(range(len(compared)), list(compared["method"].iloc[::-1]))
    right.set_ylim(-0.7, max(len(compared), 1) - 0.3)
    right.set(xlim=(-0.02, 1.02), xlabel="P(GAIL above it), all sizes")
    wide.set(xlabel="Normalized score τ", ylabel="Runs above τ", ylim=(-0.02, 1.02))
    handles = [Line2D([], [], color=color, marker=marker, label=name) for name, (color, marker) in styles.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))
    _caption(figure, "Bars: 95 % stratified bootstrap intervals over seeds; none where every task has one seed.")
    return figure


def _short(name: str) -> str:
    """Return a method's heading as it fits under a column: a lambda alone."""
    return name.replace("GAIL λ = ", "λ = ").replace(f" ({UNPUBLISHED})", "*")


def _levels(axes: Axes, task: str, baselines: pd.DataFrame) -> None:
    """Draw our random policy's and our expert's return as thin lines, where they are known."""
    for level in ("random_mean", "expert_mean"):
        if math.isfinite(value := baselines[level].get(task, math.nan)):
            axes.axhline(value, color=LEVEL_COLOR, linewidth=0.8, zorder=0)


def _sizes(rows: pd.DataFrame) -> list[int]:
    """Return the demonstration sizes in order; 0 only where there is no other."""
    sizes = sorted(int(size) for size in rows["trajectories"].unique())
    return [size for size in sizes if size > 0] or sizes


def jitter(seeds: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """Return horizontal places for dots around 0: seeds side by side, each spread a little, always the same.

    Args:
        seeds: Of every dot, (number,).
        number: 0 leaves the dots in the middle of their seed's place.
    """
    unique, position = np.unique(seeds, return_inverse=True)
    width = 0.64 / max(len(unique), 1)
    spread = (np.arange(number) * 0.618034) % 1 - 0.5 if number else 0.0  # golden ratio: even, and not random
    return (position - (len(unique) - 1) / 2) * width + spread * width * 0.8


def _score_panel(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Draw one task: ours solid with a band over seeds, the paper's dashed."""
    for level in (0.0, 1.0):  # random and expert
        axes.axhline(level, color="0.6", linewidth=0.8, zorder=0)
    for name, (color, marker) in styles_of(cells["method"].unique()).items():
        of_method = cells[cells["method"] == name].sort_values("trajectories")
        sizes = of_method["trajectories"]
        paper = of_method["paper_normalized_mean"]
        if paper.notna().any():
            axes.plot(
                sizes,
                paper,
                color=color,
                linestyle="--",
                linewidth=1.1,
                marker=marker,
                markersize=3,
                markerfacecolor="none",
                label=f"{name}, paper",
            )
        if of_method["normalized_mean"].notna().any():
            axes.plot(sizes, of_method["normalized_mean"], color=color, marker=marker, label=name)
            seeds = scores[scores["method"] == name].groupby("trajectories")["normalized_mean"]
            several = seeds.count() > 1
            low, high = (seeds.agg(side).where(several).reindex(sizes).to_numpy() for side in ("min", "max"))
            axes.fill_between(sizes, low, high, color=color, alpha=BAND, linewidth=0)
            axes.vlines(sizes, low, high, color=color, alpha=0.5, linewidth=1)  # a lone size has no band
    axes.set_xticks(sorted(cells["trajectories"].unique()))
    axes.set_ylim(*VIEW)


def _over_seeds(curves: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """Return per method and size: steps in millions, seeds, and mean, min and max of every quantity over seeds.

    Rows are averages of consecutive iterations: what a panel can show, in a tenth of the file.
    """
    quantities = ["return_mean", *DIAGNOSTICS]
    key = ["method", "trajectories", "iteration"]
    if curves.empty:
        return {}
    groups = curves.groupby(key)[["steps", *quantities]]
    parts = {side: getattr(groups, side)() for side in ("mean", "min", "max")}
    joined = pd.concat(parts, axis=1)
    seeds = curves.groupby(key[:2])["run"].nunique()
    found = {}
    for (name, size), rows in joined.groupby(level=key[:2]):
        bins = np.arange(len(rows)) // max(1, math.ceil(len(rows) / POINTS))
        binned = rows.groupby(bins).mean()
        binned.columns = [f"{quantity}_{side}" for side, quantity in binned.columns]
        found[str(name), int(size)] = binned.assign(seeds=seeds[name, size], steps=binned["steps_mean"] / 1e6)
    return found


def _curve(axes: Axes, curve: pd.DataFrame | None, quantity: str, color: str, dash: str, label: str) -> None:
    """Draw a quantity's mean over seeds against environment steps, with a band over seeds."""
    if curve is None or (curve := curve.dropna(subset=f"{quantity}_mean")).empty:
        return
    axes.plot(curve["steps"], curve[f"{quantity}_mean"], color=color, linestyle=dash, linewidth=1.2, label=label)
    if curve["seeds"].iloc[0] > 1:
        low, high = curve[f"{quantity}_min"], curve[f"{quantity}_max"]
        axes.fill_between(curve["steps"], low, high, color=color, alpha=BAND, linewidth=0)


def _horizontal(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Draw behavioral cloning, which takes no environment steps, at its evaluated return."""
    evaluated = cells[(cells["algorithm"] == "bc") & (cells["seeds"] > 0)]
    seeds = scores.loc[scores["algorithm"] == "bc", "mean"]
    for _, cell in evaluated.iterrows():
        color, _ = STYLES[cell["method"]]
        axes.axhline(cell["mean"], color=color, linewidth=1.2, label=cell["method"])
        if len(seeds) > 1:
            axes.axhspan(seeds.min(), seeds.max(), color=color, alpha=BAND, linewidth=0)


def _handles(methods: Any) -> list[Line2D]:
    ours = [
        Line2D([], [], color=color, marker=marker, label=name) for name, (color, marker) in styles_of(methods).items()
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
