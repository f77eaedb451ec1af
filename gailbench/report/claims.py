"""What the paper claims from its table, as rules over normalized means that hold, fail or are open.

A rule is a list of conditions on cells. A cell counts once it has the paper's number of training runs; a condition
whose outcome no value of the missing cells could change is decided before they are there. Where two cells' runs
overlap, a condition is on the runs: a permutation test decides it, and it is open where that cannot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gailbench.paper import published_results, published_runs
from gailbench.report.permutation import permutation_p
from gailbench.report.table import method
from gailbench.tasks import TASKS

Status = Literal["holds", "fails", "open"]
Cell = tuple[str, str, float, int]  # task, algorithm, entropy weight (0 where there is none), trajectories
Scores = dict[Cell, float]
Runs = dict[Cell, NDArray[np.float64]]  # normalized run means of a cell, (R,)
IMITATED = tuple(task for task in TASKS if task != "reacher")
SURE = 0.05  # p of the permutation test; below it a difference between overlapping runs counts
SMALLEST = 0.001  # p in words
FAR_BEHIND = ("cartpole", "halfcheetah", "hopper", "walker", "humanoid")


@dataclass(frozen=True)
class Condition:
    """A comparison that is decided by a few cells.

    Attributes:
        text: What has to hold.
        cells: The cells it looks at.
        rising: Per cell, whether a higher score helps.
        holds: From the cells' scores; monotone in each as `rising` says.
    """

    text: str
    cells: tuple[Cell, ...]
    rising: tuple[bool, ...]
    holds: Callable[[Sequence[float]], bool]

    def status(self, scores: Scores, runs: Runs) -> Status:
        """Try the worst and the best that the missing cells could be; the runs are not looked at."""
        worst = [scores.get(c, -math.inf if up else math.inf) for c, up in zip(self.cells, self.rising, strict=True)]
        best = [scores.get(c, math.inf if up else -math.inf) for c, up in zip(self.cells, self.rising, strict=True)]
        if self.holds(worst):
            return "holds"
        return "open" if self.holds(best) else "fails"

    def evidence(self, scores: Scores, runs: Runs) -> str:
        """Return the cells' scores in the order of the text, "?" for a missing one; of many cells their number."""
        if len(self.cells) > 2:
            return f"{sum(cell in scores for cell in self.cells)} of {len(self.cells)} cells there"
        return ", ".join(f"{scores[cell]:.2f}" if cell in scores else "?" for cell in self.cells)


@dataclass(frozen=True)
class RunsBelow:
    """A comparison of two cells whose runs overlap, decided by the runs' means.

    Attributes:
        lower, higher: The cell whose runs are claimed to score lower, and the other.
    """

    lower: Cell
    higher: Cell

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.lower, self.higher

    @property
    def text(self) -> str:
        return f"{label(self.lower)} below {label(self.higher)}"

    def status(self, scores: Scores, runs: Runs) -> Status:
        """Hold or fail where the permutation test is sure of either direction."""
        if not all(cell in scores and cell in runs for cell in self.cells):
            return "open"
        if permutation_p(runs[self.lower], runs[self.higher]) < SURE:
            return "holds"
        return "fails" if permutation_p(runs[self.higher], runs[self.lower]) < SURE else "open"

    def evidence(self, scores: Scores, runs: Runs) -> str:
        """Return the means and how sure the order is."""
        if not all(cell in scores and cell in runs for cell in self.cells):
            return ", ".join(f"{scores[cell]:.2f}" if cell in scores else "?" for cell in self.cells)
        lower, higher = (runs[cell] for cell in self.cells)
        return f"{lower.mean():.2f}, {higher.mean():.2f}; {how_sure(lower, higher)}"


def how_sure(lower: NDArray[np.float64], higher: NDArray[np.float64]) -> str:
    """Return in words the share of pairs of runs, one of each, that the second wins (ties count half), and the p of the
    permutation test."""
    p = permutation_p(lower, higher)
    wins = float(np.mean((higher[:, np.newaxis] > lower) + 0.5 * (higher[:, np.newaxis] == lower)))
    said = f"p < {SMALLEST}" if p < SMALLEST else f"p = {p:.2g}"
    return f"the second wins {100 * wins:.0f} % of pairs of runs, permutation {said}"


@dataclass(frozen=True)
class Claim:
    """One of the paper's claims."""

    text: str
    conditions: tuple[Condition | RunsBelow, ...]

    def status(self, scores: Scores, runs: Runs) -> Status:
        """A claim fails with its first condition that does, and holds when all do."""
        found = {condition.status(scores, runs) for condition in self.conditions}
        return "fails" if "fails" in found else "open" if "open" in found else "holds"

    def deciding(self, scores: Scores, runs: Runs) -> list[Condition | RunsBelow]:
        """Return the conditions that decide: those that fail; if none does those still open; else all."""
        status = self.status(scores, runs)
        return [condition for condition in self.conditions if condition.status(scores, runs) == status]


def label(cell: Cell) -> str:
    """`walker GAIL 4`."""
    task, algorithm, weight, trajectories = cell
    return f"{task} {method(task, algorithm, weight)} {trajectories}"


def at_least(cell: Cell, bound: float) -> Condition:
    return Condition(f"{label(cell)} at {bound:g} or above", (cell,), (True,), lambda s: s[0] >= bound)


def at_most(cell: Cell, bound: float) -> Condition:
    return Condition(f"{label(cell)} at most {bound:g}", (cell,), (False,), lambda s: s[0] <= bound)


def below(cell: Cell, other: Cell, by: float = 0.0) -> Condition:
    more = f" by more than {by:g}" if by else ""
    text = f"{label(cell)} below {label(other)}{more}"
    return Condition(text, (cell, other), (False, True), lambda s: s[1] - s[0] > by)


def below_random(cell: Cell) -> Condition:
    return Condition(f"{label(cell)} below random", (cell,), (False,), lambda s: s[0] < 0)


def most_at_least(cells: Sequence[Cell], bound: float, what: str) -> Condition:
    text = f"most of the {len(cells)} {what} at {bound:g} or above"
    return Condition(
        text, tuple(cells), (True,) * len(cells), lambda s: sum(score >= bound for score in s) > len(cells) / 2
    )


def median_at_least(cells: Sequence[Cell], bound: float, what: str) -> Condition:
    text = f"the median of the {len(cells)} {what} at {bound:g} or above"
    return Condition(text, tuple(cells), (True,) * len(cells), lambda s: float(np.median(s)) >= bound)


def paper_claims() -> tuple[Claim, ...]:
    """Return the four claims."""

    def cells(tasks: Sequence[str], *algorithms: str) -> list[Cell]:
        return [(t, a, 0.0, size) for t in tasks for a in algorithms for size in TASKS[t].sizes]

    def smallest(task: str, algorithm: str, weight: float = 0.0) -> Cell:
        return (task, algorithm, weight, TASKS[task].sizes[0])

    gail = cells(IMITATED, "gail")
    easy = cells(("cartpole", "acrobot", "mountaincar", "hopper"), "fem", "gtal")
    largest = TASKS["reacher"].sizes[-1]
    overlapping = (smallest("reacher", "gail"), smallest("reacher", "gail", 0.001))
    return (
        Claim(
            "GAIL is at 0.7 of its expert or above on every cell but reacher's, and at 0.9 or above on most.",
            (*(at_least(cell, 0.7) for cell in gail), most_at_least(gail, 0.9, "GAIL cells")),
        ),
        Claim(
            "Behavioral cloning is data-hungry: with the smallest size it is below GAIL on every task but reacher, by "
            "more than half of the expert's level on cart-pole, halfcheetah, hopper, walker and humanoid; on humanoid "
            "it stays at or under 0.6. On reacher it is ahead of GAIL with lambda 0 at the smallest and the largest "
            "size.",
            (
                *(below(smallest(t, "bc"), smallest(t, "gail"), by=0.5 if t in FAR_BEHIND else 0.0) for t in IMITATED),
                *(at_most(cell, 0.6) for cell in cells(("humanoid",), "bc")),
                below(smallest("reacher", "gail"), smallest("reacher", "bc")),
                below(("reacher", "gail", 0.0, largest), ("reacher", "bc", 0.0, largest)),
            ),
        ),
        Claim(
            "FEM and GTAL do well on the classic tasks and hopper (median cell at 0.84 or above) and fall short of "
            "GAIL elsewhere: at most 0.3 on halfcheetah, below random on ant, at most 0.6 on humanoid, below GAIL on "
            "walker from 11 trajectories on.",
            (
                median_at_least(easy, 0.84, "FEM and GTAL cells on the classic tasks and hopper"),
                *(at_most(cell, 0.3) for cell in cells(("halfcheetah",), "fem", "gtal")),
                *(below_random(cell) for cell in cells(("ant",), "fem", "gtal")),
                *(at_most(cell, 0.6) for cell in cells(("humanoid",), "fem", "gtal")),
                *(
                    below(cell, ("walker", "gail", 0.0, cell[3]))
                    for cell in cells(("walker",), "fem", "gtal")
                    if cell[3] >= 11
                ),
            ),
        ),
        Claim(
            "On reacher with 4 trajectories lambda 0.001 does better than 0. (Runs of both overlap. The authors': "
            f"{how_sure(*(paper_runs()[cell] for cell in overlapping))}.)".replace("the second", "0.001"),
            (RunsBelow(*overlapping),),
        ),
    )


def our_scores(table: pd.DataFrame) -> Scores:
    """Return our normalized means of the cells that have the paper's number of training runs."""
    enough = table[(table["seeds"] >= table["training_runs"]) & table["normalized_mean"].notna()]
    return _scores(enough, "normalized_mean")


def paper_scores() -> Scores:
    """Return the paper's own normalized means."""
    return _scores(published_results(), "normalized_mean")


def our_runs(scores: pd.DataFrame) -> Runs:
    """Return the normalized run means of our cells from `run_scores`."""
    return _runs(scores)


def paper_runs() -> Runs:
    """Return the normalized run means of the paper's cells."""
    return _runs(published_runs())


def _scores(frame: pd.DataFrame, column: str) -> Scores:
    return dict(zip(_cells(frame), frame[column], strict=True))


def _runs(frame: pd.DataFrame) -> Runs:
    runs: dict[Cell, list[float]] = {}
    for cell, mean in zip(_cells(frame), frame["normalized_mean"], strict=True):
        runs.setdefault(cell, []).append(mean)
    return {cell: np.array(means) for cell, means in runs.items()}


def _cells(frame: pd.DataFrame) -> list[Cell]:
    weights = frame["entropy_weight"].fillna(0.0)
    return list(zip(frame["task"], frame["algorithm"], weights, frame["trajectories"], strict=True))
