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
RandomProblem = Callable[..., tuple[Pairs, Batch]]


def test_first_weight_is_a_random_direction(random_problem: RandomProblem) -> None:
    expert, _ = random_problem(discrete=False)
    first, again, other = (Fem(expert, "positive", np.random.default_rng(seed)).weight for seed in (0, 0, 1))
    assert first.shape == (2 * (3 + 2) + 1,)
    assert_allclose(np.linalg.norm(first), 1.0)
    assert_array_equal(first, again)
    assert abs(first @ other) < 0.95


@pytest.mark.parametrize("discrete", [False, True])
def test_weight_is_the_arg_max_over_the_unit_ball(discrete: bool, random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete)
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


def test_reward_has_the_batchs_shape_and_order(random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete=True)
    fem = Fem(expert, "positive", np.random.default_rng(0))
    rewards = fem.reward(batch)
    assert rewards.shape == (20, 10)
    raw = fem.features.of_batch(batch).astype(np.float64) @ fem.weight / fem.features.dim
    assert_allclose(rewards, raw.reshape(20, 10) - min(raw.min(), 0), atol=1e-9)


def test_expert_is_rewarded_above_the_policy_that_was_fitted(
    make_batch: MakeBatch, random_problem: RandomProblem
) -> None:
    expert, batch = random_problem(discrete=False)
    fem = Fem(expert, "positive", np.random.default_rng(0))
    fem.fit(batch)
    of_expert = fem.reward(make_batch(expert.observations[:, None], expert.actions[:, None]))
    policy = fem.reward(batch)
    shift = policy - fem.features.of_batch(batch).reshape(20, 10, -1) @ fem.weight / fem.features.dim
    expert_raw = fem.features(expert.observations, expert.actions) @ fem.weight / fem.features.dim
    assert expert_raw.mean() + shift.mean() > policy.mean()
    assert (of_expert >= 0).all()
