"""The published numbers, as data.

`table1.csv`: environments, random and expert performance (Ho & Ermon 2016, Table 1).
`table3.csv`: all 136 cells of the results (Ho & Ermon 2016, Tables 2 and 3): mean and standard deviation of
the learned policies' returns, with the number of training runs behind each.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd


@cache
def _read(name: str) -> pd.DataFrame:
    with (files("gailbench.paper") / name).open() as stream:
        return pd.read_csv(stream)


def published_baselines() -> pd.DataFrame:
    """Return Table 1, indexed by task: environment, dimensions, random and expert mean and std of returns."""
    return _read("table1.csv").set_index("task")


def published_results() -> pd.DataFrame:
    """Return the results table, one row per cell: task, trajectories, algorithm, entropy_weight, mean, std,
    training_runs, and normalized_mean (0 is the paper's random policy, 1 its expert)."""
    results = _read("table3.csv").copy()
    baselines = published_baselines()
    random = results["task"].map(baselines["random_mean"])
    expert = results["task"].map(baselines["expert_mean"])
    results["normalized_mean"] = (results["mean"] - random) / (expert - random)
    return results
