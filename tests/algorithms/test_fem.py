"""FEM: the worst linear reward of the unit ball."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gailbench.algorithms.fem import Fem, unit_ball
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
    return expert, make_batch(generator.normal(0.0, 1.0, (20, 10, 3)), actions)


def test_first_weight_is_a_random_direction(make_batch: MakeBatch) -> None:
    expert, _ = random_problem(make_batch, discrete=False)
    first, again, other = (Fem(expert, "positive", np.random.default_rng(seed)).weight for seed in (0, 0, 1))
    assert first.shape == (2 * (3 + 2) + 1,)
    assert_allclose(np.linalg.norm(first), 1.0)
    assert_array_equal(first, again)
    assert abs(first @ other) < 0.95


@pytest.mark.parametrize("discrete", [False, True])
def test_weight_is_the_arg_max_over_the_unit_ball(discrete: bool, make_batch: MakeBatch) -> None:
    expert, batch = random_problem(make_batch, discrete)
    fem = Fem(expert, "positive", np.random.default_rng(0))
    assert fem.fit(batch) == {}
    phi_expert = fem.features(expert.observations, expert.actions).astype(np.float64).mean(0)
    phi_policy = fem.features.of_batch(batch).astype(np.float64).mean(0)
    shortfall = phi_expert - phi_policy
    assert_allclose(np.linalg.norm(fem.weight), 1.0)
    others = np.random.default_rng(1).normal(size=(20_000, len(shortfall)))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    best = fem.weight @ shortfall
    assert (others @ shortfall < best).all()
    # Nor does any direction nearby do better.
    nearby = fem.weight + 0.1 * others
    nearby /= np.linalg.norm(nearby, axis=1, keepdims=True)
    assert (nearby @ shortfall <= best + 1e-12).all()
    assert best == pytest.approx(np.linalg.norm(shortfall))


def test_unit_ball_by_hand() -> None:
    assert_allclose(unit_ball(np.array([3.0, -4.0])), [0.6, -0.8])
    assert_array_equal(unit_ball(np.zeros(2)), np.zeros(2))  # nothing tells them apart


def test_reward_by_hand(make_batch: MakeBatch) -> None:
    # One observation of mean 2 and deviation 1, one action of mean 10 and deviation 5, so phi has 5 entries.
    expert = Pairs(np.array([[1.0], [3.0]], np.float32), np.array([[5.0], [15.0]], np.float32), 1, False)
    fem = Fem(expert, "negative", np.random.default_rng(0))
    # A policy at x = (3, -2) falls short of the expert by (-3, 2) and some 1e-3 in the squares.
    batch = make_batch([[[5.0]], [[5.0]]], [[[0.0]], [[0.0]]])
    fem.fit(batch)
    shortfall = np.array([-3, 2, 1e-4 - 9e-4, 1e-4 - 4e-4, 0])
    assert_allclose(fem.weight, shortfall / np.linalg.norm(shortfall), rtol=1e-4, atol=1e-7)
    # There w . phi = (-9 - 4) / sqrt(13) to 1e-6, below 0: the negative sign leaves it as it is; then x = (-1, 1).
    assert_allclose(fem.reward(batch), np.full((2, 1), -np.sqrt(13) / 5), rtol=1e-5)
    better = make_batch([[[1.0]]], [[[15.0]]])
    # w . phi = (3 + 2) / sqrt(13) is above 0, and shifts to 0, and what was there before by as much.
    assert_allclose(fem.reward(better), [[0.0]], atol=1e-7)
    assert_allclose(fem.reward(batch), np.full((2, 1), (-13 - 5) / np.sqrt(13) / 5), rtol=1e-5)


def test_reward_has_the_batchs_shape_and_order(make_batch: MakeBatch) -> None:
    expert, batch = random_problem(make_batch, discrete=True)
    fem = Fem(expert, "positive", np.random.default_rng(0))
    rewards = fem.reward(batch)
    assert rewards.shape == (20, 10)
    raw = fem.features.of_batch(batch).astype(np.float64) @ fem.weight / fem.features.dim
    assert_allclose(rewards, raw.reshape(20, 10) - min(raw.min(), 0), atol=1e-9)


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_rewards_never_cross_0(sign: str, make_batch: MakeBatch) -> None:
    expert, _ = random_problem(make_batch, discrete=False)
    fem = Fem(expert, sign, np.random.default_rng(0))
    for seed in range(5):
        _, batch = random_problem(make_batch, discrete=False, seed=seed)
        rewards = fem.reward(batch)
        assert (rewards >= 0).all() if sign == "positive" else (rewards <= 0).all()
        assert rewards.std() > 0
        fem.fit(batch)


def test_expert_is_rewarded_above_the_policy_that_was_fitted(make_batch: MakeBatch) -> None:
    expert, batch = random_problem(make_batch, discrete=False)
    fem = Fem(expert, "positive", np.random.default_rng(0))
    fem.fit(batch)
    of_expert = fem.reward(make_batch(expert.observations[:, None], expert.actions[:, None]))
    policy = fem.reward(batch)
    shift = policy - fem.features.of_batch(batch).reshape(20, 10, -1) @ fem.weight / fem.features.dim
    expert_raw = fem.features(expert.observations, expert.actions) @ fem.weight / fem.features.dim
    assert expert_raw.mean() + shift.mean() > policy.mean()
    assert (of_expert >= 0).all()


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
    made = [Fem(expert, sign, np.random.default_rng(0)) for _ in range(3)]
    poisoned = poison(batch, value)
    rewards = []
    for fem, own in zip(made, (batch, poisoned, rows), strict=True):
        fem.reward(own)
        fem.fit(own)
        rewards.append(fem.reward(own))
    states = [{name: array.tobytes() for name, array in fem.state().items()} for fem in made]
    assert states[0] == states[1] == states[2]
    assert_array_equal(rewards[0], rewards[1])
    assert_array_equal(rewards[0][ragged_valid], rewards[2][:, 0])
    assert not rewards[0][~ragged_valid].any()  # nor does the shift reach them
    assert rewards[0].std() > 0


def test_state_round_trip_continues_with_the_same_bytes(make_batch: MakeBatch) -> None:
    expert, batch = random_problem(make_batch, discrete=False)
    _, second = random_problem(make_batch, discrete=False, seed=1)
    fem = Fem(expert, "positive", np.random.default_rng(0))
    fem.reward(batch)
    fem.fit(batch)
    state = fem.state()
    again = Fem(expert, "positive", np.random.default_rng(1))
    again.load_state(state)
    assert again.reward(second).tobytes() == fem.reward(second).tobytes()
    fem.fit(second)
    again.fit(second)
    assert {k: v.tobytes() for k, v in again.state().items()} == {k: v.tobytes() for k, v in fem.state().items()}
