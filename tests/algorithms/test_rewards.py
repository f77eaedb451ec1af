"""What holds of every reward that is learned from an expert's pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gailbench.algorithms.fem import Fem
from gailbench.algorithms.gail import Gail
from gailbench.algorithms.gtal import Gtal
from gailbench.demonstrations import Pairs
from gailbench.sampling import Batch

pytestmark = pytest.mark.usefixtures("one_thread")

MakeBatch = Callable[..., Batch]
Poison = Callable[[Batch, float], Batch]
RandomProblem = Callable[..., tuple[Pairs, Batch]]
MakeReward = Callable[[Pairs, str, np.random.Generator], Any]
REWARDS = pytest.mark.parametrize("make_reward", [Fem, Gtal, Gail])
SIGNS = pytest.mark.parametrize("sign", ["positive", "negative"])
KINDS = pytest.mark.parametrize("discrete", [False, True], ids=["gaussian", "softmax"])


def state_bytes(reward: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in reward.state().items()}


@REWARDS
@SIGNS
@KINDS
def test_rewards_never_cross_0(
    make_reward: MakeReward, sign: str, discrete: bool, random_problem: RandomProblem
) -> None:
    expert, _ = random_problem(discrete)
    reward = make_reward(expert, sign, np.random.default_rng(1))
    for seed in range(5):
        _, batch = random_problem(discrete, seed)
        before = reward.reward(batch)
        reward.fit(batch)
        after = reward.reward(batch)
        for values in (before, after):
            assert values.shape == (20, 10)
            assert (values >= 0).all() if sign == "positive" else (values <= 0).all()
        assert after.std() > 0
        assert before.std() > 0 or make_reward is not Fem  # the first choice of the others can be constant


@REWARDS
@SIGNS
@KINDS
@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_entries_that_are_not_valid_have_no_influence(
    make_reward: MakeReward,
    sign: str,
    discrete: bool,
    value: float,
    make_batch: MakeBatch,
    random_problem: RandomProblem,
    poison: Poison,
    ragged_valid: np.ndarray,
) -> None:
    expert, whole = random_problem(discrete)
    batch = make_batch(whole.observations, whole.actions, valid=ragged_valid)
    # The same pairs, one environment's.
    rows = make_batch(batch.rows(whole.observations)[:, None], batch.rows(whole.actions)[:, None])
    assert len(rows) == len(batch) < len(whole)
    made = [make_reward(expert, sign, np.random.default_rng(0)) for _ in range(3)]
    batches = (batch, poison(batch, value), rows)
    for _ in range(3):
        values = [reward.reward(own) for reward, own in zip(made, batches, strict=True)]
        figures = [reward.fit(own) for reward, own in zip(made, batches, strict=True)]
        assert figures[0] == figures[1] == figures[2]
        assert_array_equal(values[0], values[1])
        assert_array_equal(values[0][ragged_valid], values[2][:, 0])
        assert not values[0][~ragged_valid].any()  # nor does a shift reach them
    assert values[0].std() > 0
    if make_reward is Gail:  # the others' shift makes the lowest reward 0
        assert values[0][ragged_valid].all()
    states = [state_bytes(reward) for reward in made]
    assert states[0] == states[1] == states[2]


@REWARDS
@KINDS
@pytest.mark.parametrize("fits", [0, 3])
def test_state_round_trip_continues_with_the_same_bytes(
    make_reward: MakeReward, discrete: bool, fits: int, random_problem: RandomProblem
) -> None:
    expert, batch = random_problem(discrete)
    _, second = random_problem(discrete, seed=1)
    reward = make_reward(expert, "positive", np.random.default_rng(0))
    for _ in range(fits):
        reward.reward(batch)
        reward.fit(batch)
    state = reward.state()
    kept = {name: array.tobytes() for name, array in state.items()}
    before, row, after = reward.reward(second), reward.fit(second), reward.reward(second)
    assert {name: array.tobytes() for name, array in state.items()} == kept  # going on leaves the state alone

    again = make_reward(expert, "positive", np.random.default_rng(99))
    again.load_state(state)
    assert again.reward(second).tobytes() == before.tobytes()
    assert again.fit(second) == row
    assert again.reward(second).tobytes() == after.tobytes()
    assert state_bytes(again) == state_bytes(reward)
