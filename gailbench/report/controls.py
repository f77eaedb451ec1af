"""Controls beside the algorithms: the random policy, the expert, and TRPO on a constant reward.

The last one does not learn from demonstrations. It only learns that an episode should go on (or end). Its score shows
what survival alone is worth. This control is ours, not the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from gailbench import experts
from gailbench.algorithms import CONSTANT
from gailbench.paper.tables import published_baselines
from gailbench.report.load import Results, subset
from gailbench.report.table import normalize, pool

CONTROLS = {"random": "random policy", "expert": "expert (stochastic)", CONSTANT.name: "constant reward (ours)"}
CONTROL_COLUMNS = [
    "task",
    "control",
    "seeds",
    "episodes",
    "mean",
    "std",
    "normalized_mean",
    "paper_mean",
    "paper_std",
]


def controls_table(results: Results, baselines: pd.DataFrame, tasks: Iterable[str]) -> pd.DataFrame:
    """Return CONTROL_COLUMNS for each of these tasks and every control. Unknown values are NaN, and unknown counts 0.

    Random policy and expert have no training runs, and so no seeds. paper_mean and paper_std are those of Table 1.
    """
    runs = results.runs
    constant = pool(subset(results, runs["of_paper"] & (runs["algorithm"] == CONSTANT.name)), ["task"]).set_index(
        "task"
    )
    paper = published_baselines()
    rows: list[dict[str, Any]] = []
    for task in tasks:
        card = experts.card(task) or {}
        random = experts.random_returns().get(task, {})
        known: dict[str, dict[str, Any]] = {
            "random": {
                "episodes": random.get("episodes", 0),
                "mean": baselines["random_mean"].get(task, math.nan),
                "std": random.get("std", math.nan),
            },
            "expert": {
                "episodes": card.get("episodes", 0),
                "mean": baselines["expert_mean"].get(task, math.nan),
                "std": card.get("stochastic_std", math.nan),
            },
            CONSTANT.name: {str(k): value for k, value in constant.loc[task].items()} if task in constant.index else {},
        }
        for control, values in known.items():
            published = control != CONSTANT.name and task in paper.index
            rows.append(
                {
                    "task": task,
                    "control": control,
                    "seeds": int(values.get("seeds", 0)),
                    "episodes": int(values.get("episodes", 0)),
                    "mean": values.get("mean", math.nan),
                    "std": values.get("std", math.nan),
                    "paper_mean": paper.loc[task, f"{control}_mean"] if published else math.nan,
                    "paper_std": paper.loc[task, f"{control}_std"] if published else math.nan,
                }
            )
    table = pd.DataFrame(rows)
    table["normalized_mean"] = normalize(table["mean"], table["task"], baselines)
    return table[CONTROL_COLUMNS]
