"""Judging whether a claim (`gailbench.paper.claims`) holds on a table, fails, or is open.

A cell counts if it has the paper's number of training runs. A condition is decided as soon as no value of the missing
cells could change its outcome. If the runs of two cells overlap, a permutation test between the runs decides the
condition. If the test is not significant, the condition is open.
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
from gailbench.plumbing.errors import plural
from gailbench.report.permutation import permutation_p
from gailbench.report.table import method

Status = Literal["holds", "fails", "open"]
Scores = dict[Cell, float]
Runs = dict[Cell, NDArray[np.float64]]  # normalized run means of a cell, (R,)
SURE = 0.05  # p of the permutation test; below it a difference between overlapping runs counts
SMALLEST = 0.001  # p in words


@dataclass(frozen=True)
class Table:
    """A table on which claims are judged: ours or the paper's.

    Attributes:
        scores: Normalized means of the cells that count.
        runs: Normalized means of the cells' runs.
    """

    scores: Scores
    runs: Runs


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its outcome on our table and on the paper's, and the conditions that decide it on our table."""

    text: str
    ours: Status
    paper: Status
    deciding: list[Condition | RunsBelow]
    table: Table

    @property
    def missing(self) -> list[Cell]:
        """The missing cells that an open claim waits for. A claim that is open because its test is not significant
        waits for none."""
        if self.ours != "open":
            return []
        cells = [cell for condition in self.deciding for cell in condition.cells if cell not in self.table.scores]
        return list(dict.fromkeys(cells))

    def evidence(self, condition: Condition | RunsBelow) -> str:
        """Return a condition in words, with the numbers that decide it."""
        return f"{words(condition)} ({evidence(condition, self.table)})"

    def reasons(self, most: int = 3) -> str:
        """Return in words what decides the claim, with at most `most` conditions or cells."""
        if self.missing:
            names = [label(cell) for cell in self.missing]
            return f"waits for {plural(len(names), 'cell')}: {_some(names, most, ', ')}"
        said = [self.evidence(condition) for condition in self.deciding]
        if self.ours == "holds" and len(said) > most:
            return f"all {len(said)} conditions hold"
        return _some(said, most, "; ")


def judge(claim: Claim, ours: Table, paper: Table) -> JudgedClaim:
    """Return a claim with its outcome on both tables. For runs that overlap, the text gives the paper's p too."""
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
    """Return the status of a claim. It fails if any condition fails, and holds if all conditions hold."""
    found = {status(condition, table) for condition in claim.conditions}
    return "fails" if "fails" in found else "open" if "open" in found else "holds"


def deciding(claim: Claim, table: Table) -> list[Condition | RunsBelow]:
    """Return the conditions that decide: those that fail; if none fails, those that are open; otherwise all."""
    outcome = claim_status(claim, table)
    return [condition for condition in claim.conditions if status(condition, table) == outcome]


def status(condition: Condition | RunsBelow, table: Table) -> Status:
    """Return whether a condition holds, fails or is open.

    For a condition on scores, the worst and the best values of the missing cells are tried. A condition on runs holds
    or fails if the permutation test is significant in that direction.
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
    """Return the scores of a condition's cells, in the order of its text and with "?" for a missing one. For many cells
    return how many there are. For runs that overlap return their means and the result of the test."""
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
    """Return in words in how many pairs of runs the second scores higher (ties count half), and the p of the
    permutation test."""
    p = permutation_p(lower, higher)
    wins = float(np.mean((higher[:, np.newaxis] > lower) + 0.5 * (higher[:, np.newaxis] == lower)))
    said = f"p < {SMALLEST}" if p < SMALLEST else f"p = {p:.2g}"
    return f"{winner} wins {100 * wins:.0f} % of pairs of runs, permutation {said}"


def words(condition: Condition | RunsBelow) -> str:
    """Return a condition in words: `walker BC 4 below walker GAIL 4`."""
    return condition.text.format(*map(label, condition.cells))


def label(cell: Cell) -> str:
    """Return a cell's name: `walker GAIL 4`."""
    task, algorithm, weight, trajectories = cell
    return f"{task} {method(task, algorithm, weight)} {trajectories}"


def our_table(table: pd.DataFrame, scores: pd.DataFrame) -> Table:
    """Return our table: normalized means of the cells with the paper's number of training runs, and means of runs.

    Args:
        table: Result of `paper_table`.
        scores: Result of `run_scores`.
    """
    enough = table[(table["seeds"] >= table["training_runs"]) & table["normalized_mean"].notna()]
    return Table(_scores(enough), _runs(scores))


def published_table() -> Table:
    """Return the paper's table."""
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
