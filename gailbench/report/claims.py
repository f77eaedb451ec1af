"""Whether a claim (`gailbench.paper.claims`) holds on a table, fails, or is open.

A cell counts once it has the paper's number of training runs; a condition whose outcome no value of the missing cells
could change is decided before they are there. Where two cells' runs overlap, a condition is on the runs: a permutation
test decides it, and it is open where that cannot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gailbench.paper.claims import Cell, Claim, Condition, RunsBelow
from gailbench.paper.tables import published_results, published_runs
from gailbench.report.permutation import permutation_p
from gailbench.report.table import method
from gailbench.report.text import plural

Status = Literal["holds", "fails", "open"]
Scores = dict[Cell, float]
Runs = dict[Cell, NDArray[np.float64]]  # normalized run means of a cell, (R,)
SURE = 0.05  # p of the permutation test; below it a difference between overlapping runs counts
SMALLEST = 0.001  # p in words


@dataclass(frozen=True)
class Table:
    """What claims are judged on: ours, or the paper's own.

    Attributes:
        scores: Normalized means of the cells that count.
        runs: Normalized run means of the cells.
    """

    scores: Scores
    runs: Runs


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its outcome on our table and on the paper's own, and the conditions that decide ours."""

    text: str
    ours: Status
    paper: Status
    deciding: list[Condition | RunsBelow]
    table: Table

    @property
    def missing(self) -> list[Cell]:
        """The cells that an open claim waits for; one whose runs are there and not sure waits for none."""
        if self.ours != "open":
            return []
        cells = [cell for condition in self.deciding for cell in condition.cells if cell not in self.table.scores]
        return list(dict.fromkeys(cells))

    def evidence(self, condition: Condition | RunsBelow) -> str:
        """Return a condition with the numbers that decide it."""
        return f"{words(condition)} ({evidence(condition, self.table)})"

    def reasons(self, most: int = 3) -> str:
        """Return what decides the claim in words, at most so many conditions or cells."""
        if self.missing:
            names = [label(cell) for cell in self.missing]
            return f"waits for {plural(len(names), 'cell')}: {_some(names, most, ', ')}"
        said = [self.evidence(condition) for condition in self.deciding]
        if self.ours == "holds" and len(said) > most:
            return f"all {len(said)} conditions hold"
        return _some(said, most, "; ")


def judge(claim: Claim, ours: Table, paper: Table) -> JudgedClaim:
    """Return a claim with its outcome on either table. What overlaps is said with how sure the paper's runs are."""
    sure = "".join(
        " (Runs of both overlap. The authors': "
        f"{how_sure(paper.runs[found.lower], paper.runs[found.higher], found.winner)}.)"
        for found in claim.conditions
        if isinstance(found, RunsBelow)
    )
    return JudgedClaim(
        f"{claim.text}{sure}", claim_status(claim, ours), claim_status(claim, paper), deciding(claim, ours), ours
    )


def claim_status(claim: Claim, table: Table) -> Status:
    """A claim fails with its first condition that does, and holds when all do."""
    found = {status(condition, table) for condition in claim.conditions}
    return "fails" if "fails" in found else "open" if "open" in found else "holds"


def deciding(claim: Claim, table: Table) -> list[Condition | RunsBelow]:
    """Return the conditions that decide: those that fail; if none does those still open; else all."""
    outcome = claim_status(claim, table)
    return [condition for condition in claim.conditions if status(condition, table) == outcome]


def status(condition: Condition | RunsBelow, table: Table) -> Status:
    """Whether a condition holds.

    Of one on scores the worst and the best that the missing cells could be are tried; the runs are not looked at. One
    on runs holds or fails where the permutation test is sure of either direction.
    """
    scores, runs = table.scores, table.runs
    if isinstance(condition, RunsBelow):
        if not _there(condition, table):
            return "open"
        if permutation_p(runs[condition.lower], runs[condition.higher]) < SURE:
            return "holds"
        return "fails" if permutation_p(runs[condition.higher], runs[condition.lower]) < SURE else "open"
    sides = list(zip(condition.cells, condition.rising, strict=True))
    if condition.holds([scores.get(cell, -math.inf if up else math.inf) for cell, up in sides]):
        return "holds"
    return (
        "open" if condition.holds([scores.get(cell, math.inf if up else -math.inf) for cell, up in sides]) else "fails"
    )


def evidence(condition: Condition | RunsBelow, table: Table) -> str:
    """Return the cells' scores in the order of the text, "?" for a missing one; of many cells their number; of
    overlapping runs the means and how sure the order is."""
    cells, scores = condition.cells, table.scores
    if len(cells) > 2:
        return f"{sum(cell in scores for cell in cells)} of {len(cells)} cells there"
    if isinstance(condition, RunsBelow) and _there(condition, table):
        lower, higher = (table.runs[cell] for cell in cells)
        return f"{lower.mean():.2f}, {higher.mean():.2f}; {how_sure(lower, higher)}"
    return ", ".join(f"{scores[cell]:.2f}" if cell in scores else "?" for cell in cells)


def _there(condition: RunsBelow, table: Table) -> bool:
    return all(cell in table.scores and cell in table.runs for cell in condition.cells)


def how_sure(lower: NDArray[np.float64], higher: NDArray[np.float64], winner: str = "the second") -> str:
    """Return in words the share of pairs of runs, one of each, that the second wins (ties count half), and the p of the
    permutation test."""
    p = permutation_p(lower, higher)
    wins = float(np.mean((higher[:, np.newaxis] > lower) + 0.5 * (higher[:, np.newaxis] == lower)))
    said = f"p < {SMALLEST}" if p < SMALLEST else f"p = {p:.2g}"
    return f"{winner} wins {100 * wins:.0f} % of pairs of runs, permutation {said}"


def words(condition: Condition | RunsBelow) -> str:
    """`walker BC 4 below walker GAIL 4`."""
    return condition.text.format(*map(label, condition.cells))


def label(cell: Cell) -> str:
    """`walker GAIL 4`."""
    task, algorithm, weight, trajectories = cell
    return f"{task} {method(task, algorithm, weight)} {trajectories}"


def our_table(table: pd.DataFrame, scores: pd.DataFrame) -> Table:
    """Return ours: normalized means of the cells that have the paper's number of training runs, and run means.

    Args:
        table: `paper_table`.
        scores: `run_scores`.
    """
    enough = table[(table["seeds"] >= table["training_runs"]) & table["normalized_mean"].notna()]
    return Table(_scores(enough), _runs(scores))


def published_table() -> Table:
    """Return the paper's own."""
    return Table(_scores(published_results()), _runs(published_runs()))


def _scores(frame: pd.DataFrame) -> Scores:
    return dict(zip(_cells(frame), frame["normalized_mean"], strict=True))


def _runs(frame: pd.DataFrame) -> Runs:
    runs: dict[Cell, list[float]] = {}
    for cell, mean in zip(_cells(frame), frame["normalized_mean"], strict=True):
        runs.setdefault(cell, []).append(mean)
    return {cell: np.array(means) for cell, means in runs.items()}


def _cells(frame: pd.DataFrame) -> list[Cell]:
    weights = frame["entropy_weight"].fillna(0.0)
    return list(zip(frame["task"], frame["algorithm"], weights, frame["trajectories"], strict=True))


def _some(words: list[str], most: int, between: str) -> str:
    more = f"{between}and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more
