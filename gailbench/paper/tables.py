"""The published numbers, as data frames.

`table1.csv`: environments, random and expert performance (Ho & Ermon 2016, Table 1).
`table3.csv`: all 136 cells of the results (Ho & Ermon 2016, Tables 2 and 3): mean and standard deviation of
the learned policies' returns, with the number of training runs behind each.
`run_means.csv`: the authors' 517 training runs, one per row: number of evaluation trajectories, mean and std of their
returns, and their mean length. Pooled, 496 of the runs give all cells of `table3.csv`. The other 21 are GAIL on reacher
with entropy weight 0.1, which the paper does not print.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

CELL = ["task", "algorithm", "entropy_weight", "trajectories"]  # columns that name a cell of the table


@cache
def _read(name: str) -> pd.DataFrame:
    with (files("gailbench.paper") / name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream)


def published_baselines() -> pd.DataFrame:
    """Return Table 1, indexed by task: environment, dimensions, random and expert mean and std of returns."""
    return _read("table1.csv").set_index("task")


def published_results() -> pd.DataFrame:
    """Return the table of results, one row per cell: task, trajectories, algorithm, entropy_weight, mean, std,
    training_runs, and normalized_mean (0 is the paper's random policy, 1 its expert)."""
    return _normalized(_read("table3.csv"))


def published_runs() -> pd.DataFrame:
    """Return the authors' training runs, one row per run: task, algorithm, entropy_weight (NaN if there is none),
    trajectories, run (its number within the cell), episodes, mean, std (population standard deviation of the returns),
    length_mean, and normalized_mean (0 is the paper's random policy, 1 its expert)."""
    return _normalized(_read("run_means.csv"))


def pooled_runs() -> pd.DataFrame:
    """Return the cells of `published_runs`, pooled over all trajectories, in the columns of `published_results`."""
    runs = _read("run_means.csv")
    runs = runs.assign(
        sum=runs["episodes"] * runs["mean"], squares=runs["episodes"] * (runs["std"] ** 2 + runs["mean"] ** 2)
    )
    groups = runs.groupby(CELL, dropna=False, sort=False)
    sums = groups[["episodes", "sum", "squares"]].sum()
    mean = sums["sum"] / sums["episodes"]
    std = np.sqrt(np.maximum(sums["squares"] / sums["episodes"] - mean**2, 0.0))
    return _normalized(pd.DataFrame({"mean": mean, "std": std, "training_runs": groups.size()}).reset_index())


def unpublished_results() -> pd.DataFrame:
    """Return the cells that the authors ran and the paper does not print, in the columns of `published_results`."""
    marked = pooled_runs().merge(published_results()[CELL], on=CELL, how="left", indicator=True)
    return marked[marked["_merge"] == "left_only"].drop(columns="_merge").reset_index(drop=True)


def _normalized(results: pd.DataFrame) -> pd.DataFrame:
    baselines = published_baselines()
    random = results["task"].map(baselines["random_mean"])
    expert = results["task"].map(baselines["expert_mean"])
    return results.assign(normalized_mean=(results["mean"] - random) / (expert - random))
