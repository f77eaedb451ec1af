"""How often the verdict rule errs, on made-up runs whose truth is known; docs/report.md shows the same numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gailbench.report.verdicts import VERDICTS, Verdict, compare_one_run, judge, of_trajectories, variance, verdict_of

TRIALS = 6000
EPISODES = (50, 53)  # of a run of ours and of the paper's
STD_OF_EPISODES = 0.02
REPORT = Path(__file__).parents[2] / "docs" / "report.md"
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def normal(mean: float, std: float) -> Draw:
    return lambda generator, number: generator.normal(mean, std, number)


def failing(share: float) -> Draw:
    """Runs around 1, of which so many learn nothing."""

    def draw(generator: np.random.Generator, number: int) -> NDArray[np.float64]:
        return np.where(generator.random(number) < share, 0.0, generator.normal(1, 0.02, number))

    return draw


@dataclass(frozen=True)
class Scenario:
    """Runs of ours and of the paper's; `alike` where both are drawn from one distribution."""

    text: str
    ours: Draw
    paper: Draw
    alike: bool = False
    runs: tuple[int, int] = (7, 7)

    @property
    def shares(self) -> tuple[float, float, float]:
        """Percent of trials that match, are called better or worse, and stay open."""
        generator = np.random.default_rng(0)
        mine, theirs = self.runs
        found: Counter[str] = Counter()
        for _ in range(TRIALS):
            sides = self.ours(generator, mine), self.paper(generator, theirs)
            found[of_one_run_each(*sides, generator) if mine == 1 else verdict_of(*sides)] += 1
        matches, better, worse, still_open = (100 * found[verdict] / TRIALS for verdict in VERDICTS)
        return matches, better + worse, still_open


def of_one_run_each(ours: NDArray[np.float64], paper: NDArray[np.float64], generator: np.random.Generator) -> Verdict:
    """Return the verdict on one run of each side, which is known by its episodes."""
    mine, theirs = (
        generator.normal(float(run[0]), STD_OF_EPISODES, episodes)
        for run, episodes in zip((ours, paper), EPISODES, strict=True)
    )
    uncertain = of_trajectories(variance(theirs), len(theirs))
    found = compare_one_run(float(mine.mean() - theirs.mean()), mine, uncertain)
    return judge(found.low, found.high)


def same(text: str, draw: Draw, runs: tuple[int, int] = (7, 7)) -> Scenario:
    return Scenario(text, draw, draw, alike=True, runs=runs)


SCENARIOS = (
    same("7 and 7 runs, alike: normal, std 0.02", normal(1, 0.02)),
    same("7 and 7 runs, alike: normal, std 0.05", normal(1, 0.05)),
    same("7 and 7 runs, alike: normal, std 0.2", normal(1, 0.2)),
    same("7 and 7 runs, alike: 10 % fail", failing(0.1)),
    same("7 and 7 runs, alike: 30 % fail", failing(0.3)),
    same("7 and 7 runs, alike: 50 % fail", failing(0.5)),
    Scenario("7 and 7 runs, same mean: std 0.02 and 0.2", normal(1, 0.02), normal(1, 0.2), alike=True),
    Scenario("7 and 7 runs, 0.05 apart: std 0.02", normal(1, 0.02), normal(0.95, 0.02)),
    Scenario("7 and 7 runs, 0.15 apart: std 0.05", normal(1, 0.05), normal(0.85, 0.05)),
    Scenario("7 and 7 runs, none and 10 % fail", failing(0), failing(0.1)),
    Scenario("7 and 7 runs, none and 30 % fail", failing(0), failing(0.3)),
    Scenario("7 and 7 runs, none and 70 % fail", failing(0), failing(0.7)),
    same("3 runs and the paper's 1, alike: normal, std 0.02", normal(1, 0.02), (3, 1)),
    same("3 runs and the paper's 1, alike: normal, std 0.2", normal(1, 0.2), (3, 1)),
    same("3 runs and the paper's 1, alike: 10 % fail", failing(0.1), (3, 1)),
    same("3 runs and the paper's 1, alike: 30 % fail", failing(0.3), (3, 1)),
    same("1 run and the paper's 1, alike: normal, std 0.02", normal(1, 0.02), (1, 1)),
    same("1 run and the paper's 1, alike: normal, std 0.05", normal(1, 0.05), (1, 1)),
    same("1 run and the paper's 1, alike: normal, std 0.1", normal(1, 0.1), (1, 1)),
)
IN_ONE_RUN = SCENARIOS[-5:]  # failures of one run, and how much runs differ if each side has one: no test can know


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[float, float, float]]:
    return {scenario.text: scenario.shares for scenario in SCENARIOS}


def test_what_is_alike_is_called_better_or_worse_in_at_most_5_percent(
    measured: dict[str, tuple[float, float, float]],
) -> None:
    for scenario in SCENARIOS:
        if scenario.alike and scenario not in IN_ONE_RUN:
            assert measured[scenario.text][1] <= 5, scenario.text


def test_a_difference_of_the_margin_matches_in_at_most_5_percent(
    measured: dict[str, tuple[float, float, float]],
) -> None:
    assert measured["7 and 7 runs, 0.05 apart: std 0.02"][0] <= 5


def test_the_table_in_the_documentation_is_what_is_measured(measured: dict[str, tuple[float, float, float]]) -> None:
    lines = re.findall(
        r"^\| (\d and 7 runs, .*|\d runs? and the .*?) \| (\d+) % \| (\d+) % \| (\d+) % \|$", REPORT.read_text(), re.M
    )
    assert [text for text, *_ in lines] == list(measured), "\n".join(
        f"| {text} | {' | '.join(f'{share:.0f} %' for share in shares)} |" for text, shares in measured.items()
    )
    for text, *shown in lines:
        # Other versions of numpy may draw other numbers: 1 % is at least 1.5 standard errors of 6,000 trials.
        assert [float(share) for share in shown] == pytest.approx(measured[text], abs=1.5), text
