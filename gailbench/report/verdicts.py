"""A verdict per cell: does our normalized mean match the paper's? The rule is explained in docs/report.md.

The difference of normalized means gets a 95 % interval from what is known of both sides; it is compared with a
margin of equivalence. Legend: R training runs, N trajectories of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gailbench.report.load import CELL, Results
from gailbench.report.table import spans

Verdict = Literal["matches", "better", "worse", "open", ""]
VERDICTS: tuple[Verdict, ...] = ("matches", "better", "worse", "open")
MARGIN = 0.05  # normalized; ours, because deterministic hoppers' intervals are so narrow that nothing would match
CONFIDENCE = 0.95
PAPER_EPISODES = 53  # evaluation trajectories per training run, about: "at least 50", sampled in whole batches
SINGLE_RUN = "the paper's cell is a single training run, whose seed-to-seed spread is unknown: not in the interval"


@dataclass(frozen=True)
class Uncertainty:
    """One independent contribution to the variance of a difference of means, with its degrees of freedom."""

    variance: float
    degrees: float


def interval(difference: float, parts: Sequence[Uncertainty]) -> tuple[float, float]:
    """Return the 95 % interval of a difference by Student's t with Welch and Satterthwaite's degrees of freedom."""
    variance = sum(part.variance for part in parts)
    if variance <= 0:
        return difference, difference
    degrees = variance**2 / sum(part.variance**2 / part.degrees for part in parts if part.variance > 0)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * math.sqrt(variance)
    return difference - half, difference + half


def judge(low: float, high: float) -> Verdict:
    """Return what an interval of (ours - paper) says: inside the margin, beyond one side of it, or neither."""
    if -MARGIN <= low and high <= MARGIN:
        return "matches"
    if low > MARGIN:
        return "better"
    if high < -MARGIN:
        return "worse"
    return "open"


def share_between_runs(cells: Sequence[Sequence[NDArray[np.float64]]]) -> float:
    """Return the share of the variance of single trajectories that lies between training runs, from 0 to 1.

    By one-way analysis of variance (the intraclass correlation), the components summed over cells; 0 without a cell
    of two runs.

    Args:
        cells: Per cell, per run: returns (N,), all of one task and algorithm.
    """
    between = within = 0.0
    for runs in cells:
        if len(runs) < 2:
            continue
        of_cell = float(np.mean([run.var(ddof=1) if len(run) > 1 else 0.0 for run in runs]))
        size = float(np.mean([len(run) for run in runs]))
        within += of_cell
        between += max(float(np.var([run.mean() for run in runs], ddof=1)) - of_cell / size, 0.0)
    return between / (between + within) if between + within > 0 else 0.0


def our_uncertainty(runs: Sequence[NDArray[np.float64]]) -> list[Uncertainty]:
    """Return the uncertainty of our mean: over the runs' means; of a single run over its trajectories."""
    if len(runs) > 1:
        means = [run.mean() for run in runs]
        return [Uncertainty(float(np.var(means, ddof=1)) / len(runs), len(runs) - 1)]
    (run,) = runs
    return [Uncertainty(float(run.var(ddof=1)) / len(run), len(run) - 1)] if len(run) > 1 else []


def paper_uncertainty(std: float, training_runs: int, share: float = 0.0) -> list[Uncertainty]:
    """Return the uncertainty of the paper's mean, whose std pools R runs of about 53 trajectories.

    Args:
        std: The paper's, over all its trajectories.
        training_runs: R.
        share: Part of that variance that lies between runs, which the paper does not say; 0 takes its trajectories
            as independent.
    """
    episodes = PAPER_EPISODES * training_runs
    if training_runs < 2 or share == 0:
        return [Uncertainty(std**2 / episodes, episodes - 1)]
    return [
        Uncertainty(share * std**2 / training_runs, training_runs - 1),
        Uncertainty((1 - share) * std**2 / episodes, episodes - training_runs),
    ]


def cell_verdicts(results: Results, table: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with difference, low, high (normalized; NaN where unknown), verdict ("" without runs or
    without a published number) and reason."""
    returns = results.returns.groupby("run")["return"]
    by_run = {run: values.to_numpy() for run, values in returns}
    of_cell = {
        tuple("" if value != value else value for value in cell): [by_run[run] for run in runs["run"]]
        for cell, runs in results.runs[results.runs["of_paper"]].groupby(CELL, dropna=False, sort=False)
    }
    siblings: dict[tuple[str, str], list[list[NDArray[np.float64]]]] = {}
    for (task, algorithm, *_), runs in of_cell.items():
        siblings.setdefault((str(task), str(algorithm)), []).append(runs)
    shares = {key: share_between_runs(cells) for key, cells in siblings.items()}
    our_span, paper_span = spans(table["task"], baselines)
    rows = []
    for position, (_, row) in enumerate(table.iterrows()):
        key = tuple("" if value != value else value for value in row[CELL])
        share = shares.get((row["task"], row["algorithm"]), 0.0)
        rows.append(_cell(row, of_cell.get(key, []), share, our_span[position], paper_span[position]))
    return table.assign(**pd.DataFrame(rows, columns=["difference", "low", "high", "verdict", "reason"]))


def _cell(
    row: pd.Series, runs: list[NDArray[np.float64]], share: float, our_span: float, paper_span: float
) -> tuple[float, float, float, Verdict, str]:
    nothing = (math.nan, math.nan, math.nan)
    if not runs:
        return *nothing, "", "no runs"
    if math.isnan(row["paper_mean"]):
        return *nothing, "", "not in the paper"
    if math.isnan(row["normalized_mean"]):
        return *nothing, "open", "no random and expert returns of ours to normalize with"
    training_runs = int(row["training_runs"])
    difference = row["normalized_mean"] - row["paper_normalized_mean"]
    scaled = [run / our_span for run in runs]
    ours, paper_std = our_uncertainty(scaled), row["paper_std"] / paper_span
    low, high = interval(difference, [*ours, *paper_uncertainty(paper_std, training_runs)])
    note = f"; {SINGLE_RUN}" if training_runs == 1 else ""
    if len(runs) < training_runs:
        return difference, low, high, "open", f"{len(runs)} of the paper's {training_runs} training runs{note}"
    verdict = judge(low, high)
    clustered = judge(*interval(difference, [*ours, *paper_uncertainty(paper_std, training_runs, share)]))
    if clustered != verdict:
        note = f"; {clustered}, if the paper's runs differ among themselves as much as ours{note}"
    said = {
        "matches": f"the interval lies within ±{MARGIN}",
        "better": f"the interval lies above {MARGIN}",
        "worse": f"the interval lies below -{MARGIN}",
        "open": f"the interval reaches over a margin of ±{MARGIN}: too wide to say",
    }
    return difference, low, high, verdict, said[verdict] + note
