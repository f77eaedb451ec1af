"""The paper's claims: each holds on its own table, and each can fail and be open."""

from __future__ import annotations

import pytest

from gailbench.paper import published_results
from gailbench.report.claims import Cell, Claim, Scores, label, our_scores, paper_claims, paper_scores
from gailbench.report.table import method

CLAIMS = paper_claims()
by_claim = pytest.mark.parametrize("claim", CLAIMS, ids=["1", "2", "3", "4"])


def _with(**changes: float) -> Scores:
    """The paper's scores with some replaced: keys are task_algorithm_trajectories."""
    scores = paper_scores()
    for name, value in changes.items():
        task, algorithm, trajectories = name.split("_")
        cell = (task, algorithm, 0.0, int(trajectories))
        assert cell in scores
        scores[cell] = value
    return scores


@by_claim
def test_every_claim_holds_on_the_papers_own_table(claim: Claim) -> None:
    scores = paper_scores()
    assert len(scores) == 136
    assert claim.status(scores) == "holds"
    assert {condition.status(scores) for condition in claim.conditions} == {"holds"}


@by_claim
def test_every_claim_is_open_on_an_empty_table(claim: Claim) -> None:
    assert claim.status({}) == "open"
    assert claim.deciding({}) == list(claim.conditions)


def test_the_paper_has_27_of_31_cells_at_nine_tenths() -> None:
    paper = published_results()
    gail = paper[(paper["algorithm"] == "gail") & (paper["task"] != "reacher")]
    assert (len(gail), int((gail["normalized_mean"] >= 0.9).sum())) == (31, 27)
    (most,) = [condition for condition in CLAIMS[0].conditions if len(condition.cells) > 2]
    assert len(most.cells) == 31
    scores = dict.fromkeys(most.cells, 0.8)
    assert most.status(scores) == "fails"
    assert most.status(scores | dict.fromkeys(most.cells[:16], 0.9)) == "holds"
    assert most.status(scores | dict.fromkeys(most.cells[:15], 0.9)) == "fails"


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
        (4, {"reacher_gail_4": 0.5}, "reacher GAIL λ = 0 4 below reacher GAIL λ = 0.001 4"),
    ],
)
def test_a_claim_fails_by_the_cell_that_breaks_it(number: int, changes: dict[str, float], condition: str) -> None:
    scores = _with(**changes)
    assert [claim.status(scores) for claim in CLAIMS] == [
        "fails" if index == number else "holds" for index in range(1, 5)
    ]
    assert [found.text for found in CLAIMS[number - 1].deciding(scores)] == [condition]


def test_walker_with_4_trajectories_is_no_part_of_the_third_claim() -> None:
    assert CLAIMS[2].status(_with(walker_gtal_4=2.0)) == "holds"


def test_the_median_is_over_all_easy_cells_of_fem_and_gtal() -> None:
    (median,) = [condition for condition in CLAIMS[2].conditions if len(condition.cells) > 2]
    assert len(median.cells) == 32
    scores: Scores = dict.fromkeys(median.cells[:16], 1.0) | dict.fromkeys(median.cells[16:], 0.7)
    assert median.status(scores) == "holds"  # the mean of the middle two is 0.85
    scores[median.cells[0]] = 0.7
    assert median.status(scores) == "fails"


def test_a_claim_can_fail_before_all_cells_are_there_but_not_hold() -> None:
    cell: Cell = ("hopper", "gail", 0.0, 4)
    assert CLAIMS[0].status({cell: 0.5}) == "fails"
    assert CLAIMS[0].status({cell: 1.0}) == "open"
    rest = {c: s for c, s in paper_scores().items() if c != cell}
    assert CLAIMS[0].status(rest) == "open"
    assert [condition.text for condition in CLAIMS[0].deciding(rest)] == ["hopper GAIL 4 at 0.7 or above"]


def test_what_no_missing_cell_could_change_is_decided() -> None:
    (most,) = [condition for condition in CLAIMS[0].conditions if len(condition.cells) > 2]
    assert most.status(dict.fromkeys(most.cells[:16], 0.95)) == "holds"
    assert most.status(dict.fromkeys(most.cells[:15], 0.95)) == "open"
    assert most.status(dict.fromkeys(most.cells[:16], 0.5)) == "fails"


def test_only_cells_with_the_papers_number_of_runs_count() -> None:
    table = published_results().assign(seeds=1)
    assert {cell[0] for cell in our_scores(table)} == {"halfcheetah", "hopper", "walker", "ant", "humanoid"}
    assert len(our_scores(table.assign(seeds=7))) == 136


def test_cells_are_named_by_their_heading() -> None:
    assert label(("reacher", "gail", 0.001, 4)) == f"reacher {method('reacher', 'gail', 0.001)} 4"
    assert label(("walker", "bc", 0.0, 11)) == "walker BC 11"
