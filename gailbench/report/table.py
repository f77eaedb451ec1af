"""Statistics of the evaluation returns, and the tables that show them beside the paper's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gailbench.algorithms import CONSTANT, registry
from gailbench.paper import ALGORITHMS
from gailbench.paper.tables import (
    CELL,
    published_baselines,
    published_results,
    published_runs,
    unpublished_results,
)
from gailbench.plumbing.errors import plural
from gailbench.report.failures import FAILURE_COLUMNS, failure_counts
from gailbench.report.load import Results, subset, unpublished_weights
from gailbench.runs.spec import DEFAULTS, PAPER
from gailbench.tasks import TASKS

COLUMNS = [
    *CELL,
    "seeds",
    "episodes",
    "mean",
    "std",
    "normalized_mean",
    "paper_mean",
    "paper_std",
    "paper_normalized_mean",
]
TABLE_COLUMNS = [*COLUMNS, *FAILURE_COLUMNS, "published"]
OTHER_COLUMNS = ["task", "settings", *COLUMNS[1:]]
UNPUBLISHED = "unpublished"  # in the heading of runs of the authors that the paper does not print
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # first characters of a spreadsheet's formula


def measured_baselines() -> pd.DataFrame:
    """Return our own random and expert means, indexed by task (random_mean, expert_mean; NaN if missing).

    The expert is the shipped one with sampled actions, as in the demonstrations.
    """
    from gailbench import experts

    random = experts.random_returns()
    cards = {task: experts.card(task) or {} for task in TASKS}
    return pd.DataFrame(
        {
            "random_mean": [random.get(task, {}).get("mean", math.nan) for task in TASKS],
            "expert_mean": [cards[task].get("stochastic_mean", math.nan) for task in TASKS],
        },
        index=pd.Index(TASKS, name="task"),
        dtype="float64",
    )


def own_baselines(results: Path, known: pd.DataFrame) -> pd.DataFrame:
    """Return the known baselines and those of a user's own tasks. The latter are the random and expert means in the
    experts' cards in the results folder."""
    from gailbench import experts

    found = {}
    for task, card in experts.own_cards(results).items():
        try:
            means = [float(card["random"]["mean"]), float(card["stochastic_mean"])]
        except (ValueError, KeyError, TypeError, OverflowError):
            continue  # cards of the paper's tasks have no returns of the random policy
        if task not in known.index and all(map(math.isfinite, means)):
            found[task] = means
    own = pd.DataFrame.from_dict(found, orient="index", columns=["random_mean", "expert_mean"], dtype="float64")
    return pd.concat([known, own]).rename_axis("task") if found else known


def normalize(mean: pd.Series, task: pd.Series, baselines: pd.DataFrame) -> pd.Series:
    """Return (mean - random) / (expert - random) for each row; NaN if a baseline is missing."""
    random = task.map(baselines["random_mean"]).astype("float64")
    span = task.map(baselines["expert_mean"]).astype("float64") - random
    return (mean - random) / span.where(span != 0)


def spans(task: pd.Series, baselines: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return expert - random in returns, ours and the paper's, (rows,) each."""
    both = []
    for frame in (baselines, published_baselines()):
        span = (frame["expert_mean"] - frame["random_mean"]).reindex(task).to_numpy(dtype=np.float64)
        both.append(np.where(span == 0, np.nan, span))
    return both[0], both[1]


def pool(results: Results, by: list[str]) -> pd.DataFrame:
    """Pool the evaluation trajectories of all runs with equal values in the columns `by`.

    Returns:
        Columns `by`, seeds, episodes, mean, std (population standard deviation over trajectories, as in the paper).
    """
    frame = results.returns.merge(results.runs, on="run")
    groups = frame.groupby(by, dropna=False, sort=False)
    return pd.DataFrame(
        {
            "seeds": groups["run"].nunique(),
            "episodes": groups["return"].size(),
            "mean": groups["return"].mean(),
            "std": groups["return"].std(ddof=0),
        }
    ).reset_index()


def run_scores(results: Results, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run: CELL, method, and the mean and normalized_mean of its evaluation trajectories."""
    scores = results.runs[["run", *CELL]].merge(pool(results, ["run"])[["run", "mean"]], on="run")
    scores["normalized_mean"] = normalize(scores["mean"], scores["task"], baselines)
    return _with_method(scores)


def paper_table(results: Results, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's table: TABLE_COLUMNS, the paper's training_runs, and method (a column heading).

    There is one row per published cell, in the order of the tasks. After a task's published rows follow sizes and
    algorithms that only we have, and unpublished cells of the authors for which we have runs. Runs with settings
    outside the paper's grid and controls are not in the table.
    """
    ours = pool(subset(results, results.runs["of_paper"] & (results.runs["algorithm"] != CONSTANT.name)), CELL)
    published = _of_paper(published_results()).assign(order=range(len(published_results())), published=True)
    joined = ours.merge(published, on=CELL, how="outer")
    joined["published"] = joined["published"].eq(True)
    unpublished = joined[CELL].merge(_of_paper(unpublished_results()), on=CELL, how="left")
    table = _with_baselines(joined.fillna(unpublished.drop(columns=CELL)), baselines).sort_values(
        ["task", "order", "trajectories", "algorithm", "entropy_weight"], key=by_rank, ignore_index=True
    )
    scores = normalized_runs(results, baselines)
    paper = _by_cell(published_runs())
    keys = [cell_key(cell) for cell in table[CELL].itertuples(index=False, name=None)]
    nothing = np.empty(0)
    counts = [failure_counts(scores.get(key, nothing), paper.get(key, nothing)) for key in keys]
    return table.assign(**pd.DataFrame(counts, columns=FAILURE_COLUMNS, index=table.index))


def normalized_runs(results: Results, baselines: pd.DataFrame) -> dict[tuple[Any, ...], NDArray[np.float64]]:
    """Return the normalized means of the runs (R,) of every cell of the paper's grid, by its `cell_key`."""
    scores = run_scores(subset(results, results.runs["of_paper"]), baselines)
    return _by_cell(scores)


def cell_key(cell: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of CELL as a key. "" stands for no entropy weight, since NaN is not equal to itself."""
    return tuple("" if value != value else value for value in cell)


def _by_cell(scores: pd.DataFrame) -> dict[tuple[Any, ...], NDArray[np.float64]]:
    groups = scores.groupby(CELL, dropna=False, sort=False)["normalized_mean"]
    return {cell_key(cell): values.to_numpy(dtype=np.float64) for cell, values in groups}


def other_settings_table(results: Results, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return OTHER_COLUMNS and method for the runs whose settings are not in the paper's grid, one row per settings.
    method is their label in figures and on the page."""
    ours = pool(subset(results, ~results.runs["of_paper"]), [*CELL, "settings"])
    table = _with_baselines(ours.merge(_of_paper(published_results()), on=CELL, how="left"), baselines).sort_values(
        ["task", "settings", "trajectories", "algorithm", "entropy_weight"], key=by_rank, ignore_index=True
    )
    return _with_label(table)


def other_scores(results: Results, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return `run_scores` of the runs in `other_settings_table`, with settings and seed. method is their label."""
    scores = run_scores(subset(results, ~results.runs["of_paper"]), baselines)
    return _with_label(scores.merge(results.runs[["run", "settings", "seed"]], on="run"))


def _with_label(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace method by the algorithm's heading and the settings: "GAIL, gail.learning_rate-0.003, iterations-100"."""
    labels = [
        ", ".join([heading(algorithm), *([] if settings in (PAPER, DEFAULTS) else settings.split(","))])
        for algorithm, settings in zip(frame["algorithm"], frame["settings"], strict=True)
    ]
    return frame.assign(method=pd.Series(labels, index=frame.index, dtype="str"))


def heading(algorithm: str) -> str:
    """Return an algorithm's heading. For an added method, or if its package is not installed, return its name."""
    known = registry().get(algorithm)
    return algorithm if known is None else known.heading


def method(task: str, algorithm: str, entropy_weight: float) -> str:
    """Return the column heading of a cell: BC, FEM, GTAL, GAIL, or GAIL with its lambda if the task has several."""
    name, known = heading(algorithm), registry().get(algorithm)
    if known is None or not known.has_entropy_weight or task not in TASKS or len(TASKS[task].entropy_weights) < 2:
        return name
    unpublished = entropy_weight in unpublished_weights(task)
    return f"{name} λ = {entropy_weight:g}{f' ({UNPUBLISHED})' if unpublished else ''}"


def short_method(method: str) -> str:
    """Return a short heading of a method, for use under a column: only its lambda, if it has one."""
    weighted = "|".join(re.escape(known.heading) for known in registry().values() if known.has_entropy_weight)
    return re.sub(rf"^({weighted}) (?=λ = )", "", method).replace(f" ({UNPUBLISHED})", "*")


def paper_cell(task: str, algorithm: str, entropy_weight: float, trajectories: int) -> pd.Series | None:
    """Return the published row of a cell; None if the paper does not have this cell."""
    paper = published_results()
    weight = paper["entropy_weight"]
    same_weight = weight.isna() if math.isnan(entropy_weight) else weight == entropy_weight
    of_cell = (paper["task"] == task) & (paper["algorithm"] == algorithm) & (paper["trajectories"] == trajectories)
    found = paper[of_cell & same_weight]
    return found.iloc[0] if len(found) else None


def table_csv(table: pd.DataFrame, columns: list[str] = TABLE_COLUMNS) -> str:
    """Return the table as CSV. Unknown numbers are empty.

    Text that a spreadsheet would treat as a formula gets an apostrophe before it, as OWASP advises against CSV
    injection. Numbers are unchanged.
    """
    text = table[columns].copy()
    for column in text:
        if not pd.api.types.is_numeric_dtype(text[column]):
            text[column] = [f"'{value}" if str(value).lstrip().startswith(FORMULA) else value for value in text[column]]
    text["entropy_weight"] = ["" if math.isnan(weight) else f"{weight:g}" for weight in text["entropy_weight"]]
    return text.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def table_remarks(results: Results, table: pd.DataFrame) -> list[str]:
    """Return remarks for the reader of the table: runs that are left out, mixed experts, missing baselines."""
    remarks = []
    others = results.runs.loc[~results.runs["of_paper"], "settings"].value_counts().sort_index()
    if len(others):
        number = int(others.sum())
        counts = ", ".join(f"settings={settings}: {count}" for settings, count in others.items())
        remarks.append(
            f"{plural(number, 'run')} with other settings than the paper's ({counts}) "
            f"{'is' if number == 1 else 'are'} not in the table; see other_settings.csv"
        )
    unscored = table[(table["seeds"] > 0) & table["normalized_mean"].isna()]
    if len(unscored):
        tasks = ", ".join(unscored["task"].drop_duplicates())
        remarks.append(f"no normalized scores without our own random and expert returns: {tasks}")
    return remarks


def _of_paper(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's cells, with the prefix `paper_` in the names of number columns."""
    names = {"mean": "paper_mean", "std": "paper_std", "normalized_mean": "paper_normalized_mean"}
    types = {"task": "str", "algorithm": "str", "entropy_weight": "float64", "trajectories": "int64"}
    return cells.rename(columns=names).astype(types)


def _with_baselines(table: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Complete joined cells. Counts are 0 if there are no runs; everything else stays unknown."""
    table = table.astype({"mean": "float64", "std": "float64"})
    table["normalized_mean"] = normalize(table["mean"], table["task"], baselines)
    for count in ("seeds", "episodes"):
        table[count] = table[count].fillna(0).astype("int64")
    return _with_method(table)


def _with_method(frame: pd.DataFrame) -> pd.DataFrame:
    cells = zip(frame["task"], frame["algorithm"], frame["entropy_weight"], strict=True)
    methods = [method(*cell) for cell in cells]
    return frame.assign(method=pd.Series(methods, index=frame.index, dtype="str"))


def by_rank(column: pd.Series) -> pd.Series:
    """Return the sort key: tasks and algorithms in the paper's order, then others by name."""
    known: dict[str, Iterable[str]] = {"task": TASKS, "algorithm": ALGORITHMS}
    if column.name not in known:
        return column
    paper = list(known[str(column.name)])
    names = [*paper, *sorted(set(column) - set(paper))]
    return column.map({name: rank for rank, name in enumerate(names)})
