"""Forms of numbers and layouts of tables, shared by Markdown, LaTeX and the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from gailbench.paper import ALGORITHMS
from gailbench.report.table import by_rank
from gailbench.report.verdicts import rests_on_single_runs
from gailbench.tasks import TASKS

NOTHING = "\N{EN DASH}"  # what a table shows for a missing value
SYMBOLS = {"matches": "✓", "better": "▲", "worse": "▼", "open": "?", "": ""}
# Of verdicts that rest on one run of each side.
SINGLE_SYMBOLS = {"matches": "≈", "better": "△", "worse": "▽"}
LEGEND = "✓ matches, ▲ better, ▼ worse (≈ △ ▽: by one run of each side), ? open"


@dataclass(frozen=True)
class Row:
    """A row of a table: a task, a size, and the cell (a row of the data frame) under each heading."""

    task: str
    trajectories: int
    cells: list[pd.Series | None]


@dataclass(frozen=True)
class Block:
    """A table in the paper's layout, with one column per algorithm."""

    methods: list[str]
    rows: list[Row]


def blocks(table: pd.DataFrame, tasks: list[str]) -> list[Block]:
    """Lay out the cells of these tasks, with one block per set of columns. Reacher has other columns than the
    others."""
    layouts: dict[tuple[str, ...], list[str]] = {}
    for task in tasks:
        layouts.setdefault(TASKS[task].algorithms if task in TASKS else ALGORITHMS, []).append(task)
    return [_block(table[table["task"].isin(members)]) for members in layouts.values()]


def _block(table: pd.DataFrame) -> Block:
    methods = list(table.sort_values(["algorithm", "entropy_weight"], key=by_rank)["method"].drop_duplicates())
    rows = []
    for task, of_task in table.groupby("task", sort=False):
        for trajectories, of_size in of_task.groupby("trajectories"):
            cells = {row["method"]: row for _, row in of_size.iterrows()}
            rows.append(Row(str(task), int(str(trajectories)), [cells.get(name) for name in methods]))
    return Block(methods, rows)


@dataclass(frozen=True)
class EstimatesRow:
    """A row of estimates: a rank of sizes, a cell under each method, the tasks, and what does not hold for all."""

    rank: str
    cells: list[str]
    tasks: str
    notes: str


@dataclass(frozen=True)
class Estimates:
    """A table of estimates across seeds, with one column per method."""

    methods: list[str]
    rows: list[EstimatesRow]


def estimates(frame: pd.DataFrame) -> Estimates:
    """Lay out the estimates of `AcrossSeeds.iqm` or `.improvement`."""
    methods = list(frame["method"].drop_duplicates())
    rows = []
    for rank, of_rank in frame.groupby("rank", sort=False):
        cells = {row["method"]: with_interval(row["value"], row["low"], row["high"]) for _, row in of_rank.iterrows()}
        notes = "; ".join(note for note in of_rank["note"].drop_duplicates() if note)
        in_order = [cells.get(name, NOTHING) for name in methods]
        rows.append(EstimatesRow(str(rank), in_order, of_rank["tasks"].iloc[0], notes))
    return Estimates(methods, rows)


def symbol(row: pd.Series) -> str:
    """Return the sign of a cell's verdict."""
    return (SINGLE_SYMBOLS if rests_on_single_runs(row) else SYMBOLS)[row["verdict"]]


def seeds(row: pd.Series) -> str:
    """Return seeds x trajectories per seed: `3/7 seeds x 50` if the paper has more seeds, otherwise `1 seed x 50`."""
    wanted = row["training_runs"]
    number = f"{row['seeds']}/{wanted:.0f}" if row["seeds"] < wanted else str(row["seeds"])
    of_each, rest = divmod(row["episodes"], row["seeds"])
    return f"{number} seed{'' if number == '1' else 's'} x {'about ' if rest else ''}{of_each}"


def mean_and_std(mean: float | None, std: float | None) -> str:
    """Return mean and std, with two decimals if the mean is small (reacher's returns are around -4), else with one. NaN
    or None is an unknown value."""
    if mean is None or math.isnan(mean):
        return NOTHING
    decimals = _decimals(mean)
    return f"{mean:.{decimals}f}" if std is None or math.isnan(std) else f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def score(value: float | None) -> str:
    """Return the text of a normalized score or a probability. NaN or None is an unknown value."""
    return NOTHING if value is None or math.isnan(value) else f"{value + 0.0:.2f}".replace("-0.00", "0.00")


def with_interval(value: float, low: float, high: float) -> str:
    """Return a value with its interval: `0.97 [0.95, 0.98]`, or only the value if there is no interval."""
    return score(value) if math.isnan(low) else f"{score(value)} [{score(low)}, {score(high)}]"


def _decimals(value: float) -> int:
    return 2 if abs(value) < 100 else 1
