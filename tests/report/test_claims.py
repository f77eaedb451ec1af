"""The paper's claims: each holds on its own table, and each can fail and be open."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gailbench.paper.claims import Cell, Claim, RunsBelow, paper_claims
from gailbench.paper.tables import published_results, published_runs
from gailbench.report.claims import (
    Scores,
    Table,
    claim_status,
    deciding,
    how_sure,
    judge,
    label,
    our_table,
    published_table,
    status,
    words,
)
from gailbench.report.permutation import permutation_p, two_sided_p
from gailbench.report.table import method

CLAIMS = paper_claims()
PAPER = published_table()
RUNS = PAPER.runs
by_claim = pytest.mark.parametrize("claim", CLAIMS, ids=["1", "2", "3", "4"])


def _with(**changes: float) -> Scores:
    """The paper's scores with some replaced: keys are task_algorithm_trajectories."""
    scores = dict(PAPER.scores)
    for name, value in changes.items():
        task, algorithm, trajectories = name.split("_")
        cell = (task, algorithm, 0.0, int(trajectories))
        assert cell in scores
        scores[cell] = value
    return scores


@by_claim
def test_every_claim_holds_on_the_papers_own_table(claim: Claim) -> None:
    scores = dict(PAPER.scores)
    assert len(scores) == 136
    assert claim_status(claim, Table(scores, RUNS)) == "holds"
    assert {status(condition, Table(scores, RUNS)) for condition in claim.conditions} == {"holds"}


@by_claim
def test_every_claim_is_open_on_an_empty_table(claim: Claim) -> None:
    assert claim_status(claim, Table({}, RUNS)) == "open"
    assert deciding(claim, Table({}, RUNS)) == list(claim.conditions)


def test_the_paper_has_27_of_31_cells_at_nine_tenths() -> None:
    paper = published_results()
    gail = paper[(paper["algorithm"] == "gail") & (paper["task"] != "reacher")]
    assert (len(gail), int((gail["normalized_mean"] >= 0.9).sum())) == (31, 27)
    (most,) = [condition for condition in CLAIMS[0].conditions if len(condition.cells) > 2]
    assert len(most.cells) == 31
    scores = dict.fromkeys(most.cells, 0.8)
    assert status(most, Table(scores, RUNS)) == "fails"
    assert status(most, Table(scores | dict.fromkeys(most.cells[:16], 0.9), RUNS)) == "holds"
    assert status(most, Table(scores | dict.fromkeys(most.cells[:15], 0.9), RUNS)) == "fails"


@pytest.mark.parametrize(
    ("number", "changes", "condition"),
    [
        (1, {"walker_gail_4": 0.69}, "walker GAIL 4 at 0.7 or above"),
        (2, {"acrobot_bc_1": 0.99}, "acrobot BC 1 below acrobot GAIL 1"),
        (2, {"hopper_bc_4": 0.6}, "hopper BC 4 below hopper GAIL 4 by more than 0.5"),
        (2, {"humanoid_bc_160": 0.61}, "humanoid BC 160 at most 0.6"),
        (2, {"reacher_bc_18": 0.5}, "reacher GAIL λ = 0 18 below reacher BC 18"),
        (3, {"halfcheetah_fem_25": 0.31}, "halfcheetah FEM 25 at most 0.3"),
        (3, {"ant_gtal_4": 0.0}, "ant GTAL 4 below random"),
        (3, {"humanoid_gtal_80": 0.7}, "humanoid GTAL 80 at most 0.6"),
        (3, {"walker_fem_11": 1.1}, "walker FEM 11 below walker GAIL 11"),
    ],
)
def test_a_claim_fails_by_the_cell_that_breaks_it(number: int, changes: dict[str, float], condition: str) -> None:
    scores = _with(**changes)
    assert [claim_status(claim, Table(scores, RUNS)) for claim in CLAIMS] == [
        "fails" if index == number else "holds" for index in range(1, 5)
    ]
    assert [words(found) for found in deciding(CLAIMS[number - 1], Table(scores, RUNS))] == [condition]


def test_walker_with_4_trajectories_is_no_part_of_the_third_claim() -> None:
    assert claim_status(CLAIMS[2], Table(_with(walker_gtal_4=2.0), RUNS)) == "holds"


def test_the_median_is_over_all_easy_cells_of_fem_and_gtal() -> None:
    (median,) = [condition for condition in CLAIMS[2].conditions if len(condition.cells) > 2]
    assert len(median.cells) == 32
    scores: Scores = dict.fromkeys(median.cells[:16], 1.0) | dict.fromkeys(median.cells[16:], 0.7)
    assert status(median, Table(scores, RUNS)) == "holds"  # the mean of the middle two is 0.85
    scores[median.cells[0]] = 0.7
    assert status(median, Table(scores, RUNS)) == "fails"


def test_a_claim_can_fail_before_all_cells_are_there_but_not_hold() -> None:
    cell: Cell = ("hopper", "gail", 0.0, 4)
    assert claim_status(CLAIMS[0], Table({cell: 0.5}, RUNS)) == "fails"
    assert claim_status(CLAIMS[0], Table({cell: 1.0}, RUNS)) == "open"
    rest = {c: s for c, s in PAPER.scores.items() if c != cell}
    assert claim_status(CLAIMS[0], Table(rest, RUNS)) == "open"
    waiting = deciding(CLAIMS[0], Table(rest, RUNS))
    assert [words(condition) for condition in waiting] == ["hopper GAIL 4 at 0.7 or above"]


def test_what_no_missing_cell_could_change_is_decided() -> None:
    (most,) = [condition for condition in CLAIMS[0].conditions if len(condition.cells) > 2]
    assert status(most, Table(dict.fromkeys(most.cells[:16], 0.95), RUNS)) == "holds"
    assert status(most, Table(dict.fromkeys(most.cells[:15], 0.95), RUNS)) == "open"
    assert status(most, Table(dict.fromkeys(most.cells[:16], 0.5), RUNS)) == "fails"


def test_only_cells_with_the_papers_number_of_runs_count() -> None:
    table, no_runs = published_results().assign(seeds=1), published_runs().iloc[:0]
    counted = {cell[0] for cell in our_table(table, no_runs).scores}
    assert counted == {"halfcheetah", "hopper", "walker", "ant", "humanoid"}
    assert len(our_table(table.assign(seeds=7), no_runs).scores) == 136


def test_cells_are_named_by_their_heading() -> None:
    assert label(("reacher", "gail", 0.001, 4)) == f"reacher {method('reacher', 'gail', 0.001)} 4"
    assert label(("walker", "bc", 0.0, 11)) == "walker BC 11"


LOW, HIGH = paper_claims()[3].conditions[0].cells


def test_overlapping_runs_decide_by_a_permutation_test() -> None:
    (condition,) = CLAIMS[3].conditions
    assert isinstance(condition, RunsBelow)
    assert (LOW, HIGH) == (("reacher", "gail", 0.0, 4), ("reacher", "gail", 0.001, 4))
    scores = dict(PAPER.scores)
    assert status(condition, Table(scores, RUNS)) == "holds"
    assert status(condition, Table(scores, {LOW: RUNS[HIGH], HIGH: RUNS[LOW]})) == "fails"
    alike = np.linspace(0, 1, 7)
    assert status(condition, Table(scores, {LOW: alike, HIGH: alike + 0.01})) == "open"
    assert status(condition, Table(scores, {})) == "open"


def test_the_claim_says_how_sure_the_papers_runs_are() -> None:
    # Of the 49 pairs of the authors' runs, 0.001 wins 41.
    said = judge(CLAIMS[3], PAPER, PAPER).text
    assert "The authors': 0.001 wins 84 % of pairs of runs, permutation p = 0.026." in said


def test_the_permutation_test_counts_splits() -> None:
    # Of the 20 splits of six values in threes, one sets the higher three apart as far.
    low, high = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    assert permutation_p(low, high) == pytest.approx(1 / 20)
    assert permutation_p(high, low) == 1
    assert how_sure(low, high) == "the second wins 100 % of pairs of runs, permutation p = 0.05"
    assert how_sure(np.zeros(7), np.ones(7)).endswith("permutation p < 0.001")


@pytest.mark.parametrize(("first", "second"), [(7, 7), (3, 5), (7, 20)])
def test_the_permutation_test_is_scipys(first: int, second: int) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(0, 1, first), generator.normal(0.5, 1, second)

    def p(alternative: str) -> float:
        def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
            return np.asarray(a.mean(axis=axis) - b.mean(axis=axis))

        found = stats.permutation_test((y, x), difference, vectorized=True, alternative=alternative, rng=generator)
        return float(found.pvalue)

    drawn = 0.0 if first + second <= 14 else 0.015  # of more splits than are tried, both draw
    assert permutation_p(x, y) == pytest.approx(p("greater"), abs=drawn + 1e-9)
    assert two_sided_p(x, y) == pytest.approx(p("two-sided"), abs=2 * drawn + 1e-9)


def test_seven_runs_of_which_some_fail_alike_tie() -> None:
    mixed = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert permutation_p(mixed, mixed[::-1]) > 0.5
    assert two_sided_p(mixed, mixed) == 1
