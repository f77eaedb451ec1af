"""GTAL: the single worst reward among the features and their negatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gailbench.algorithms.gtal import Gtal, worst
from gailbench.demonstrations import Pairs
from gailbench.sampling import Batch

MakeBatch = Callable[..., Batch]
Poison = Callable[[Batch, float], Batch]


def random_problem(make_batch: MakeBatch, discrete: bool, seed: int = 0) -> tuple[Pairs, Batch]:
    generator = np.random.default_rng(seed)
    expert_actions = generator.integers(2, size=30) if discrete else generator.normal(1.0, 1.0, (30, 2))
    actions = generator.integers(2, size=(20, 10)) if discrete else generator.normal(size=(20, 10, 2))
    expert = Pairs(
        generator.normal(1.0, 2.0, (30, 3)).astype(np.float32),
        expert_actions if discrete else expert_actions.astype(np.float32),
        num_actions=2,
        discrete=discrete,
    )
    centre = generator.normal(0.0, 2.0, 3)
    return expert, make_batch(generator.normal(centre, 1.0, (20, 10, 3)), actions)


def test_first_choice_is_any_of_the_2_d(make_batch: MakeBatch) -> None:
    expert, _ = random_problem(make_batch, discrete=False)
    dim = 2 * (3 + 2) + 1
    choices = {Gtal(expert, "positive", np.random.default_rng(seed)).choice for seed in range(300)}
    assert choices == set(range(2 * dim))


@pytest.mark.parametrize("discrete", [False, True])
def test_choice_is_where_the_policy_falls_furthest_short(discrete: bool, make_batch: MakeBatch) -> None:
    choices = set()
    for seed in range(12):
        expert, batch = random_problem(make_batch, discrete, seed)
        gtal = Gtal(expert, "positive", np.random.default_rng(0))
        assert gtal.fit(batch) == {}
        phi_expert = gtal.features(expert.observations, expert.actions).astype(np.float64).mean(0)
        phi_policy = gtal.features.of_batch(batch).astype(np.float64).mean(0)
        best, choice = -np.inf, -1
        for candidate in range(2 * gtal.features.dim):
            sign = 1 if candidate < gtal.features.dim else -1
            feature = candidate % gtal.features.dim
            shortfall = sign * phi_expert[feature] - sign * phi_policy[feature]
            if shortfall > best:
                best, choice = shortfall, candidate
        assert gtal.choice == choice
        choices.add((choice < gtal.features.dim, choice % gtal.features.dim))
    # Both signs and several features came up.
    assert {sign for sign, _ in choices} == {False, True}
    assert len(choices) > 2


def test_worst_by_hand() -> None:
    assert worst(np.array([0.1, -0.3, 0.2])) == 3 + 1
    assert worst(np.array([0.1, -0.3, 0.4])) == 2


def test_reward_by_hand(make_batch: MakeBatch) -> None:
    # One observation of mean 2 and deviation 1, one action of mean 10 and deviation 5: 5 features, 10 rewards.
    expert = Pairs(np.array([[1.0], [3.0]], np.float32), np.array([[5.0], [15.0]], np.float32), 1, False)
    gtal = Gtal(expert, "negative", np.random.default_rng(0))
    batch = make_batch([[[5.0]], [[5.0]]], [[[0.0]], [[0.0]]])  # x = (3, -2)
    gtal.fit(batch)
    # The shortfall is (-3, 2, ...): the policy has too much of the observation, so the reward is -x_0 / 10.
    assert gtal.choice == 5
    assert_allclose(gtal.reward(batch), [[-0.3], [-0.3]], rtol=1e-5)
    assert_allclose(gtal.reward(make_batch([[[1.5]]], [[[0.0]]])), [[0.0]], atol=1e-7)  # 0.05, shifted by itself
    assert_allclose(gtal.reward(batch), [[-0.35], [-0.35]], rtol=1e-5)

    low = make_batch([[[-1.0]]], [[[10.0]]])  # x = (-3, 0): too little of the observation
    gtal.fit(low)
    assert gtal.choice == 0
    assert_allclose(gtal.reward(low), [[-0.3 - 0.05]], rtol=1e-5)


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_rewards_never_cross_0(sign: str, make_batch: MakeBatch) -> None:
    expert, _ = random_problem(make_batch, discrete=False)
    gtal = Gtal(expert, sign, np.random.default_rng(1))
    for seed in range(5):
        _, batch = random_problem(make_batch, discrete=False, seed=seed)
        gtal.fit(batch)
        rewards = gtal.reward(batch)
        assert rewards.shape == (20, 10)
        assert (rewards >= 0).all() if sign == "positive" else (rewards <= 0).all()
        assert rewards.std() > 0


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("sign", ["positive", "negative"])
@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_entries_that_are_not_valid_have_no_influence(
    discrete: bool, sign: str, value: float, make_batch: MakeBatch, poison: Poison, ragged_valid: np.ndarray
) -> None:
    expert, whole = random_problem(make_batch, discrete)
    batch = make_batch(whole.observations, whole.actions, valid=ragged_valid)
    # The same pairs, one environment's.
    rows = make_batch(batch.rows(whole.observations)[:, None], batch.rows(whole.actions)[:, None])
    assert len(rows) == len(batch) < len(whole)
    made = [Gtal(expert, sign, np.random.default_rng(0)) for _ in range(3)]
    poisoned = poison(batch, value)
    rewards = []
    for gtal, own in zip(made, (batch, poisoned, rows), strict=True):
        gtal.reward(own)
        gtal.fit(own)
        rewards.append(gtal.reward(own))
    states = [{name: array.tobytes() for name, array in gtal.state().items()} for gtal in made]
    assert states[0] == states[1] == states[2]
    assert_array_equal(rewards[0], rewards[1])
    assert_array_equal(rewards[0][ragged_valid], rewards[2][:, 0])
    assert not rewards[0][~ragged_valid].any()  # nor does the shift reach them
    assert rewards[0].std() > 0


def test_state_round_trip_continues_with_the_same_bytes(make_batch: MakeBatch) -> None:
    expert, batch = random_problem(make_batch, discrete=False)
    _, second = random_problem(make_batch, discrete=False, seed=1)
    gtal = Gtal(expert, "positive", np.random.default_rng(0))
    gtal.fit(batch)
    gtal.reward(batch)
    state = gtal.state()
    again = Gtal(expert, "positive", np.random.default_rng(1))
    again.load_state(state)
    assert again.reward(second).tobytes() == gtal.reward(second).tobytes()
    gtal.fit(second)
    again.fit(second)
    assert {k: v.tobytes() for k, v in again.state().items()} == {k: v.tobytes() for k, v in gtal.state().items()}
