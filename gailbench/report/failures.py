"""Whole failures: training runs far below the others of their cell, and whether either side has more of them.

Many cells are mixtures: most runs reach the expert, a few learn nothing. Their mean says little then.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

FAILURE = 0.5  # of the median run's score
FAILURE_COLUMNS = ["failed_runs", "paper_failed_runs", "failures_p"]


def failed(scores: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return which runs score under half of what the median run does, (R,).

    Args:
        scores: One side's normalized run means, (R,).

    Returns:
        None where that says nothing: one run, or a median run that is no better than the random policy.
    """
    if len(scores) < 2 or not float(np.median(scores)) > 0:
        return None
    return np.asarray(scores < FAILURE * np.median(scores))


def failures_p(ours: NDArray[np.bool_] | None, paper: NDArray[np.bool_] | None) -> float:
    """Return Fisher's exact p (two-sided) that both sides fail as often; NaN where a side's failures are unknown.

    Args:
        ours, paper: `failed` of either side, (R,) each.
    """
    if ours is None or paper is None:
        return math.nan
    table = np.array([[side.sum(), (~side).sum()] for side in (ours, paper)])
    return float(stats.fisher_exact(table).pvalue)


def failure_counts(ours: NDArray[np.float64], paper: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return FAILURE_COLUMNS of a cell from the normalized run means of either side, (R,) each; NaN if unknown."""
    sides = failed(ours), failed(paper)
    mine, theirs = (math.nan if side is None else float(side.sum()) for side in sides)
    return mine, theirs, failures_p(*sides)


def failures_text(row: pd.Series) -> str:
    """Return `failed 0/7, the paper's 3/7, p = 0.19`; "" where no run failed or failures are unknown."""
    sides = (
        ("failed", row["failed_runs"], row["seeds"]),
        ("the paper's", row["paper_failed_runs"], row["training_runs"]),
    )
    known = [f"{name} {number:.0f}/{of:.0f}" for name, number, of in sides if not math.isnan(number)]
    if not any(number > 0 for _, number, _ in sides):
        return ""
    if math.isnan(row["failed_runs"]):
        known[0] = f"failed: {known[0]}"
    p = row["failures_p"]
    return ", ".join([*known, *([] if math.isnan(p) else [f"p = {p:.2g}"])])
