"""What is said of imported demonstrations, and the facts they are checked against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from format_helpers import make, make_facts

from gailbench import formats
from gailbench.formats import Imported, describe
from gailbench.tasks import TASKS


def text(discrete, **options):
    return "\n".join(
        describe(
            Imported(make(discrete), "npz", **{"has_rewards": True, "remarks": (), **options}), make_facts(discrete)
        )
    )


def test_trajectories_lengths_and_ends_are_counted():
    assert "trajectories: 4 of 1 to 7 steps, 4.0 on average; 3 terminated, 1 truncated" in text(True)


def test_returns_are_given_or_said_to_be_missing():
    returns = make(True).returns
    expected = f"returns: {returns.mean():.2f} ± {returns.std():.2f}, from {returns.min():.2f} to {returns.max():.2f}"
    assert expected in text(True)
    assert "returns: the file has no rewards" in text(True, has_rewards=False)


def test_actions_are_compared_with_the_tasks():
    counts = [int((make(True).actions == action).sum()) for action in range(3)]
    assert "actions: 16 of 0 to 2, taken {}, {}, {} times".format(*counts) in text(True)
    actions = make(False).actions
    outside = sum(abs(number) > 1 for number in actions.ravel()) / actions.size
    assert 0 < outside < 1
    assert f"bounds are -1 to 1, {100 * outside:.1f} % of the numbers are outside" in text(False)
    assert f"from {actions.min():.4g} to {actions.max():.4g}" in text(False)


def test_kept_pairs_are_those_of_the_subset():
    d, facts = make(True), make_facts(True)
    for offsets in ([0, 0, 0, 0], [2, 2, 2, 2], [1, 0, 2, 1], [19, 4, 5, 6]):
        other = replace(d, offsets=np.array(offsets))
        kept = len(other.subset(4, 3))
        lines = describe(Imported(other, "npz", True, ()), facts)
        assert f"pairs: {kept} of 16 remain if every 3-th pair is kept" in lines
    none = replace(d, lengths=np.full(16, 1), offsets=np.full(16, 2), terminated=np.ones(16, bool))  # nothing is left
    assert "pairs: 0 of 16" in "\n".join(describe(Imported(none, "npz", True, ()), facts))


def test_remarks_and_the_format_are_lines_of_their_own():
    lines = text(True, remarks=("one", "two")).splitlines()
    assert lines[0] == "format: npz"
    assert lines[-2:] == ["remark: one", "remark: two"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cartpole", (4, 2, True)), ("hopper", (11, 3, False)), ("humanoid", (348, 17, False))],
)
def test_facts_are_those_of_the_tasks_environment(name, expected):
    facts = formats.facts_of(TASKS[name], seed=3)
    assert (facts.observation_dim, facts.action_dim, facts.discrete) == expected
    assert (facts.task, facts.horizon, facts.keep_every, facts.seed) == (
        name,
        TASKS[name].horizon,
        TASKS[name].keep_every,
        3,
    )
    if name == "humanoid":
        assert np.allclose(facts.action_low, np.full(17, -0.4))
        assert np.allclose(facts.action_high, np.full(17, 0.4))
    if name == "cartpole":
        assert facts.action_low is facts.action_high is None
