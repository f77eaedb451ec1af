"""Failed training runs: runs that score far below the others of their cell, and whether one side has more of them.

In many cells most runs reach the expert and a few learn nothing. The mean of such a cell says little.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

FAILURE = 0.5  # a run has failed if its score is below this multiple of the median run's
FAILURE_COLUMNS = ["failed_runs", "paper_failed_runs", "failures_p"]


def failed(scores: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return which runs (R,) score less than half of the median run's score.

    Args:
        scores: Normalized means of one side's runs, (R,).

    Returns:
        None if failures are unknown: with a single run, or if the median run is no better than the random policy.
    """
    if len(scores) < 2 or not float(np.median(scores)) > 0:
        return None
    return np.asarray(scores < FAILURE * np.median(scores))


def failures_p(ours: NDArray[np.bool_] | None, paper: NDArray[np.bool_] | None) -> float:
    """Return the p of Fisher's exact test (two-sided) that both sides fail equally often. Return NaN if failures of a
    side are unknown.

    Args:
        ours, paper: Results of `failed` for the two sides, (R,) each.
    """
    if ours is None or paper is None:
        return math.nan
    table = np.array([[side.sum(), (~side).sum()] for side in (ours, paper)])
    return float(stats.fisher_exact(table).pvalue)


def failure_counts(ours: NDArray[np.float64], paper: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return FAILURE_COLUMNS of a cell from the normalized means of both sides' runs, (R,) each; NaN if unknown."""
    sides = failed(ours), failed(paper)
    mine, theirs = (math.nan if side is None else float(side.sum()) for side in sides)
    return mine, theirs, failures_p(*sides)


def failures_text(row: pd.Series) -> str:
    """Return `failed 0/7, the paper's 3/7, p = 0.19`; "" if no run failed or failures are unknown."""
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
