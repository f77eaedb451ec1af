"""Statistics of the evaluation returns, and the tables that show them beside the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pandas as pd

from gailbench.paper import published_baselines, published_results
from gailbench.report.load import CELL, Results
from gailbench.tasks import ALGORITHMS, TASKS

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
OTHER_COLUMNS = ["task", "settings", *COLUMNS[1:]]
NOTHING = "\N{EN DASH}"  # what the table shows for a missing value


def measured_baselines() -> pd.DataFrame:
    """Return our own random and expert means, indexed by task (random_mean, expert_mean; NaN if missing).

    The expert is the shipped one, run stochastically, as the demonstrations were sampled.
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


def normalize(mean: pd.Series, task: pd.Series, baselines: pd.DataFrame) -> pd.Series:
    """Return (mean - random) / (expert - random), row by row; NaN where a baseline is missing."""
    random = task.map(baselines["random_mean"]).astype("float64")
    span = task.map(baselines["expert_mean"]).astype("float64") - random
    return (mean - random) / span.where(span != 0)


def pool(results: Results, by: list[str]) -> pd.DataFrame:
    """Pool the evaluation trajectories of all runs that agree in `by`.

    Returns:
        `by`, seeds, episodes, mean, std (the population's, over trajectories, as in the paper).
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
    """Return one row per run: CELL, method, mean, normalized_mean of its own evaluation trajectories."""
    scores = results.runs[["run", *CELL]].merge(pool(results, ["run"])[["run", "mean"]], on="run")
    scores["normalized_mean"] = normalize(scores["mean"], scores["task"], baselines)
    return _with_method(scores)


def paper_table(results: Results, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's grid: COLUMNS, the paper's training_runs, and method (a column heading).

    One row per published cell, in the order of the tasks; after a task's own rows, sizes and algorithms that
    only we have. Runs with settings outside the paper's grid are not in it.
    """
    ours = pool(_subset(results, of_paper=True), CELL)
    return _with_baselines(ours.merge(_published(), on=CELL, how="outer"), baselines).sort_values(
        ["task", "order", "trajectories", "algorithm", "entropy_weight"], key=_rank, ignore_index=True
    )


def other_settings_table(results: Results, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return OTHER_COLUMNS: the runs whose settings are not in the paper's grid, each setting apart."""
    ours = pool(_subset(results, of_paper=False), [*CELL, "settings"])
    return _with_baselines(ours.merge(_published(), on=CELL, how="left"), baselines).sort_values(
        ["task", "settings", "trajectories", "algorithm", "entropy_weight"], key=_rank, ignore_index=True
    )


def method(task: str, algorithm: str, entropy_weight: float) -> str:
    """Return the column heading of a cell: BC, FEM, GTAL, GAIL, or GAIL with its lambda where several are."""
    if algorithm not in ALGORITHMS:
        return algorithm
    name = algorithm.upper()
    several = task in TASKS and len(TASKS[task].entropy_weights) > 1
    return f"{name} λ = {entropy_weight:g}" if several and algorithm == "gail" else name


def table_csv(table: pd.DataFrame, columns: list[str] = COLUMNS) -> str:
    """Return CSV text in which an unknown number is an empty cell."""
    text = table[columns].copy()
    text["entropy_weight"] = ["" if math.isnan(weight) else f"{weight:g}" for weight in text["entropy_weight"]]
    return text.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def table_remarks(results: Results, table: pd.DataFrame) -> list[str]:
    """Return what a reader of the table has to know: runs kept out, mixed experts, missing baselines."""
    remarks = []
    others = results.runs.loc[~results.runs["of_paper"], "settings"].value_counts().sort_index()
    if len(others):
        number = int(others.sum())
        counts = ", ".join(f"settings={settings}: {count}" for settings, count in others.items())
        remarks.append(
            f"{number} {'run' if number == 1 else 'runs'} with other settings than the paper's ({counts}) "
            f"{'is' if number == 1 else 'are'} not in the table; see other_settings.csv"
        )
    for (*_, settings), runs in results.runs.groupby([*CELL, "settings"], dropna=False, sort=False):
        first = runs.iloc[0]
        for source in ("expert", "demonstrations"):
            hashes = sorted(runs[f"{source}_sha256"].unique())
            if len(hashes) > 1:
                heading = method(first["task"], first["algorithm"], first["entropy_weight"])
                remarks.append(
                    f"{first['task']}, {heading}, {first['trajectories']} trajectories, settings={settings}: "
                    f"runs with different {source}_sha256 ({', '.join(h[:8] for h in hashes)}) are pooled; "
                    "they are not comparable"
                )
    unscored = table[(table["seeds"] > 0) & table["normalized_mean"].isna()]
    if len(unscored):
        tasks = ", ".join(unscored["task"].drop_duplicates())
        remarks.append(f"no normalized scores without our own random and expert returns: {tasks}")
    return remarks


def table_markdown(table: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """Return the paper's Table 3 with our numbers above the paper's, then both normalized."""
    runs = table.groupby("task", sort=False)["seeds"].sum()
    shown, absent = list(runs.index[runs > 0]), list(runs.index[runs == 0])
    parts = [
        "Return of the learned policies: mean ± standard deviation, pooled over the evaluation trajectories "
        "of all seeds, and below it the paper's (Ho & Ermon 2016, Table 3).",
        "A normalized score is (return - random) / (expert - random): 0 is a uniformly random policy, 1 the "
        "expert, acting stochastically. Our scores use our own random policy and experts, the paper's scores "
        "the paper's (Table 1).",
    ]
    if shown:
        parts += [
            _baselines_markdown(shown, baselines),
            "## Returns",
            *_blocks(table, shown, _returns_cell),
            "## Normalized scores, ours / paper",
            *_blocks(table, shown, _normalized_cell),
        ]
    if absent:
        parts.append(f"No runs yet: {', '.join(absent)}.")
    return "\n\n".join(parts) + "\n"


def _subset(results: Results, of_paper: bool) -> Results:
    runs = results.runs[results.runs["of_paper"] == of_paper]
    return Results(runs, results.returns[results.returns["run"].isin(runs["run"])])


def _published() -> pd.DataFrame:
    """Return the published cells, `paper_` before their numbers, and their order."""
    paper = published_results().rename(
        columns={"mean": "paper_mean", "std": "paper_std", "normalized_mean": "paper_normalized_mean"}
    )
    types = {"task": "str", "algorithm": "str", "entropy_weight": "float64", "trajectories": "int64"}
    return paper.assign(order=range(len(paper))).astype(types)


def _with_baselines(table: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Complete joined cells: counts are 0 without a run, everything else stays unknown."""
    table = table.astype({"mean": "float64", "std": "float64"})
    table["normalized_mean"] = normalize(table["mean"], table["task"], baselines)
    for count in ("seeds", "episodes"):
        table[count] = table[count].fillna(0).astype("int64")
    return _with_method(table)


def _with_method(frame: pd.DataFrame) -> pd.DataFrame:
    cells = zip(frame["task"], frame["algorithm"], frame["entropy_weight"], strict=True)
    methods = [method(*cell) for cell in cells]
    return frame.assign(method=pd.Series(methods, index=frame.index, dtype="str"))


def _rank(column: pd.Series) -> pd.Series:
    """Sort key: tasks and algorithms in the paper's order, others by name after them."""
    known: dict[str, Iterable[str]] = {"task": TASKS, "algorithm": ALGORITHMS}
    if column.name not in known:
        return column
    paper = list(known[str(column.name)])
    names = [*paper, *sorted(set(column) - set(paper))]
    return column.map({name: rank for rank, name in enumerate(names)})


def _baselines_markdown(tasks: list[str], baselines: pd.DataFrame) -> str:
    paper = published_baselines()
    columns = ["random_mean", "expert_mean"]
    rows = [
        [
            task,
            *(_number(frame[column].get(task, math.nan)) for column in columns for frame in (baselines, paper)),
        ]
        for task in tasks
    ]
    return _markdown(["Task", "Random, ours", "Random, paper", "Expert, ours", "Expert, paper"], rows)


def _blocks(table: pd.DataFrame, tasks: list[str], text: Callable[[pd.Series], str]) -> list[str]:
    """Return one Markdown table per layout, `text` of a row in each cell: reacher's columns are its own."""
    layouts: dict[bool, list[str]] = {}
    for task in tasks:
        layouts.setdefault(task in TASKS and TASKS[task].algorithms != ALGORITHMS, []).append(task)
    return [_block(table[table["task"].isin(members)], text) for members in layouts.values()]


def _block(table: pd.DataFrame, text: Callable[[pd.Series], str]) -> str:
    columns = table.sort_values(["algorithm", "entropy_weight"], key=_rank)["method"].drop_duplicates()
    rows = []
    for task, of_task in table.groupby("task", sort=False):
        for number, (trajectories, of_size) in enumerate(of_task.groupby("trajectories")):
            cells = {row["method"]: text(row) for _, row in of_size.iterrows()}
            label = str(task) if number == 0 else ""
            rows.append([label, str(trajectories), *(cells.get(column, NOTHING) for column in columns)])
    return _markdown(["Task", "Trajectories", *columns], rows)


def _returns_cell(row: pd.Series) -> str:
    """`200.0 ± 0.0 (3/7 seeds)<br>paper 200.0 ± 0.0`."""
    ours = NOTHING
    if row["seeds"]:
        wanted = row["training_runs"]
        seeds = f"{row['seeds']}/{wanted:.0f}" if row["seeds"] < wanted else str(row["seeds"])
        plural = "" if seeds == "1" else "s"
        ours = f"{_mean_and_std(row['mean'], row['std'])} ({seeds} seed{plural})"
    return (
        ours
        if math.isnan(row["paper_mean"])
        else (f"{ours}<br>paper {_mean_and_std(row['paper_mean'], row['paper_std'])}")
    )


def _normalized_cell(row: pd.Series) -> str:
    ours, paper = (
        NOTHING if math.isnan(value) else f"{value:.2f}"
        for value in (row["normalized_mean"], row["paper_normalized_mean"])
    )
    return f"{ours} / {paper}"


def _mean_and_std(mean: float, std: float) -> str:
    """Both with two decimals where the mean is small (reacher's returns are around -4), else with one."""
    decimals = _decimals(mean)
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.{_decimals(value)}f}"


def _decimals(value: float) -> int:
    return 2 if abs(value) < 100 else 1


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
