"""A verdict per cell: does our normalized mean match the paper's? The rule is explained in docs/report.md.

The difference between the means of our runs and of the paper's has a 95 % interval, by Welch's t-test between the means
of runs. The interval is compared with a margin of equivalence. "Better" and "worse" must be confirmed by a permutation
test if the paper has several runs. If each side has one run, the interval is that of their trajectories.

Legend: R training runs, N trajectories of a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from gailbench.paper.tables import CELL, published_runs
from gailbench.report.failures import failed
from gailbench.report.load import Results
from gailbench.report.permutation import two_sided_p
from gailbench.report.table import cell_key, normalized_runs, spans

Verdict = Literal["matches", "better", "worse", "open", ""]
VERDICTS: tuple[Verdict, ...] = ("matches", "better", "worse", "open")
VERDICT_COLUMNS = ["difference", "low", "high", "p", "verdict", "reason"]
MARGIN = 0.05  # normalized; our choice: without it nothing on hopper would match, since its intervals are so narrow
CONFIDENCE = 0.95
SINGLE_RUN = "the paper's cell is a single training run, whose seed-to-seed spread is unknown: not in the interval"
SPREAD_OF_OURS = "the paper's cell is a single training run, whose seed-to-seed spread is taken to be that of ours"


@dataclass(frozen=True)
class Uncertainty:
    """One independent contribution to the variance of a difference of means, with its degrees of freedom."""

    variance: float
    degrees: float


@dataclass(frozen=True)
class Comparison:
    """A difference of normalized means (ours - the paper's), its 95 % interval, and p of no difference, two-sided."""

    difference: float
    low: float
    high: float
    p: float


def compare(difference: float, parts: Sequence[Uncertainty]) -> Comparison:
    """Return a difference with its interval and p, by Student's t with Welch and Satterthwaite's degrees of freedom.

    If there is no variance, the interval is a point.
    """
    variance = sum(part.variance for part in parts)
    if variance <= 0:
        return Comparison(difference, difference, difference, 1.0 if difference == 0 else 0.0)
    degrees = variance**2 / sum(part.variance**2 / part.degrees for part in parts if part.variance > 0)
    error = math.sqrt(variance)
    half = float(special.stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(special.stdtr(degrees, -abs(difference) / error))
    return Comparison(difference, difference - half, difference + half, p)


def judge(low: float, high: float) -> Verdict:
    """Return the verdict by an interval of (ours - paper): within the margin, above it, below it, or open."""
    if -MARGIN <= low and high <= MARGIN:
        return "matches"
    if low > MARGIN:
        return "better"
    if high < -MARGIN:
        return "worse"
    return "open"


def rests_on_single_runs(cells: pd.Series | pd.DataFrame) -> Any:
    """Return whether a verdict that is not open rests on one run of ours and one of the paper's. Then it is unknown how
    much runs differ.

    Args:
        cells: A row of the table, or the table; then the result is a series.
    """
    decided = (cells["verdict"] != "") & (cells["verdict"] != "open")
    return decided & (cells["seeds"] == 1) & (cells["training_runs"] == 1)


def variance(values: NDArray[np.float64]) -> float:
    """Return the unbiased variance of values (N,), N > 1. It is exactly 0 if all values are the same."""
    return 0.0 if values.min() == values.max() else float(np.var(values, ddof=1))


def of_runs(scores: NDArray[np.float64]) -> Uncertainty:
    """Return the uncertainty of the mean over several runs, from their means (R,)."""
    return Uncertainty(variance(scores) / len(scores), len(scores) - 1)


def of_trajectories(variance: float, number: int) -> list[Uncertainty]:
    """Return the uncertainty of a single run's mean over N trajectories. It is unknown for one trajectory."""
    return [Uncertainty(variance / number, number - 1)] if number > 1 else []


def compare_runs(ours: NDArray[np.float64], paper: NDArray[np.float64]) -> Comparison:
    """Compare several runs of ours with the paper's.

    Args:
        ours: Normalized means of our runs, (R,), R > 1.
        paper: Normalized means of the paper's runs, (R,). If there is one run, its variance is assumed to equal ours.
    """
    difference = float(ours.mean() - paper.mean())
    if len(paper) > 1:
        return compare(difference, [of_runs(ours), of_runs(paper)])
    mine = of_runs(ours)
    return compare(difference, [Uncertainty(mine.variance * (1 + len(ours)), mine.degrees)])


def compare_one_run(difference: float, run: NDArray[np.float64], paper: Sequence[Uncertainty]) -> Comparison:
    """Compare a single run of ours with the paper's. The variance between our runs is unknown, and not in the interval.

    Args:
        difference: Our normalized mean minus the paper's.
        run: Returns of our run, (N,), divided by our expert - random.
        paper: What is uncertain about the paper's mean.
    """
    ours = of_trajectories(variance(run), len(run)) if len(run) > 1 else []
    return compare(difference, [*ours, *paper])


def confirmed(ours: NDArray[np.float64], paper: NDArray[np.float64]) -> bool:
    """Return whether an exact test of the same runs confirms a difference. If some runs fail, means of runs are far
    from normal, and Welch's test errs in up to 6 %. Return True if the paper has one run, since there is no such test
    then.

    Args:
        ours: Normalized means of our runs, (R,).
        paper: Normalized means of the paper's runs, (R,).
    """
    return len(paper) < 2 or two_sided_p(ours, paper) <= 1 - CONFIDENCE


def verdict_of(ours: NDArray[np.float64], paper: NDArray[np.float64]) -> Verdict:
    """Return the verdict on several runs of ours and the paper's runs, from their normalized means (R,) each."""
    found = compare_runs(ours, paper)
    verdict = judge(found.low, found.high)
    return "open" if verdict in ("better", "worse") and not confirmed(ours, paper) else verdict


def cell_verdicts(results: Results, table: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with VERDICT_COLUMNS: difference, low, high (normalized) and p (of no difference), which are NaN
    if unknown; verdict ("" if there are no runs or no value of the paper) and reason."""
    returns = {run: values.to_numpy() for run, values in results.returns.groupby("run")["return"]}
    runs = results.runs[results.runs["of_paper"]]
    of_cell = {cell_key(cell): [returns[run] for run in of["run"]] for cell, of in runs.groupby(CELL, dropna=False)}
    paper_runs = published_runs()
    paper = {cell_key(cell): of for cell, of in paper_runs.groupby(CELL, dropna=False)}
    scores = normalized_runs(results, baselines)
    our_span, paper_span = spans(table["task"], baselines)
    rows = []
    for position, (_, row) in enumerate(table.iterrows()):
        key = cell_key(row[CELL])
        mine = [run / our_span[position] for run in of_cell.get(key, [])]
        rows.append(_cell(row, mine, scores.get(key, np.empty(0)), paper.get(key), paper_span[position]))
    return table.assign(**pd.DataFrame(rows, columns=VERDICT_COLUMNS))


def _cell(
    row: pd.Series,
    runs: list[NDArray[np.float64]],
    scores: NDArray[np.float64],
    paper: pd.DataFrame | None,
    paper_span: float,
) -> tuple[Any, ...]:
    """Return VERDICT_COLUMNS of a cell.

    Args:
        row: A row of the table.
        runs: Our returns per run, (N,) each, divided by our expert - random.
        scores: Normalized means of our runs, (R,).
        paper: The rows of `published_runs` for the cell.
        paper_span: expert - random in the paper's returns.
    """
    nothing = (math.nan,) * 4
    if not runs:
        return *nothing, "", "no runs"
    if paper is None:
        return *nothing, "", "not in the paper"
    if math.isnan(row["normalized_mean"]):
        return *nothing, "open", "no random and expert returns of ours to normalize with"
    theirs = paper["normalized_mean"].to_numpy()
    notes = []
    if len(runs) > 1:
        found = compare_runs(scores, theirs)
        notes += [SPREAD_OF_OURS] if len(theirs) == 1 else []
    else:
        if len(theirs) > 1:
            uncertain = [of_runs(theirs)]
        else:
            (episodes,), (std,) = paper["episodes"], paper["std"] / paper_span
            uncertain = of_trajectories(std**2, episodes)
            notes.append(SINGLE_RUN)
        found = compare_one_run(float(scores.mean() - theirs.mean()), runs[0], uncertain)
    numbers = tuple(_rounded(value) for value in (found.difference, found.low, found.high, found.p))
    if len(runs) < len(theirs):
        said = f"{len(runs)} of the paper's {len(theirs)} training runs"
        return *numbers, "open", "; ".join([said, *notes])
    verdict = judge(found.low, found.high) if len(runs) == 1 else verdict_of(scores, theirs)
    words = {
        "matches": f"the interval lies within ±{MARGIN}",
        "better": f"the interval lies above {MARGIN}",
        "worse": f"the interval lies below -{MARGIN}",
        "open": f"the interval reaches over a margin of ±{MARGIN}: too wide to say",
    }
    if verdict != (by_interval := judge(found.low, found.high)):
        words["open"] = f"{words[by_interval]}, but a permutation test of the same runs is not sure"
    elif verdict == "open" and len(runs) > 1:
        differ = found.p < 1 - CONFIDENCE
        words["open"] += f"; {'a' if differ else 'no'} difference is found (p = {found.p:.2g})"
        words["open"] += ", maybe within the margin" if differ else ""
    if verdict == "open" and len(runs) > 1 and (without := _without_failures(scores, theirs)):
        notes.insert(0, without)
    return *numbers, verdict, "; ".join([words[verdict], *notes])


def _without_failures(ours: NDArray[np.float64], paper: NDArray[np.float64]) -> str:
    """Return in words the verdict on the runs that did not fail; "" if none failed or this verdict is open too."""
    left = [side if (of_side := failed(side)) is None else side[~of_side] for side in (ours, paper)]
    if len(left[0]) + len(left[1]) == len(ours) + len(paper) or min(map(len, left)) < 2:
        return ""
    words = {"matches": "match", "better": "are better", "worse": "are worse"}
    verdict = verdict_of(*left)
    return f"the runs that did not fail {words[verdict]}" if verdict in words else ""


def _rounded(value: float) -> float:
    """Return a value without the rounding errors of its sums, and without a negative zero."""
    return round(value, 12) + 0.0
