"""The paper's claims about its table, as rules over normalized means.

A rule is a list of conditions on cells. `gailbench.report.claims` decides for a table whether they hold, fail or are
open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from gailbench.paper import FIGURE_1A
from gailbench.paper.tables import published_results

Cell = tuple[str, str, float, int]  # task, algorithm, entropy weight (0 if there is none), trajectories
FAR_BEHIND = ("cartpole", "halfcheetah", "hopper", "walker", "humanoid")


@dataclass(frozen=True)
class Condition:
    """A condition on the scores of a few cells.

    Attributes:
        text: The condition in words; {0} and {1} stand for the cells' names.
        cells: The cells.
        rising: Per cell, whether a higher score helps the condition.
        holds: The cells' scores -> whether the condition holds. It is monotone in each score, as `rising` says.
    """

    text: str
    cells: tuple[Cell, ...]
    rising: tuple[bool, ...]
    holds: Callable[[Sequence[float]], bool]


@dataclass(frozen=True)
class RunsBelow:
    """A condition on two cells whose runs overlap. It is decided by a test on the means of the runs.

    Attributes:
        lower, higher: The cell whose runs score lower by the claim, and the cell whose runs score higher.
        winner: Name of `higher` in the claim.
    """

    lower: Cell
    higher: Cell
    winner: str
    text: str = "{0} below {1}"

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.lower, self.higher


@dataclass(frozen=True)
class Claim:
    """One of the paper's claims, and the conditions that must all hold."""

    text: str
    conditions: tuple[Condition | RunsBelow, ...]


def at_least(cell: Cell, bound: float) -> Condition:
    return Condition(f"{{0}} at {bound:g} or above", (cell,), (True,), lambda s: s[0] >= bound)


def at_most(cell: Cell, bound: float) -> Condition:
    return Condition(f"{{0}} at most {bound:g}", (cell,), (False,), lambda s: s[0] <= bound)


def below(cell: Cell, other: Cell, by: float = 0.0) -> Condition:
    more = f" by more than {by:g}" if by else ""
    return Condition(f"{{0}} below {{1}}{more}", (cell, other), (False, True), lambda s: s[1] - s[0] > by)


def below_random(cell: Cell) -> Condition:
    return Condition("{0} below random", (cell,), (False,), lambda s: s[0] < 0)


def most_at_least(cells: Sequence[Cell], bound: float, what: str) -> Condition:
    text = f"most of the {len(cells)} {what} at {bound:g} or above"
    return Condition(
        text, tuple(cells), (True,) * len(cells), lambda s: sum(score >= bound for score in s) > len(cells) / 2
    )


def median_at_least(cells: Sequence[Cell], bound: float, what: str) -> Condition:
    text = f"the median of the {len(cells)} {what} at {bound:g} or above"
    return Condition(text, tuple(cells), (True,) * len(cells), lambda s: median(s) >= bound)


def paper_claims() -> tuple[Claim, ...]:
    """Return the four claims."""
    sizes = {
        task: sorted(found.unique().tolist()) for task, found in published_results().groupby("task")["trajectories"]
    }

    def cells(tasks: Sequence[str], *algorithms: str) -> list[Cell]:
        return [(t, a, 0.0, size) for t in tasks for a in algorithms for size in sizes[t]]

    def smallest(task: str, algorithm: str, weight: float = 0.0) -> Cell:
        return (task, algorithm, weight, sizes[task][0])

    imitated = FIGURE_1A  # all but reacher
    gail = cells(imitated, "gail")
    easy = cells(("cartpole", "acrobot", "mountaincar", "hopper"), "fem", "gtal")
    largest = sizes["reacher"][-1]
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
                *(below(smallest(t, "bc"), smallest(t, "gail"), by=0.5 if t in FAR_BEHIND else 0.0) for t in imitated),
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
            "On reacher with 4 trajectories lambda 0.001 does better than 0.",
            (RunsBelow(smallest("reacher", "gail"), smallest("reacher", "gail", 0.001), winner="0.001"),),
        ),
    )
