"""GTAL: the single worst reward among the features and their negatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gailbench.algorithms.gtal import Gtal, worst
from gailbench.demonstrations import Pairs
from gailbench.sampling import Batch

MakeBatch = Callable[..., Batch]
RandomProblem = Callable[..., tuple[Pairs, Batch]]


def test_first_choice_is_any_of_the_2_d(random_problem: RandomProblem) -> None:
    expert, _ = random_problem(discrete=False)
    dim = 2 * (3 + 2) + 1
    choices = {Gtal(expert, "positive", np.random.default_rng(seed)).choice for seed in range(300)}
    assert choices == set(range(2 * dim))


@pytest.mark.parametrize("discrete", [False, True])
def test_choice_is_where_the_policy_falls_furthest_short(discrete: bool, random_problem: RandomProblem) -> None:
    choices = set()
    for seed in range(12):
        expert, batch = random_problem(discrete, seed)
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
