"""Figures: the paper's Figure 1 with our scores in it, learning curves, single trajectories, statistics.

Every function returns a `Figure` of matplotlib's object interface. Nothing here changes the state of pyplot.
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
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from gailbench.algorithms import registry
from gailbench.paper.tables import published_runs
from gailbench.report.across_seeds import AcrossSeeds
from gailbench.report.curves import DIAGNOSTICS, rows_per_point, thinned
from gailbench.report.styles import Styles, styles_of
from gailbench.report.table import UNPUBLISHED, heading, short_method
from gailbench.report.table import method as heading_of

EXPERT_COLOR = "#555555"
PAPER_COLOR = "#555555"  # edges of the paper's hollow markers
LEVEL_COLOR = "0.6"
BACK = "0.72"  # text of panels in the background, which show only the paper's scores
BAND = 0.2  # opacity of bands
TOP = 1.25  # upper limit of axes of normalized scores
BEND = 0.35  # below 0 an axis of scores is -BEND * log(1 - score / BEND): ant's FEM and GTAL fit, and little else moves
SCORE_TICKS = (-100, -10, -1, 0, 0.5, 1)
DIAGNOSTIC_ROWS = (
    ("Loss\n(nats)", "discriminator_loss"),
    ("Accuracy,\nexpert", "expert_accuracy"),
    ("Accuracy,\npolicy", "policy_accuracy"),
    ("JS bound\n(nats)", "jensen_shannon"),
    ("KL\n(nats)", "kl"),
    ("Entropy\n(nats)", "entropy"),
)
FIXED_VIEWS = {"expert_accuracy": (-0.05, 1.05), "policy_accuracy": (-0.05, 1.05), "jensen_shannon": (-0.03, 0.72)}
LETTERS_PER_INCH = 13.5  # in 9 points
FAR_BELOW = 5  # an axis is logarithmic if returns are below random by more than this multiple of (expert - random)
LONGEST_UNDER_COLUMN = 16  # letters of a method's name under a column; longer names are in a legend
LONGEST_IN_PANEL = 14  # letters of a label in a legend that takes the place of a panel
_SCORE_CAPTION = (
    "Solid: ours, with a bar from the lowest to the highest seed. Hollow: the paper's. Gray lines: random (0) and "
    "expert (1); below 0 the axis is logarithmic."
)
_SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # names given by users may contain a dollar sign
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # letters that can be searched and copied
    "svg.hashsalt": "gailbench",  # otherwise the ids in an SVG are random
}
_WITHOUT_DATE = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def _style() -> Iterator[None]:
    """Within the context, use our settings of matplotlib only, and ignore the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


@_style()
def render(figure: Figure, suffixes: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """Return the figure in several formats of FIGURE_FORMATS, by format. The same figure gives the same bytes."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")  # the layout is done; do not repeat it for each file
    files = {}
    for suffix in suffixes:
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix, metadata=_WITHOUT_DATE[suffix])
        files[suffix] = stream.getvalue()
    return files


@_style()
def scores_figure(
    table: pd.DataFrame, scores: pd.DataFrame, tasks: Sequence[str], styles: Styles | None = None
) -> Figure:
    """Draw normalized score against demonstration size, one panel per task, as in the paper's Figure 1(a).

    Args:
        table: Result of `paper_table`.
        scores: Result of `run_scores` for the runs in the table.
        tasks: The tasks, one per panel.
        styles: Color and marker by method; by default for the methods in the table.
    """
    shown = table[table["task"].isin(tasks)]
    styles = styles or styles_of(table["method"])
    handles = _handles(shown, styles)
    outside = max(len(str(handle.get_label())) for handle in handles) > LONGEST_IN_PANEL
    columns = min(len(tasks), 3) if outside else 3
    rows = math.ceil((len(tasks) + (not outside)) / columns)  # including one place for the legend
    width = 4.7
    lines, legend_columns = _legend_layout(handles, width)
    height = (1.5 if columns == 3 else 2.0) * rows + 1.1 + (0.2 * lines if outside else 0)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, sharey="row", squeeze=False)
    for row in range(rows):
        here = tasks[columns * row : columns * (row + 1)]
        for axes, task in zip(panels[row], here, strict=False):
            _score_panel(axes, table[table["task"] == task], scores[scores["task"] == task], styles)
        _score_axis(panels[row, 0], table[table["task"].isin(here)], scores[scores["task"].isin(here)])
    for axes in panels.flatten()[len(tasks) :]:
        axes.set_axis_off()
    if outside:
        figure.legend(handles=handles, loc="outside upper center", ncols=legend_columns, fontsize=9)
    else:
        panels.flatten()[len(tasks)].legend(handles=handles, loc="center", fontsize=9)
    figure.supylabel("Normalized score", fontsize=10)
    _caption(figure, _SCORE_CAPTION, _outside_view(shown), axis="Demonstrated trajectories")
    return figure


@_style()
def weights_figure(
    table: pd.DataFrame, scores: pd.DataFrame, tasks: Sequence[str], styles: Styles | None = None
) -> Figure:
    """Draw the scores on a task with several entropy weights, as in the paper's Figure 1(b); see `scores_figure`."""
    shown, scores = table[table["task"].isin(tasks)], scores[scores["task"].isin(tasks)]
    styles = styles or styles_of(table["method"])
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    _score_panel(axes, shown, scores, styles)
    _score_axis(axes, shown, scores)
    axes.set(ylabel="Normalized score")
    figure.legend(handles=_handles(shown, styles), loc="outside right center", fontsize=9)
    _caption(figure, _SCORE_CAPTION, _outside_view(shown), axis="Demonstrated trajectories")
    return figure


@_style()
def curves_figure(
    task: str,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    curves: pd.DataFrame,
    baselines: pd.DataFrame,
    styles: Styles | None = None,
    note: str = "",
) -> Figure:
    """Draw a task's learning curves, with one column per demonstration size: the true return, and the diagnostics of
    algorithms that have some.

    Args:
        table, scores: As in `scores_figure`.
        curves: Result of `load_curves`, with the method and the trajectories of each run.
        baselines: Our random and expert returns, for the thin lines.
        styles: As in `scores_figure`.
        note: Addition to the caption.
    """
    every = styles or styles_of({*table["method"], *scores["method"]})
    table, scores = table[table["task"] == task], scores[scores["task"] == task]
    curves = curves[curves["run"].isin(scores["run"])]
    sizes = _sizes(scores)
    algorithms = dict(zip(scores["method"], scores["algorithm"], strict=True))
    colors = {name: color for name, (color, _) in every.items() if name in algorithms}
    summaries = _over_seeds(curves)
    diagnosed = [name for name in colors if _diagnostics(algorithms[name]) and name in set(curves["method"])]
    lowest_first = sorted(
        colors, key=lambda name: (name, 0) not in summaries
    )  # controls first, so that they do not cover methods
    known = curves.loc[curves["method"].isin(diagnosed)].notna().any()
    panel_rows = [row for row in DIAGNOSTIC_ROWS if diagnosed and known[row[1]]]
    width = 0.8 + 0.95 * max(len(sizes), 4)
    handles = [
        Line2D([], [], color=color, label=name.replace(f" ({UNPUBLISHED})", "*")) for name, color in colors.items()
    ]
    lines, legend_columns = _legend_layout(handles, width)
    height = 2.6 + 0.2 * lines + 0.75 * len(panel_rows)
    figure = Figure(figsize=(width, height), layout="constrained")
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
        axes.set_title(f"{size} traj.")
        _levels(axes, task, baselines)
        for name in lowest_first:
            # An algorithm without demonstrations has the same curve for every size.
            _curve(axes, summaries.get((name, size), summaries.get((name, 0))), "return_mean", colors[name], name)
        _horizontal(axes, table[table["trajectories"] == size], scores[scores["trajectories"] == size], colors)
        for row, (_, quantity) in enumerate(panel_rows, start=1):
            for name in diagnosed:
                label = f"{name}, {quantity.replace('_', ' ')}"
                _curve(panels[row, column], summaries.get((name, size)), quantity, colors[name], label)
    panels[0, 0].set_ylabel("True return\nper episode")
    logarithmic = _return_axis(panels[0, 0], task, curves["return_mean"], baselines)
    for row, (label, quantity) in enumerate(panel_rows, start=1):
        panels[row, 0].set_ylabel(label, fontsize=8)
        if quantity in FIXED_VIEWS:
            panels[row, 0].set_ylim(*FIXED_VIEWS[quantity])
    for axes in panels.flatten():
        axes.xaxis.set_major_locator(MaxNLocator(3))
        if axes.get_yscale() == "linear":
            axes.yaxis.set_major_locator(MaxNLocator(3 if panel_rows else 5))
        axes.tick_params(labelsize=8)
    figure.align_ylabels(panels[:, 0])
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=legend_columns,
        columnspacing=1.2,
        handlelength=1.5,
        title=task,
    )
    diagnostics = ""
    if panel_rows:
        owners = " and ".join(dict.fromkeys(heading(algorithms[name]) for name in diagnosed))
        diagnostics = (
            f"Below (bands: the middle half): {owners}'s discriminator, its accuracies on the expert's and the "
            "policy's pairs, the lower bound that its loss sets to the Jensen-Shannon divergence (JS), and the "
            "policy's steps."
        )
    _caption(
        figure,
        "Lines: means over seeds. Bands: the lowest to the highest. Gray: random and expert.",
        logarithmic,
        note,
        diagnostics,
        axis="Environment steps (millions)" if len(curves) else "",
    )
    return figure


@_style()
def strips_figure(
    task: str, table: pd.DataFrame, returns: pd.DataFrame, baselines: pd.DataFrame, styles: Styles | None = None
) -> Figure:
    """Draw every evaluation trajectory and every run of a task, with one column per method and one panel per size.

    Args:
        table: Result of `paper_table`.
        returns: One row per trajectory of the runs in the table: task, method, algorithm, entropy_weight, trajectories,
            seed, return.
        baselines: Our random and expert returns, for the thin lines.
        styles: As in `scores_figure`.
    """
    every = styles or styles_of(table["method"])
    table, returns = table[table["task"] == task], returns[returns["task"] == task]
    paper = published_runs()
    paper = paper[paper["task"] == task]
    headings = zip(paper["task"], paper["algorithm"], paper["entropy_weight"], strict=True)
    paper = paper.assign(method=pd.Series([heading_of(*cell) for cell in headings], index=paper.index, dtype="str"))
    sizes = _sizes(returns)
    styles = {name: style for name, style in every.items() if name in set(table["method"])}
    names = [short_method(name) for name in styles]
    width, height = 0.8 + 1.0 * max(len(sizes), 4), 3.2
    handles = [Line2D([], [], color=c, marker=m, linestyle="", label=n) for n, (c, m) in styles.items()]
    if named := max(map(len, names)) > LONGEST_UNDER_COLUMN:
        lines, legend_columns = _legend_layout(handles, width)
        height += 0.2 * lines
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        axes.set_title(f"{size} traj.")
        _levels(axes, task, baselines)
        for position, (name, (color, marker)) in enumerate(styles.items()):
            of_cell = returns[(returns["trajectories"] == size) & (returns["method"] == name)]
            seeds = of_cell["seed"].to_numpy()
            axes.scatter(
                position - 0.16 + 0.85 * jitter(seeds, len(of_cell)),
                of_cell["return"],
                s=3,
                color=color,
                alpha=0.3,
                linewidths=0,
                rasterized=True,
            )
            means = of_cell.groupby("seed")["return"].mean()
            slots = position - 0.16 + 0.85 * jitter(means.index.to_numpy(), 0)
            axes.scatter(slots, means, s=9, color=color, marker=marker, edgecolors="white", linewidths=0.3, zorder=3)
            theirs = paper[(paper["trajectories"] == size) & (paper["method"] == name)]["mean"].to_numpy()
            spread = np.linspace(-0.06, 0.06, len(theirs)) if len(theirs) > 1 else np.zeros(len(theirs))
            axes.scatter(
                position + 0.36 + spread,
                theirs,
                s=9,
                marker=marker,
                facecolors="none",
                edgecolors=PAPER_COLOR,
                linewidths=0.7,
                zorder=3,
            )
        if named:
            axes.set_xticks([])
        else:
            axes.set_xticks(range(len(styles)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
        axes.set_xlim(-0.6, len(styles) - 0.4)
    panels[0].set_ylabel("True return of an episode")
    logarithmic = _return_axis(panels[0], task, returns["return"], baselines)
    if named:
        figure.legend(handles=handles, loc="outside upper center", ncols=legend_columns, fontsize=9, title=task)
    else:
        figure.suptitle(task, fontsize=10)
    _caption(
        figure,
        "Dots: our evaluation trajectories, seeds from left to right. Solid: the means of our training runs. Hollow: "
        "those of the paper's. Gray: random and expert.",
        logarithmic,
    )
    return figure


@_style()
def experts_figure(curves: dict[str, pd.DataFrame], baselines: pd.DataFrame) -> Figure:
    """Draw the experts' learning curves, one panel per task, with their returns at the end.

    Args:
        curves: Data frames with steps and return_mean, by task.
        baselines: Our random and expert returns.
    """
    columns = min(len(curves), 3)
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(1.6 * max(columns, 2) + 0.3, 1.5 * rows + 1.0), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (task, curve) in zip(panels, curves.items(), strict=False):
        _levels(axes, task, baselines)
        averaged = thinned(curve)
        axes.plot(averaged["steps"] / 1e6, averaged["return_mean"], color=EXPERT_COLOR, linewidth=1.2)
        axes.set_title(task)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    figure.supylabel("True return per episode", fontsize=10)
    _caption(
        figure,
        "Training episodes over the task's horizon: of longer ones the return per step times the horizon. Gray: random "
        "policy and expert, which need not be its training's last.",
        axis="Environment steps (millions)",
    )
    return figure


@_style()
def across_seeds_figure(across: AcrossSeeds, styles: Styles | None = None) -> Figure:
    """Draw interquartile means by size rank, probabilities of improvement, and performance profiles."""
    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    left, right, wide = (figure.add_subplot(place) for place in (grid[0, 0], grid[0, 1], grid[1, :]))
    every = styles or styles_of(across.iqm["method"])
    styles = {name: style for name, style in every.items() if name in set(across.iqm["method"])}
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
    right.set(xlim=(-0.02, 1.02), xlabel=f"P({across.proposed} above it), all sizes")
    wide.set(xlabel="Normalized score τ", ylabel="Runs above τ", ylim=(-0.02, 1.02))
    handles = [Line2D([], [], color=color, marker=marker, label=name) for name, (color, marker) in styles.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))
    _caption(figure, "Bars: 95 % stratified bootstrap intervals over seeds; none where every task has one seed.")
    return figure


def _diagnostics(algorithm: str) -> tuple[str, ...]:
    """Return the diagnostics of an algorithm: the columns of its learning curve beyond the common ones."""
    known = registry().get(algorithm)
    return () if known is None else known.diagnostics


def _levels(axes: Axes, task: str, baselines: pd.DataFrame) -> None:
    """Draw the returns of our random policy and our expert as thin lines, if they are known."""
    for level in ("random_mean", "expert_mean"):
        if math.isfinite(value := baselines[level].get(task, math.nan)):
            axes.axhline(value, color=LEVEL_COLOR, linewidth=0.8, zorder=0)


def _return_axis(axes: Axes, task: str, returns: pd.Series, baselines: pd.DataFrame) -> str:
    """Make an axis of returns logarithmic if some are far below the random policy's, as on reacher with lambda 0.1.
    Return a sentence about it for the caption, or an empty string."""
    random, expert = baselines["random_mean"].get(task, math.nan), baselines["expert_mean"].get(task, math.nan)
    if not returns.min() < random - FAR_BELOW * abs(expert - random):
        return ""
    linear = max(abs(random), abs(expert))
    axes.set_yscale("symlog", linthresh=linear)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # a logarithmic axis has formulas by default
    axes.set_ylim(top=expert + 0.3 * abs(expert - random))
    return f"Below {-linear:.3g} the axis is logarithmic."


def _sizes(rows: pd.DataFrame) -> list[int]:
    """Return the demonstration sizes in order. 0 is among them only if there is no other."""
    sizes = sorted(int(size) for size in rows["trajectories"].unique())
    return [size for size in sizes if size > 0] or sizes


def jitter(seeds: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """Return horizontal positions of dots around 0. Seeds are side by side, and the dots of a seed are spread a little.
    The positions are not random.

    Args:
        seeds: Seed of each dot, (number,).
        number: Number of dots; with 0 each dot is in the middle of its seed's place.
    """
    unique, position = np.unique(seeds, return_inverse=True)
    width = 0.64 / max(len(unique), 1)
    spread = (
        (np.arange(number) * 0.618034) % 1 - 0.5 if number else 0.0
    )  # multiples of the golden ratio are evenly spread
    return (position - (len(unique) - 1) / 2) * width + spread * width * 0.8


def _score_panel(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame, every: Styles) -> None:
    """Draw one task: our scores solid with a bar over seeds, the paper's hollow; pale if there are only the paper's."""
    with_runs = bool(cells["normalized_mean"].notna().any())
    task = cells["task"].iloc[0]
    axes.set_title(task if with_runs else f"{task} (paper)", color="black" if with_runs else "0.5", fontsize=9)
    for level in (0.0, 1.0):  # random and expert
        axes.axhline(level, color=LEVEL_COLOR if with_runs else "0.85", linewidth=0.8, zorder=0)
    styles = {name: style for name, style in every.items() if name in set(cells["method"])}
    step = 0.018 * (
        cells["trajectories"].max() - cells["trajectories"].min() or 1
    )  # methods side by side, so that they do not overlap
    for place, (name, (color, marker)) in enumerate(styles.items()):
        of_method = cells[cells["method"] == name].sort_values("trajectories")
        sizes = of_method["trajectories"]
        paper = of_method["paper_normalized_mean"]
        if paper.notna().any():
            first = 1.0 if with_runs else (1 - len(styles)) / 2
            axes.plot(
                sizes + step * (first + place), paper, **_hollow(color, marker, with_runs), label=f"{name}, paper"
            )
        if of_method["normalized_mean"].notna().any():
            places = sizes - step * (len(styles) - place)
            axes.plot(places, of_method["normalized_mean"], color=color, marker=marker, label=name, zorder=3)
            seeds = scores[scores["method"] == name].groupby("trajectories")["normalized_mean"]
            several = seeds.count() > 1
            low, high = (seeds.agg(side).where(several).reindex(sizes).to_numpy() for side in ("min", "max"))
            axes.vlines(places, low, high, color=color, alpha=0.6, linewidth=1.2, zorder=2.5)
    if not with_runs:
        axes.tick_params(colors="0.6")
        axes.spines[:].set_color(BACK)
    axes.set_xticks(sorted(cells["trajectories"].unique()))


def _hollow(color: str, marker: str, front: bool = True) -> dict[str, Any]:
    """Return the style of the paper's scores: a pale line in the method's color, hollow markers with gray edges."""
    return {
        "color": (color, 0.5 if front else 0.35),
        "linewidth": 0.9,
        "marker": marker,
        "markersize": 4.5,
        "markerfacecolor": "none",
        "markeredgecolor": PAPER_COLOR if front else "0.6",
        "markeredgewidth": 0.8,
        "zorder": 2,
    }


def _score_axis(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Set the range of an axis of scores (and of axes that share it) to include the lowest score. Below 0 the axis is
    logarithmic."""
    lowest = [cells["normalized_mean"].min(), cells["paper_normalized_mean"].min(), scores["normalized_mean"].min()]
    low = min([0.0, *(value for value in lowest if math.isfinite(value))])
    axes.set_yscale("function", functions=(_bent, _straight))
    axes.set_ylim(1.3 * low - 0.12, TOP)
    ticks = [tick for tick in SCORE_TICKS if tick >= min(low, 0)]
    axes.set_yticks(ticks)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _bent(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positions of scores on an axis: unchanged above 0, logarithmic below."""
    score = np.asarray(score, dtype=np.float64)
    return np.where(score < 0, -BEND * np.log1p(np.maximum(-score, 0) / BEND), score)


def _straight(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `_bent`."""
    place = np.asarray(place, dtype=np.float64)
    return np.where(place < 0, -BEND * np.expm1(np.maximum(-place, 0) / BEND), place)


def _over_seeds(curves: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """Return, by method and size: steps in millions, number of seeds, and the mean over seeds and a band per quantity.

    The band of the return is from the lowest to the highest seed. The band of a diagnostic is the middle half, since
    diagnostics vary much.

    Rows are averages of consecutive iterations of a run, since a panel cannot show more points. This makes files ten
    times smaller.
    """
    quantities = ["return_mean", *DIAGNOSTICS]
    found: dict[tuple[str, int], pd.DataFrame] = {}
    for (method, size), of_cell in curves.groupby(["method", "trajectories"]):
        longest = int(of_cell.groupby("run").size().max())
        point = of_cell.groupby("run").cumcount() // rows_per_point(longest)
        averaged = of_cell.groupby(["run", point.rename("point")])[["steps", *quantities]].mean()
        groups = averaged.groupby(level="point")
        mean, low, high = groups.mean(), groups.quantile(0.25), groups.quantile(0.75)
        low["return_mean"], high["return_mean"] = groups["return_mean"].min(), groups["return_mean"].max()
        sides = {"mean": mean, "low": low, "high": high}
        joined = pd.concat([side[quantities].add_suffix(f"_{name}") for name, side in sides.items()], axis=1)
        joined = joined.assign(seeds=of_cell["run"].nunique(), steps=mean["steps"] / 1e6)
        found[str(method), int(str(size))] = joined
    return found


def _curve(axes: Axes, curve: pd.DataFrame | None, quantity: str, color: str, label: str) -> None:
    """Draw a quantity's mean over seeds against environment steps, with a band."""
    if curve is None or (curve := curve.dropna(subset=f"{quantity}_mean")).empty:
        return
    axes.plot(curve["steps"], curve[f"{quantity}_mean"], color=color, linewidth=1.2, label=label)
    if curve["seeds"].iloc[0] > 1:
        low, high = curve[f"{quantity}_low"], curve[f"{quantity}_high"]
        axes.fill_between(curve["steps"], low, high, color=color, alpha=BAND, linewidth=0)


def _horizontal(axes: Axes, cells: pd.DataFrame, scores: pd.DataFrame, colors: dict[str, str]) -> None:
    """Draw algorithms without environment steps, such as behavioral cloning, as lines at their evaluation returns."""
    for _, cell in cells[cells["seeds"] > 0].iterrows():
        known = registry().get(cell["algorithm"])
        if known is not None and known.takes_environment_steps:
            continue
        color, seeds = colors[cell["method"]], scores.loc[scores["method"] == cell["method"], "mean"]
        axes.axhline(cell["mean"], color=color, linewidth=1.2, label=cell["method"])
        if len(seeds) > 1:
            axes.axhspan(seeds.min(), seeds.max(), color=color, alpha=BAND, linewidth=0)


def _handles(cells: pd.DataFrame, every: Styles) -> list[Line2D]:
    """Return the entries of the legend: methods with runs of ours solid, methods that only the paper has hollow."""
    styles = {name: style for name, style in every.items() if name in set(cells["method"])}
    ours = set(cells.loc[cells["normalized_mean"].notna(), "method"])
    handles = []
    for name, (color, marker) in styles.items():
        if name in ours:
            handles.append(Line2D([], [], color=color, marker=marker, label=name))
        else:
            handles.append(Line2D([], [], **_hollow(color, marker), label=f"{name}, paper"))
    if ours:
        handles.append(Line2D([], [], **_hollow(BACK, "o"), label="the paper's"))
    return handles


def _legend_layout(handles: list[Line2D], width: float) -> tuple[int, int]:
    """Wrap labels that are wider than the figure. Return the number of lines and of columns of the legend."""
    for handle in handles:
        letters = int(LETTERS_PER_INCH * width) - 6
        handle.set_label(
            textwrap.fill(str(handle.get_label()), letters, break_on_hyphens=False, subsequent_indent="  ")
        )
    labels = [str(handle.get_label()).splitlines() for handle in handles]
    longest = max(len(line) for label in labels for line in label)
    rows = math.ceil(len(handles) / max(1, int(LETTERS_PER_INCH * width / (longest + 6))))
    columns = math.ceil(len(handles) / rows)
    return sum(map(len, labels)) if columns == 1 else rows * max(map(len, labels)), columns


def _outside_view(table: pd.DataFrame) -> str:
    """Return in words which scores are above the upper limit of the vertical axis."""
    outside = []
    for column, owner in (("normalized_mean", "ours"), ("paper_normalized_mean", "paper")):
        beyond = table[table[column] > TOP]
        for (task, name), cells in beyond.groupby(["task", "method"], sort=False):
            values = sorted({f"{value:.2f}" for value in cells[column]}, key=float)
            span = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
            outside.append(f"{task} {name}, {owner} ({span})")
    return f"Above the view: {'; '.join(outside)}." if outside else ""


def _caption(figure: Figure, *sentences: str, axis: str = "") -> None:
    """Write the common label of the horizontal axes, if there is one, and below it the sentences that are not empty."""
    caption = textwrap.fill(" ".join(filter(None, sentences)), int(LETTERS_PER_INCH * figure.get_figwidth()))
    figure.supxlabel(f"{axis}\n\n{caption}" if axis else caption, fontsize=9)
